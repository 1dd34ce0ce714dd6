"""Two results: the paired bootstrap against a loop, known differences, published numbers typed by hand."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from two_results import result_of

from dptkit.cli.compare_text import comparison_text
from dptkit.errors import ConfigError, DataError, UnknownModelError
from dptkit.evaluation.compare import compare_results, compare_with_paper
from dptkit.evaluation.protocols import PROTOCOLS
from dptkit.evaluation.published import PUBLISHED, Printed, published_models, published_rows
from dptkit.evaluation.result import EvaluationResult, Interval
from dptkit.presets import PRESETS

NOISE = np.random.default_rng(3)
HARD = NOISE.uniform(0.05, 0.4, 60)


def one(left: EvaluationResult, right: EvaluationResult, metric: str = "abs_rel", **options: int):  # type: ignore[no-untyped-def]
    return compare_results([left, right], **options).against[0].differences[metric]


def test_the_same_result_twice_differs_by_nothing() -> None:
    result = result_of({"abs_rel": list(HARD)})
    found = one(result, result)
    assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1)
    assert (found.wins, found.ties, found.losses) == (0, 60, 0)


def test_paired_bootstrap_is_that_of_a_loop() -> None:
    """Same statistic, other random numbers: of 20000 samples, quantiles agree to a few hundredths of their spread."""
    other = HARD + np.random.default_rng(4).normal(0.004, 0.03, 60)
    found = one(result_of({"abs_rel": list(HARD)}), result_of({"abs_rel": list(other)}), samples=20_000)
    rng = np.random.default_rng(99)
    means = []
    for _ in range(20_000):
        drawn = rng.integers(0, 60, 60)
        means.append(sum(other[k] - HARD[k] for k in drawn) / 60)
    spread = np.std(means)
    low, high = np.percentile(means, (2.5, 97.5))
    assert found.difference == pytest.approx((other - HARD).mean())
    assert abs(found.low - low) < 0.06 * spread
    assert abs(found.high - high) < 0.06 * spread
    p = 2 * min(np.mean(np.array(means) <= 0), np.mean(np.array(means) >= 0))
    assert found.p == pytest.approx(p, abs=0.02)


def test_a_small_shift_is_seen_although_pictures_differ_much_more() -> None:
    """Pairing is what sees it: alone, the intervals of the two overlap almost wholly."""
    left = result_of({"abs_rel": list(HARD)})
    right = result_of({"abs_rel": list(HARD - 0.005 + NOISE.normal(0, 0.002, 60))})
    assert right.summary["abs_rel"].high > left.summary["abs_rel"].value
    found = one(left, right)
    assert found.difference == pytest.approx(-0.005, abs=0.001)
    assert found.high < 0
    assert found.p == pytest.approx(2 / 10_001)
    assert found.wins > 55
    back = one(right, left)
    assert (back.difference, back.wins, back.losses) == (-found.difference, found.losses, found.wins)


def test_few_pictures_that_agree_are_not_sure() -> None:
    """By chance alone five signs are all the same in 2 of 2^5 cases, whatever a bootstrap of the five says."""
    same = [0.3, 0.3]
    found = one(result_of({"abs_rel": [*HARD[:5], *same]}), result_of({"abs_rel": [*(HARD[:5] - 0.01), *same]}))
    assert (found.wins, found.ties, found.losses) == (5, 2, 0)
    assert found.p == 2 / 2**5


def test_intervals_of_few_pictures_are_called_too_narrow() -> None:
    for count, said in ((9, True), (10, False)):
        values = [k / 10 for k in range(count)]
        left, right = result_of({"abs_rel": values}), result_of({"abs_rel": values[::-1]})
        text = comparison_text(compare_results([left, right], samples=100))
        assert ("Fewer than 10 pictures: the intervals are too narrow." in text) == said


def test_a_result_of_the_first_pictures_alone_is_said_to_be_one() -> None:
    whole, part = result_of({"abs_rel": [0.1, 0.2, 0.3]}), result_of({"abs_rel": [0.1, 0.2]})
    part = replace(part, dataset={**part.dataset, "limit": 2, "pictures_in_split": 3})
    text = comparison_text(compare_results([whole, part], samples=100))
    assert "B: only 2 of 3 pictures were scored" in text.splitlines()
    assert "A: only" not in text


def test_chance_is_called_chance() -> None:
    """Of 100 comparisons without a difference about 5 are below 0.05; more than 14 would be in one of 10000."""
    low = 0
    for seed in range(100):
        other = HARD + np.random.default_rng(seed).normal(0, 0.05, 60)
        low += one(result_of({"abs_rel": list(HARD)}), result_of({"abs_rel": list(other)}), samples=400).p < 0.05
    assert 0 < low < 15


def test_better_is_up_where_the_metric_says_so() -> None:
    left, right = result_of({"delta1": [0.5, 0.5, 0.5]}), result_of({"delta1": [0.6, 0.5, 0.2]})
    found = one(left, right, "delta1")
    assert (found.wins, found.ties, found.losses) == (1, 1, 1)


def test_the_same_seed_gives_the_same_numbers_and_the_order_of_pictures_gives_none() -> None:
    left = result_of({"abs_rel": list(HARD)})
    right = result_of({"abs_rel": list(HARD[::-1])}, names=[f"{k:04}" for k in range(60)][::-1])
    assert one(left, right).difference == pytest.approx(0)  # matched by name, not by place
    assert one(left, right, seed=5) == one(left, right, seed=5)


def test_sources_count_alike_where_the_protocol_says_so() -> None:
    values = [0.1, 0.1, 0.1, 0.5]
    sources = ["big", "big", "big", "small"]
    rules = {"sources": sources, "aggregation": "source_mean"}
    left = result_of({"abs_rel": values}, **rules)
    right = result_of({"abs_rel": [v + d for v, d in zip(values, (0, 0, 0, 0.2), strict=True)]}, **rules)
    found = one(left, right)
    assert found.difference == pytest.approx(0.1)  # half of 0.2, not a quarter
    assert found.low == pytest.approx(0.1)  # drawn within sources, the small one is always there


def test_only_what_both_scored_counts() -> None:
    left = result_of({"abs_rel": [0.1, 0.2, 0.9, 0.4]}, names="abcd")
    right = result_of({"abs_rel": [0.2, 0.3, 0.1]}, names="abx", fingerprint="other")
    images = (*left.images[:3], replace(left.images[3], state="skipped", scores={}))
    comparison = compare_results([replace(left, images=images), right])
    assert comparison.common == 2
    assert comparison.pictures == (3, 3)
    assert comparison.against[0].same_data is False
    assert comparison.against[0].differences["abs_rel"].difference == pytest.approx(0.1)


def test_sources_with_the_same_names_are_told_apart() -> None:
    left = result_of({"abs_rel": [0.1, 0.2]}, names=["1", "1"], sources=["a", "b"])
    right = result_of({"abs_rel": [0.5, 0.1]}, names=["1", "1"], sources=["b", "a"])
    assert one(left, right).difference == pytest.approx(0.15)
    assert one(left, right).ties == 1


def test_pictures_without_a_value_on_one_side_are_no_win() -> None:
    found = one(result_of({"abs_rel": [0.1, None, 0.3]}), result_of({"abs_rel": [0.2, 0.1, 0.2]}))
    assert (found.wins, found.ties, found.losses) == (1, 0, 1)


def test_one_picture_has_no_interval() -> None:
    found = one(result_of({"abs_rel": [0.1]}), result_of({"abs_rel": [0.2]}))
    assert found.difference == pytest.approx(0.1)
    assert (found.low, found.high, found.p) == (None, None, None)


def test_what_cannot_be_compared_is_said() -> None:
    left = result_of({"abs_rel": [0.1]}, names="a")
    with pytest.raises(DataError, match="no picture was scored in all"):
        compare_results([left, result_of({"abs_rel": [0.1]}, names="b", fingerprint="g")])
    with pytest.raises(DataError, match="two results"):
        compare_results([left])
    with pytest.raises(DataError, match="segmentation"):
        compare_results([left, replace(left, protocol=PROTOCOLS["camvid-11"])])


def test_rules_that_differ_are_explained() -> None:
    left = result_of({"abs_rel": [0.1, 0.2]})
    right = result_of({"abs_rel": [0.1, 0.2]}, alignment="median_scale", aggregation="pooled")
    fields = {field.field: field for field in compare_results([left, right]).against[0].fields}
    assert set(fields) == {"alignment", "aggregation"}
    assert "metres as they are" in fields["alignment"].left_means
    assert "median(truth)" in fields["alignment"].right_means


# Typed from the paper and the READMEs, not from the code.
@pytest.mark.parametrize(
    ("model", "protocol", "metric", "value"),
    [
        ("dpt-large", "midas-zero-shot-nyu", "delta1_error", 0.0832),
        ("dpt-large", "midas-zero-shot-diw", "whdr", 0.1082),
        ("dpt-hybrid", "midas-zero-shot-eth3d", "abs_rel", 0.093),
        ("dpt-hybrid", "midas-zero-shot-tum", "delta1_error", 0.1089),
        ("midas-v21-384", "midas-zero-shot-kitti", "delta1_error", 0.1608),
        ("dpt-hybrid-nyu", "nyu-eigen", "rmse", 0.357),
        ("dpt-hybrid-kitti", "kitti-garg", "rmse_log", 0.092),
        ("dpt-hybrid-kitti", "kitti-garg", "rmse", 2.573),
        ("dpt-hybrid-ade20k", "ade20k-ms-flip", "mean_iou", 0.4902),
        ("dpt-large-ade20k", "ade20k-ms-flip", "pixel_accuracy", 0.8270),
        ("dpt-beit-large-512", "midas-zero-shot-sintel", "abs_rel", 0.2366),
        ("dpt-levit-224", "midas-zero-shot-kitti", "delta1_error", 0.1527),
        ("depth-anything-v1-small", "midas-zero-shot-eth3d", "delta1", 0.885),
        ("depth-anything-v1-large", "midas-zero-shot-sintel", "abs_rel", 0.458),
        ("depth-anything-v2-base", "marigold-disparity-diode", "delta1", 0.95),
        ("depth-anything-v2-giant", "midas-zero-shot-sintel", "delta1", 0.772),
    ],
)
def test_published_numbers(model: str, protocol: str, metric: str, value: float) -> None:
    assert published_rows(model, protocol)[0].values[metric].value == pytest.approx(value, abs=1e-12)


def test_published_rows_fit_protocols_and_presets() -> None:
    for row in PUBLISHED:
        assert set(row.values) <= set(PROTOCOLS[row.protocol].metrics), row
        assert all(0 < printed.value < 10 for printed in row.values.values())
    paper = set(published_models())
    ours = {name for name, preset in PRESETS.items() if preset.bundled is None and "midas" not in name}
    assert {name for name in ours if name.startswith(("dpt-large", "dpt-hybrid"))} - paper == set()


def test_the_page_names_every_table() -> None:
    page = (Path(__file__).parents[3] / "docs" / "compare.md").read_text("utf-8")
    named = re.findall(r"^\| (.+?) \|.*\|$", page.partition("| table | what |")[2].partition("\n\n")[0], re.MULTILINE)
    assert sorted(named) == sorted({row.citation for row in PUBLISHED})


def test_printed_digits() -> None:
    """8.32 % is 0.08315 to 0.08325; .098 is 0.0975 to 0.0985; 56.2 % has a digit less."""
    printed = Printed("8.32", percent=True)
    assert [printed.agrees(v) for v in (0.08316, 0.08324, 0.08314, 0.08326)] == [True, True, False, False]
    assert [Printed(".098").agrees(v) for v in (0.0984, 0.0986)] == [True, False]
    assert [Printed("56.2", percent=True).agrees(v) for v in (0.56249, 0.5626)] == [True, False]


def table_one(value: float, **changes: object) -> EvaluationResult:
    result = result_of({"delta1_error": [value, value]})
    result = replace(result, summary={"delta1_error": Interval(value, value - 0.001, value + 0.001, 2)})
    return replace(result, protocol=replace(PROTOCOLS["midas-zero-shot-nyu"], **changes))


def test_beside_a_paper() -> None:
    row = compare_with_paper(table_one(0.08321), "dpt-large")[0]
    assert "Table 1" in row.citation
    (value,) = row.values
    assert (value.printed, value.agrees, value.inside) == ("8.32", True, True)
    assert value.difference == pytest.approx(0.00001)
    assert row.caveats == ()
    assert compare_with_paper(table_one(0.0844), "dpt-large")[0].values[0].agrees is False


def test_what_makes_it_less_comparable_is_said() -> None:
    result = table_one(0.08, name="midas-zero-shot-nyu (changed: aggregation=pooled)", aggregation="pooled")
    images = (result.images[0], replace(result.images[1], state="skipped"))
    facts = {**result.dataset, "limit": 2, "pictures_in_split": 654}
    text = " ".join(compare_with_paper(replace(result, images=images, dataset=facts), "dpt-large")[0].caveats)
    assert "2 of 654" in text
    assert "1 of 2 pictures were skipped" in text
    assert "aggregation differs" in text


def test_papers_that_do_not_have_it() -> None:
    with pytest.raises(UnknownModelError, match="did you mean dpt-large"):
        compare_with_paper(table_one(0.1), "dpt-larg")
    with pytest.raises(ConfigError, match="there is nyu-eigen; by this protocol there is dpt-large, dpt-hybrid"):
        compare_with_paper(table_one(0.1), "dpt-hybrid-nyu")
