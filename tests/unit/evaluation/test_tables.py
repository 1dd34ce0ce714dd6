"""The printed table, the file with a row a picture, and protocols under a changed name."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dptkit.errors import ConfigError, OutputWriteError
from dptkit.evaluation.changes import change_protocol
from dptkit.evaluation.protocol import DepthProtocol, SegmentationProtocol, differing_fields
from dptkit.evaluation.protocols import PROTOCOLS, find_protocol
from dptkit.evaluation.result import EvaluationResult, ImageResult, Interval
from dptkit.evaluation.subject import SubjectIdentity
from dptkit.evaluation.summary import summarise
from dptkit.evaluation.tables import class_table, plain_text, protocol_table, result_table, write_image_csv

DEPTH = DepthProtocol("midas", "", (), "test", "inverse_least_squares", ("delta1_error", "abs_rel", "rmse"))


def image(name: str, source: str = "s", state: str = "scored", **scores: float | None) -> ImageResult:
    return ImageResult(name, source, "g", state, scores, 9, fit={"scale": 2.0, "shift": 0.1})  # type: ignore[arg-type]


def result(images: list[ImageResult], protocol: Any = DEPTH, name: str = "dpt-lite", **facts: Any) -> EvaluationResult:
    summary, by_source = summarise(images, protocol)
    dataset = {"name": "nyuv2", "split": "test", "pictures": len(images), **facts}
    return EvaluationResult(protocol, SubjectIdentity(name), dataset, summary, by_source, tuple(images), {}, "")


IMAGES = [
    image("a", delta1_error=0.0824, abs_rel=0.1, rmse=None),
    image("b", delta1_error=0.0840, abs_rel=0.3, rmse=None),
]


def test_the_table_has_a_row_a_subject_and_papers_percent() -> None:
    text = plain_text(result_table([result(IMAGES), result(IMAGES[:1], name="ramp")]))
    title, header, first, second, *notes = text.splitlines()
    assert title == "midas on nyuv2, test: 2 pictures"
    assert header.split("  ")[-1].strip() in ("RMSE", "RMSE m")
    assert "δ>1.25 %" in header
    assert "AbsRel" in header
    assert first.startswith("dpt-lite  8.32 [8.24, 8.40]")  # (8.24 + 8.40) / 2
    assert "0.2000 [0.1000, 0.3000]" in first
    assert first.endswith("-")
    assert second.split()[:3] == ["ramp", "8.24", "0.1000"]
    assert notes == [
        "dpt-lite: of 2 scored pictures, fewer have a value for RMSE (0)",
        "dpt-lite: fewer than 10 pictures: the intervals are too narrow",
        "ramp: of 1 scored pictures, fewer have a value for RMSE (0)",
    ]


def test_what_makes_a_number_less_than_the_protocols_is_said() -> None:
    images = [*IMAGES, image("c", state="skipped"), image("d", state="degenerate", abs_rel=0.2)]
    text = plain_text(result_table([result(images, limit=4, pictures_in_split=654)]))
    assert text.startswith("midas on nyuv2, test: ONLY THE FIRST 4 OF 654 PICTURES\n")
    assert "\ndpt-lite (first 4)  " in text
    assert "1 of 4 pictures were skipped" in text
    assert "33.3% of the fits are degenerate" in text
    assert "of 3 scored pictures, fewer have a value for δ>1.25 % (2), RMSE" in text
    whole = plain_text(result_table([result(IMAGES[:1], replace(DEPTH, metrics=("abs_rel",)))]))
    assert len(whole.splitlines()) == 3  # nothing to remark


@pytest.mark.parametrize(
    ("sources", "remark"),
    [
        ("s" * 9, "fewer than 10 pictures: the intervals are too narrow"),
        ("s" * 10, None),
        (
            "s" * 10 + "tt",
            "fewer than 10 pictures in each part that is averaged first, 6 in the mean: the intervals are",
        ),
        ("s" * 10 + "t" * 10, None),
    ],
)
def test_intervals_of_few_pictures_are_called_too_narrow(sources: str, remark: str | None) -> None:
    images = [image(str(k), source, abs_rel=k / 10) for k, source in enumerate(sources)]
    protocol = replace(DEPTH, metrics=("abs_rel",), aggregation="source_mean")
    notes = result_table([result(images, protocol)]).notes
    assert notes == () if remark is None else notes[0].startswith(remark)


def test_sources_have_rows_of_their_own() -> None:
    images = [image("a", "one", abs_rel=0.1), image("b", "two", abs_rel=0.3)]
    protocol = replace(DEPTH, metrics=("abs_rel",), aggregation="source_mean")
    lines = plain_text(result_table([result(images, protocol)])).splitlines()
    assert [line.split() for line in lines[2:]] == [
        ["dpt-lite", "0.2000"],  # no interval: a source of one picture is always drawn whole
        ["one", "0.1000"],
        ["two", "0.3000"],
    ]


def test_classes_have_a_table() -> None:
    protocol = SegmentationProtocol("p", "", (), "val", ("sky", "road"))
    counts = {"intersection": [3.0, 1.0], "predicted": [4.0, 2.0], "truth": [4.0, 2.0]}
    images = [ImageResult(name, "s", "", "scored", {}, counts=counts) for name in "ab"]
    table = class_table(result(images, protocol))
    assert table is not None
    assert [(row[0], row[1].split()[0], row[2]) for row in table.rows] == [
        ("sky", "60.00", "2"),
        ("road", "33.33", "2"),
    ]
    assert "iou/" not in plain_text(result_table([result(images, protocol)]))
    assert class_table(result(IMAGES)) is None


def test_a_row_a_picture_at_full_precision(tmp_path: Path) -> None:
    path = tmp_path / "new" / "r.csv"
    odd = image('caf\udce9, "x"\n', abs_rel=0.1 + 0.2)
    skipped = ImageResult("c", "s", "", "skipped", {}, problem="c.png: broken, wholly")
    write_image_csv(path, result([*IMAGES, odd, skipped]))
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["scored"] * 3 + ["skipped"]
    assert float(rows[2]["abs_rel"]) == 0.1 + 0.2
    assert rows[2]["name"] == 'caf\\udce9, "x"\\n'
    assert (rows[0]["rmse"], rows[0]["scale"], rows[0]["pixels"]) == ("", "2.0", "9")
    assert (rows[3]["abs_rel"], rows[3]["scale"], rows[3]["problem"]) == ("", "", "c.png: broken, wholly")


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputWriteError):
        write_image_csv(tmp_path / "folder", result(IMAGES))
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


def test_every_protocol_is_listed_once() -> None:
    lines = plain_text(protocol_table(list(PROTOCOLS.values()))).splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(PROTOCOLS)


NYU = find_protocol("nyu-eigen")


@pytest.mark.parametrize(
    ("change", "field", "value", "named"),
    [
        ("rounding=none", "rounding", "none", "rounding=none"),
        ("truth_range_m=[0.001, 8]", "truth_range_m", (0.001, 8.0), "truth_range_m=[0.001,8.0]"),
        ("truth-range-m=[0.001, null]", "truth_range_m", (0.001, None), "truth_range_m=[0.001,null]"),
        ("metrics=abs_rel,rmse", "metrics", ("abs_rel", "rmse"), "metrics=[abs_rel,rmse]"),
        ("metrics=abs_rel", "metrics", ("abs_rel",), "metrics=[abs_rel]"),
        ("scales=0.5,1", "scales", (0.5, 1.0), "scales=[0.5,1.0]"),
        ("scales=0.5", "scales", (0.5,), "scales=[0.5]"),
        ("datasets=shards", "datasets", ("shards",), "datasets=[shards]"),
        ("relative_floor=0.25", "relative_floor", 0.25, "relative_floor=0.25"),
    ],
)  # fmt: skip
def test_a_changed_protocol_says_so_in_its_name(change: str, field: str, value: Any, named: str) -> None:
    changed = change_protocol(NYU, [change])
    assert getattr(changed, field) == value
    assert changed.name == f"nyu-eigen (changed: {named})"
    assert list(differing_fields(NYU, changed)) == [field]


def test_two_changes_and_none() -> None:
    changed = change_protocol(NYU, ["rounding=none", "tta=flip", "mask=eigen_nyu"])
    assert changed.name == "nyu-eigen (changed: rounding=none, tta=flip)"
    assert change_protocol(NYU, ["rounding=uint16_per_mm"]) is NYU
    sized = change_protocol(NYU, ['network_input={"size": [384, 384], "policy": "minimal"}'])
    assert sized.network_input is not None
    assert sized.network_input.size == (384, 384)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("rounding", "not KEY=VALUE"),
        ("roundin=none", "did you mean rounding?"),
        ("rounding=half", "rounding"),
        ("name=mine", "no field 'name'"),
        ("metrics=absrel", "did you mean abs_rel?"),
        ("truth_range_m=ten", "truth_range_m"),
        ("scales=large", "scales"),
        ("classes=a,b", "no field 'classes'"),
    ],
)
def test_a_change_that_cannot_be_is_one_line(change: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        change_protocol(NYU, [change])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_interval_of_nothing_is_a_dash() -> None:
    empty = replace(result(IMAGES), summary={"abs_rel": Interval(None, None, None)}, by_source={})
    assert plain_text(result_table([empty])).splitlines()[2].split() == ["dpt-lite", "-"]
