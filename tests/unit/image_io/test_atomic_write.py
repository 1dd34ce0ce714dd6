"""atomic_write: whole or not at all, with one clear line when the system refuses."""

from __future__ import annotations

import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dptkit.errors import OutputWriteError
from dptkit.image_io import atomic_write

NAMES = [
    "plain.bin",
    "with space.bin",
    "line\nbreak.bin",
    "深度图.bin",
    "глубина.bin",
    "عمق.bin",
    "🌍.bin",
    "\udcff.bin",
]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_content_appears_under_any_name(tmp_path: Path, name: str) -> None:
    with atomic_write(tmp_path / name) as part:
        part.write_bytes(b"new")
        assert part.parent == tmp_path
        assert part.name.startswith(".")
        assert part.suffix == ".part"
        assert not (tmp_path / name).exists()
    assert names_in(tmp_path) == [name]
    assert (tmp_path / name).read_bytes() == b"new"


@pytest.mark.parametrize("failure", [ValueError("no"), KeyboardInterrupt(), ConnectionResetError(104, "reset")])
def test_failure_passes_and_leaves_the_old_file(tmp_path: Path, failure: BaseException) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")

    def write_half() -> None:
        with atomic_write(target) as part:
            part.write_bytes(b"half")
            raise failure

    with pytest.raises(type(failure)) as caught:
        write_half()
    assert caught.value is failure
    assert names_in(tmp_path) == ["a.bin"]
    assert target.read_bytes() == b"old"


def test_error_about_another_file_is_not_blamed_on_this_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "a.bin"):
        (tmp_path / "missing").read_bytes()
    assert names_in(tmp_path) == []


def test_parent_folders_are_created(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "x" / "y" / "a.bin") as part:
        part.write_bytes(b"1")
    assert names_in(tmp_path / "x" / "y") == ["a.bin"]


def test_folder_below_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    target = tmp_path / "file" / "a.bin"
    with pytest.raises(OutputWriteError, match=r"Not a directory$") as caught, atomic_write(target):
        pytest.fail("the block must not run")
    assert str(caught.value).startswith(f"cannot write {target}: ")


def test_target_is_a_directory(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputWriteError, match=r"folder: is a directory$"), atomic_write(tmp_path / "folder"):
        pytest.fail("the block must not run")
    assert names_in(tmp_path) == ["folder"]


def test_device_is_never_replaced() -> None:
    before = Path("/dev/null").stat()
    with pytest.raises(OutputWriteError, match="/dev/null: is not a regular file"), atomic_write("/dev/null"):
        pytest.fail("the block must not run")
    assert stat.S_ISCHR(before.st_mode)
    assert Path("/dev/null").stat().st_ino == before.st_ino


def test_name_with_nul_byte() -> None:
    with pytest.raises(OutputWriteError, match=r"cannot write a\\x00b"), atomic_write("a\0b"):
        pytest.fail("the block must not run")


def test_mode_is_what_open_gives(tmp_path: Path) -> None:
    (tmp_path / "by_open").open("wb").close()
    with atomic_write(tmp_path / "ours"):
        pass
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "by_open").stat().st_mode


def test_mode_of_a_private_file_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "private"
    target.touch(0o600)
    with atomic_write(target) as part:
        part.write_bytes(b"1")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_symbolic_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    with atomic_write(tmp_path / "link") as part:
        part.write_bytes(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


@pytest.mark.parametrize("name", ["a" * 255, "深" * 85, "é" * 127])
def test_longest_names_fit(tmp_path: Path, name: str) -> None:
    with atomic_write(tmp_path / name) as part:
        part.write_bytes(b"1")
        part.name.encode("utf-8")
    assert names_in(tmp_path) == [name]


def test_too_long_name_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutputWriteError, match="File name too long"), atomic_write(tmp_path / ("a" * 256)):
        pass
    assert names_in(tmp_path) == []


def test_message_can_always_be_encoded(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputWriteError) as caught, atomic_write(tmp_path / "file" / "\udcff\n深.bin"):
        pass
    message = str(caught.value)
    message.encode("utf-8")
    assert "\n" not in message
    assert r"\udcff\n深.bin" in message


def test_threads_do_not_share_a_temporary_file(tmp_path: Path) -> None:
    together = threading.Barrier(8)
    parts: list[Path] = []

    def write(number: int) -> None:
        with atomic_write(tmp_path / "a.bin") as part:
            parts.append(part)
            together.wait(10)
            part.write_bytes(bytes([number]) * 1000)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(parts)) == 8
    assert names_in(tmp_path) == ["a.bin"]
    content = (tmp_path / "a.bin").read_bytes()
    assert len(content) == 1000
    assert len(set(content)) == 1


FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from dptkit.errors import OutputWriteError
from dptkit.image_io import *
from dptkit.outputs import DepthMap, Provenance, SegmentationMap
folder = Path(sys.argv[1])
noise = np.random.default_rng(0).random((200, 200), np.float32)
depth = DepthMap(noise, "inverse_depth", np.ones((200, 200), bool), Provenance("m", "1"))
labels = (noise * 3).astype(np.uint8)
seg = SegmentationMap(labels, ("a", "b", "c"), ((1, 2, 3), (4, 5, 6), (7, 8, 9)), depth.provenance, noise)
picture = (noise[:, :, None] * np.full(3, 255)).astype(np.uint8)
jobs = [lambda path=folder / f"x{suffix}": write_depth(path, depth) for suffix in DEPTH_SUFFIXES.values()]
jobs += [
    lambda: write_labels(folder / "x_labels.png", seg),
    lambda: write_scores(folder / "x_scores.png", seg),
    lambda: write_overlay(folder / "x_overlay.png", picture, seg),
]
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
for number, job in enumerate(jobs):
    try:
        job()
    except OutputWriteError as error:
        assert str(error).endswith(": File too large"), error
        assert str(error).startswith(f"cannot write {folder}"), error
    else:
        raise SystemExit(f"job {number} claims to have written more than the limit")
print(len(jobs))
"""


def test_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    pytest.importorskip("OpenEXR")
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "9"
    assert names_in(tmp_path) == []
