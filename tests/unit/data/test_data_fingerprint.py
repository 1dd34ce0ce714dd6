"""The fingerprint of a data set: the same for the same data wherever it lies, another for any other."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from data_trees import CODES, NEEDED, TREES, grey, picture
from data_trees_zero_shot import ORDINAL_TREES, ZERO_SHOT_TREES
from dptkit.data import fingerprint
from dptkit.data.fingerprint import dataset_fingerprint, describe_dataset
from dptkit.data.folder import open_pairs
from dptkit.data.pairs import MissingFilesError
from dptkit.data.procedural import ProceduralDataset
from dptkit.data.registry import open_dataset, open_ordinal_dataset
from dptkit.data.sample import Dataset, KnowsItsFiles, Sample


def pairs(root: Path, split: str = "train") -> Dataset:
    return open_pairs(root, split, kind="depth", scale=0.5)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    TREES["pairs"](tmp_path / "data")
    return tmp_path / "data"


def test_it_is_what_the_documentation_says(root: Path) -> None:
    digest = hashlib.sha256()
    for name in ("a", "sub/b"):
        sizes = [(root / f"train/{half}/{name}.png").stat().st_size for half in ("images", "depth")]
        digest.update("\0".join(["pairs", name, *map(str, sizes)]).encode() + b"\0\n")
    assert dataset_fingerprint(pairs(root)) == digest.hexdigest()
    assert describe_dataset(pairs(root)) == {
        "name": "pairs",
        "samples": 2,
        "sha256_of_names_and_sizes": digest.hexdigest(),
    }


LAYOUTS = {**TREES, **ZERO_SHOT_TREES}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_reader_knows_its_files(name: str, tmp_path: Path) -> None:
    if name in NEEDED:
        pytest.importorskip(NEEDED[name])
    tree = LAYOUTS[name](tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    one, two = (open_dataset(tree.name, tmp_path / copy, tree.split, **tree.options) for copy in ("one", "two"))
    assert isinstance(one, KnowsItsFiles)
    listed = list(one.sample_files())
    samples = [one[index] for index in range(len(one))]
    assert [(known.source, known.name) for known in listed] == [(sample.source, sample.name) for sample in samples]
    assert {tmp_path / "one" / tree.image, tmp_path / "one" / tree.target} <= set(listed[0].files)
    assert dataset_fingerprint(one) == dataset_fingerprint(two)


@pytest.mark.parametrize("name", ORDINAL_TREES)
def test_pairs_of_points_know_their_files_too(name: str, tmp_path: Path) -> None:
    ORDINAL_TREES[name](tmp_path)
    dataset = open_ordinal_dataset(name, tmp_path, "test")
    assert isinstance(dataset, KnowsItsFiles)
    listed = list(dataset.sample_files())
    samples = [dataset[index] for index in range(len(dataset))]
    assert [(known.source, known.name) for known in listed] == [(sample.source, sample.name) for sample in samples]
    before = dataset_fingerprint(dataset)
    listed[0].files[0].write_bytes(b"shorter")
    assert dataset_fingerprint(dataset) != before


def test_what_changes_it(root: Path) -> None:
    before = dataset_fingerprint(pairs(root))
    depth = root / "train/depth/a.png"
    content = depth.read_bytes()
    depth.write_bytes(content + b"\0")
    larger = dataset_fingerprint(pairs(root))
    depth.write_bytes(content)
    assert dataset_fingerprint(pairs(root)) == before
    depth.rename(depth.with_name("c.png"))
    (root / "train/images/a.png").rename(root / "train/images/c.png")
    renamed = dataset_fingerprint(pairs(root))
    depth.with_name("c.png").unlink()
    with pytest.raises(MissingFilesError) as caught:
        pairs(root)
    missing = dataset_fingerprint(caught.value.dataset)
    assert len({before, larger, renamed, missing}) == 4


def test_it_opens_no_picture(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = dataset_fingerprint(pairs(root))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a file was opened")

    dataset = pairs(root)
    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    monkeypatch.setattr(cv2, "imread", refuse)
    assert dataset_fingerprint(dataset) == before


def test_of_many_samples_all_names_and_some_sizes_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "_SIZED", 2)
    for name in "abcd":
        picture(tmp_path / f"images/{name}.png")
        grey(tmp_path / f"depth/{name}.png", CODES)
    before = dataset_fingerprint(pairs(tmp_path, ""))
    # Every second sample counts with its files: a and c.
    for name, counts in (("a", True), ("b", False), ("c", True), ("d", False)):
        path = tmp_path / f"depth/{name}.png"
        content = path.read_bytes()
        path.write_bytes(content + b"\0")
        assert (dataset_fingerprint(pairs(tmp_path, "")) != before) == counts
        path.write_bytes(content)
    for half in ("images", "depth"):
        (tmp_path / f"{half}/d.png").rename(tmp_path / f"{half}/e.png")
    assert dataset_fingerprint(pairs(tmp_path, "")) != before


class Foreign:
    """A data set of someone else's that knows nothing of files."""

    def __init__(self, count: int) -> None:
        self.name, self.count = "foreign", count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        raise AssertionError("a sample was read")

    def __iter__(self) -> Iterator[Sample]:
        raise AssertionError("a sample was read")


def test_of_a_foreign_data_set_name_and_number_count() -> None:
    assert dataset_fingerprint(Foreign(3)) == dataset_fingerprint(Foreign(3)) != dataset_fingerprint(Foreign(4))


def test_rendered_pictures_count_by_seed() -> None:
    assert dataset_fingerprint(ProceduralDataset(3, 5)) == dataset_fingerprint(ProceduralDataset(3, 5))
    assert dataset_fingerprint(ProceduralDataset(3, 5)) != dataset_fingerprint(ProceduralDataset(3, 6))
