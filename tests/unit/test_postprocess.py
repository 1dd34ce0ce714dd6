"""Decoding: metres against values by hand, labels against numpy's argmax and softmax, resizing against torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dptkit.config import DepthDecoding, SegmentationDecoding
from dptkit.outputs import Provenance
from dptkit.postprocess import decode_depth, decode_segmentation, resize_map
from dptkit.presets import PRESETS

WHENCE = Provenance("dpt-test", "1.0")
NYU, KITTI = (PRESETS[f"dpt-hybrid-{name}"].spec.decoding for name in ("nyu", "kitti"))


def raw_map(*values: float) -> np.ndarray:
    """[1, 1, n]: the head's output for a picture one pixel high."""
    return np.array([[values]], np.float32)


def decode(raw: np.ndarray, decoding: DepthDecoding, size: tuple[int, int] | None = None):
    return decode_depth(raw, size or raw.shape[1:], decoding, WHENCE)


@pytest.mark.parametrize("name", ["dpt-hybrid-nyu", "dpt-hybrid-nyu-new"])
def test_constants_of_nyu(name: str) -> None:
    assert PRESETS[name].spec.decoding == DepthDecoding("depth_m", scale=0.000305, shift=0.1378, cap_m=10.0)


def test_constants_of_kitti() -> None:
    assert DepthDecoding("depth_m", scale=0.00006016, shift=0.00579, cap_m=80.0) == KITTI


# Metres by hand, 1 / (scale * raw + shift):
#   KITTI raw 1000: 0.06016 + 0.00579 = 0.06595 -> 15.16300
#   NYU   raw 1000: 0.305   + 0.1378  = 0.4428  ->  2.25836
# float32 rounds each of the three steps by at most 6e-8: 5e-7 relative covers them.
@pytest.mark.parametrize(
    ("decoding", "raw", "metres"),
    [
        (KITTI, 0, 172.71157),
        (KITTI, 1000, 15.163002),
        (KITTI, 10_000, 1.6463886),
        (NYU, 0, 7.2568940),
        (NYU, 1000, 2.2583559),
        (NYU, 5000, 0.60139524),
    ],
)
def test_metres(decoding: DepthDecoding, raw: float, metres: float) -> None:
    depth = decode(raw_map(raw), decoding)
    assert (depth.quantity, depth.unit) == ("depth_m", "m")
    np.testing.assert_allclose(depth.values, metres, rtol=5e-7)


def test_pixels_beyond_the_cap_are_invalid_and_keep_their_value() -> None:
    depth = decode(raw_map(0, 100, 112, 113, 1000), KITTI)  # 80 m lies between raw 111.5 and 111.6
    assert depth.valid.tolist() == [[False, False, True, True, True]]
    np.testing.assert_allclose(depth.values[0, 0], 172.71157, rtol=5e-7)


def test_the_cap_itself_is_valid() -> None:
    depth = decode(raw_map(1, 2, 4), DepthDecoding("depth_m", cap_m=0.5))
    assert depth.values.tolist() == [[1, 0.5, 0.25]]
    assert depth.valid.tolist() == [[False, True, True]]


def test_nyu_can_never_reach_its_cap() -> None:
    assert decode(raw_map(0), NYU).valid.all()


def test_inversion_is_clamped() -> None:
    """The bound is 1e-8 per metre: zero and negative inverse depth become 1e8 m, not infinity or minus something."""
    depth = decode(raw_map(0, -5, 1e-9, 1e-7), DepthDecoding("depth_m"))
    np.testing.assert_allclose(depth.values, [[1e8, 1e8, 1e8, 1e7]], rtol=5e-7)
    assert depth.valid.all()
    assert not decode(raw_map(-5), DepthDecoding("depth_m", cap_m=80.0)).valid.any()


def test_relative_values_are_the_raw_output() -> None:
    raw = np.random.default_rng(0).normal(size=(1, 5, 7)).astype(np.float32)
    depth = decode(raw, DepthDecoding("inverse_depth"))
    assert np.array_equal(depth.values, raw[0])
    assert (depth.quantity, depth.unit) == ("inverse_depth", "relative")
    assert depth.valid.all()
    assert depth.provenance is WHENCE


def test_metres_are_computed_before_resizing() -> None:
    """As the original: the mean of metres at an edge, not the inverse of a mean."""
    raw = np.repeat(raw_map(1, 0.25), 2, axis=1)  # 1 m and 4 m
    depth = decode(raw, DepthDecoding("depth_m"), (2, 4))
    np.testing.assert_allclose(depth.values, resize_map(1 / raw[0], (2, 4)), rtol=1e-6)
    assert not np.allclose(depth.values, 1 / resize_map(raw[0], (2, 4)), rtol=0.05)


def test_metric_overshoot_below_zero_is_invalid() -> None:
    raw = np.tile(raw_map(1e3, 1e3, 1e-3, 1e3, 1e3), (1, 5, 1))
    depth = decode(raw, DepthDecoding("depth_m"), (20, 20))
    assert (depth.values <= 0).any()
    assert np.array_equal(depth.valid, depth.values > 0)


