"""An ablation from end to end in miniature: two variants, two seeds, three steps, on pictures made up here."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from dptkit.data.registry import open_dataset
from dptkit.errors import ConfigError, DataError, TrainingError
from dptkit.evaluation.result import read_result
from dptkit.predictor import load
from dptkit.training import ablation as module
from dptkit.training.ablation import ablation_runs, run_ablation
from dptkit.training.ablation_config import Ablation, read_ablation
from dptkit.training.ablation_table import Difference, Table, difference_rows, summarise, text_rows
from dptkit.training.stopping import StopRequest, TrainingStopped
from dptkit.weights.load import load_model

pytestmark = pytest.mark.filterwarnings(
    # Fabric advises more loader workers than a test wants.
    "ignore:.*does not have many workers.*"
)

BASE = """
name: base
model: {architecture: dpt-base, encoder_weights: imagenet}
sources: [{kind: on_disk, dataset: manifest, root: data, split: train}]
loss: {kind: relative_depth}
steps: 1000
phases: [{start: 0, size: 384, batch_size: 16}]
"""
FILE = """
name: tiny
title: Two readouts
base: base.yaml
seeds: [0, 1]
variants:
  ignore: {model: {readout: ignore}, paper: {near: 0.0793, mean: 0.0822}}
  add: {model: {readout: add}}
  other: {not_built: nobody built it, paper: {mean: 0.0935}}
scoring:
  data:
    near: {dataset: manifest, root: data, split: near}
    far: {dataset: manifest, root: data, split: far, pictures: 2}
