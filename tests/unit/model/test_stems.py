"""The convolutional stems: padding as TensorFlow's, standardised weights, norms and activations in their places."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy_reference import Array, array, batch_norm, conv, group_norm, relu

from dptkit.model.encoders.hybrid import Bottleneck, HybridEncoder, ResNetStem, StandardisedConv2d
from dptkit.model.encoders.lite import ConvNorm, InvertedResidual, LiteEncoder, LiteStem
from dptkit.model.encoders.same_padding import same_padding
from dptkit.model.encoders.transformer import Transformer
from dptkit.model.encoders.vit import ViTEncoder

SIZES = (2, 4, 6, 8, 14, 16, 48, 224)


def tensorflow_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """(before, after), from the documentation of `tf.nn.convolution`, padding="SAME"."""
    outputs = math.ceil(size / stride)
    total = max((outputs - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def same_conv(x: Array, weight: Array, stride: int) -> Array:
    vertical, horizontal = (tensorflow_padding(side, weight.shape[2], stride) for side in x.shape[1:])
    return conv(np.pad(x, ((0, 0), vertical, horizontal)), weight, stride=stride)


def standardised(weight: Array, eps: float) -> Array:
    centred = weight - weight.mean(axis=(1, 2, 3), keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=(1, 2, 3), keepdims=True) + eps)


def a_transformer(taps: int) -> Transformer:
    return Transformer(
        width=8,
        depth=4,
        heads=2,
        out_indices=range(taps),
        position_grid=(2, 2),
        prefix_tokens=1,
        layer_norm_eps=1e-6,
    )


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", SIZES)
def test_same_padding_is_tensorflows(size: int, kernel: int, stride: int) -> None:
    before, after = tensorflow_padding(size, kernel, stride)
    assert same_padding(kernel, stride) == (before, after, before, after)


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (7, 2), (1, 2)])
def test_standardised_convolution(kernel: int, stride: int) -> None:
    torch.manual_seed(0)
    eps = 0.05  # so large that its place shows
    layer = StandardisedConv2d(2, 3, kernel, stride, eps=eps).double()
    layer.weight.data += 3  # a mean to be taken off
    x = torch.randn(1, 2, 8, 6, dtype=torch.float64)
    expected = same_conv(array(x)[0], standardised(array(layer.weight), eps), stride)
    assert layer(x).shape[2:] == (8 // stride, 6 // stride)
    np.testing.assert_allclose(array(layer(x))[0], expected, atol=1e-12)


@pytest.mark.parametrize(("inputs", "stride"), [(16, 1), (8, 1), (16, 2)], ids=["plain", "widening", "strided"])
def test_bottleneck_is_post_activation(inputs: int, stride: int) -> None:
    torch.manual_seed(1)
    block = Bottleneck(inputs, 16, stride, groups=2, eps=1e-8).double()
    for part in block.modules():
        if isinstance(part, torch.nn.GroupNorm):
            part.weight.data.normal_()
            part.bias.data.normal_()
    x = torch.randn(1, inputs, 4, 6, dtype=torch.float64)

    def normed(features: Array, convolution: StandardisedConv2d, norm: torch.nn.GroupNorm, step: int = 1) -> Array:
        features = same_conv(features, standardised(array(convolution.weight), 1e-8), step)
        return group_norm(features, 2, array(norm.weight), array(norm.bias))

    image = array(x)[0]
    shortcut = image
    if inputs != 16 or stride != 1:
        shortcut = normed(image, block.shortcut[0], block.shortcut[1], stride)
    else:
        assert block.shortcut is None
    inner = relu(normed(image, block.conv1, block.norm1))
    inner = relu(normed(inner, block.conv2, block.norm2, stride))
    expected = relu(normed(inner, block.conv3, block.norm3) + shortcut)
    # Standardised weights are of the size of one, so sums over 16 channels grow; rounding grows with them.
    np.testing.assert_allclose(array(block(x))[0], expected, atol=1e-11)


def test_resnet_stem_pools_with_tensorflows_padding() -> None:
    """Its zeros must not beat what is in the picture: timm pads the maximum with minus infinity."""
    torch.manual_seed(2)
    stem = ResNetStem(8, (1, 1, 1), 1e-8).double()
    stem.norm.bias.data -= 1  # most of the first map is zero after its ReLU
    image = torch.randn(1, 3, 32, 48, dtype=torch.float64)
    first = same_conv(array(image)[0], standardised(array(stem.conv.weight), 1e-8), 2)
    first = relu(group_norm(first, 4, array(stem.norm.weight), array(stem.norm.bias)))
    padded = np.pad(first, ((0, 0), (0, 1), (0, 1)), constant_values=-np.inf)
    pooled = np.stack(
        [[[p[2 * r : 2 * r + 3, 2 * c : 2 * c + 3].max() for c in range(12)] for r in range(8)] for p in padded]
    )
    quarter, eighth, sixteenth = stem(image)
    expected = stem.stages[0](torch.from_numpy(pooled)[None])
    np.testing.assert_allclose(array(quarter), array(expected), atol=1e-11)
    assert [m.shape[1:] for m in (quarter, eighth, sixteenth)] == [(32, 8, 12), (64, 4, 6), (128, 2, 3)]


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (5, 1), (3, 2), (5, 2)])
@pytest.mark.parametrize("activate", [True, False])
def test_lite_convolution_clips_at_six(kernel: int, stride: int, activate: bool) -> None:
    torch.manual_seed(3)
    layer = ConvNorm(2, 3, kernel, stride, activate=activate).double().eval()
    assert layer.norm.eps == 1e-3  # TensorFlow's; PyTorch's own default would be 1e-5
    layer.norm.running_var.uniform_(0.01, 0.02)
    layer.norm.running_mean.normal_()
    x = torch.randn(1, 2, 8, 6, dtype=torch.float64)
    expected = batch_norm(same_conv(array(x)[0], array(layer.conv.weight), stride), layer.norm)
    assert expected.max() > 6
    np.testing.assert_allclose(array(layer(x))[0], np.clip(expected, 0, 6) if activate else expected, atol=1e-11)


@pytest.mark.parametrize(
    ("inputs", "outputs", "stride", "expansion"), [(4, 4, 1, 6), (4, 4, 2, 6), (4, 5, 1, 6), (4, 4, 1, 1)]
)
def test_inverted_residual_adds_its_input_where_shapes_agree(
    inputs: int, outputs: int, stride: int, expansion: int
) -> None:
    torch.manual_seed(4)
    block = InvertedResidual(inputs, outputs, 3, stride, expansion).double().eval()
    x = torch.randn(1, inputs, 4, 6, dtype=torch.float64)
    inner = x if block.expand is None else block.expand(x)
    assert (block.expand is None) == (expansion == 1)
    projected = block.project(block.depthwise(inner))
    assert projected.min() < 0, "no activation after the projection"
    expected = x + projected if (stride == 1 and inputs == outputs) else projected
    assert torch.equal(block(x), expected)
    assert block.depthwise.conv.groups == inputs * expansion


def test_lite_stem_taps() -> None:
    maps = LiteStem().eval()(torch.zeros(1, 3, 32, 48))
    assert [tuple(m.shape[1:]) for m in maps] == [(24, 8, 12), (40, 4, 6), (112, 2, 3)]


@pytest.mark.parametrize(
    ("build", "taps"),
    [
        (lambda: ViTEncoder(a_transformer(2), 16), "four"),
        (lambda: HybridEncoder(ResNetStem(8, (1, 1, 1), 1e-8), a_transformer(3)), "two blocks or four, not 3"),
        (lambda: LiteEncoder(LiteStem(), a_transformer(4)), "two"),
    ],
)
def test_each_encoder_says_how_many_taps_it_needs(build, taps: str) -> None:
    with pytest.raises(ValueError, match=f"tapped at {taps}"):
        build()


def test_a_hybrid_with_four_taps_gives_its_transformers_and_none_of_its_stem() -> None:
    torch.manual_seed(6)
    encoder = HybridEncoder(ResNetStem(8, (1, 1, 1), 1e-8), a_transformer(4)).eval()
    image = torch.randn(1, 3, 32, 48)
    features = encoder(image)
    maps, prefixes = encoder.transformer(encoder.patch_embedding(encoder.stem(image)[2]))
    for ours, theirs in zip((*features.maps, *features.prefixes), (*maps, *prefixes), strict=True):
        assert torch.equal(ours, theirs)


def test_vit_encoder_returns_stages_shallow_to_deep() -> None:
    torch.manual_seed(5)
    encoder = ViTEncoder(a_transformer(4), 16).eval()
    image = torch.randn(1, 3, 32, 48)
    features = encoder(image)
    patches = encoder.patch_embedding(image)
    assert patches.shape[2:] == (2, 3)
    maps, prefixes = encoder.transformer(patches)
    for ours, theirs in zip((*features.maps, *features.prefixes), (*maps, *prefixes), strict=True):
        assert torch.equal(ours, theirs)
