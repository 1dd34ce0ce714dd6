"""WebDataset shards: tar files of samples, for many small files on slow or remote storage.

ROOT/shards.json says what is in them; ROOT/shard-000000.tar and so on hold, for each sample, three members with one
key (its number in eight digits):

KEY.jpg (or .png)      the picture, as it was
KEY.target.png         the target in whole steps: value = stored * scale + offset, stored 0 = invalid; for labels the
                       class ids, 255 = ignored
KEY.target.npy         instead, where no such step gives every value back to the bit: float32, NaN = invalid
KEY.json               name, source, group, quantity, unit, intrinsics, and scale and offset

Read them at random from a local folder (`open_shards`), which may be filled from anywhere as shards are needed, or in
order from anywhere (`iter_shards`); the library webdataset reads them too.
"""

from __future__ import annotations

import importlib
import json
import math
import re
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from dptkit.data.pairs import check_split, require_file, require_folder
from dptkit.data.sample import IGNORED, Sample, SampleFiles
from dptkit.data.shard_target import decode_target
from dptkit.errors import DataError, ImageReadError
from dptkit.image_io import atomic_write, read_image
from dptkit.image_io.names import printable

INDEX = "shards.json"
FORMAT = 1
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_Places = dict[str, tuple[int, int]]  # ending -> (offset, size) in the tar file


def shard_name(number: int) -> str:
    """The file of a shard."""
    return f"shard-{number:06d}.tar"


@dataclass(frozen=True, eq=False)
class ShardFolder:
    """A `Dataset` in shards of a local folder, by index. A shard's table of contents is read when first needed.

    address: where a shard that is not in the folder is fetched from, when first needed; "" for nowhere.
    """

    name: str
    root: Path
    split: str
    samples: int
    samples_per_shard: int
    class_names: tuple[str, ...] = ()
    address: str = ""
    _contents: dict[int, list[_Places]] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> Sample:
        if not -self.samples <= index < self.samples:
            raise IndexError(index)
        shard, place = divmod(index % self.samples, self.samples_per_shard)
        path = self.root / shard_name(shard)
        if self.address:
            _fetch(self.address, path)
        try:
            if shard not in self._contents:
                self._contents[shard] = _contents(path)
            places = self._contents[shard][place]
            with path.open("rb") as file:
                members = {ending: _part(file, *where) for ending, where in places.items()}
        except (OSError, tarfile.TarError, IndexError) as error:
            raise DataError(f"{printable(path)}: sample {place} cannot be read ({error})") from error
        return decode_sample(f"{path}#{place}", members)

    def sample_files(self) -> Iterator[SampleFiles]:
        """Source, number and shard of each sample; its own name and source are in the shard.

        Shards that are fetched are not named: the data set is the same whether they are there yet.
        """
        for index in range(self.samples):
            shard, place = divmod(index, self.samples_per_shard)
            files = () if self.address else (self.root / shard_name(shard),)
            yield SampleFiles(self.name, f"{shard}/{place}", files)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_contents": {}}


def open_shards(root: Path, split: str = "", *, address: str = "") -> ShardFolder:
    """Shards in a local folder. split: "" or the one they were made of. Raises DataError if any are missing.

    address: a folder anywhere that fsspec knows, such as s3://bucket/shards; `root` is filled from it, a shard when it
    is first needed, and in the end holds all of them.
    """
    address = address.rstrip("/")
    if address:
        _fetch(address, root / INDEX)
    require_folder("shards", root)
    index = read_index(
        require_file("shards", root, INDEX, "`dpt data shard` writes it").read_bytes(), str(root / INDEX)
    )
    if split:
        check_split("shards", split, (index["split"],))
    dataset = ShardFolder(
        index["dataset"],
        root,
        index["split"],
        index["samples"],
        index["samples_per_shard"],
        tuple(index["class_names"]),
        address,
    )
    missing = [] if address else [name for name in index["shards"] if not (root / name).is_file()]
    if missing:
        raise DataError(
            f"shards: {len(missing)} of {len(index['shards'])} shards are missing in {printable(root)}, such as "
            f"{missing[0]}; run `dpt data shard` again to go on"
        )
    return dataset


def shard_urls(source: str) -> tuple[str, ...]:
    """The shards that are meant: a folder or address with shards.json, one .tar, or shard-{000000..000009}.tar."""
    found = _RANGE.search(source)
    if found:
        first, last = found.groups()
        numbers = range(int(first), int(last) + 1)
        return tuple(_RANGE.sub(f"{number:0{len(first)}d}", source, count=1) for number in numbers)
    if source.endswith(".tar"):
        return (source,)
    base = source.rstrip("/")
    with open_url(f"{base}/{INDEX}") as file:
        index = read_index(file.read(), f"{base}/{INDEX}")
    return tuple(f"{base}/{name}" for name in index["shards"])


