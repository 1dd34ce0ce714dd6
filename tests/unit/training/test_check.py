"""`dpt train --check`: what would end a run hours later is one line now, with the source and the file."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import miniatures
from dptkit.cli.train_report import print_report
from dptkit.data.sample import Dataset, Sample
from dptkit.errors import DataError, DptkitError, TrainingError
from dptkit.presets import PRESETS
from dptkit.training import check
from dptkit.training.check import check_run
from dptkit.training.check_sources import check_first_samples, check_source
from dptkit.training.config import (
    DepthLoss,
    MetricLoss,
    ModelStart,
    OnDisk,
    Optimiser,
    Phase,
    SegmentationLoss,
    TrainConfig,
)
from dptkit.training.start import build_spec

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers.*")


@pytest.fixture(autouse=True)
def small_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, preset in list(PRESETS.items()):
        monkeypatch.setitem(PRESETS, name, replace(preset, spec=miniatures.miniature_spec(name)))


class Made:
    """Eight samples of one kind."""

    name = "made"

    def __init__(self, sample: Sample, broken: int | None = None) -> None:
        self.sample, self.broken = sample, broken

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Sample:
        if index == self.broken:
            raise DataError(f"pictures/{index}.png: is broken")
        return self.sample


def sample_of(quantity: str, unit: str, value: int = 2, valid: bool = True) -> Sample:
    dtype = np.uint8 if quantity == "labels" else np.float32
    target = np.full((70, 80), value, dtype)
    return Sample(
        np.zeros((70, 80, 3), np.uint8), target, quantity, unit, np.full((70, 80), valid), "made", "seventh"  # type: ignore[arg-type]
    )  # fmt: skip


def config_with(loss: DepthLoss | MetricLoss | SegmentationLoss) -> TrainConfig:
    return TrainConfig(
        "tiny", ModelStart("dpt-lite"), (OnDisk("manifest", "data"),), loss, 5, (Phase(0, 64, 4), Phase(2, 32, 8)),
        optimiser=Optimiser(kind="adam"), workers=0,
    )  # fmt: skip


def look(loss: DepthLoss | MetricLoss | SegmentationLoss, dataset: Dataset, preset: str = "dpt-lite") -> object:
    config = config_with(loss)
    return check_source("sources.3", config.sources[0], dataset, config, PRESETS[preset].spec)


def test_a_source_is_described() -> None:
    found = check_source(
        "sources.3", OnDisk("manifest", "data"), Made(sample_of("depth_m", "m", 3)), config_with(DepthLoss()),
        PRESETS["dpt-lite"].spec,
    )  # fmt: skip
    assert (found.name, found.samples, found.read, found.sizes) == ("manifest in data, train", 8, 4, ((70, 80),))
    assert (found.quantity, found.unit, found.valid_share) == ("depth_m", "m", 1.0)
    assert (found.least, found.greatest) == (3.0, 3.0)


@pytest.mark.parametrize(
    ("loss", "dataset", "preset", "message"),
    [
        (DepthLoss(), Made(sample_of("labels", "class")), "dpt-lite", "seventh: holds labels"),
        (MetricLoss(), Made(sample_of("inverse_depth", "1/m")), "dpt-hybrid-nyu", "needs depth_m"),
        (SegmentationLoss(), Made(sample_of("labels", "class", 200)), "dpt-large-ade20k", "label 200, but"),
        (DepthLoss(), Made(sample_of("depth_m", "m"), broken=7), "dpt-lite", "pictures/7.png: is broken"),
        (DepthLoss(), Made(sample_of("depth_m", "m", valid=False)), "dpt-lite", "nothing is valid"),
    ],
)
def test_what_is_wrong_with_a_source_is_one_line(
    loss: DepthLoss | MetricLoss | SegmentationLoss, dataset: Dataset, preset: str, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        look(loss, dataset, preset)
    assert str(caught.value).startswith("sources.3 (manifest in data, train): ")
    assert "\n" not in str(caught.value)


@pytest.fixture
def depth(tmp_path: Path) -> TrainConfig:
    """A configuration over four pictures with depth."""
    (tmp_path / "data" / "a").mkdir(parents=True)
    rows = ["source,split,name,scene_type,kind,scale,metric,split_group,license,width,height,valid_fraction"]
    ramp = np.tile(np.linspace(1000, 3000, 64).astype(np.uint16), (64, 1))
    for index in range(4):
        Image.fromarray((ramp // 16).astype(np.uint8)).convert("RGB").save(tmp_path / "data" / "a" / f"{index}.jpg")
        Image.fromarray(ramp).save(tmp_path / "data" / "a" / f"{index}.png")
        rows.append(f"a,train,{index},made up,depth,0.001,true,a,CC0,64,64,1.0")
    (tmp_path / "data" / "manifest.csv").write_text("\n".join(rows) + "\n")
    return replace(config_with(DepthLoss()), sources=(OnDisk("manifest", str(tmp_path / "data")),))


def test_a_run_is_tried_and_leaves_nothing(
    tmp_path: Path, depth: TrainConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    report = check_run(depth, tmp_path / "runs" / "tiny")
    assert report is not None
    assert not (tmp_path / "runs").exists()
    assert [(found.phase.size, found.steps) for found in report.phases] == [(64, 2), (32, 3)]
    assert report.seconds == pytest.approx(sum(p.steps * (p.step_seconds + p.loader_seconds) for p in report.phases))
    # Weights and Adam's two averages, of float32.
    network = miniatures.build_miniature("dpt-lite")
    weights = sum(tensor.nbytes for tensor in network.state_dict().values())
    assert 2.5 * weights < report.checkpoint_bytes <= 3 * weights + 4 * len(list(network.parameters()))
    assert report.needed_bytes > 3 * report.checkpoint_bytes
    print_report(report)
    assert "of this process" in capsys.readouterr().out


class Empty(Made):
    """Ground truth in one of the pictures alone, or in none."""

    def __init__(self, measured: int | None) -> None:
        super().__init__(sample_of("depth_m", "m"))
        self.measured = measured

    def __getitem__(self, index: int) -> Sample:
        return sample_of("depth_m", "m", valid=index == self.measured)


def test_data_without_any_ground_truth_do_not_begin_a_run() -> None:
    """Relative losses of nothing are 0: the run would end as if it had learned."""
    config = config_with(DepthLoss())
    spec = build_spec(config)
    check_first_samples(config, [Empty(6)], spec)
    with pytest.raises(DataError, match=r"^sources\.0 \(manifest in data, train\): nothing is valid in 7 pictures"):
        check_first_samples(config, [Empty(None)], spec)


def test_what_is_wrong_with_the_folder_is_said(
    tmp_path: Path, depth: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match="is a file"):
        check_run(depth, tmp_path / "file" / "run")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(check.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(DptkitError, match="the disk has"):
        check_run(depth, tmp_path / "run")


def test_a_step_that_does_not_fit_names_its_phase(
    tmp_path: Path, depth: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(trainer: object, batch: object, pictures: object, step: int) -> tuple[float, float]:
        if step == 0:
            return 1.0, 1.0
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried")

    monkeypatch.setattr(check, "time_step", short)
    with pytest.raises(TrainingError, match=r"phases.1 \(32x32, batch_size 8\): not enough memory"):
        check_run(depth, tmp_path / "run")
