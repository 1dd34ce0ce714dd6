"""What the layers compute, in plain float64 loops. Slow, and read off the definitions rather than off our code.

C channels · O output channels · h w map. No batch: one picture at a time.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch

Array = npt.NDArray[np.float64]


def array(tensor: torch.Tensor) -> Array:
    return tensor.detach().double().numpy()


def relu(x: Array) -> Array:
    return np.where(x > 0, x, 0.0)


def gelu(x: Array) -> Array:
    """The exact one, x * Phi(x); the tanh approximation differs from it by up to 5e-4."""
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def conv(x: Array, weight: Array, bias: Array | None = None, stride: int = 1, padding: int = 0) -> Array:
    """[C, h, w], [O, C, k, k] -> [O, h2, w2], zeros outside the map."""
    outputs, _, kernel, _ = weight.shape
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    height = (padded.shape[1] - kernel) // stride + 1
    width = (padded.shape[2] - kernel) // stride + 1
    result = np.zeros((outputs, height, width))
    for row in range(height):
        for column in range(width):
            window = padded[:, row * stride : row * stride + kernel, column * stride : column * stride + kernel]
            result[:, row, column] = (weight * window).sum(axis=(1, 2, 3))
    return result if bias is None else result + bias[:, None, None]


def transposed_conv(x: Array, weight: Array, bias: Array, factor: int) -> Array:
    """[C, h, w], [C, O, factor, factor] -> [O, factor h, factor w]; kernel = stride, so nothing overlaps."""
    channels, height, width = x.shape
    result = np.zeros((weight.shape[1], height * factor, width * factor))
    for row in range(height * factor):
        for column in range(width * factor):
            for channel in range(channels):
                pixel = x[channel, row // factor, column // factor]
                result[:, row, column] += pixel * weight[channel, :, row % factor, column % factor]
    return result + bias[:, None, None]


def batch_norm(x: Array, norm: torch.nn.BatchNorm2d) -> Array:
    """With the running statistics, as in evaluation mode."""
    scale = array(norm.weight) / np.sqrt(array(norm.running_var) + norm.eps)
    shift = array(norm.bias) - array(norm.running_mean) * scale
    return x * scale[:, None, None] + shift[:, None, None]


def group_norm(x: Array, groups: int, weight: Array, bias: Array, eps: float = 1e-5) -> Array:
    channels, height, width = x.shape
    grouped = x.reshape(groups, -1)
    centred = grouped - grouped.mean(axis=1, keepdims=True)
    normalised = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + eps)
    return normalised.reshape(channels, height, width) * weight[:, None, None] + bias[:, None, None]


def layer_norm(x: Array, weight: Array, bias: Array, eps: float) -> Array:
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + eps) * weight + bias


def bilinear(x: Array, size: tuple[int, int], align_corners: bool) -> Array:
    """[C, h, w] -> [C, *size]. No antialiasing: two neighbours per direction, whatever the factor."""
    result = np.zeros((x.shape[0], *size))
    for row in range(size[0]):
        for column in range(size[1]):
            top, bottom, down = _neighbours(row, x.shape[1], size[0], align_corners)
            left, right, along = _neighbours(column, x.shape[2], size[1], align_corners)
            upper = x[:, top, left] * (1 - along) + x[:, top, right] * along
            lower = x[:, bottom, left] * (1 - along) + x[:, bottom, right] * along
            result[:, row, column] = upper * (1 - down) + lower * down
    return result


def _neighbours(index: int, old: int, new: int, align_corners: bool) -> tuple[int, int, float]:
    if align_corners:
        position = index * (old - 1) / (new - 1) if new > 1 else 0.0
    else:  # half-pixel centres, clamped at the border
        position = min(max((index + 0.5) * old / new - 0.5, 0.0), old - 1.0)
    first = math.floor(position)
    return first, min(first + 1, old - 1), position - first
