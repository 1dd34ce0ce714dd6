"""Shards: nothing is lost, bytes do not change, runs go on where they stopped, and webdataset reads them."""

from __future__ import annotations

import json
import pickle
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data_trees import BYTES, CODES, TREES, H, W, grey, labels, picture, text
from dptkit.data.fingerprint import dataset_fingerprint
from dptkit.data.folder import open_labels, open_manifest, open_pairs
from dptkit.data.sample import Dataset, Sample
from dptkit.data.shard_target import decode_target, encode_target
from dptkit.data.shard_writing import write_shards
from dptkit.data.shards import decode_sample, iter_shards, open_shards, shard_urls
from dptkit.errors import DataError


def seven_pairs(root: Path) -> Dataset:
    for name in "abcdefg":
        picture(root / f"images/{name}.png", ord(name))
        grey(root / f"depth/{name}.png", CODES + ord(name))
    return open_pairs(root, kind="depth", scale=0.001)


def same(one: Sample, other: Sample) -> bool:
    arrays = np.array_equal(one.image, other.image) and np.array_equal(one.valid, other.valid)
    fields = ("quantity", "unit", "source", "name", "group", "intrinsics")
    return (
        arrays
        and np.array_equal(one.target[one.valid], other.target[one.valid])
        and all(getattr(one, field) == getattr(other, field) for field in fields)
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", sorted(set(TREES) - {"pairs"}))
def test_nothing_is_lost(name: str, tmp_path: Path) -> None:
    from dptkit.data.registry import open_dataset

    if name in ("megadepth", "irs"):
        pytest.importorskip({"megadepth": "h5py", "irs": "OpenEXR"}[name])
    tree = TREES[name](tmp_path / "data")
    dataset = open_dataset(tree.name, tmp_path / "data", tree.split, **tree.options)
    write_shards(dataset, tmp_path / "out", tree.split, 1)
    shards = open_shards(tmp_path / "out", tree.split)
    assert (len(shards), shards.name) == (len(dataset), dataset.name)
    assert all(same(dataset[k], shards[k]) for k in range(len(dataset)))
    streamed = [sample for _, sample in iter_shards(shard_urls(str(tmp_path / "out")))]
    assert all(same(one, shards[k]) for k, one in enumerate(streamed))


def test_pictures_that_are_made_smaller_or_not_turned_are_stored_as_they_were_read(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2 * H, 2 * W, 3), np.uint8)
    plain, turn = Image.Exif(), Image.Exif()
    turn[0x0112] = 3  # upside down
    names = ("larger", "turned", "plain")
    for name, pixels, exif in zip(names, (noise, noise[:H, :W], noise[:H, :W]), (plain, turn, plain), strict=True):
        path = tmp_path / f"data/images/{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, exif=exif)
        grey(tmp_path / f"data/depth/{name}.png", CODES)
    opened = open_pairs(tmp_path / "data", kind="depth", scale=0.001)
    pairs = tuple(pair._replace(upright=False, larger=(2 * H, 2 * W)) for pair in opened.pairs)
    dataset = replace(opened, pairs=pairs)
    write_shards(dataset, tmp_path / "out", "", 3)
    shards = open_shards(tmp_path / "out")
    assert all(same(dataset[k], shards[k]) for k in range(3))
    with tarfile.open(tmp_path / "out/shard-000000.tar") as tar:
        pictures = [name for name in tar.getnames() if name.endswith(("0.png", "1.jpg", "2.png"))]
    assert pictures == ["00000000.png", "00000001.jpg", "00000002.png"]  # larger, plain, turned


def test_order_and_boundaries(tmp_path: Path) -> None:
    dataset = seven_pairs(tmp_path / "data")
    paths = write_shards(dataset, tmp_path / "out", "", 3)
    assert [path.name for path in paths] == [f"shard-00000{k}.tar" for k in range(3)]
    shards = pickle.loads(pickle.dumps(open_shards(tmp_path / "out")))
    assert [shards[k].name for k in (6, 0, 3, -1)] == ["g", "a", "d", "g"]
    with pytest.raises(IndexError):
        shards[7]
    urls = shard_urls(str(tmp_path / "out"))
    assert [(shard, sample.name) for shard, sample in iter_shards(urls, first_shard=1)] == [
        *((1, name) for name in "def"), (2, "g"),
    ]  # fmt: skip


