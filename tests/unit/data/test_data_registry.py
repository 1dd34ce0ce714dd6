"""Opening by name: what is known, what is nearest, and options that are checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from data_trees import TREES
from data_trees_zero_shot import ORDINAL_TREES
from dptkit.data.official import departure, names_digest
from dptkit.data.registry import DATASETS, find_dataset, open_dataset, open_ordinal_dataset
from dptkit.data.sample import SampleFiles
from dptkit.errors import DataError


def test_every_public_set_says_its_licence_and_address() -> None:
    for entry in DATASETS.values():
        assert entry.description
        assert entry.licence
        if entry.licence not in ("yours", "the data set's"):
            assert entry.url.startswith("http")
            assert entry.splits


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(DataError, match="no data set 'TartenAir': did you mean tartanair"):
        find_dataset("TartenAir")


def test_3d_movies_were_never_released() -> None:
    with pytest.raises(DataError, match="never released"):
        open_dataset("3D Movies", "nowhere", "train")


def test_options_are_checked_for_name_and_type(tmp_path: Path) -> None:
    TREES["pairs"](tmp_path)
    with pytest.raises(DataError, match="pairs: no option 'scal': did you mean scale"):
        open_dataset("pairs", tmp_path, "train", kind="depth", scal=1.0)
    with pytest.raises(DataError, match="camvid: no option 'x'; it has none"):
        open_dataset("camvid", tmp_path, "train", x=1)
    with pytest.raises(DataError, match=r"pairs: kind: Input should be 'depth'"):
        open_dataset("pairs", tmp_path, "train", kind="height")
    with pytest.raises(DataError, match="pairs: kind: Missing"):
        open_dataset("pairs", tmp_path, "train")
    assert len(open_dataset("pairs", str(tmp_path), "train", kind="depth", scale="0.5")) == 2


@dataclass(frozen=True)
class Named:
    """A data set of which only names are known."""

    names: Sequence[str]
    name: str = "named"

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Any:
        raise AssertionError("nothing is opened")

    def sample_files(self) -> Iterator[SampleFiles]:
        for name in self.names:
            yield SampleFiles("named", name)


NYU_TEST = (
    "0-1 8 13-17 20 27-42 45-46 55-56 58-62 75-78 83-90 116-118 124-128 130-133 136 152-154 166-168 170-175 179-201 "
    "206-211 219-221 249 263 270-272 278-284 295-301 309-311 314-316 324-334 350-351 354-363 383-389 394-396 "
    "410-413 429-434 440-447 461-465 468-476 507-512 514-525 530-532 536-538 548-550 554-570 578-582 590-593 "
    "602-606 611-612 616-620 632-637 643-644 649-650 655-657 662-663 667-672 675-680 685-689 692-693 696-698 "
    "705-712 716-717 723-727 730-733 742-743 758-786 799-803 809-813 820-822 832-845 849-851 856-861 868-870 "
    "905-907 916-918 925-927 931-934 944-946 958-961 964-966 969-976 990-994 1000-1003 1009-1011 1020-1022 "
    "1031-1033 1037-1038 1047-1048 1051-1052 1056-1057 1074-1083 1087-1095 1097-1103 1105-1108 1116-1118 1122-1130 "
    "1134-1135 1143-1157 1161-1166 1169-1170 1173-1175 1178-1183 1191-1195 1200-1211 1215-1219 1225-1229 1232-1234 "
    "1246-1249 1253-1264 1274-1279 1284-1294 1296-1298 1301-1307 1313-1314 1328-1331 1334-1339 1346-1348 1352-1355 "
    "1363-1364 1367-1368 1383-1390 1393-1400 1406-1413 1420-1423 1429-1432 1440-1448"
)
"""testNdxs of NYUv2's splits.mat, less 1."""


def numbered(count: int) -> Named:
    return Named([str(number) for number in range(count)])


def test_a_count_that_is_not_the_official_one_is_told() -> None:
    nyu, kitti = find_dataset("nyuv2"), find_dataset("kitti")
    assert departure(nyu, "train", numbered(795)) is None
    for entry, count in ((nyu, 653), (kitti, 697)):
        told = departure(entry, "test", numbered(count))
        assert told is not None
        assert f"{entry.name}: split test has {count} samples here, officially {entry.expected['test']}" in told
        assert "\n" not in told
    assert departure(find_dataset("pairs"), "test", numbered(3)) is None
    assert departure(nyu, "another", numbered(3)) is None
    assert departure(kitti, "test", numbered(161), pictures=161) is None
    assert "officially 161" in str(departure(kitti, "test", numbered(652), pictures=161))


def test_other_pictures_of_the_same_number_are_told() -> None:
    """Eigen's list itself, of which the package has a digest alone, is not at hand here: another order is the same."""
    assert "as many samples as officially, but others" in str(departure(find_dataset("kitti"), "test", numbered(652)))
    assert names_digest(Named(["b", "a"])) == names_digest(Named(["a", "b"])) == sha256(b"a\nb").hexdigest()


@pytest.mark.parametrize(("name", "form"), [("nyuv2", "{:05d}"), ("nyuv2-bts", "some_room/rgb_{:05d}")])
def test_nyu_is_told_by_the_numbers_of_its_pictures(name: str, form: str) -> None:
    bounds = [[int(bound) for bound in part.split("-")] for part in NYU_TEST.split()]
    numbers = [number for first, *last in bounds for number in range(first, last[0] + 1 if last else first + 1)]
    official = [form.format(number) for number in numbers]
    entry = find_dataset(name)
    assert departure(entry, "test", Named(official)) is None
    assert "others" in str(departure(entry, "test", Named([*official[:-1], form.format(2)])))


def test_counts_are_of_splits_that_there_are() -> None:
    for entry in DATASETS.values():
        assert set(entry.expected) <= set(entry.splits), entry.name


def test_parts_add_up_to_the_split_they_are_of() -> None:
    expected = find_dataset("diode").expected
    for split in ("train", "val"):
        assert expected[split] == expected[f"{split}-indoors"] + expected[f"{split}-outdoor"]


@pytest.mark.parametrize("name", ORDINAL_TREES)
def test_pairs_of_points_are_not_for_training(name: str, tmp_path: Path) -> None:
    ORDINAL_TREES[name](tmp_path)
    with pytest.raises(DataError, match=f"{name} says only which of two points is nearer: .* not for training"):
        open_dataset(name, tmp_path, "test")
    assert len(open_ordinal_dataset(name, tmp_path, "test")) == 2
    with pytest.raises(DataError, match=f"{name}: no option 'x'"):
        open_ordinal_dataset(name, tmp_path, "test", x=1)
    with pytest.raises(DataError, match="no split 'nonsense'"):
        open_ordinal_dataset(name, tmp_path, "nonsense")


def test_depth_is_not_pairs_of_points(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="those that do are diw, da-2k"):
        open_ordinal_dataset("nyuv2", tmp_path, "test")
