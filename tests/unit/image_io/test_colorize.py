"""colorize: near is bright, bounds mean what they say, nothing divides by zero."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dptkit.errors import ConfigError
from dptkit.image_io import colorize, colormap_names
from dptkit.image_io.colour import colour_table
from dptkit.outputs import DepthMap, Provenance, Quantity

PROVENANCE = Provenance("tiny", "0.1.0")
INVALID_IN_GRAY = [255, 0, 255]


def depth_map(values: object, quantity: Quantity = "inverse_depth", valid: object = None) -> DepthMap:
    array = np.asarray(values, np.float32)
    mask = np.ones(array.shape, bool) if valid is None else np.asarray(valid, bool)
    return DepthMap(array, quantity, mask, PROVENANCE)


def greys(picture: object) -> list[list[int]]:
    pixels = picture.pixels  # type: ignore[attr-defined]
    assert (pixels == pixels[:, :, :1]).all()
    return pixels[:, :, 0].tolist()


def test_inverse_depth_is_linear_and_clips() -> None:
    picture = colorize(depth_map([[-5, 0, 51, 255, 256]]), "gray", 0, 255)
    assert greys(picture) == [[0, 0, 51, 255, 255]]
    assert (picture.vmin, picture.vmax, picture.per_picture, picture.clipped) == (0, 255, False, 2)


def test_metres_are_linear_in_inverse_depth() -> None:
    # 1 / depth from 1/10 (dark) to 1 (bright): 2 m is at (0.5 - 0.1) / 0.9 = 113.3 / 255, 4 m at 42.5.
    picture = colorize(depth_map([[0.5, 1, 2, 5, 10, 20]], "depth_m"), "gray", 1, 10)
    assert greys(picture) == [[255, 255, 113, 28, 0, 0]]
    assert (picture.vmin, picture.vmax, picture.clipped) == (1, 10, 2)


def test_zero_and_negative_metres_are_nearest() -> None:
    picture = colorize(depth_map([[0, -1, 2]], "depth_m"), "gray", 1, 4)
    assert greys(picture)[0][:2] == [255, 255]
    assert picture.clipped == 2


def test_one_stray_value_does_not_darken_the_rest() -> None:
    values = np.linspace(0, 1, 10000).reshape(100, 100)
    values[50, 50] = 1e6
    picture = colorize(depth_map(values), "gray")
    assert picture.per_picture
    assert 0.009 < picture.vmin < 0.011  # the first percentile of 0..1
    assert 0.989 < picture.vmax < 0.991
    assert picture.clipped == 200  # a hundredth at either end
    assert picture.pixels[99, 0, 0] == 255


def test_one_given_bound_is_still_per_picture() -> None:
    picture = colorize(depth_map([[1, 2, 3]]), "gray", vmin=2)
    assert (picture.vmin, picture.vmax, picture.per_picture, picture.clipped) == (2, 3, True, 1)
    assert greys(picture) == [[0, 0, 255]]


def test_picture_wholly_beyond_a_given_bound() -> None:
    assert greys(colorize(depth_map([[1, 2]]), "gray", vmin=5)) == [[0, 0]]
    assert greys(colorize(depth_map([[7, 8]]), "gray", vmax=5)) == [[255, 255]]


@pytest.mark.parametrize("value", [0.0, -3.0, 1e-45, 3e38])
def test_constant_map_is_one_middle_colour(value: float) -> None:
    picture = colorize(depth_map(np.full((3, 4), value)), "gray")
    assert greys(picture) == [[128] * 4] * 3
    assert picture.clipped == 0


def test_constant_metres() -> None:
    assert greys(colorize(depth_map([[2.5, 2.5]], "depth_m"), "gray")) == [[128, 128]]


def test_invalid_pixels_have_a_colour_of_their_own() -> None:
    values = [[np.nan, 0, 1]]
    picture = colorize(depth_map(values, valid=[[False, True, True]]), "gray")
    assert picture.pixels.tolist() == [[INVALID_IN_GRAY, [0] * 3, [255] * 3]]
    assert list(picture.invalid_colour) == INVALID_IN_GRAY


def test_all_invalid() -> None:
    for quantity in ("inverse_depth", "depth_m"):
        picture = colorize(depth_map(np.full((2, 3), np.nan), quantity, np.zeros((2, 3))), "gray")
        assert picture.pixels.reshape(-1, 3).tolist() == [INVALID_IN_GRAY] * 6
        assert np.isnan([picture.vmin, picture.vmax]).all()
        assert picture.clipped == 0


def test_every_map_is_known_near_bright_for_the_default_and_apart_from_invalid() -> None:
    assert {"inferno", "magma", "viridis", "turbo", "jet", "gray"} <= set(colormap_names())
    inferno = colour_table("inferno")
    assert inferno[0].sum() < 20
    assert inferno[255].tolist() == [252, 255, 164]  # pale yellow, as published; BGR would be pale cyan
    depth = depth_map([[0, 1]], valid=[[True, False]])
    for name in colormap_names():
        invalid = np.array(colorize(depth, name).invalid_colour, float)
        assert np.linalg.norm(colour_table(name) - invalid, axis=1).min() > 60, name


@pytest.mark.parametrize(("name", "meant"), [("infermo", "inferno"), ("Viridis", "viridis"), ("grey", "gray")])
def test_unknown_colormap_names_the_nearest(name: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=f"^unknown colormap '{name}': did you mean '{meant}'"):
        colorize(depth_map([[1]]), name)


@pytest.mark.parametrize(
    ("quantity", "vmin", "vmax"),
    [
        ("inverse_depth", 2, 1),
        ("inverse_depth", 1, 1),
        ("inverse_depth", float("nan"), 1),
        ("inverse_depth", 0, float("inf")),
        ("depth_m", 0, 10),
        ("depth_m", -1, 10),
    ],
)
def test_impossible_bounds(quantity: Quantity, vmin: float, vmax: float) -> None:
    with pytest.raises(ConfigError, match=r"vmin|vmax"):
        colorize(depth_map([[1.0]], quantity), "gray", vmin, vmax)


FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(max_examples=100, deadline=None)
@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=FLOATS), st.data())
def test_never_fails_and_keeps_the_order(values: np.ndarray, data: st.DataObject) -> None:
    quantity = data.draw(st.sampled_from(["inverse_depth", "depth_m"]))
    valid = data.draw(hnp.arrays(bool, values.shape))
    picture = colorize(depth_map(values, quantity, valid), "gray")
    assert (picture.pixels[~valid] == INVALID_IN_GRAY).all()
    order = np.argsort(values[valid], kind="stable")
    grey = picture.pixels[valid][order][:, 0].astype(int)
    if quantity == "inverse_depth":
        assert (np.diff(grey) >= 0).all()
    else:
        positive = values[valid][order] > 0
        assert (np.diff(grey[positive]) <= 0).all()
        if positive.any():
            assert (grey[~positive] == 255).all()


def test_many_strips_are_coloured_alike() -> None:
    values = np.random.default_rng(0).random((1100, 600)).astype(np.float32)
    picture = colorize(depth_map(values), "gray", 0, 1)
    np.testing.assert_array_equal(picture.pixels[:, :, 0], np.rint(values.astype(np.float64) * 255))
