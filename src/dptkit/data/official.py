"""Whether a split is the one that everybody means: by its number of samples, and by their names where those are known.

Lists of splits are not in the package: those that are files of others are read from the folder, see each reader. A list
that was cut short or drawn anew is told from the official one here.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from dptkit.data.registry import DatasetEntry
from dptkit.data.sample import Dataset, KnowsItsFiles, OrdinalDataset

_EIGEN_652 = "a329db02370f8b892470909dbca8a616a2b7ec5b96a6a17ee796f331e1670180"
_NYU_654 = "8e68d11f80031ba6a41552e9865e544c9ac08a8ef2417c3f3254bd43136f9959"


def picture_number(name: str) -> str:
    """Of a picture of NYUv2, its place in the labelled set: "00045" of "00045" and of BTS's "bathroom/rgb_00045"."""
    return name.rpartition("_")[2]


_NAMES: dict[tuple[str, str], tuple[str, Callable[[str], str]]] = {
    ("kitti", "test"): (_EIGEN_652, str),
    ("kitti-bts", "test"): (_EIGEN_652, str),
    ("nyuv2", "test"): (_NYU_654, picture_number),
    ("nyuv2-bts", "test"): (_NYU_654, picture_number),
}
"""(data set, split) -> `names_digest` and what it is made of. KITTI: Eigen's 697 less the 45 that no improved depth was
made for, as BTS's eigen_test_files_with_gt.txt and monodepth2's splits/eigen_benchmark/test_files.txt list them. NYUv2:
testNdxs of splits.mat, less 1, which are also the numbers in BTS's nyudepthv2_test_files_with_gt.txt."""


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
    if pictures or known is None or not isinstance(dataset, KnowsItsFiles):
        return None
    digest, part = known
    if names_digest(dataset, part) == digest:
        return None
    return (
        f"{entry.name}: split {split} has as many samples as officially, but others: "
        "what is measured on it cannot be compared with published figures"
    )


def names_digest(dataset: KnowsItsFiles, part: Callable[[str], str] = str) -> str:
    """SHA-256 in hexadecimal of the samples' names, or a part of each, sorted, a line each."""
    names = sorted(part(sample.name) for sample in dataset.sample_files())
    return sha256("\n".join(names).encode("utf-8", "surrogateescape")).hexdigest()
