"""Whether a split is the one that everybody means: by its number of samples, and by their names where those are known.

Lists of splits are not in the package: those that are files of others are read from the folder, see each reader. A list
that was cut short or drawn anew is told from the official one here.
"""

from __future__ import annotations

from hashlib import sha256

from dptkit.data.registry import DatasetEntry
from dptkit.data.sample import Dataset, KnowsItsFiles, OrdinalDataset

_EIGEN_652 = "a329db02370f8b892470909dbca8a616a2b7ec5b96a6a17ee796f331e1670180"
_NAMES = {("kitti", "test"): _EIGEN_652, ("kitti-bts", "test"): _EIGEN_652}
"""(data set, split) -> `names_digest`. KITTI: Eigen's 697 less the 45 that no improved depth was made for, as BTS's
eigen_test_files_with_gt.txt and monodepth2's splits/eigen_benchmark/test_files.txt list them."""


def departure(
    entry: DatasetEntry, split: str, dataset: Dataset | OrdinalDataset, pictures: int | None = None
) -> str | None:
    """How a split differs from the official one, in one line; None where it does not or nothing is known of it.

    pictures: how many there must be, where only a part of the split is read on purpose; then names are not looked at.
    """
    expected, count = pictures or entry.expected.get(split), len(dataset)
    if expected is not None and expected != count:
        return (
            f"{entry.name}: split {split} has {count} samples here, officially {expected}: "
            "what is measured on it cannot be compared with published figures"
        )
    known = _NAMES.get((entry.name, split))
    if pictures or known is None or not isinstance(dataset, KnowsItsFiles) or names_digest(dataset) == known:
        return None
    return (
        f"{entry.name}: split {split} has as many samples as officially, but others: "
        "what is measured on it cannot be compared with published figures"
    )


def names_digest(dataset: KnowsItsFiles) -> str:
    """SHA-256 in hexadecimal of the samples' names, sorted, a line each."""
    names = sorted(sample.name for sample in dataset.sample_files())
    return sha256("\n".join(names).encode("utf-8", "surrogateescape")).hexdigest()
