"""Results refuse what they cannot mean, and say what they do mean."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from dptkit.outputs import IGNORE_LABEL, UNITS, DepthMap, Provenance, SegmentationMap, provenance_dict

WHENCE = Provenance("dpt-test", "1.0")
VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)
VALID = np.ones((2, 3), bool)
LABELS = np.array([[0, 1, 1], [IGNORE_LABEL, 1, 0]], np.uint8)
NAMES, PALETTE = ("wall", "sky", "tree"), ((1, 2, 3), (4, 5, 6), (7, 8, 9))


def depth(values=VALUES, quantity="depth_m", valid=VALID) -> DepthMap:
    return DepthMap(values, quantity, valid, WHENCE)


def segmentation(labels=LABELS, names=NAMES, palette=PALETTE, scores=None) -> SegmentationMap:
    return SegmentationMap(labels, names, palette, WHENCE, scores)


def test_every_quantity_has_its_unit() -> None:
    assert depth(quantity="inverse_depth").unit == "relative"
    assert depth(quantity="depth_m").unit == "m"
    assert set(UNITS) == {"inverse_depth", "depth_m"}


def test_size_is_height_then_width() -> None:
    assert depth().size == (2, 3)
    assert segmentation().size == (2, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quantity": "depth"}, "quantity must be one of inverse_depth, depth_m, not 'depth'"),
        ({"values": VALUES.astype(np.float64)}, "values must be float32"),
        ({"values": VALUES.astype(np.float16)}, "values must be float32"),
        ({"values": VALUES[None]}, r"values must be float32 \[H, W\], not float32 \(1, 2, 3\)"),
        ({"values": VALUES[0]}, r"values must be float32 \[H, W\]"),
        ({"valid": VALID.T}, r"valid must be bool \(2, 3\), not bool \(3, 2\)"),
        ({"valid": VALID[:1]}, "valid must be bool"),  # would broadcast
        ({"valid": VALID.astype(np.uint8)}, "valid must be bool"),
        ({"values": np.where(VALUES == 2, np.float32(np.nan), VALUES)}, "valid values must be finite"),
        ({"values": np.where(VALUES == 2, np.float32(np.inf), VALUES)}, "valid values must be finite"),
        ({"values": np.where(VALUES == 2, -np.float32(np.inf), VALUES)}, "valid values must be finite"),
    ],
)
def test_depth_map_refuses(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        depth(**change)


@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
def test_invalid_pixels_may_hold_anything(hole: float) -> None:
    values = VALUES.copy()
    values[1, 2] = hole
    valid = VALID.copy()
    valid[1, 2] = False
    assert depth(values=values, valid=valid).values[0, 1] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": LABELS.astype(np.int64)}, "labels must be uint8"),
        ({"labels": LABELS[None]}, r"labels must be uint8 \[H, W\], not uint8 \(1, 2, 3\)"),
        ({"labels": np.full((2, 3), 3, np.uint8)}, "label 3 has no name: there are 3 classes"),
        ({"labels": np.full((2, 3), 254, np.uint8)}, "label 254 has no name"),
        ({"palette": PALETTE[:2]}, "3 class names and 2 colours do not fit"),
        ({"names": NAMES[:2]}, "2 class names and 3 colours do not fit"),
        # 255 is the ignore label, so it cannot name a class as well.
        ({"names": ("x",) * 256, "palette": ((0, 0, 0),) * 256}, "256 class names and 256 colours do not fit"),
        ({"scores": np.ones((2, 3))}, "scores must be float32"),
        ({"scores": np.ones((3, 2), np.float32)}, r"scores must be float32 \(2, 3\)"),
        ({"scores": np.ones((2, 1), np.float32)}, "scores must be float32"),
    ],
)
def test_segmentation_map_refuses(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        segmentation(**change)


def test_255_classes_are_the_most_and_fit() -> None:
    labels = np.array([[254, IGNORE_LABEL]], np.uint8)
    assert segmentation(labels, ("x",) * 255, ((0, 0, 0),) * 255).size == (1, 2)


def test_a_map_of_ignored_pixels_only_is_a_map() -> None:
    ignored = np.full((2, 3), IGNORE_LABEL, np.uint8)
    assert segmentation(ignored).pixel_shares() == {}


def test_pixel_shares_are_of_all_pixels_and_largest_first() -> None:
    assert list(segmentation().pixel_shares().items()) == [("sky", 3 / 6), ("wall", 2 / 6)]


def test_results_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        depth().quantity = "inverse_depth"
    with pytest.raises(FrozenInstanceError):
        segmentation().labels = LABELS
    with pytest.raises(FrozenInstanceError):
        WHENCE.model = "other"


def test_reprs_are_one_line_without_pixels() -> None:
    assert repr(depth()) == "DepthMap(2x3, depth_m, unit=m, model=dpt-test)"
    assert repr(segmentation()) == "SegmentationMap(2x3, 3 classes, model=dpt-test)"


def test_provenance_leaves_out_what_is_unknown() -> None:
    known = {"model": "dpt-test", "version": "1.0", "engine": "torch", "precision": "float32"}
    assert provenance_dict(WHENCE) == known
    full = Provenance("dpt-test", "1.0", "ab" * 32, network_size=(384, 512))
    assert provenance_dict(full) == {**known, "weights_sha256": "ab" * 32, "network_size": (384, 512)}