def test_the_same_bytes_every_time_also_after_an_interruption(tmp_path: Path) -> None:
    dataset = seven_pairs(tmp_path / "data")
    write_shards(dataset, tmp_path / "first", "", 3)

    def stop_in_the_second() -> None:
        counted.append(1)
        if len(counted) == 5:
            raise KeyboardInterrupt

    counted: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        write_shards(dataset, tmp_path / "second", "", 3, stop_in_the_second)
    assert sorted(contents(tmp_path / "second")) == ["shard-000000.tar", "shards.json"]
    with pytest.raises(DataError, match=r"2 of 3 shards are missing .*shard-000001\.tar; run `dpt data shard` again"):
        open_shards(tmp_path / "second")
    written = (tmp_path / "second/shard-000000.tar").stat().st_mtime_ns
    write_shards(dataset, tmp_path / "second", "", 3)
    assert (tmp_path / "second/shard-000000.tar").stat().st_mtime_ns == written
    assert contents(tmp_path / "first") == contents(tmp_path / "second")


def test_members_say_what_they_are(tmp_path: Path) -> None:
    write_shards(seven_pairs(tmp_path / "data"), tmp_path / "out", "", 3)
    with tarfile.open(tmp_path / "out/shard-000001.tar") as tar:
        assert tar.getnames()[:3] == ["00000003.png", "00000003.target.png", "00000003.json"]
        assert {(entry.mtime, entry.uid, entry.gid, entry.uname) for entry in tar} == {(0, 0, 0, "")}
        record = json.load(tar.extractfile("00000003.json"))  # type: ignore[arg-type]
    assert record["scale"] == 0.001
    assert record["unit"] == "m"


@pytest.mark.filterwarnings("ignore")
def test_webdataset_reads_them(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    write_shards(seven_pairs(tmp_path / "data"), tmp_path / "out", "", 3)
    urls = list(shard_urls(str(tmp_path / "out")))
    samples = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == [f"{k:08d}" for k in range(7)]
    assert {"png", "target.png", "json"} <= set(samples[0])


def test_a_folder_of_other_shards_is_left_alone(tmp_path: Path) -> None:
    dataset = seven_pairs(tmp_path / "data")
    write_shards(dataset, tmp_path / "out", "", 3)
    with pytest.raises(DataError, match=r"has other shards \(samples_per_shard differ\)"):
        write_shards(dataset, tmp_path / "out", "", 4)
    labels(tmp_path / "labels")
    with pytest.raises(DataError, match="dataset, split, samples, class_names, names_sha256 differ"):
        write_shards(open_labels(tmp_path / "labels", "train"), tmp_path / "out", "train", 3)
    (tmp_path / "out/shards.json").unlink()
    with pytest.raises(DataError, match=r"has shards without shards\.json"):
        write_shards(dataset, tmp_path / "out", "", 3)


def test_a_broken_sample_leaves_no_half_shard(tmp_path: Path) -> None:
    dataset = seven_pairs(tmp_path / "data")
    (tmp_path / "data/images/e.png").write_bytes(b"no")
    with pytest.raises(DataError, match=r"e\.png"):
        write_shards(dataset, tmp_path / "out", "", 3)
    assert sorted(contents(tmp_path / "out")) == ["shard-000000.tar", "shards.json"]


def test_labels_keep_their_class_names(tmp_path: Path) -> None:
    labels(tmp_path / "data")
    write_shards(open_labels(tmp_path / "data", "train"), tmp_path / "out", "train")
    shards = open_shards(tmp_path / "out", "train")
    assert shards.class_names[:2] == ("class 0", "class 1")
    with pytest.raises(DataError, match="no split 'val'; there is train"):
        open_shards(tmp_path / "out", "val")


def test_broken_shards(tmp_path: Path) -> None:
    write_shards(seven_pairs(tmp_path / "data"), tmp_path / "out", "", 3)
    path = tmp_path / "out/shard-000001.tar"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"shard-000001\.tar"):
        open_shards(tmp_path / "out")[4]
    with pytest.raises(DataError, match=r"shard-000001\.tar"):
        list(iter_shards(shard_urls(str(tmp_path / "out")), 1))
    text(tmp_path / "out/shards.json", '{"format": 9}')
    with pytest.raises(DataError, match=r"not an index of shards \(format 9 is not known\)"):
        open_shards(tmp_path / "out")


def test_addresses() -> None:
    assert shard_urls("s3://b/x-{08..11}.tar") == tuple(f"s3://b/x-{k}.tar" for k in ("08", "09", "10", "11"))
    assert shard_urls("a.tar") == ("a.tar",)
    with pytest.raises(DataError, match=r"nowhere/shards\.json: cannot be opened"):
        shard_urls("nowhere/")