"""
SMALL = ("train.steps=3", "train.phases.0.batch_size=2", "train.log_every=1", "train.checkpoint_every=1")


def write_tree(root: Path) -> None:
    """Discs on a ramp, metres; three pictures a split."""
    rng = np.random.default_rng(0)
    rows = ["source,split,name,kind,scale,metric,split_group"]
    (root / "data" / "discs").mkdir(parents=True)
    for split in ("train", "near", "far"):
        for index in range(3):
            image = rng.integers(0, 80, (64, 96, 3), np.uint8)
            depth = np.tile(np.linspace(4000, 2000, 64).astype(np.uint16)[:, None], (1, 96))
            centre = (int(rng.integers(20, 76)), int(rng.integers(20, 44)))
            cv2.circle(image, centre, 14, (250, 240, 230), -1)
            cv2.circle(depth, centre, 14, 1000, -1)
            name = f"{split}{index}"
            cv2.imwrite(str(root / "data" / "discs" / f"{name}.jpg"), image)
            cv2.imwrite(str(root / "data" / "discs" / f"{name}.png"), depth)
            rows.append(f"discs,{split},{name},depth,0.001,true,{name}")
    (root / "data" / "manifest.csv").write_text("\n".join(rows) + "\n")
    (root / "base.yaml").write_text(BASE)
    (root / "tiny.yaml").write_text(FILE)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ablation, Table, list[str]]:
    """(folder with data, DIR of the ablation is `out` in it; what was run; its table; what was announced)."""
    root = tmp_path_factory.mktemp("ablation")
    write_tree(root)
    wanted = ablation_in(root)
    said: list[str] = []
    return root, wanted, run_ablation(wanted, root / "out", announce=said.append), said


def ablation_in(root: Path, *overrides: str) -> Ablation:
    roots = (f"train.sources.0.root={root}/data", *(f"scoring.data.{n}.root={root}/data" for n in ("near", "far")))
    return read_ablation(root / "tiny.yaml", [*SMALL, *roots, *overrides], miniature=True)


def score_by_hand(model: Path, root: Path, split: str, pictures: list[int]) -> float:
    """Mean absolute relative error after a fit in inverse depth, in plain numpy, from the public prediction."""
    predictor, data, errors = load(model), open_dataset("manifest", root / "data", split), []
    for index in pictures:
        sample = data[index]
        truth = 1 / sample.target.astype(np.float64).ravel()
        predicted = predictor.predict(sample.image).values.astype(np.float64).ravel()  # type: ignore[union-attr]
        design = np.stack([predicted, np.ones_like(predicted)], axis=1)
        aligned = design @ np.linalg.lstsq(design, truth, rcond=None)[0]
        assert (aligned > 0.05).all(), "else the clamp would count, which is the protocol's"
        errors.append(float(np.abs(truth / aligned - 1).mean()))
    return float(np.mean(errors))


def test_the_table_is_what_the_models_give(ran: tuple[Path, Ablation, Table, list[str]]) -> None:
    root, _, table, _ = ran
    assert [row.variant for row in table.rows] == ["ignore", "add", "other"]
    assert table.columns == ("near", "far", "mean")
    for row in table.rows[:2]:
        means = []
        for seed in (0, 1):
            model = root / "out" / row.variant / f"seed{seed}" / "model.safetensors"
            assert load_model(model).spec.model.decoder.readout == row.variant
            means.append([score_by_hand(model, root, "near", [0, 1, 2]), score_by_hand(model, root, "far", [0, 2])])
        assert means[0] != means[1], "seeds must differ"
        expected = {"near": [m[0] for m in means], "far": [m[1] for m in means], "mean": [sum(m) / 2 for m in means]}
        for column, values in expected.items():
            cell = row.cells[column]
            # Predictions are float32, and resized once here, perhaps otherwise in the protocol: parts in a million.
            assert cell.mean == pytest.approx(np.mean(values), rel=1e-4)
            # t(0.975; 1) = 12.706, and the deviation of two values is |a - b| / sqrt(2).
            half = 12.706 * abs(values[0] - values[1]) / 2
            assert cell.high is not None
            assert cell.mean is not None
            assert cell.high - cell.mean == pytest.approx(half, abs=1e-3)
            assert cell.runs == 2
    other = table.rows[2]
    assert (other.cells["mean"].mean, other.cells["mean"].paper) == (None, 0.0935)
    lines = text_rows(table)
    assert lines[0] == ("variant", "near", "far", "mean", "")
    assert lines[1][1].endswith("(0.0793)")
    assert lines[3] == ("other", "-", "-", "- (0.0935)", "not built: nobody built it")


def test_differences_are_paired_by_seed_and_picture(ran: tuple[Path, Ablation, Table, list[str]]) -> None:
    root, _, table, _ = ran

    def errors(variant: str, column: str) -> np.ndarray:  # [seeds, pictures]
        runs = (root / "out" / variant / f"seed{seed}" / "scores" / f"{column}.json" for seed in (0, 1))
        return np.array([[image.scores["abs_rel"] for image in read_result(run).images] for run in runs])

    (row,) = table.differences
    assert (row.variant, row.against) == ("add", "ignore")
    gaps = {column: errors("add", column) - errors("ignore", column) for column in ("near", "far")}
    by_seed = {column: gap.mean(axis=1) for column, gap in gaps.items()}
    by_seed["mean"] = (by_seed["near"] + by_seed["far"]) / 2
    for column, values in by_seed.items():
        cell = row.cells[column]
        assert (cell.mean, cell.runs) == (pytest.approx(values.mean()), 2)
        assert cell.high is not None
        assert cell.high - cell.mean == pytest.approx(12.7062 * abs(values[0] - values[1]) / 2)
    for column, gap in gaps.items():
        # One of three pictures is all of a draw in 1 of 27, one of two in 1 of 4: both more often than in 1 of 40.
        of_pictures = gap.mean(axis=0)
        cell = row.cells[column]
        assert (cell.pictures_low, cell.pictures_high) == (
            pytest.approx(of_pictures.min()),
            pytest.approx(of_pictures.max()),
        )
    ends = [(row.cells[c].pictures_low, row.cells[c].pictures_high) for c in ("near", "far", "mean")]
    (near_low, near_high), (far_low, far_high), (low, high) = ends
    # Of two sets drawn independently both are rarely at their ends together.
    assert (near_low + far_low) / 2 < low < row.cells["mean"].mean < high < (near_high + far_high) / 2
    lines = difference_rows(table)
    assert lines[0] == ("variant", "minus", "near", "far", "mean")
    assert lines[1][:2] == ("add", "ignore")


def test_differences_need_two_pictures_and_a_seed_of_both() -> None:
    assert str(Difference(-0.0021, -0.0061, 0.0019, -0.0035, -0.0008, 3)) == "-0.0021 ±0.0040 [-0.0035, -0.0008]"
    assert str(Difference(0.0021, None, None, None, None, 1)) == "+0.0021"


def test_a_run_that_fails_does_not_lose_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tree(tmp_path)
    # A step of 1e30 makes weights whose products are beyond float32, so the next loss is not finite.
    wild = "variants.ignore.train={optimiser: {encoder_lr: 1.0e+30, decoder_lr: 1.0e+30}}"
    wanted = replace(ablation_in(tmp_path, wild), seeds=(0,))
    said: list[str] = []
    table = run_ablation(wanted, tmp_path / "out", announce=said.append)
    (failed,) = table.failed
    assert (failed.variant, failed.seed) == ("ignore", 0)
    assert "the loss is not finite at step" in failed.problem
    assert said[1] == f"[1/2] ignore, seed 0: failed: {failed.problem}"
    assert [(row.cells["mean"].runs, row.note) for row in table.rows[:2]] == [(0, "0 of 1 seeds"), (1, "")]
    assert table.differences == ()
    content = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert [run["variant"] for run in content["runs"]] == ["add"]
    assert content["table"]["failed"] == [{"variant": "ignore", "seed": 0, "problem": failed.problem}]
    # Given again, it is tried again; what is done stays done.
    said.clear()
    assert run_ablation(wanted, tmp_path / "out", announce=said.append) == table
    assert [line for line in said if "trained before" in line] == ["[2/2] add, seed 0: trained before"]


def test_a_variant_that_cannot_be_is_found_before_any_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(tmp_path)
    monkeypatch.setattr(module, "Trainer", None)
    with pytest.raises(ConfigError, match=r"out_indices: .* from 0 to 11"):
        run_ablation(ablation_in(tmp_path, "variants.add.model={out_indices: [1, 2, 3, 12]}"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_files_hold_the_same_numbers(ran: tuple[Path, Ablation, Table, list[str]]) -> None:
    root, _, table, said = ran
    with (root / "out" / "ablation.csv").open() as file:
        rows = list(csv.DictReader(file))
    content = json.loads((root / "out" / "ablation.json").read_text())
    for row, written, line in zip(table.rows, content["table"]["rows"], rows, strict=True):
        for column in table.columns:
            cell = row.cells[column]
            for part in ("mean", "low", "high", "paper"):
                value = getattr(cell, part)
                assert written["cells"][column][part] == value
                text = line[f"{column}_{part}"]
                assert (text == "") if value is None else (float(text) == pytest.approx(value, rel=1e-5))
    assert [(run["variant"], run["seed"]) for run in content["runs"]] == [
        ("ignore", 0), ("add", 0), ("ignore", 1), ("add", 1),
    ]  # fmt: skip
    assert all(run["scores"]["far"]["pictures"] == 2 for run in content["runs"])
    assert content["runs"][1]["config"]["model"]["readout"] == "add"
    assert content["miniature"] is True
    assert said[0] == "[1/4] ignore, seed 0: training, 3 steps"


def test_what_is_done_is_neither_trained_nor_scored_again(
    ran: tuple[Path, Ablation, Table, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, wanted, table, _ = ran
    times = {path: path.stat().st_mtime_ns for path in (root / "out").glob("*/*/**/*") if path.is_file()}
    said: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(module, "Trainer", None)
        patch.setattr(module, "evaluate_variant", None)
        again = run_ablation(wanted, root / "out", announce=said.append)
        other = run_ablation(ablation_in(root, "scoring.metric=delta1"), root / "out")
        run_ablation(wanted, root / "out")
    assert again == table
    first = read_result(root / "out" / "ignore" / "seed0" / "scores" / "near.json").summary["delta1"].value
    assert json.loads((root / "out" / "ablation.json").read_text())["scoring"]["metric"] == "abs_rel"
    assert other.metric == "delta1"
    assert other.rows[0].cells["near"].mean == pytest.approx(
        np.mean(
            [first, read_result(root / "out" / "ignore" / "seed1" / "scores" / "near.json").summary["delta1"].value]
        )
    )
    assert [line for line in said if "trained before" in line] == said[::2]
    assert {path: path.stat().st_mtime_ns for path in times} == times
    # A result that is gone is made again, with the same numbers.
    (root / "out" / "add" / "seed1" / "scores" / "far.json").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(module, "Trainer", None)
        assert run_ablation(wanted, root / "out") == table
    # Another data set beside them is scored, the models stay as they are.
    scored: list[Path] = []
    original = module.evaluate_variant

    def counted(model: Path, *rest: object) -> object:
        scored.append(model)
        return original(model, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "Trainer", None)
    monkeypatch.setattr(module, "evaluate_variant", counted)
    run_ablation(ablation_in(root, "scoring.data.far.pictures=1"), root / "out")
    assert len(scored) == 4
    run_ablation(ablation_in(root), root / "out")
    assert len(scored) == 8


def test_another_ablation_in_the_same_folder_is_refused_before_anything_is_trained(
    ran: tuple[Path, Ablation, Table, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = ran[0]
    monkeypatch.setattr(module, "Trainer", None)
    with pytest.raises(TrainingError, match=r"holds a run of another configuration: steps differ"):
        run_ablation(ablation_in(root, "train.steps=4", "seeds=[7, 1]"), root / "out")


def test_a_request_to_stop_ends_it_and_the_rest_follows(tmp_path: Path) -> None:
    write_tree(tmp_path)
    wanted = replace(ablation_in(tmp_path), seeds=(5,))
    stop = StopRequest()

    def announce(text: str) -> None:
        if "add, seed 5: training" in text:
            stop.signal = 2

    with pytest.raises(TrainingStopped):
        run_ablation(wanted, tmp_path / "out", announce=announce, stop=stop)
    content = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert [run["variant"] for run in content["runs"]] == ["ignore"]
    assert [run.finished for run in ablation_runs(wanted, tmp_path / "out")] == [True, False]
    said: list[str] = []
    table = run_ablation(wanted, tmp_path / "out", announce=said.append)
    assert said[0] == "[1/2] ignore, seed 5: trained before"
    assert table.rows[1].cells["mean"].runs == 1
    assert table.rows[1].cells["mean"].low is None


@pytest.mark.parametrize(
    ("override", "error", "message"),
    [
        ("scoring.data.far.split=nothing", DataError, r"scoring\.data\.far .*no split 'nothing'"),
        ("scoring.protocol=foldr", ConfigError, r"did you mean folder\?"),
        ("scoring.protocol=camvid-11", ConfigError, "is for segmentation"),
        ("scoring.metric=abs_real", ConfigError, "folder has no abs_real; it has abs_rel"),
    ],
)
def test_what_cannot_be_scored_is_said_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, override: str, error: type[Exception], message: str
) -> None:
    write_tree(tmp_path)
    monkeypatch.setattr(module, "Trainer", None)
    with pytest.raises(error, match=message):
        run_ablation(ablation_in(tmp_path, override), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("count", [2, 3, 5, 12, 31, 50])
def test_intervals_are_students(count: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(count).normal(0.08, 0.002, count).tolist()
    cell = summarise(values)
    low, high = stats.t.interval(0.95, count - 1, np.mean(values), stats.sem(values))
    # The table has four decimals; above 30 degrees of freedom it is up to 4% too wide, never too narrow.
    half = (high - low) / 2
    assert cell.high is not None
    assert cell.mean is not None
    assert 0.9999 * half <= cell.high - cell.mean <= (1.0001 if count <= 31 else 1.04) * half
    assert math.isclose(cell.mean, float(np.mean(values)))


def test_one_seed_has_no_interval() -> None:
    cell = summarise([0.25], 0.2)
    assert (cell.mean, cell.low, cell.high, str(cell)) == (0.25, None, None, "0.2500 (0.2000)")


def test_a_picture_that_cannot_be_scored_ends_it_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tree(tmp_path)
    wanted = replace(ablation_in(tmp_path), seeds=(0,))
    broken = tmp_path / "data" / "discs" / "near1.png"
    cv2.imwrite(str(broken), np.zeros((64, 96), np.uint16))  # nothing was measured
    with pytest.raises(DataError, match=r"near1: .*; 1 of 3 not scored"):
        run_ablation(wanted, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("scores.json"))


def test_every_pictures_numbers_are_kept(ran: tuple[Path, Ablation, Table, list[str]]) -> None:
    root, wanted, _, _ = ran
    for run in ablation_runs(wanted, root / "out"):
        result = read_result(run.folder / "scores" / "near.json")
        assert [image.name for image in result.images] == ["discs/near0", "discs/near1", "discs/near2"]
        assert result.dataset["split"] == result.protocol.split == "near"
        kept = result.summary["abs_rel"].value
        assert np.mean([image.scores["abs_rel"] for image in result.images]) == pytest.approx(kept)
