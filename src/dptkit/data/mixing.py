"""Which sample comes at which place of a training run, as a pure function of the seed and the place.

There is no state to save or lose: resuming at step 1000 is asking for step 1000, and neither the number of workers
nor the number of ranks changes what a global batch holds. Random numbers are Philox's raw words, a counter-based
generator whose output NumPy promises to keep.

Places of a run are counted through: n = step * batch_size + position. They are cut into blocks in which every data
set has its exact quota, in an order shuffled per block; so data sets come with exact frequencies, and how often one
came before is known without looking back. The k-th time a data set comes, it gives the k-th sample of its own
sequence: one permutation of its samples after the other, each of them a pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_BLOCK = 1024  # places, at least, that a block has
_ORDER, _PASS, _AUGMENT, _CHOICE = 1, 2, 3, 4  # independent streams of one seed
_KEPT = 2  # orders of blocks, and of passes for each data set, that are kept


class Draw(NamedTuple):
    """What comes at a place. augmentation_seed: for `augmentation_rng`."""

    dataset: int
    sample: int
    augmentation_seed: int


@dataclass(frozen=True)
class Mixture:
    """Endless draws from data sets of `sizes` samples, in global batches of `batch_size`.

    weights: relative frequencies, by default all equal whatever the sizes, as MiDaS and DPT train. They are kept to
    within 1 in 1024; a data set with a weight above 0 comes at least once in 1024 draws or so.

    Raises ValueError for no data sets, an empty one, or weights that do not fit.
    """

    sizes: tuple[int, ...]
    seed: int
    batch_size: int
    weights: tuple[float, ...] | None = None
    _quotas: tuple[int, ...] = field(init=False, repr=False, compare=False)
    _kept: dict[int, dict[int, npt.NDArray[np.int64]]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.sizes or min(self.sizes) < 1:
            raise ValueError(f"every data set needs samples; there are {list(self.sizes)}")
        if self.batch_size < 1 or not 0 <= self.seed < 2**64:
            raise ValueError(f"batch size {self.batch_size} or seed {self.seed} is out of range")
        weights = (1.0,) * len(self.sizes) if self.weights is None else self.weights
        if len(weights) != len(self.sizes) or not all(0 <= weight < np.inf for weight in weights) or not sum(weights):
            raise ValueError(f"weights {list(weights)} do not fit {len(self.sizes)} data sets")
        object.__setattr__(self, "_quotas", _quotas(weights))
        object.__setattr__(self, "_kept", {})

    def draw(self, step: int, position: int) -> Draw:
        """What comes at `position` of the global batch of `step`, both from 0."""
        if step < 0 or not 0 <= position < self.batch_size:
            raise IndexError(f"no place {position} in step {step} of batches of {self.batch_size}")
        place = step * self.batch_size + position
        block, slot = divmod(place, sum(self._quotas))
        order = self._order(block)
        dataset = int(order[slot])
        turn = block * self._quotas[dataset] + int(np.count_nonzero(order[:slot] == dataset))
        completed, index = divmod(turn, self.sizes[dataset])
        sample = int(self._permutation(dataset, completed)[index])
        return Draw(dataset, sample, int(_words(self.seed, _AUGMENT, place, 0, 1)[0]))

    def choose(self, step: int, count: int) -> int:
        """One of `count` things for the whole global batch of `step`, such as the size of its crops."""
        return int(_words(self.seed, _CHOICE, step, 0, 1)[0] % np.uint64(count))

    @property
    def frequencies(self) -> tuple[float, ...]:
        """How often each data set comes, exactly."""
        return tuple(quota / sum(self._quotas) for quota in self._quotas)

    def __reduce__(self) -> tuple[type[Mixture], tuple[object, ...]]:
        return Mixture, (self.sizes, self.seed, self.batch_size, self.weights)

    def _order(self, block: int) -> npt.NDArray[np.int64]:
        kept = self._kept.setdefault(-1, {})
        if block not in kept:
            places = np.repeat(np.arange(len(self._quotas)), self._quotas)
            _keep(kept, block, places[_shuffled(self.seed, _ORDER, block, 0, len(places))])
        return kept[block]

    def _permutation(self, dataset: int, completed: int) -> npt.NDArray[np.int64]:
        kept = self._kept.setdefault(dataset, {})
        if completed not in kept:
            _keep(kept, completed, _shuffled(self.seed, _PASS, completed, dataset, self.sizes[dataset]))
        return kept[completed]


def augmentation_rng(augmentation_seed: int) -> np.random.Generator:
    """The source of randomness for one sample's augmentation."""
    return np.random.Generator(np.random.Philox(key=augmentation_seed))


def _keep(kept: dict[int, npt.NDArray[np.int64]], number: int, values: npt.NDArray[np.int64]) -> None:
    if len(kept) >= _KEPT:
        kept.pop(next(iter(kept)))
    kept[number] = values


def _quotas(weights: Sequence[float]) -> tuple[int, ...]:
    """Places of a block for each data set: equal weights get equally many, others by largest remainder."""
    positive = [weight for weight in weights if weight > 0]
    if len(set(positive)) == 1:
        each = -(-_BLOCK // len(positive))
        return tuple(each if weight > 0 else 0 for weight in weights)
    exact = np.array(weights, np.float64) * (_BLOCK / sum(weights))
    quotas = np.where(np.array(weights) > 0, np.maximum(1, np.floor(exact)), 0).astype(np.int64)
    for dataset in np.argsort(quotas - exact, kind="stable")[: max(0, _BLOCK - int(quotas.sum()))]:
        quotas[dataset] += 1
    return tuple(int(quota) for quota in quotas)


def _shuffled(seed: int, stream: int, number: int, dataset: int, count: int) -> npt.NDArray[np.int64]:
    """A permutation of `count`: the order of random words, so that it is the same with every version of NumPy."""
    return np.argsort(_words(seed, stream, number, dataset, count), kind="stable")


def _words(seed: int, stream: int, number: int, dataset: int, count: int) -> npt.NDArray[np.uint64]:
    """`count` random words of 64 bits that belong to (seed, stream, number, dataset)."""
    key = np.array([seed, stream], np.uint64)
    # The lowest word counts through the numbers drawn, four at a time.
    counter = np.array([0, number, dataset, 0], np.uint64)
    return np.asarray(np.random.Philox(key=key, counter=counter).random_raw(count), np.uint64)
