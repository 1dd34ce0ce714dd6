"""`dpt eval` on bad data of every kind: named by file, counted, and in no number."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from cli_runner import Ran, dpt

from data_trees import TREES
from dptkit.evaluation.result import EvaluationResult, read_result
from floors import make_floors

BAD = "001"


@pytest.fixture(scope="module")
def floors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures with depth as NPY, in metres."""
    root = make_floors(tmp_path_factory.mktemp("bad") / "data", 3)
    for path in (root / "depth").iterdir():
        np.save(path.with_suffix(".npy"), cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.float32) / 1000)
        path.unlink()
    return root


def depth(root: Path) -> Path:
    return root / "depth" / f"{BAD}.npy"


def change(path: Path, edit: Callable[[np.ndarray], np.ndarray]) -> None:
    np.save(path, edit(np.load(path)))


def evaluate(data: Path, out: Path, *more: str) -> tuple[Ran, EvaluationResult]:
    options = ("--dataset", "pairs", "--data-option", "kind=depth", "--split", "", "--protocol", "folder-metric")
    model = ("--model", "constant", "--quantity", "depth_m")
    ran = dpt("eval", "--data", data, *options, *model, "--json", out, *more)
    return ran, read_result(out)


def check_left_out(ran: Ran, result: EvaluationResult, named: str) -> None:
    """The bad picture is skipped by its file's name, and the number is the mean of the two others."""
    assert ran.code == 1
    assert any(line.startswith("dpt: skipped: ") and named in line for line in ran.errors), ran.errors
    assert any("1 of 3 pictures were skipped and are in no number" in line for line in ran.lines)
    bad = [image for image in result.images if image.state == "skipped"]
    assert [image.name for image in bad] == [BAD]
    assert not bad[0].scores
    others = [image.scores["abs_rel"] for image in result.images if image.state != "skipped"]
    assert len(others) == 2
    assert result.summary["abs_rel"].value == pytest.approx(np.mean(others), rel=1e-12)
    assert result.summary["abs_rel"].pictures == 2


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda path: change(path, lambda values: values[:-5]), f"images/{BAD}.png: 64x48 pixels, but"),
        (
            lambda path: change(path, lambda values: np.full_like(values, np.nan)),
            f"{BAD}: no pixel of the truth counts",
        ),
        (lambda path: change(path, np.zeros_like), f"{BAD}: no pixel of the truth counts"),
        (lambda path: path.write_bytes(b"no numbers"), f"depth/{BAD}.npy: cannot be read"),
    ],
    ids=["sizes differ", "all NaN", "nothing measured", "broken"],
)
def test_bad_truth_is_named_and_in_no_number(
    floors: Path, tmp_path: Path, spoil: Callable[[Path], None], named: str
) -> None:
    data = shutil.copytree(floors, tmp_path / "data")
    spoil(depth(data))
    check_left_out(*evaluate(data, tmp_path / "o.json"), named)


def test_missing_depth_is_refused_or_left_out_by_name(floors: Path, tmp_path: Path) -> None:
    data = shutil.copytree(floors, tmp_path / "data")
    depth(data).unlink()
    options = ("--dataset", "pairs", "--data-option", "kind=depth", "--split", "", "--protocol", "folder-metric")
    model = ("--model", "constant", "--quantity", "depth_m", "--json", tmp_path / "o.json")
    ran = dpt("eval", "--data", data, *options, *model)
    assert (ran.code, ran.lines) == (1, [])
    assert BAD in ran.errors[-1]
    assert not (tmp_path / "o.json").exists()
    left, result = evaluate(data, tmp_path / "o.json", "--allow-skipped")
    assert left.code == 0
    assert [image.name for image in result.images if image.state != "skipped"] == ["000", "002"]


def test_half_a_public_data_set_is_refused_or_said_to_be_half(tmp_path: Path) -> None:
    TREES["diode"](tmp_path / "data")
    call = ("eval", "--data", tmp_path / "data", "--protocol", "marigold-diode", "--model", "constant")
    call = (*call, "--quantity", "depth_m", "--json", tmp_path / "o.json")
    refused = dpt(*call)
    said = "diode: split val has 2 samples here, officially 771: what is measured on it cannot be compared"
    assert (refused.code, refused.lines) == (1, [])
    assert refused.errors[-1].startswith(f"dpt: {said}")
    ran = dpt(*call, "--allow-skipped")
    assert ran.code == 0
    assert ran.errors[0].startswith(f"dpt: warning: {said}")
    assert read_result(tmp_path / "o.json").dataset["warning"].startswith(said)


