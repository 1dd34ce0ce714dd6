"""Mixing: exact frequencies, whole passes, and one sequence whatever the workers, ranks and interruptions."""

from __future__ import annotations

import multiprocessing
import pickle
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dptkit.config import PreprocessConfig
from dptkit.data.augment import Augment, RandomCrop, RandomFlip
from dptkit.data.batches import Batch, Collate, MixedBatches, MixedSample, mixed_loader
from dptkit.data.mixing import Draw, Mixture, augmentation_rng
from dptkit.data.sample import Sample
from dptkit.errors import DataError

SIZES = (3, 50, 7)
BATCH = 8
GOLDEN = [(2, 0), (2, 4), (0, 1), (2, 1), (1, 26), (1, 25), (0, 0), (0, 2)]
GOLDEN_SEED = 6723869080543982505


class Numbers:
    """Sample k is a picture of 6x8 whose target is its number everywhere."""

    def __init__(self, name: str, count: int) -> None:
        self.name, self.count = name, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.count:
            raise IndexError(index)
        image = np.random.default_rng(index).integers(0, 256, (6, 8, 3), np.uint8)
        target = np.full((6, 8), index, np.float32)
        return Sample(image, target, "inverse_depth", "relative", np.ones((6, 8), np.bool_), self.name, str(index))


DATASETS = tuple(Numbers(f"set{number}", size) for number, size in enumerate(SIZES))
STEPS = Augment((RandomCrop((4, 4)), RandomFlip()))


def sequence(mixture: Mixture, count: int, first: int = 0) -> list[Draw]:
    return [mixture.draw(*divmod(place, mixture.batch_size)) for place in range(first, first + count)]


def batches(
    first_step: int = 0, rank: int = 0, ranks: int = 1, workers: int = 0, steps: int = 6, cutmix: float = 0.0
) -> list[Batch]:
    mixed = MixedBatches(DATASETS, Mixture(SIZES, 1, BATCH), STEPS, steps, first_step, rank, ranks, cutmix)
    loader = mixed_loader(mixed, PreprocessConfig(), workers)
    found = list(loader)
    assert len(found) == steps - first_step
    return found  # type: ignore[return-value]


def same(first: Batch, second: Batch) -> bool:
    tensors = (first.image, first.target, first.valid, first.source)
    others = (second.image, second.target, second.valid, second.source)
    return first.names == second.names and all(torch.equal(a, b) for a, b in zip(tensors, others, strict=True))


def test_frequencies_are_equal_whatever_the_sizes() -> None:
    mixture = Mixture(SIZES, 0, BATCH)
    assert mixture.frequencies == (1 / 3, 1 / 3, 1 / 3)
    counts = Counter(draw.dataset for draw in sequence(mixture, 1026 * 3))
    assert set(counts.values()) == {1026}
    # Also in a stretch: three standard deviations of 300 independent draws.
    stretch = Counter(draw.dataset for draw in sequence(mixture, 300, first=4321))
    assert all(abs(count - 100) < 25 for count in stretch.values())


def test_weights() -> None:
    mixture = Mixture((5, 5, 5, 5), 0, BATCH, (6.0, 3.0, 1.0, 0.0))
    np.testing.assert_allclose(mixture.frequencies, (0.6, 0.3, 0.1, 0.0), atol=1 / 1024)
    counts = Counter(draw.dataset for draw in sequence(mixture, 4096))
    assert 3 not in counts
    assert counts[0] / 4096 == pytest.approx(0.6, abs=0.01)
    rare = Mixture((5, 5), 0, BATCH, (1.0, 1e-9))
    assert 0 < rare.frequencies[1] < 0.002


@pytest.mark.parametrize("sizes", [(), (3, 0)])
def test_nothing_to_mix(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="needs samples"):
        Mixture(sizes, 0, BATCH)


