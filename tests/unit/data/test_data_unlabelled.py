"""Pictures without ground truth, their two views, and strong augmentation."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from dptkit.config import PreprocessConfig
from dptkit.data.augment import Augment, RandomCrop, RandomFlip
from dptkit.data.batches import MixedBatches
from dptkit.data.checking import check_dataset
from dptkit.data.mixing import Mixture
from dptkit.data.registry import open_dataset, splits_of
from dptkit.data.sample import Sample
from dptkit.data.strong_augment import StrongAugment
from dptkit.data.unlabelled import PictureFolder, WithoutGroundTruth, open_pictures
from dptkit.data.views import MixedViews, ViewBatch, neighbours, view_loader
from dptkit.errors import DataError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine pictures of noise in folders of folders, a hidden one, and a text."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for index, name in enumerate(("b/c/z.png", "a.jpg", "b/y.PNG", *(f"d/{k}.webp" for k in range(6)))):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / name), rng.integers(0, 256, (20 + index, 30, 3), np.uint8))
    (root / ".hidden.jpg").write_bytes(b"")
    (root / "b" / "notes.txt").write_text("no picture")
    return root


def views_of(folder: Path, *, cutmix: float, first: int = 0, rank: int = 0, ranks: int = 1, workers: int = 0) -> list:
    data = open_pictures(folder)
    mixture = Mixture((len(data),), 3, 4)
    weak = Augment((WithoutGroundTruth(), RandomCrop((24, 16), "pad"), RandomFlip()))
    batches = MixedBatches([data], mixture, weak, 4, first, rank, ranks)
    return list(view_loader(MixedViews(batches, StrongAugment(), cutmix), PreprocessConfig(), workers))


def same(first: ViewBatch, second: ViewBatch) -> bool:
    pairs = zip(first[:4], second[:4], strict=True)
    return first.names == second.names and all(torch.equal(a, b) for a, b in pairs)


def test_a_folder_is_read_with_the_folders_in_it(folder: Path) -> None:
    data = open_dataset("pictures", folder, "train")
    assert isinstance(data, PictureFolder)
    assert data.paths == ("a.jpg", "b/c/z.png", "b/y.PNG", *(f"d/{k}.webp" for k in range(6)))
    sample = data[1]
    assert (sample.image.shape, sample.name, sample.group) == ((20, 30, 3), "b/c/z.png", "b/c")
    assert (sample.quantity, sample.unit, bool(sample.valid.any())) == ("inverse_depth", "relative", False)
    assert splits_of("pictures", folder) == ("",)
    report = check_dataset(data, "")
    assert (report.samples, report.broken, len(report.wholly_invalid)) == (9, (), 9)


def test_folders_without_pictures_are_one_line(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a folder"):
        open_pictures(tmp_path / "none")
    with pytest.raises(DataError, match="has no pictures"):
        open_pictures(tmp_path)
    (tmp_path / "broken.jpg").write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"broken\.jpg") as caught:
        open_pictures(tmp_path)[0]
    assert "\n" not in str(caught.value)


def test_ground_truth_is_taken_away() -> None:
    labels = np.full((4, 4), 3, np.uint8)
    image = np.zeros((4, 4, 3), np.uint8)
    sample = Sample(image, labels, "labels", "class", np.ones((4, 4), np.bool_), "s", "n", "g", (1.0, 1.0, 2.0, 2.0))
    bare = WithoutGroundTruth()(sample, np.random.default_rng(0))
    assert (bare.source, bare.name, bare.group, bare.intrinsics) == ("s", "n", "g", (1.0, 1.0, 2.0, 2.0))
    assert not bare.target.any()
    padded = RandomCrop((8, 6), "pad")(bare, np.random.default_rng(0))
    assert padded.valid.sum() == 16  # where the picture is


def test_strong_augmentation_changes_colours_and_nothing_else(folder: Path) -> None:
    sample = open_pictures(folder)[0]
    strong = StrongAugment()
    changed = [strong(sample, np.random.default_rng(seed)) for seed in range(20)]
    assert sum(not np.array_equal(one.image, sample.image) for one in changed) > 15
    again = [strong(sample, np.random.default_rng(seed)) for seed in range(20)]
    assert all(np.array_equal(one.image, other.image) for one, other in zip(changed, again, strict=True))
    off = StrongAugment(0, 0, 0, 0)(sample, np.random.default_rng(0))
    assert np.array_equal(off.image, sample.image)
    # A left half that is brighter stays brighter: nothing has moved.
    halves = np.full((32, 32, 3), 60, np.uint8)
    halves[:, :16] = 180
    nothing = np.zeros((32, 32), np.float32)
    split = Sample(halves, nothing, "inverse_depth", "relative", np.zeros((32, 32), np.bool_), "", "")
    for seed in range(20):
        image = strong(split, np.random.default_rng(seed)).image.astype(int)
        assert image[:, :12].mean() > image[:, 20:].mean()


def test_batches_are_a_function_of_seed_and_step(folder: Path) -> None:
    whole = views_of(folder, cutmix=0.5)
    assert [batch.clean.shape for batch in whole] == [(4, 3, 24, 16)] * 4
    assert any(bool(batch.from_other.any()) for batch in whole)
    for other in (views_of(folder, cutmix=0.5), views_of(folder, cutmix=0.5, workers=2)):
        assert all(same(a, b) for a, b in zip(whole, other, strict=True))
    assert all(same(a, b) for a, b in zip(whole[2:], views_of(folder, cutmix=0.5, first=2), strict=True))


def test_ranks_share_a_batch(folder: Path) -> None:
    whole = views_of(folder, cutmix=1.0)
    parts = [views_of(folder, cutmix=1.0, rank=rank, ranks=2) for rank in range(2)]
    for step, batch in enumerate(whole):
        for field in range(4):
            joined = torch.cat([part[step][field] for part in parts])
            assert torch.equal(joined, batch[field])


def test_making_a_loader_draws_no_number(folder: Path) -> None:
    before = torch.get_rng_state()
    views_of(folder, cutmix=0.5)
    assert torch.equal(torch.get_rng_state(), before)


def test_cutmix_takes_the_neighbours_strong_view_where_it_says_so(folder: Path) -> None:
    assert neighbours(5) == [1, 0, 3, 2, 4]
    for plain, mixed in zip(views_of(folder, cutmix=0.0), views_of(folder, cutmix=1.0), strict=True):
        assert torch.equal(plain.clean, mixed.clean)
        assert not plain.from_other.any()
        black = (plain.clean * 0.5 + 0.5).abs().amax(1) < 1e-6  # of noise hardly a pixel is
        assert (black == ~plain.shown).float().mean() > 0.999
        assert torch.equal(plain.shown, mixed.shown)
        expected = torch.where(mixed.from_other[:, None], plain.strong[[1, 0, 3, 2]], plain.strong)
        assert torch.equal(mixed.strong, expected)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_signals_do_not_end_the_workers(folder: Path, asked: signal.Signals) -> None:
    """Ctrl-C reaches them too, and the step in progress may still wait for their pictures."""
    data = open_pictures(folder)
    weak = Augment((WithoutGroundTruth(), RandomCrop((16, 16))))
    batches = MixedBatches([data], Mixture((len(data),), 3, 2), weak, 12)
    loader = iter(view_loader(MixedViews(batches, StrongAugment(), 0), PreprocessConfig(), 1))
    next(loader)
    (worker,) = multiprocessing.active_children()
    assert worker.pid is not None
    os.kill(worker.pid, asked)
    assert len(list(loader)) == 11