def test_single_pixels_of_nan_do_not_count(floors: Path, tmp_path: Path) -> None:
    """A row without a measurement, and one that is infinite: the number is that of the other pixels."""
    data = shutil.copytree(floors, tmp_path / "data")

    def holes(values: np.ndarray) -> np.ndarray:
        values[0], values[1] = np.nan, np.inf
        return values

    change(depth(data), holes)
    ran, result = evaluate(data, tmp_path / "o.json")
    assert ran.code == 0, ran.errors
    truth = np.load(depth(data))[2:].astype(np.float64)
    assert result.images[1].pixels == truth.size
    assert result.images[1].scores["abs_rel"] == pytest.approx(np.mean(np.abs(1 - truth) / truth), rel=1e-6)


def test_a_prediction_of_nan_is_named(floors: Path, tmp_path: Path) -> None:
    stored = tmp_path / "stored"
    stored.mkdir()
    for number in range(3):
        np.save(stored / f"{number:03}.npy", np.full((48, 64), np.nan if f"{number:03}" == BAD else 2.0, np.float32))
    options = ("--dataset", "pairs", "--data-option", "kind=depth", "--split", "", "--protocol", "folder-metric")
    model = ("--model", stored, "--quantity", "depth_m", "--json", tmp_path / "o.json")
    ran = dpt("eval", "--data", floors, *options, *model)
    check_left_out(ran, read_result(tmp_path / "o.json"), f"{BAD}")


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        (np.full((8, 8), 7, np.uint8), f"{BAD}.png: 7 is no class id below 2"),
        (np.full((8, 8), 255, np.uint8), f"{BAD}: no pixel of the truth has a label"),
        (np.zeros((8, 7), np.uint8), f"{BAD}.png"),
    ],
    ids=["id out of range", "all ignored", "sizes differ"],
)
def test_bad_labels_are_named_and_in_no_number(tmp_path: Path, labels: np.ndarray, named: str) -> None:
    data = tmp_path / "data"
    for name in ("images", "labels"):
        (data / "val" / name).mkdir(parents=True)
    (data / "classes.txt").write_text("floor\nwall\n")
    for number in range(3):
        rng = np.random.default_rng(number)
        truth = labels if f"{number:03}" == BAD else rng.integers(0, 2, (8, 8), np.uint8)
        cv2.imwrite(str(data / f"val/images/{number:03}.png"), rng.integers(0, 256, (8, 8, 3), np.uint8))
        cv2.imwrite(str(data / f"val/labels/{number:03}.png"), truth)
    out = tmp_path / "o.json"
    ran = dpt("eval", "--data", data, "--protocol", "folder-labels", "--model", "constant:wall", "--json", out)
    assert ran.code == 1, ran.errors
    assert any(line.startswith("dpt: skipped: ") and named in line for line in ran.errors), ran.errors
    result = read_result(out)
    assert [image.state for image in result.images] == ["scored", "skipped", "scored"]
    truths = [cv2.imread(str(data / f"val/labels/{name}.png"), cv2.IMREAD_UNCHANGED) for name in ("000", "002")]
    assert result.summary["pixel_accuracy"].value == pytest.approx(np.mean(np.stack(truths) == 1))


def test_labels_are_no_depth_and_nothing_is_predicted_to_find_out(tmp_path: Path) -> None:
    for name in ("images", "labels"):
        (tmp_path / "val" / name).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / f"val/{name}/1.png"), np.zeros((8, 8), np.uint8))
    (tmp_path / "classes.txt").write_text("floor\nwall\n")
    ran = dpt("eval", "--data", tmp_path, "--protocol", "folder", "--model", "ramp")
    assert (ran.code, ran.lines) == (2, [])
    assert ran.errors == ["dpt: the data are labels, but folder compares depth: use a protocol of labels"]
