"""Pictures of what a network does while it learns: input, ground truth, prediction."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from dptkit.config import DepthDecoding, ModelSpec, SegmentationDecoding
from dptkit.data.batches import Batch
from dptkit.data.contact_sheet import colour_inverse_depth, spread
from dptkit.outputs import IGNORE_LABEL

Image = npt.NDArray[np.uint8]
_IGNORED = (128, 128, 128)


def draw_panel(batch: Batch, raw: npt.NDArray[np.float32], spec: ModelSpec) -> Image:
    """uint8 RGB [B*h, 3*w, 3]: per row a picture, its ground truth, and the prediction from raw output [B, K, h, w].

    Inverse depth: inferno, bright is near, each map over its own 1st to 99th percentile, as scale and shift are
    unknown; of a metric model both over the ground truth's. Classes: the model's palette. Grey: invalid, ignored.
    """
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (spec.preprocess.mean, spec.preprocess.std))
    pictures = np.clip((batch.image.cpu().numpy() * std + mean) * 255, 0, 255).round().astype(np.uint8)
    rows = []
    for picture, target, valid, output in zip(
        pictures.transpose(0, 2, 3, 1), batch.target.cpu().numpy(), batch.valid.cpu().numpy(), raw, strict=True
    ):
        if isinstance(spec.decoding, SegmentationDecoding):
            shown = _colour_labels(target, output, spec.decoding)
        else:
            shown = _colour_depth(target, valid, output[0], spec.decoding, batch.quantity == "depth_m")
        rows.append(np.concatenate([picture, *shown], axis=1))
    return np.concatenate(rows, axis=0)


def encode_jpeg(picture: Image) -> bytes:
    """The bytes of a JPEG file."""
    buffer = io.BytesIO()
    Pillow.fromarray(picture).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _colour_depth(
    target: npt.NDArray[np.float32],
    valid: npt.NDArray[np.bool_],
    output: npt.NDArray[np.float32],
    decoding: DepthDecoding,
    metres: bool,
) -> tuple[Image, Image]:
    everywhere = np.isfinite(output)
    if not metres:
        return colour_inverse_depth(target, valid), colour_inverse_depth(output, everywhere)
    truth = np.divide(1, target, out=np.zeros_like(target), where=valid & (target > 0))
    bounds = spread(truth, valid)
    predicted = decoding.scale * output + decoding.shift
    return colour_inverse_depth(truth, valid, bounds), colour_inverse_depth(predicted, everywhere, bounds)


def _colour_labels(
    target: npt.NDArray[Any], logits: npt.NDArray[np.float32], decoding: SegmentationDecoding
) -> tuple[Image, Image]:
    table = np.full((IGNORE_LABEL + 1, 3), _IGNORED, np.uint8)
    table[: len(decoding.palette)] = decoding.palette
    return table[target], table[logits.argmax(axis=0)]
