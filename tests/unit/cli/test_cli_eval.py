"""`dpt eval`: its table and files, broken pictures, parts of a data set, and mistakes in one line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from cli_runner import dpt

from dptkit.evaluation.result import read_result
from floors import FOLDER, LITE, make_floors

COUNT = 5


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_floors(tmp_path_factory.mktemp("eval") / "data", COUNT)


def test_several_models_in_one_table_each_with_its_files(data: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    ran = dpt(
        "eval", "--data", data, *FOLDER, "--model", "ramp", *LITE, "--json", tmp_path / "o.json",
        "--csv", tmp_path / "o.csv", "--predictions", kept,
    )  # fmt: skip
    assert ran.code == 0, ran.errors
    title, header, *rows = ran.lines
    assert title == f"folder on pairs: {COUNT} pictures"
    assert header.split() == ["AbsRel", "δ1", "δ2", "δ3"]
    assert [row.split()[0] for row in rows[:2]] == ["ramp", "dpt-lite"]
    result = read_result(tmp_path / "o-dpt-lite.json")
    assert f"{result.summary['abs_rel'].value:.4f} [" in rows[1]
    with (tmp_path / "o-ramp.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    ramp = read_result(tmp_path / "o-ramp.json")
    assert [float(row["abs_rel"]) for row in table] == [one.scores["abs_rel"] for one in ramp.images]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "kept", "o-dpt-lite.csv", "o-dpt-lite.json", "o-ramp.csv", "o-ramp.json"
    ]  # fmt: skip
    assert len(list((kept / "dpt-lite").iterdir())) == COUNT
    stored = dpt("eval", "--data", data, *FOLDER, "--model", kept / "dpt-lite", "--json", tmp_path / "s.json")
    assert stored.code == 0, stored.errors
    assert read_result(tmp_path / "s.json").images == result.images


def test_broken_pictures_are_counted_and_end_with_one(tmp_path: Path) -> None:
    data = make_floors(tmp_path / "data", 4)
    (data / "images" / "001.png").write_bytes(b"no picture")
    arguments = ("eval", "--data", data, *FOLDER, "--model", "ramp")
    ran = dpt(*arguments, "--json", tmp_path / "o.json")
    assert ran.code == 1
    assert any(line.startswith(f"dpt: skipped: {data}/images/001.png") for line in ran.errors)
    assert "1 of 4 pictures were skipped and are in no number" in ran.lines
    result = read_result(tmp_path / "o.json")
    assert [one.state for one in result.images] == ["scored", "skipped", "scored", "scored"]
    assert result.summary["abs_rel"].pictures == 3
    assert dpt(*arguments, "--allow-skipped").code == 0
    (data / "depth" / "002.png").unlink()
    missing = dpt(*arguments)
    assert missing.code in (1, 2)
    assert "--allow-skipped" in missing.errors[-1]
    for path in (data / "images").iterdir():
        path.write_bytes(b"no picture")
    nothing = dpt(*arguments, "--allow-skipped")
    assert nothing.code == 1
    assert nothing.errors[-1] == "dpt: no picture could be scored for ramp"


def test_a_limited_run_never_looks_whole(data: Path, tmp_path: Path) -> None:
    ran = dpt("eval", "--data", data, *FOLDER, "--model", "ramp", "--limit", "3", "--json", tmp_path / "o.json")
    assert ran.code == 0
    assert ran.lines[0] == f"folder on pairs: ONLY THE FIRST 3 OF {COUNT} PICTURES"
    assert ran.lines[2].startswith("ramp (first 3)  ")
    facts = json.loads((tmp_path / "o.json").read_text())["dataset"]
    assert (facts["limit"], facts["pictures"], facts["pictures_in_split"]) == (3, 3, COUNT)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "dpt eval needs --data, --protocol and --model"),
        (("--protocol", "foldr", "--model", "ramp"), "no protocol 'foldr': did you mean folder?"),
        (("--protocol", "folder", "--model", "dpt-lit"), "did you mean dpt-lite?"),
        (("--protocol", "folder", "--model", "ramp", "--model", "dpt-lit"), "did you mean dpt-lite?"),
        (("--protocol", "folder", "--model", "ramp", "--model", "ramp"), "would be written under one name"),
        (("--protocol", "folder", "--model", "ramp", "--tta", "flop"), "did you mean flip?"),
        (("--protocol", "folder", "--model", "ramp", "--tta", "ms-flip"), "--set scales="),
        (("--protocol", "folder", "--model", "ramp", "--set", "masc=garg"), "did you mean mask?"),
        (("--protocol", "folder", "--model", "ramp", "--precision", "float8"), "--precision"),
        (("--protocol", "folder", "--model", "ramp", "--json", "."), "is a folder"),
        (("--protocol", "nyu-eigen", "--model", "ramp"), "nyu-eigen is made for nyuv2 and nyuv2-bts, not pairs"),
        (("--protocol", "camvid-11", "--model", "ramp"), "camvid"),
        (("--protocol", "folder-metric", "--model", "ramp"), "metres"),
        (("--protocol", "folder", "--model", "ramp", "--tta", "flip"), "--tta is for models that predict: ramp"),
    ],
)
def test_mistakes_are_one_line_and_end_with_two(data: Path, arguments: tuple[str, ...], said: str) -> None:
    given = (
        "--data",
        data,
        "--dataset",
        "pairs",
        "--data-option",
        "scale=0.001",
        "--data-option",
        "kind=depth",
        "--split",
        "",
    )
    ran = dpt("eval", *given, *arguments)
    assert (ran.code, ran.lines) == (2, [])
    (line,) = ran.errors
    assert said in line


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (("--model", "constant:abc"), "constant:abc: not a number", 2),
        (("--model", "constant:-1"), "a constant depth must be positive", 2),
        (("--model", "ramp", "--device", "cuda:77"), "'cuda:77' is not available", 2),
        (("--model", "ramp", "--model", "no/such.pt"), "no/such.pt: no such model file", 2),
        (("--model", "ramp", "--model", "no/such/folder"), "no such model file", 2),
        (("--model", "ramp", "--quantity", "depth_m"), "quantity, scale and suffix are for a folder", 2),
        (("--model", "dpt-lite-street"), "dpt-lite-street predicts", 2),
        (("--model", "ramp"), "--data: nowhere is not a folder", 1),
    ],
)
def test_options_are_judged_before_the_data_is_opened(arguments: tuple[str, ...], said: str, code: int) -> None:
    """There is no data, and what is wrong with an option is said all the same."""
    ran = dpt("eval", "--data", "nowhere", "--protocol", "folder", *arguments)
    assert (ran.code, ran.lines) == (code, [])
    (line,) = ran.errors
    assert said in line


def test_places_for_results_are_judged_before_the_data_is_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    folder = tmp_path / "maps"
    folder.mkdir()
    np.save(folder / "a.npy", np.ones((4, 4), np.float32))
    for arguments, said in (
        (("--model", "ramp", "--report", tmp_path / "file"), "--report: "),
        (("--model", "ramp", "--predictions", tmp_path / "file"), "--predictions: "),
        (("--model", folder, "--quantity", "depth_m", "--predictions", folder / "."), "are the model's own"),
    ):
        ran = dpt("eval", "--data", "nowhere", "--protocol", "folder", *arguments)
        assert (ran.code, ran.lines) == (2, [])
        (line,) = ran.errors
        assert said in line


def test_the_folder_is_recognised_and_a_report_shows_its_pictures(data: Path, tmp_path: Path) -> None:
    ran = dpt("eval", "--data", data, "--protocol", "folder-video", "--model", "ramp", "--report", tmp_path / "web")
    assert ran.code == 0, ran.errors
    assert ran.lines[0] == f"folder-video on folder, all: {COUNT} pictures"  # nobody divided it
    assert "data:image/" in (tmp_path / "web" / "report.html").read_text("utf-8")


def test_a_report_that_cannot_be_written_does_not_cost_the_table(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    ran = dpt(
        "eval", "--data", data, *FOLDER, "--model", "ramp", "--json", tmp_path / "o.json",
        "--report", tmp_path / "file" / "report",
    )  # fmt: skip
    assert ran.code == 1
    assert "cannot write" in ran.errors[-1]
    assert ran.lines[0] == f"folder on pairs: {COUNT} pictures"
    assert (tmp_path / "o.json.partial").exists()  # so that the same command takes the numbers from it


def test_protocols_are_listed() -> None:
    ran = dpt("eval", "--list-protocols")
    assert ran.code == 0
    (line,) = [line for line in ran.lines if line.startswith("kitti-garg ")]
    assert "cleinc/bts" in line  # where its choices are written down
    (title, *fields) = dpt("eval", "--list-protocols", "--protocol", "kitti-garg").lines
    assert title.startswith("kitti-garg: DPT paper, Table 3")
    assert "  mask: Only rows 41% to 99% and columns 4% to 96% count (Garg et al. 2016): mostly near road." in fields
    assert {line.split(":")[0].strip() for line in fields} >= {"crop", "prediction_range_m", "alignment", "aggregation"}
