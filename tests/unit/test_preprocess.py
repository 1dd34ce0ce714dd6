"""Sizes and numbers of the network input, against the original's rule written out here once more.

Source of the rule: isl-org/DPT `dpt/transforms.py` (Resize, NormalizeImage) and its run scripts.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dptkit.config import PreprocessConfig
from dptkit.errors import ConfigError
from dptkit.preprocess import common_sizes, network_size, preprocess, with_size
from dptkit.presets import PRESETS

COLUMNS = ("dpt-large", "dpt-hybrid-nyu", "dpt-hybrid-kitti", "dpt-large-ade20k", "dpt-lite")

# (height, width) of a picture, then of the network's input for the presets in COLUMNS. Computed once from the
# original's rule, with a side of at least 32 and, for dpt-lite, a long side of at most 480.
SIZES = [
    ((1, 1), (384, 384), (480, 480), (352, 352), (480, 480), (224, 224)),
    ((1, 1000), (32, 384), (32, 640), (32, 1216), (32, 480), (32, 480)),
    ((1000, 1), (384, 32), (480, 32), (352, 32), (480, 32), (480, 32)),
    ((2, 3), (256, 384), (416, 640), (352, 512), (320, 480), (224, 320)),
    ((33, 47), (256, 384), (448, 640), (352, 512), (352, 480), (224, 320)),
    ((480, 640), (384, 512), (480, 640), (352, 480), (480, 640), (224, 288)),
    ((640, 480), (512, 384), (480, 352), (352, 256), (640, 480), (288, 224)),
    ((384, 384), (384, 384), (480, 480), (352, 352), (480, 480), (224, 224)),
    ((400, 600), (384, 576), (416, 640), (352, 512), (480, 704), (224, 352)),
    ((375, 1242), (384, 1280), (480, 1600), (352, 1216), (480, 1600), (160, 480)),
    ((370, 1226), (384, 1280), (480, 1600), (352, 1216), (480, 1600), (160, 480)),
    ((352, 1216), (384, 1312), (480, 1664), (352, 1216), (480, 1664), (128, 480)),
    ((3000, 4000), (384, 512), (480, 640), (896, 1216), (480, 640), (224, 288)),
    ((4000, 3000), (512, 384), (864, 640), (1632, 1216), (640, 480), (288, 224)),
    ((1080, 1920), (384, 672), (480, 864), (672, 1216), (480, 864), (224, 384)),
    ((1920, 1080), (672, 384), (1152, 640), (2176, 1216), (864, 480), (384, 224)),
    ((720, 1280), (384, 672), (480, 864), (672, 1216), (480, 864), (224, 384)),
    ((2160, 3840), (384, 672), (480, 864), (672, 1216), (480, 864), (224, 384)),
    ((100, 100), (384, 384), (480, 480), (352, 352), (480, 480), (224, 224)),
    ((333, 500), (384, 576), (416, 640), (352, 544), (320, 480), (224, 352)),
    ((427, 640), (384, 576), (416, 640), (352, 512), (480, 704), (224, 320)),
    ((683, 512), (512, 384), (864, 640), (352, 256), (640, 480), (288, 224)),
    ((768, 1024), (384, 512), (480, 640), (896, 1216), (480, 640), (224, 288)),
    ((512, 512), (384, 384), (480, 480), (352, 352), (480, 480), (224, 224)),
    ((368, 368), (384, 384), (480, 480), (352, 352), (480, 480), (224, 224)),
    ((400, 400), (384, 384), (480, 480), (352, 352), (480, 480), (224, 224)),
    ((399, 401), (384, 384), (480, 480), (352, 352), (480, 480), (224, 224)),
    ((10, 4000), (32, 384), (32, 640), (32, 1216), (32, 480), (32, 480)),
    ((6000, 200), (11520, 384), (480, 32), (352, 32), (480, 32), (480, 32)),
    ((256, 455), (224, 384), (352, 640), (352, 640), (256, 480), (224, 384)),
]

# The same for a 384x384 target under the other two policies: upper_bound, lower_bound.
BOUNDED_SIZES = [
    ((1, 1), (384, 384), (384, 384)),
    ((1, 1000), (32, 384), (384, 384000)),
    ((33, 47), (256, 384), (384, 544)),
    ((480, 640), (288, 384), (384, 512)),
    ((640, 480), (384, 288), (512, 384)),
    ((375, 1242), (128, 384), (384, 1280)),
    ((352, 1216), (96, 384), (384, 1312)),
    ((1920, 1080), (384, 224), (672, 384)),
    ((427, 640), (256, 384), (384, 576)),
    ((399, 401), (384, 384), (384, 384)),
    ((256, 455), (224, 384), (384, 672)),
]


def original_rule(height: int, width: int, config: PreprocessConfig) -> tuple[int, int]:
    """`Resize.get_size` of the original, with keep_aspect_ratio=True, and sides of at least one multiple."""
    multiple = config.multiple_of
    target_height, target_width = config.size
    scale_height, scale_width = target_height / height, target_width / width
    if config.policy == "lower_bound":
        if scale_width > scale_height:
            scale_height = scale_width
        else:
            scale_width = scale_height
    elif config.policy == "upper_bound":
        if scale_width < scale_height:
            scale_height = scale_width
        else:
            scale_width = scale_height
    elif abs(1 - scale_width) < abs(1 - scale_height):
        scale_height = scale_width
    else:
        scale_width = scale_height

    def constrain(side: float, target: int) -> int:
        rounded = int(np.round(side / multiple) * multiple)
        if config.policy == "upper_bound" and rounded > target:
            rounded = int(np.floor(side / multiple) * multiple)
        if config.policy == "lower_bound" and rounded < target:
            rounded = int(np.ceil(side / multiple) * multiple)
        return max(rounded, multiple)

    return constrain(scale_height * height, target_height), constrain(scale_width * width, target_width)


@pytest.mark.parametrize("row", SIZES, ids=lambda row: f"{row[0][0]}x{row[0][1]}")
def test_network_sizes_of_the_presets(row: tuple[tuple[int, int], ...]) -> None:
    picture, *expected = row
    assert [network_size(*picture, PRESETS[name].spec.preprocess) for name in COLUMNS] == expected


@pytest.mark.parametrize("row", BOUNDED_SIZES, ids=lambda row: f"{row[0][0]}x{row[0][1]}")
def test_network_sizes_of_the_bounded_policies(row: tuple[tuple[int, int], ...]) -> None:
    picture, *expected = row
    policies = ("upper_bound", "lower_bound")
    assert [network_size(*picture, PreprocessConfig(policy=policy)) for policy in policies] == expected


def test_halves_round_to_even_as_in_numpy() -> None:
    """208 = 6.5 x 32 and 240 = 7.5 x 32: both go to an even multiple, not both up."""
    config = PreprocessConfig(size=(384, 384))
    assert network_size(384, 208, config) == (384, 192)
    assert network_size(384, 240, config) == (384, 256)


def test_common_sizes_are_those_of_most_pictures() -> None:
    lite = PRESETS["dpt-lite"].spec.preprocess
    wide = {(224, 288), (224, 320), (224, 384)}  # 4:3, 3:2, 16:9
    assert common_sizes(lite) == {(224, 224), *wide, *((width, height) for height, width in wide)}
    for picture in ((480, 640), (4032, 3024), (427, 640), (6000, 4000), (720, 1280), (1920, 1080), (1000, 1000)):
        for config in (lite, with_size(lite, 256)):
            assert network_size(*picture, config) in common_sizes(config)
    assert network_size(300, 900, lite) not in common_sizes(lite)
    assert (480, 640) in common_sizes(PRESETS["dpt-lite-street"].spec.preprocess), "what it was trained at"


def test_height_comes_first() -> None:
    landscape = np.zeros((480, 640, 3), np.uint8)
    assert preprocess(landscape, PreprocessConfig()).shape == (3, 384, 512)


sides = st.integers(1, 6000)
configs = st.builds(
    PreprocessConfig,
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    policy=st.sampled_from(["minimal", "lower_bound", "upper_bound"]),
    multiple_of=st.sampled_from([14, 16, 32]),
).map(lambda c: replace(c, size=(c.size[0] * c.multiple_of, c.size[1] * c.multiple_of)))


@given(sides, sides, configs)
@settings(deadline=None, max_examples=300)
def test_network_size_is_the_originals(height: int, width: int, config: PreprocessConfig) -> None:
    result = network_size(height, width, config)
    assert all(type(side) is int and side > 0 and side % config.multiple_of == 0 for side in result)
    assert result == original_rule(height, width, config)


@given(sides, sides, configs)
@settings(deadline=None, max_examples=300)
def test_bounds_and_aspect_ratio(height: int, width: int, config: PreprocessConfig) -> None:
    result = network_size(height, width, config)
    if config.policy == "lower_bound":
        assert result[0] >= config.size[0]
        assert result[1] >= config.size[1]
    if config.policy == "upper_bound":
        assert result[0] <= config.size[0]
        assert result[1] <= config.size[1]
    # One scale for both sides, one of the two that fit a side; each side off by less than one multiple.
    fits = (config.size[0] / height, config.size[1] / width)
    assert any(
        abs(result[0] - scale * height) < config.multiple_of and abs(result[1] - scale * width) < config.multiple_of
        for scale in fits
    )


@given(sides, sides, configs, st.integers(1, 60))
@settings(deadline=None, max_examples=300)
def test_the_long_side_limit_wins(height: int, width: int, config: PreprocessConfig, multiples: int) -> None:
    limit = multiples * config.multiple_of
    result = network_size(height, width, replace(config, long_side_limit=limit))
    free = network_size(height, width, config)
    assert max(result) <= limit
    assert all(side > 0 and side % config.multiple_of == 0 for side in result)
    if max(free) < limit:
        assert result == free


@given(sides, sides, st.sampled_from([96, 160, 192, 224, 256, 288, 320, 352, 416]))
@settings(deadline=None, max_examples=300)
def test_the_limit_holds_at_other_sizes_too(height: int, width: int, size: int) -> None:
    """At another size the limit scales along, and stays a multiple, so that rounding cannot exceed it."""
    config = with_size(PRESETS["dpt-lite"].spec.preprocess, size)
    assert config.long_side_limit == 480 * size // 224 // 32 * 32
    assert max(network_size(height, width, config)) <= config.long_side_limit


@pytest.mark.parametrize("size", [(480, 640), (33, 47), (600, 400), (384, 512)])
@pytest.mark.parametrize("name", ["dpt-large", "dpt-hybrid-kitti"])
def test_cubic_on_float64_as_the_original(name: str, size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    config = PRESETS[name].spec.preprocess
    height, width = original_rule(*size, config)
    # The original: cv2.imread / 255.0 is float64, all three channels are resized at once, then (x - 0.5) / 0.5.
    resized = cv2.resize(image / 255.0, (width, height), interpolation=cv2.INTER_CUBIC)
    expected = ((resized - 0.5) / 0.5).transpose(2, 0, 1)
    result = preprocess(image, config)
    assert result.dtype == np.float32
    assert result.flags.c_contiguous
    # One channel at a time takes another code path of OpenCV; sums of 16 float64 terms differ in the last bits,
    # which one float32 rounding step (6e-8 at 1, values reach 2.5) covers.
    np.testing.assert_allclose(result, expected.astype(np.float32), atol=2.5e-7, rtol=0)


def test_a_picture_of_network_size_is_not_resampled() -> None:
    image = np.random.default_rng(1).integers(0, 256, (384, 384, 3), np.uint8)
    expected = (image / 255.0 - 0.5) / 0.5
    np.testing.assert_array_equal(preprocess(image, PreprocessConfig()), expected.transpose(2, 0, 1).astype(np.float32))


def test_channels_are_red_green_blue_and_have_their_own_mean() -> None:
    image = np.empty((64, 64, 3), np.uint8)
    image[:] = (255, 0, 51)
    config = PRESETS["dpt-lite"].spec.preprocess
    result = preprocess(image, config)
    expected = [(1 - 0.485) / 0.229, (0 - 0.456) / 0.224, (0.2 - 0.406) / 0.225]
    # A constant stays constant under interpolation up to the float32 rounding of OpenCV's area weights.
    np.testing.assert_allclose(result, np.broadcast_to(np.array(expected)[:, None, None], result.shape), atol=1e-5)


def test_area_averages_when_shrinking() -> None:
    """Each output pixel is the mean of a 2x2 block: cubic without antialiasing would alias the checks away."""
    image = np.zeros((448, 448, 3), np.uint8)
    image[::2, ::2] = 100
    config = replace(PRESETS["dpt-lite"].spec.preprocess, mean=(0, 0, 0), std=(1, 1, 1))
    np.testing.assert_allclose(preprocess(image, config), 25 / 255, atol=1e-7)


def test_area_turns_to_cubic_when_enlarging() -> None:
    """OpenCV's area enlargement is nearest neighbour, all blocks."""
    image = np.random.default_rng(2).integers(0, 256, (112, 112, 3), np.uint8)
    config = PRESETS["dpt-lite"].spec.preprocess
    assert np.array_equal(preprocess(image, config), preprocess(image, replace(config, interpolation="cubic")))