@pytest.mark.parametrize("weights", [(1.0,), (0.0, 0.0, 0.0), (-1.0, 1.0, 1.0), (np.nan, 1.0, 1.0)])
def test_weights_that_do_not_fit(weights: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        Mixture(SIZES, 0, BATCH, weights)


def test_every_sample_comes_once_in_a_pass() -> None:
    taken: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for draw in sequence(Mixture(SIZES, 3, BATCH), 3500):
        taken[draw.dataset].append(draw.sample)
    for dataset, size in enumerate(SIZES):
        whole = [taken[dataset][k : k + size] for k in range(0, len(taken[dataset]) - size + 1, size)]
        assert all(sorted(one) == list(range(size)) for one in whole)
        assert len({tuple(one) for one in whole}) > 1  # in another order each time


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**63), first=st.integers(0, 5000))
def test_a_place_does_not_depend_on_what_was_asked_before(seed: int, first: int) -> None:
    walked, fresh = Mixture(SIZES, seed, BATCH), Mixture(SIZES, seed, BATCH)
    sequence(walked, 20, first=first // 2)
    assert sequence(walked, 5, first=first) == sequence(fresh, 5, first=first)
    assert pickle.loads(pickle.dumps(walked)).draw(0, 3) == fresh.draw(0, 3)


def test_seeds_differ_and_augmentation_seeds_do_not_repeat() -> None:
    first, second = (sequence(Mixture(SIZES, seed, BATCH), 200) for seed in (0, 1))
    assert first != second
    assert len({draw.augmentation_seed for draw in first + second}) == 400
    assert (
        augmentation_rng(first[0].augmentation_seed).random() != augmentation_rng(first[1].augmentation_seed).random()
    )


def test_the_sequence_is_the_same_for_ever() -> None:
    """Written down once: a training run resumed with another version of NumPy must go on in the same order."""
    found = [(draw.dataset, draw.sample) for draw in sequence(Mixture(SIZES, 42, BATCH), 8, first=2000)]
    assert found == GOLDEN
    assert Mixture(SIZES, 42, BATCH).draw(250, 0).augmentation_seed == GOLDEN_SEED


def test_a_small_set_does_not_cost_the_large_one_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """A permutation of a million is made once a pass, however often small sets begin anew."""
    from dptkit.data import mixing

    made: list[int] = []
    original = mixing._shuffled
    monkeypatch.setattr(mixing, "_shuffled", lambda *args: made.append(args[-1]) or original(*args))
    sequence(Mixture((2, 100_000), 0, BATCH), 2000)
    assert made.count(100_000) == 1


def test_places_that_are_not() -> None:
    with pytest.raises(IndexError):
        Mixture(SIZES, 0, BATCH).draw(0, BATCH)


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_divide_the_global_batch(ranks: int) -> None:
    whole = batches()
    parts = [batches(rank=rank, ranks=ranks) for rank in range(ranks)]
    for step, batch in enumerate(whole):
        assert batch.names == tuple(name for part in parts for name in part[step].names)
        assert torch.equal(batch.image, torch.cat([part[step].image for part in parts]))


def test_cutmix_takes_from_the_next_of_the_global_batch() -> None:
    plain, mixed = batches(), batches(cutmix=1.0)
    taken = 0
    for before, after in zip(plain, mixed, strict=True):
        assert after.names == before.names
        for place in range(BATCH):
            other = (place + 1) % BATCH
            from_other = after.target[place] != before.target[place]
            expected = torch.where(from_other, before.image[other], before.image[place])
            same_number = torch.equal(before.target[place], before.target[other])
            assert same_number or torch.equal(after.image[place], expected)
            assert torch.equal(after.target[place][from_other], before.target[other][from_other])
            taken += int(from_other.sum())
    share = taken / (6 * BATCH * 16)
    assert 0.3 < share < 0.7  # uniform in [0, 1]: a half, of 48 draws give or take .13 at three deviations
    parts = [batches(rank=rank, ranks=2, cutmix=1.0) for rank in range(2)]
    assert all(
        torch.equal(whole.image, torch.cat([a.image, b.image])) for whole, a, b in zip(mixed, *parts, strict=True)
    )
    assert all(same(one, other) for one, other in zip(mixed[4:], batches(4, cutmix=1.0), strict=True))


def test_workers_change_nothing() -> None:
    assert all(same(one, other) for one, other in zip(batches(workers=0), batches(workers=2), strict=True))


class Broken(Numbers):
    def __getitem__(self, index: int) -> Sample:
        raise DataError("folder/a.png: the file is cut short")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_file_is_one_line_from_a_worker_too(workers: int) -> None:
    mixed = MixedBatches((Broken("set", 3),), Mixture((3,), 1, 2), STEPS, 1)
    with pytest.raises(DataError) as caught:
        list(mixed_loader(mixed, PreprocessConfig(), workers))
    assert str(caught.value) == "folder/a.png: the file is cut short"
    assert not multiprocessing.active_children()  # also while the error is held


@pytest.mark.parametrize("first_step", [1, 5, 6])
def test_resuming_equals_going_on(first_step: int) -> None:
    whole = batches()[first_step:]
    assert all(same(one, other) for one, other in zip(whole, batches(first_step), strict=True))


def test_a_batch() -> None:
    batch = batches()[0]
    assert batch.image.shape == (BATCH, 3, 4, 4)
    assert (batch.image.dtype, batch.target.dtype, batch.valid.dtype) == (torch.float32, torch.float32, torch.bool)
    assert batch.target.shape == batch.valid.shape == (BATCH, 4, 4)
    assert batch.quantity == "inverse_depth"
    for name, source, target in zip(batch.names, batch.source, batch.target, strict=True):
        assert name == f"set{source}/{int(target[0, 0])}"


def test_normalisation_is_mean_and_std() -> None:
    sample = DATASETS[0][0]
    batch = Collate((0.1, 0.2, 0.3), (0.5, 0.25, 2.0))([MixedSample(sample, 4)])
    expected = (sample.image / 255 - np.array([0.1, 0.2, 0.3])) / np.array([0.5, 0.25, 2.0])
    np.testing.assert_allclose(batch.image[0].permute(1, 2, 0).numpy(), expected, atol=1e-6)
    assert batch.source.tolist() == [4]


def test_labels_become_int64() -> None:
    labels = np.array([[0, 255]], np.uint8)
    sample = Sample(np.zeros((1, 2, 3), np.uint8), labels, "labels", "class", labels != 255, "s", "n")
    batch = Collate((0, 0, 0), (1, 1, 1))([MixedSample(sample, 0)])
    assert batch.target.dtype == torch.int64
    assert batch.target.tolist() == [[[0, 255]]]


def test_samples_that_do_not_go_together() -> None:
    first, second = DATASETS[0][0], DATASETS[1][1]
    smaller = RandomCrop((4, 4))(second, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"set1/1 .* and set0/0 .* cannot be in one batch"):
        Collate((0, 0, 0), (1, 1, 1))([MixedSample(first, 0), MixedSample(smaller, 1)])


def test_batches_that_cannot_be_divided() -> None:
    mixture = Mixture(SIZES, 0, BATCH)
    with pytest.raises(ValueError, match="rank 0 of 3"):
        MixedBatches(DATASETS, mixture, STEPS, 5, ranks=3)
    with pytest.raises(ValueError, match="not of these"):
        MixedBatches(DATASETS[:2], mixture, STEPS, 5)
    with pytest.raises(ValueError, match="step 6"):
        MixedBatches(DATASETS, mixture, STEPS, 5, first_step=6)
