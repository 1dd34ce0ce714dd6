"""What is averaged over views, and whose edges the mean has."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from dptkit.config import DepthDecoding
from dptkit.outputs import Provenance
from dptkit.postprocess import resize_map
from dptkit.tta import mean_depth, with_detail

ROWS, COLUMNS = np.mgrid[0:120, 0:160] / 120.0
STEP = (COLUMNS > 0.6).astype(np.float64)
SOFT_STEP = np.asarray(cv2.GaussianBlur(STEP, (0, 0), 4))
LAYOUT = SOFT_STEP + 0.5 * ROWS
EVERYWHERE = np.ones(STEP.shape, np.bool_)


def test_layout_is_of_the_one_and_detail_of_the_other_map() -> None:
    """A soft step on a slope, and the same step sharp and in other units, but on no slope."""
    result = with_detail(LAYOUT, 7 * STEP - 3, EVERYWHERE)
    assert np.diff(LAYOUT, axis=1).max() < 0.12
    assert np.diff(result, axis=1).max(axis=1).min() > 0.85, "the step is nearly as sharp as the other's"
    # Means of 20 x 20 pixels: the slope is the layout's, to a twentieth of the step.
    blocks = (result - LAYOUT).reshape(6, 20, 8, 20).mean(axis=(1, 3))
    assert np.abs(blocks).max() < 0.05


def test_detail_that_says_nothing_changes_nothing() -> None:
    np.testing.assert_allclose(with_detail(LAYOUT, 0.02 * LAYOUT - 9, EVERYWHERE), LAYOUT, atol=1e-9)
    for nothing in (np.full_like(STEP, 4.0), np.full_like(STEP, 0.1), np.full_like(STEP, -1e9 / 3), -LAYOUT):
        assert with_detail(LAYOUT, nothing, EVERYWHERE) is LAYOUT
    assert with_detail(LAYOUT, STEP, ~EVERYWHERE) is LAYOUT


def test_where_no_detail_is_known_the_layout_stays() -> None:
    known = ROWS < 0.5
    result = with_detail(LAYOUT, np.where(known, 7 * STEP, np.nan), known)
    assert (result[~known] == LAYOUT[~known]).all()
    assert np.isfinite(result).all()
    assert np.diff(result[30]).max() > 0.85


def test_large_maps_give_what_small_ones_do() -> None:
    """What is smooth is computed small, and a Gaussian of 150 pixels would take minutes."""
    rows, columns = np.mgrid[0:3000, 0:4000] / 3000.0
    step = (columns > 0.6).astype(np.float64)
    soft = cv2.resize(SOFT_STEP, (4000, 3000), interpolation=cv2.INTER_LINEAR)
    large = with_detail(soft + 0.5 * rows, 7 * step - 3, np.ones(step.shape, np.bool_))
    small = with_detail(LAYOUT, 7 * STEP - 3, EVERYWHERE)
    assert np.diff(large[::100], axis=1).max(axis=1).min() > 0.85
    away = np.abs(COLUMNS - 0.6) > 0.15  # beyond the soft step, which lies half a pixel of the small map elsewhere
    shrunk = cv2.resize(large, (160, 120), interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk - small)[away].max() < 0.02


def views(*sizes: tuple[int, int]) -> list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
    """The sharp step as a network of each size would see it; mirrored views are blurred: they agree on no edge."""
    soft = cv2.GaussianBlur(LAYOUT, (0, 0), 6)
    pairs = []
    for height, width in sizes:
        sharp, other = (cv2.resize(plane.astype(np.float32), (width, height)) for plane in (STEP, soft))
        pairs.append((sharp[None], other[None]))
    return pairs


def mean_of(*sizes: tuple[int, int], decoding: DepthDecoding | None = None) -> npt.NDArray[np.float64]:
    provenance = Provenance("m", "1", network_size=(120, 160))
    decoding = decoding or DepthDecoding("inverse_depth")
    return mean_depth(views(*sizes), (120, 160), decoding, provenance).values.astype(np.float64)


def test_several_sizes_keep_the_edges_of_the_single_pass() -> None:
    plain = mean_of((96, 128), (144, 192))
    whole = mean_of((96, 128), (120, 160), (144, 192))
    assert np.diff(plain, axis=1).max() < 0.6
    assert np.diff(whole, axis=1).max(axis=1).min() > 0.7
    six = [resize_map(raw[0], (120, 160)) for pair in views((96, 128), (120, 160), (144, 192)) for raw in pair]
    expected = with_detail(np.mean(six, axis=0, dtype=np.float64), STEP, EVERYWHERE)
    np.testing.assert_allclose(whole, expected, atol=1e-6)


def test_one_size_is_the_mean_as_others_take_it() -> None:
    """Mirrored too at one size is ZoeDepth's and DINOv2's."""
    maps = [raw[0] for pair in views((120, 160)) for raw in pair]
    np.testing.assert_allclose(mean_of((120, 160)), np.mean(maps, axis=0, dtype=np.float64), atol=1e-6)


def test_metres_are_the_mean_at_any_sizes() -> None:
    sizes = ((96, 128), (120, 160))
    depth = [1 / (0.1 * raw[0] + 0.2) for pair in views(*sizes) for raw in pair]
    maps = [resize_map(values, (120, 160)) for values in depth]
    found = mean_of(*sizes, decoding=DepthDecoding("depth_m", 0.1, 0.2))
    np.testing.assert_allclose(found, np.mean(maps, axis=0, dtype=np.float64), rtol=1e-5)