def test_the_picture_is_left_as_it_was() -> None:
    image = np.random.default_rng(3).integers(0, 256, (50, 70, 3), np.uint8)
    image.flags.writeable = False
    before = image.copy()
    preprocess(image, PreprocessConfig())
    preprocess(image[:, ::-1], PreprocessConfig())  # not contiguous
    assert np.array_equal(image, before)


@pytest.mark.parametrize("size", [0, -32, 1, 31, 33, 370])
def test_with_size_takes_positive_multiples_only(size: int) -> None:
    with pytest.raises(ConfigError, match=f"size {size} is not a positive multiple of 32"):
        with_size(PreprocessConfig(), size)


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("dpt-large", 512, (512, 512)),
        ("dpt-hybrid-nyu", 240 + 16, (256, 352)),
        ("dpt-hybrid-kitti", 704, (704, 2432)),
        ("dpt-hybrid-kitti", 32, (32, 96)),
    ],
)
def test_with_size_keeps_the_ratio_of_the_target(name: str, size: int, expected: tuple[int, int]) -> None:
    config = PRESETS[name].spec.preprocess
    assert with_size(config, size) == replace(config, size=expected)
    assert with_size(config, config.size[0]) == config


def test_lower_bound_also_for_targets_that_are_no_multiple() -> None:
    config = PreprocessConfig(size=(100, 100), policy="lower_bound")
    assert network_size(97, 99, config) == original_rule(97, 99, config) == (128, 128)


@pytest.mark.parametrize("name", ["dpt-lite", "dpt-large"])
@pytest.mark.parametrize("size", [(480, 640), (97, 33), (1, 1), (224, 224), (384, 384)])
def test_channels_together_or_one_at_a_time_are_the_same_numbers(
    name: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = PRESETS[name].spec.preprocess
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    together = preprocess(image, config)
    monkeypatch.setattr("dptkit.preprocess._AT_ONCE", 0)
    np.testing.assert_array_equal(preprocess(image, config), together)


@pytest.mark.parametrize("size", [(480, 640), (479, 640), (300, 1000), (360, 361), (224, 500), (1024, 768), (600, 200)])
@pytest.mark.parametrize("target", [(224, 288), (480, 320), (7, 11)])
def test_strips_are_the_same_numbers_as_a_whole_picture(
    size: tuple[int, int], target: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    config = replace(PRESETS["dpt-lite"].spec.preprocess, policy="exact", size=target)
    monkeypatch.setattr("dptkit.preprocess._IN_CACHE", 1)
    strips = preprocess(image, config)
    monkeypatch.setattr("dptkit.preprocess._IN_CACHE", 1 << 40)
    np.testing.assert_array_equal(strips, preprocess(image, config))