def test_remote_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec = pytest.importorskip("fsspec")
    write_shards(seven_pairs(tmp_path / "data"), tmp_path / "out", "", 3)
    memory = fsspec.filesystem("memory")
    for name, data in contents(tmp_path / "out").items():
        memory.pipe(f"/bucket/{name}", data)
    assert [sample.name for _, sample in iter_shards(shard_urls("memory://bucket"))] == list("abcdefg")
    # At random, as training reads: a shard is fetched when it is first needed, and once.
    fetched = open_shards(tmp_path / "near", address="memory://bucket/")
    before = dataset_fingerprint(fetched)
    assert (len(fetched), fetched[4].name) == (7, "e")
    assert sorted(path.name for path in (tmp_path / "near").iterdir()) == ["shard-000001.tar", "shards.json"]
    memory.rm("/bucket/shard-000001.tar")
    memory.rm("/bucket/shard-000002.tar")
    again = open_shards(tmp_path / "near", address="memory://bucket")
    assert ([again[k].name for k in range(6)], dataset_fingerprint(again)) == (list("abcdef"), before)
    with pytest.raises(DataError, match=r"memory://bucket/shard-000002\.tar: cannot be opened"):
        again[6]
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(DataError, match="pip install fsspec"):
        shard_urls("memory://bucket")


SAMPLE = Sample(
    np.zeros((H, W, 3), np.uint8), np.zeros((H, W), np.float32), "inverse_depth", "relative",
    np.ones((H, W), np.bool_), "s", "n",
)  # fmt: skip


@pytest.mark.parametrize(
    ("values", "quantity", "ending"),
    [
        (CODES / 1000, "depth_m", "target.png"),
        (CODES / 256, "depth_m", "target.png"),
        (255.0 - BYTES, "inverse_depth", "target.png"),
        (np.pi * CODES, "inverse_depth", "target.npy"),
        (1e9 * CODES, "depth_m", "target.npy"),
    ],
)
def test_whole_steps_where_nothing_is_lost(values: np.ndarray, quantity: str, ending: str) -> None:
    valid = values > 0
    target = values.astype(np.float32)
    unit = "m" if quantity == "depth_m" else "relative"
    sample = replace(SAMPLE, target=target, valid=valid, quantity=quantity, unit=unit)
    found, data, record = encode_target(sample)
    assert found == ending
    restored, restored_valid = decode_target({ending: data}, {**record, "quantity": quantity})
    np.testing.assert_array_equal(restored_valid, valid)
    np.testing.assert_array_equal(restored[valid], target[valid])


def test_sky_is_stored_in_whole_steps_too() -> None:
    sample = replace(SAMPLE, target=BYTES.astype(np.float32))
    ending, data, record = encode_target(sample)
    restored, valid = decode_target({ending: data}, {**record, "quantity": "inverse_depth"})
    assert ending == "target.png"
    assert valid.all()
    np.testing.assert_array_equal(restored, BYTES)


@settings(max_examples=50, deadline=None)
@given(step=st.sampled_from([1.0, 0.001, 1 / 256, 0.37]), seed=st.integers(0, 1000), sky=st.booleans())
def test_targets_come_back_to_the_bit(step: float, seed: int, sky: bool) -> None:
    rng = np.random.default_rng(seed)
    target = (rng.integers(0 if sky else 1, 70000, (H, W)) * step).astype(np.float32)
    sample = replace(SAMPLE, target=target, valid=rng.random((H, W)) < 0.7)
    ending, data, record = encode_target(sample)
    restored, valid = decode_target({ending: data}, {**record, "quantity": "inverse_depth"})
    np.testing.assert_array_equal(valid, sample.valid)
    np.testing.assert_array_equal(restored[valid], target[valid])


def test_sources_of_a_manifest_are_kept(tmp_path: Path) -> None:
    TREES["manifest"](tmp_path / "data")
    write_shards(open_manifest(tmp_path / "data", "train"), tmp_path / "out", "train")
    assert open_shards(tmp_path / "out")[0].source == "src"


@pytest.mark.parametrize("ending", ["npy", "png"])
def test_an_empty_member_is_no_traceback(ending: str) -> None:
    record = {"name": "n", "source": "s", "group": "", "quantity": "depth_m", "unit": "m", "intrinsics": None}
    record |= {"scale": 1.0, "offset": 0.0}
    pixels = cv2.imencode(".png", np.zeros((H, W, 3), np.uint8))[1].tobytes()
    members = {"json": json.dumps(record).encode(), "png": pixels, f"target.{ending}": b""}
    with pytest.raises(DataError, match="a tar#0: not a whole sample"):
        decode_sample("a tar#0", members)
