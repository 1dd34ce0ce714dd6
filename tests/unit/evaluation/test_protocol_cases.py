"""Where two evaluations of one prediction differ, each choice gives the number computed by hand, not its rival's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dptkit.data.registry import DATASETS
from dptkit.data.sample import Sample
from dptkit.errors import ConfigError, DataError
from dptkit.evaluation.alignment import Fit
from dptkit.evaluation.depth_scoring import compare_depth, score_depth
from dptkit.evaluation.protocol import DepthProtocol
from dptkit.evaluation.protocols import PROTOCOLS, find_protocol
from dptkit.evaluation.scoring import score_picture
from dptkit.outputs import DepthMap, Provenance

PLAIN = DepthProtocol("plain", "", (), "val", "none", ("abs_rel", "delta1", "rmse"))
FITTED = replace(PLAIN, alignment="inverse_least_squares")
SIZE = (376, 1242)


def sample(depth, *, valid=None, quantity="depth_m", unit="m"):
    target = np.asarray(depth, np.float32)
    known = np.ones(target.shape, bool) if valid is None else np.asarray(valid, bool)
    image = np.zeros((*target.shape, 3), np.uint8)
    return Sample(image, target, quantity, unit, known, source="made up", name="one")


def depth_map(values, quantity="depth_m"):
    array = np.asarray(values, np.float32)
    return DepthMap(array, quantity, np.isfinite(array), Provenance("m", "0"))


def scores(predicted, truth, protocol, predicted_quantity="depth_m", **truth_options):
    return score_depth(depth_map(predicted, predicted_quantity), sample(truth, **truth_options), protocol).scores


def test_least_squares_is_fitted_in_inverse_depth_and_not_in_depth():
    truth = [[1.0, 2.0, 4.0]]
    predicted = 3 / np.asarray(truth) + 5  # exact, up to scale and shift of inverse depth
    assert scores(predicted, truth, FITTED, "inverse_depth")["abs_rel"] == pytest.approx(0, abs=1e-6)
    # The rival: the same numbers taken for depth and fitted there. By hand: of y = 1, 2, 4 at x = 8, 6.5, 5.75,
    # slope -1.2857, line 1.5714, 1.9... is far from the truth.
    in_depth = scores(predicted, truth, replace(FITTED, alignment="depth_least_squares"))
    slope = np.polyfit(predicted[0], truth[0], 1)
    by_hand = np.mean(np.abs(np.polyval(slope, predicted[0]) - truth[0]) / np.asarray(truth[0]))
    assert in_depth["abs_rel"] == pytest.approx(by_hand, rel=1e-6)
    assert in_depth["abs_rel"] > 0.1


def test_the_cap_bounds_what_the_fit_puts_behind_infinity():
    # Three exact points and one whose aligned inverse depth is negative: depth 20 m is predicted at the cap of 10.
    truth = [[1.0, 1.0, 2.0, 2.0, 20.0]]
    predicted = [[1.0, 1.0, 0.5, 0.5, -0.4]]
    fit = Fit(1.0, 0.0, "inverse_depth", False)
    compared = compare_depth(
        depth_map(predicted, "inverse_depth"), sample(truth), replace(FITTED, prediction_range_m=(None, 10.0)), fit
    )
    assert compared.predicted[0].tolist() == [1, 1, 2, 2, 10]
    uncapped = compare_depth(depth_map(predicted, "inverse_depth"), sample(truth), FITTED, fit)
    assert uncapped.predicted[0, -1] == pytest.approx(40)  # half the smallest true inverse depth, 1/20


@pytest.mark.parametrize("scale", [-2.0, 0.0, 0.5, 3.0])
@pytest.mark.parametrize("range_m", [(None, None), (None, 0.9), (0.3, None), (0.3, 0.9), (5.0, 9.0), (1e-3, 80.0)])
def test_bounds_hold_whichever_of_them_the_aligned_values_reach(scale, range_m):
    predicted, truth = np.linspace(0.1, 1.5, 8)[None], np.linspace(0.5, 2.0, 8)[None]
    fit = Fit(scale, 2.0, "inverse_depth", False)
    compared = compare_depth(
        depth_map(predicted, "inverse_depth"), sample(truth), replace(FITTED, prediction_range_m=range_m), fit
    )
    low, high = range_m
    least = 1 / (2 * 2.0) if high is None else 1 / high  # half the smallest true inverse depth
    by_hand = 1 / np.clip(scale * predicted + 2.0, least, np.inf if low is None else 1 / low)
    np.testing.assert_allclose(compared.predicted, by_hand, rtol=1e-6)


def test_truth_beyond_the_range_does_not_count_and_the_cap_alone_does_not_hide_it():
    truth, predicted = [[5.0, 90.0]], [[5.0, 45.0]]
    hidden = replace(PLAIN, truth_range_m=(1e-3, 80.0), prediction_range_m=(1e-3, 80.0))
    shown = replace(PLAIN, prediction_range_m=(1e-3, 80.0))
    assert scores(predicted, truth, hidden)["abs_rel"] == 0
    assert scores(predicted, truth, shown)["abs_rel"] == pytest.approx(0.25)


def test_truth_of_exactly_the_cap_does_not_count():
    # cleinc/bts: gt < max_depth_eval, strictly.
    hidden = replace(PLAIN, truth_range_m=(1e-3, 80.0))
    assert score_depth(depth_map([[1.0, 1.0]]), sample([[1.0, 80.0]]), hidden).pixels == 1


def test_sixteen_bit_files_cut_fractions_off():
    # 1.9999 m is stored as 1999 mm, not as 2000; in 256ths of a metre as 511.
    nyu, kitti = (replace(PLAIN, rounding=name) for name in ("uint16_per_mm", "uint16_per_256th_m"))
    assert scores([[1.9999]], [[2.0]], PLAIN)["abs_rel"] == pytest.approx(0.00005, rel=1e-2)
    assert scores([[1.9999]], [[2.0]], nyu)["abs_rel"] == pytest.approx(0.0005, rel=1e-6)
    assert scores([[1.9999]], [[2.0]], kitti)["abs_rel"] == pytest.approx(1 / 512, rel=1e-6)


def test_sixteen_bit_files_hold_metres_also_where_the_fit_is_in_inverse_depth():
    # The fit is exact, so the numbers are the depths 1, 4, 40 and 300 m, of which a file holds no more than 256.
    rounded = replace(FITTED, rounding="uint16_per_256th_m")
    truth, near = [[1.0, 4.0, 40.0, 300.0]], [[1.0, 4.0, 40.0, 65535 / 256]]
    compared = compare_depth(depth_map([[8, 2, 0.2, 8 / 300]], "inverse_depth"), sample(truth), rounded)
    assert compared.predicted == pytest.approx(np.array(near), rel=1 / 256)
    codes = compared.predicted * 256
    assert codes == pytest.approx(np.round(codes), abs=1e-6)


def test_sixteen_bit_rounding_comes_before_the_lower_bound():
    nyu = find_protocol("nyu-eigen")
    truth = np.full((480, 640), 0.5)
    compared = compare_depth(depth_map(np.full((480, 640), 0.0002)), sample(truth), nyu)
    assert compared.predicted[100, 100] == 1e-3  # 0 mm, then clamped


def test_the_eigen_mask_of_nyu_is_rows_45_to_470_and_columns_41_to_600():
    result = score_depth(depth_map(np.ones((480, 640))), sample(np.ones((480, 640))), find_protocol("nyu-eigen"))
    assert result.pixels == (471 - 45) * (601 - 41)


@pytest.mark.parametrize(
    ("protocol", "rows", "columns"),
    [
        # cleinc/bts: parts of the whole 376x1242 picture.
        (
            "kitti-garg",
            (int(0.40810811 * 376), int(0.99189189 * 376)),
            (int(0.03594771 * 1242), int(0.96405229 * 1242)),
        ),
        # ZoeDepth and Marigold: parts of the cropped 352x1216, which lies at (24, 13).
        (
            "zoedepth-kitti",
            (24 + int(0.40810811 * 352), 24 + int(0.99189189 * 352)),
            (13 + int(0.03594771 * 1216), 13 + int(0.96405229 * 1216)),
        ),
        (
            "marigold-kitti",
            (24 + int(0.3324324 * 352), 24 + int(0.91351351 * 352)),
            (13 + int(0.0359477 * 1216), 13 + int(0.96405229 * 1216)),
        ),
    ],
)
def test_what_counts_on_kitti_lies_where_each_evaluation_puts_it(protocol, rows, columns):
    truth = np.full(SIZE, 10.0)
    compared = compare_depth(depth_map(np.full((352, 1216), 10.0)), sample(truth), find_protocol(protocol))
    whole = np.zeros(SIZE, bool)
    top, left, height, width = compared.window
    whole[top : top + height, left : left + width] = compared.valid
    expected = np.zeros(SIZE, bool)
    expected[slice(*rows), slice(*columns)] = True
    assert (top, left, height, width) == (24, 13, 352, 1216)
    assert np.array_equal(whole, expected)


def test_the_crop_of_kitti_pastes_a_prediction_where_it_was_cut_out():
    truth = np.fromfunction(lambda row, column: 5 + 0.1 * row + 0.01 * column, SIZE)
    cut = truth[24 : 24 + 352, 13 : 13 + 1216]
    protocol = replace(find_protocol("kitti-garg"), rounding="none")
    assert scores(cut, truth, protocol)["abs_rel"] == pytest.approx(0, abs=1e-6)
    # The rival: the whole picture squeezed into the crop's size.
    squeezed = truth[:352, :1216]
    assert scores(squeezed, truth, protocol)["abs_rel"] > 0.02


def test_video_depth_anything_cuts_nyus_frame_off_before_the_network():
    truth = np.fromfunction(lambda row, column: 1 + 0.01 * row + 0.005 * column, (480, 640))
    protocol = find_protocol("video-depth-anything-nyu")
    cut = 3 / truth[45:471, 41:601] + 5
    found = score_depth(depth_map(cut, "inverse_depth"), sample(truth), protocol)
    assert found.pixels == (471 - 45) * (601 - 41)
    assert found.scores["abs_rel"] == pytest.approx(0, abs=1e-6)
    # The rival: what is predicted of the whole picture, under a mask.
    assert scores(3 / truth + 5, truth, protocol, "inverse_depth")["abs_rel"] > 0.005
    masked = replace(protocol, crop="none", mask="eigen_nyu")
    assert scores(3 / truth + 5, truth, masked, "inverse_depth")["abs_rel"] == pytest.approx(0, abs=1e-6)


def test_pictures_count_alike_in_a_mean_and_by_their_pixels_when_pooled():
    pooled = replace(PLAIN, aggregation="pooled", metrics=("abs_rel",))
    small = score_depth(depth_map([[2.0]]), sample([[1.0]]), pooled)
    large = score_depth(depth_map([[1.0] * 9]), sample([[1.0] * 9]), pooled)
    assert (small.scores["abs_rel"], large.scores["abs_rel"]) == (1, 0)
    assert (small.pixels, large.pixels) == (1, 9)
    assert small.counts["abs_rel"] != large.counts["abs_rel"]


def test_bilinear_with_aligned_corners_keeps_the_corners_and_the_other_does_not():
    truth = np.ones((4, 8))
    predicted = np.array([[1.0, 2.0]] * 2)
    aligned = compare_depth(
        depth_map(predicted), sample(truth), replace(PLAIN, interpolation="bilinear_aligned_corners")
    ).predicted
    assert aligned[0].tolist() == pytest.approx([1 + k / 7 for k in range(8)], rel=1e-6)
    other = compare_depth(depth_map(predicted), sample(truth), replace(PLAIN, interpolation="bilinear")).predicted
    assert other[0].tolist() == pytest.approx([1, 1, 1.125, 1.375, 1.625, 1.875, 2, 2], rel=1e-6)


def test_one_fit_for_a_video_does_not_forgive_a_scale_that_drifts():
    frames = [sample([[1.0, 2.0]]), sample([[1.0, 2.0]])]
    predicted = [depth_map([[1.0, 0.5]], "inverse_depth"), depth_map([[2.0, 1.0]], "inverse_depth")]
    each = [score_picture(p, s, FITTED).scores["abs_rel"] for p, s in zip(predicted, frames, strict=True)]
    assert each == pytest.approx([0, 0], abs=1e-6)
    from dptkit.evaluation.scoring import fit_group

    protocol = replace(FITTED, alignment_scope="video")
    fit = fit_group(zip(predicted, frames, strict=True), protocol)
    together = [score_picture(p, s, protocol, fit).scores["abs_rel"] for p, s in zip(predicted, frames, strict=True)]
    # By hand: fit of (1, 1), (.5, .5), (2, 1), (1, .5): x mean 1.125, y mean .75, slope .375 / 1.1875.
    slope = 0.375 / 1.1875
    lines = [0.75 + slope * (x - 1.125) for x in (1, 0.5, 2, 1)]
    by_hand = [abs(1 / line - depth) / depth for line, depth in zip(lines, (1, 2, 1, 2), strict=True)]
    assert together == pytest.approx([sum(by_hand[:2]) / 2, sum(by_hand[2:]) / 2], rel=1e-6)


def test_relative_truth_takes_the_fit_and_gives_no_metres():
    relative = {"quantity": "inverse_depth", "unit": "relative"}
    found = scores([[4.0, 6.0]], [[1.0, 2.0]], FITTED, "inverse_depth", **relative)
    assert found["abs_rel"] == pytest.approx(0, abs=1e-6)
    assert found["rmse"] is None
    with pytest.raises(DataError, match="known up to scale"):
        scores([[1.0, 2.0]], [[1.0, 2.0]], PLAIN, **relative)


def test_relative_predictions_are_refused_where_metres_are_compared():
    for name in ("nyu-eigen", "marigold-nyu", "folder-metric"):
        with pytest.raises(ConfigError, match="needs metres"):
            scores(np.ones((480, 640)), np.ones((480, 640)), find_protocol(name), "inverse_depth")


def test_a_map_that_lies_on_its_side_is_refused():
    with pytest.raises(DataError, match="lies on its side"):
        scores(np.ones((4, 8)), np.ones((8, 4)), PLAIN)


def test_no_pixel_that_counts_is_an_error_that_names_the_picture():
    with pytest.raises(DataError, match="one: no pixel"):
        scores([[1.0]], [[1.0]], PLAIN, valid=[[False]])


def test_infinite_metres_are_the_far_bound_and_without_one_an_error():
    bounded = replace(PLAIN, prediction_range_m=(1e-3, 10.0))
    assert scores([[np.inf, 5.0]], [[10.0, 5.0]], bounded)["abs_rel"] == 0
    with pytest.raises(DataError, match="without a finite value"):
        scores([[np.inf, 5.0]], [[10.0, 5.0]], PLAIN)


@pytest.mark.parametrize("protocol", [PLAIN, FITTED], ids=["metres", "fitted"])
def test_a_hole_in_predicted_depth_is_an_error_and_no_number(protocol):
    # Stored as 0; as the nearest depth there is, its inverse alone would decide the fit.
    with pytest.raises(DataError, match="one: the prediction has 1 pixels of depth 0 or less"):
        scores([[0.0, 2.0, 4.0]], [[1.0, 2.0, 4.0]], protocol)
    assert scores([[0.0, 2.0, 4.0]], [[1.0, 2.0, 4.0]], protocol, valid=[[False, True, True]])["abs_rel"] < 1e-6
    with pytest.raises(DataError, match="depth 0 or less"):
        scores([[0.0, 2.0, 4.0]], np.ones((2, 6)), protocol)


def test_a_lower_bound_takes_a_hole_for_it():
    bounded = replace(PLAIN, prediction_range_m=(0.5, 10.0))
    assert scores([[0.0, 2.0]], [[1.0, 2.0]], bounded)["abs_rel"] == 0.25


def test_metres_are_inverted_before_they_are_resized_for_a_fit_in_inverse_depth():
    small = np.repeat([[2.0] * 32 + [40.0] * 32], 4, axis=0)
    large = np.kron(small, np.ones((4, 4)))
    # Cubic interpolation of the metres leaves less than nothing beside the edge, and the inverse of that alone decides
    # the fit: 1% of the pixels would be right. Of the inverses, 6 of 256 columns are blurred.
    assert scores(small, large, FITTED)["delta1"] >= 250 / 256


def test_sky_does_not_count():
    # Inverse depth 0 is measured, but no ratio to infinity exists.
    result = score_depth(
        depth_map([[0.0, 1.0, 3.0]], "inverse_depth"),
        sample([[0.0, 1.0, 2.0]], quantity="inverse_depth", unit="1/m"),
        FITTED,
    )
    assert result.pixels == 2


def test_every_protocol_says_where_it_is_from_and_what_it_measures():
    for name, protocol in PROTOCOLS.items():
        assert protocol.name == name
        assert protocol.source
        assert protocol.metrics


def test_protocols_name_data_sets_and_splits_that_there_are():
    for protocol in PROTOCOLS.values():
        for name in protocol.datasets:
            assert protocol.split in (DATASETS[name].splits or ("",)), (protocol.name, name)


def test_zero_shot_on_nyu_counts_and_resizes_as_the_authors_code_does():
    protocol = find_protocol("midas-zero-shot-nyu")
    truth = [[1.0, 2.0, 4.0, 10.0]]  # its mask is 0 < depth < 10
    assert score_depth(depth_map([[1.0, 0.5, 0.25, 9.0]], "inverse_depth"), sample(truth), protocol).pixels == 3
    assert protocol.interpolation == "bilinear"