def iter_shards(urls: Sequence[str], first_shard: int = 0) -> Iterator[tuple[int, Sample]]:
    """(number of the shard, sample) of shards in order, local or of any address that fsspec knows.

    The order is fixed, so a run resumes at a shard's beginning by `first_shard`. Each shard is read once, from
    beginning to end. Raises DataError.
    """
    for shard in range(first_shard, len(urls)):
        for key, members in _groups(urls[shard]):
            yield shard, decode_sample(f"{urls[shard]}#{key}", members)


def decode_sample(where: str, members: Mapping[str, bytes]) -> Sample:
    """One sample's members, by ending -> sample. Raises DataError beginning with `where`."""
    try:
        record = json.loads(members["json"])
        picture = members.get("jpg") or members["png"]
        image = read_image(picture)
        values, valid = decode_target(members, record)
        intrinsics = record["intrinsics"]
        return Sample(
            image=image,
            target=values,
            quantity=record["quantity"],
            unit=record["unit"],
            valid=valid if record["quantity"] != "labels" else values != IGNORED,
            source=record["source"],
            name=record["name"],
            group=record["group"],
            intrinsics=None if intrinsics is None else tuple(intrinsics),
        )
    except (KeyError, ValueError, TypeError, EOFError, ImageReadError) as error:
        raise DataError(f"{printable(where)}: not a whole sample ({error})") from error


def read_index(data: bytes, where: str) -> dict[str, Any]:
    """shards.json, checked, with the names of all shards as "shards". Raises DataError."""
    try:
        index = json.loads(data)
        if index["format"] != FORMAT:
            raise ValueError(f"format {index['format']} is not known")
        for key in ("dataset", "split"):
            if not isinstance(index[key], str):
                raise TypeError(f"{key} is no text")
        if not (index["samples"] > 0 and index["samples_per_shard"] > 0):
            raise ValueError("no samples")
        shards = math.ceil(index["samples"] / index["samples_per_shard"])
        return {"class_names": [], **index, "shards": [shard_name(number) for number in range(shards)]}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{printable(where)}: not an index of shards ({error})") from error


def open_url(url: str) -> IO[bytes]:
    """A local file or any address that fsspec knows, for reading. Raises DataError."""
    try:
        if "://" not in url:
            return Path(url).open("rb")
        try:
            fsspec = importlib.import_module("fsspec")
        except ImportError:
            raise DataError(f"{printable(url)}: remote shards need fsspec: pip install fsspec") from None
        file: IO[bytes] = fsspec.open(url, "rb").open()
        return file
    except (OSError, ValueError, ImportError) as error:
        raise DataError(f"{printable(url)}: cannot be opened ({printable(str(error))})") from error


def _fetch(address: str, path: Path) -> None:
    """The file of `path`'s name at an address, unless it is there already. Raises DataError, OutputWriteError."""
    if path.is_file():
        return
    url = f"{address}/{path.name}"
    with open_url(url) as remote, atomic_write(path) as temporary, temporary.open("wb") as local:
        try:
            shutil.copyfileobj(remote, local)
        except OSError as error:
            raise DataError(f"{printable(url)}: cannot be fetched ({printable(str(error))})") from error


def _groups(url: str) -> Iterator[tuple[str, dict[str, bytes]]]:
    """(key, members by ending), one sample at a time, from a stream that is read once."""
    key, members = "", dict[str, bytes]()
    with open_url(url) as file:
        try:
            with tarfile.open(fileobj=file, mode="r|") as tar:
                for entry in tar:
                    content = tar.extractfile(entry)
                    if content is None:
                        continue
                    stem, _, ending = entry.name.partition(".")
                    if stem != key:
                        if members:
                            yield key, members
                        key, members = stem, {}
                    members[ending] = content.read()
        except (OSError, tarfile.TarError, EOFError) as error:
            raise DataError(f"{printable(url)}: cannot be read ({error})") from error
        if members:
            yield key, members


def _contents(path: Path) -> list[_Places]:
    places: dict[str, _Places] = {}
    with tarfile.open(path, "r:") as tar:
        for entry in tar:
            key, _, ending = entry.name.partition(".")
            places.setdefault(key, {})[ending] = (entry.offset_data, entry.size)
    return list(places.values())


def _part(file: IO[bytes], offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)