def test_decoding_leaves_the_raw_output_alone() -> None:
    raw = raw_map(0, 1000)
    depth = decode(raw, DepthDecoding("inverse_depth"))
    depth.values[:] = -1
    assert raw.tolist() == [[[0, 1000]]]
    assert raw_map(0, 1000).tolist() == raw.tolist()


@pytest.mark.parametrize(
    ("network", "picture"),
    [
        ((32, 48), (64, 96)),
        ((32, 48), (77, 113)),
        ((48, 32), (480, 321)),
        ((64, 64), (33, 47)),
        ((64, 96), (20, 31)),
        ((33, 47), (34, 46)),
        ((32, 32), (1, 1)),
        ((32, 32), (1, 500)),
        ((1, 1), (3, 5)),
        ((2, 3), (40, 60)),
    ],
    ids=str,
)
def test_resizing_is_torchs_bicubic(network: tuple[int, int], picture: tuple[int, int]) -> None:
    values = np.random.default_rng(0).uniform(-1, 1, network).astype(np.float32)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(values)[None, None].double(), size=picture, mode="bicubic", align_corners=False
    )[0, 0].numpy()
    result = resize_map(values, picture)
    assert result.dtype == np.float32
    # OpenCV takes positions and the four weights per direction in float32. A position of up to 500 is off by
    # 500 * 6e-8 = 3e-5 pixels at most, neighbours differ by up to 2, and the kernel's slope is below 2.
    np.testing.assert_allclose(result, expected, atol=1.2e-4, rtol=0)
    if max(picture) < 100:
        np.testing.assert_allclose(result, expected, atol=2e-5, rtol=0)


def test_resizing_to_the_same_size_copies() -> None:
    values = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    result = resize_map(values, (5, 7))
    assert np.array_equal(result, values)
    assert not np.shares_memory(result, values)


def test_resizing_takes_maps_that_are_not_contiguous() -> None:
    values = np.random.default_rng(0).normal(size=(10, 14)).astype(np.float32)
    assert np.array_equal(resize_map(values[::2, ::-2], (9, 9)), resize_map(values[::2, ::-2].copy(), (9, 9)))


def softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits.astype(np.float64) - logits.max(0))
    return shifted / shifted.sum(0)


def segment(raw: np.ndarray, size: tuple[int, int], scores: bool = False):
    classes = len(raw)
    decoding = SegmentationDecoding(tuple(map(str, range(classes))), ((0, 0, 0),) * classes)
    return decode_segmentation(raw, size, decoding, WHENCE, scores)


@pytest.mark.parametrize("size", [(12, 16), (31, 45), (5, 7)])
@pytest.mark.parametrize(("classes", "spread"), [(1, 3.0), (2, 3.0), (150, 3.0), (150, 200.0)])
def test_labels_and_scores(classes: int, spread: float, size: tuple[int, int]) -> None:
    raw = np.random.default_rng(0).normal(0, spread, (classes, 12, 16)).astype(np.float32)
    logits = np.stack([resize_map(channel, size) for channel in raw])
    result = segment(raw, size, scores=True)
    assert np.array_equal(result.labels, logits.argmax(0))
    # 150 float32 additions, each rounded by 6e-8 relative: 1e-5. They add up all positive, so nothing cancels.
    np.testing.assert_allclose(result.scores, softmax(logits).max(0), rtol=1e-5)
    assert result.scores.min() > 0
    assert result.scores.max() <= 1


def test_logits_are_resized_before_the_argmax() -> None:
    """Resizing labels would invent class 1 between classes 0 and 2, and give blocks."""
    raw = np.full((3, 4, 4), -10, np.float32)
    raw[0, :, :2] = raw[2, :, 2:] = 10
    labels = segment(raw, (64, 64)).labels
    assert set(np.unique(labels)) == {0, 2}
    assert np.array_equal(labels, np.repeat([[0] * 32 + [2] * 32], 64, axis=0))


def test_ties_go_to_the_first_class() -> None:
    assert segment(np.zeros((3, 2, 2), np.float32), (2, 2)).labels.tolist() == [[0, 0], [0, 0]]


def test_scores_only_where_asked_for() -> None:
    assert segment(np.zeros((2, 2, 2), np.float32), (2, 2)).scores is None


@given(
    st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=6),
    st.integers(0, 5),
)
@settings(deadline=None, max_examples=100)
def test_scores_are_probabilities_whatever_the_logits(logits: list[float], extra: int) -> None:
    """No overflow, in whatever order large and small logits come."""
    values = np.array(logits + [logits[0]] * extra, np.float32)
    result = segment(values[:, None, None], (1, 1), scores=True)
    assert result.labels[0, 0] == values.argmax()
    np.testing.assert_allclose(result.scores[0, 0], softmax(values).max(), rtol=1e-5)


def test_class_names_and_colours_come_with_the_labels() -> None:
    decoding = PRESETS["dpt-large-ade20k"].spec.decoding
    raw = np.zeros((150, 2, 3), np.float32)
    raw[149] = 1
    result = decode_segmentation(raw, (4, 6), decoding, WHENCE)
    assert result.labels.dtype == np.uint8
    assert (result.labels == 149).all()
    assert result.class_names == decoding.class_names
    assert result.palette == decoding.palette
    assert result.provenance is WHENCE
