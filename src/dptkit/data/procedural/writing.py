"""Rendered pictures as files: a folder that any program can read, complete scene by scene.

`SOURCE/NAME.jpg` (or `NAME-image.png`), `SOURCE/NAME.png` 16-bit disparity (value x scale = 1/m, 0 = sky, or
nothing within 20 km), `NAME-labels.png` and `NAME-instances.png`, `NAME.json` with camera and kind, written last,
and one `manifest.csv` of all of them. Inverse depth, not depth, so that the sky has its true value and near things
keep their precision: 0.0001 1/m, from 15 cm on. Readers of a manifest take 0 for "not measured" and leave the sky out.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from dptkit.data.procedural.dataset import scene_name
from dptkit.data.procedural.rendered import RenderedScene
from dptkit.data.procedural.rendering import check_request, render_scene
from dptkit.errors import DataError
from dptkit.image_io import atomic_write

if TYPE_CHECKING:
    from dptkit.data.procedural.photos import PhotoTextures

SOURCE = "procedural"
DISPARITY_SCALE = 1e-4
"""Metres to the power of -1 per step of a disparity file."""
_COLUMNS = ("source", "split", "name", "scene_type", "kind", "scale", "metric", "split_group", "license", "width",
            "height", "valid_fraction")  # fmt: skip
_JPEG_QUALITY = 93
ImageFormat = Literal["jpg", "png"]


@dataclass(frozen=True)
class Progress:
    """`done` of `total` scenes are on the disk; `skipped` of them were there before."""

    done: int
    total: int
    skipped: int


def write_scenes(
    out: Path,
    count: int,
    seed: int = 0,
    size: tuple[int, int] = (240, 320),
    photos: PhotoTextures | None = None,
    processes: int = 1,
    *,
    kind: str | None = None,
    image_format: ImageFormat = "jpg",
) -> Iterator[Progress]:
    """Write the pictures of `count` seeds from `seed` under `out`, and yield after each.

    Complete scenes of the same seed, size and kind are skipped, so a run that was cut off goes on where it stopped;
    every file appears whole or not at all. `manifest.csv` is written at the end and lists every complete scene of
    the folder. Raises DataError for arguments out of range or scenes of other settings in the way, OutputWriteError
    where the disk refuses.
    """
    check_request(seed, size, kind)
    if count < 1 or processes < 1:
        raise DataError(f"count and processes must be at least 1, not {count} and {processes}")
    folder = Path(out) / SOURCE
    settings = {"size": list(size), "asked_kind": kind, "photos": photos is not None, "image_format": image_format}
    waiting = [k for k in range(seed, seed + count) if not _is_complete(folder, k, settings)]
    skipped = count - len(waiting)
    yield Progress(skipped, count, skipped)
    work = partial(_write_one, folder=folder, size=size, photos=photos, kind=kind, settings=settings)
    for done, _ in enumerate(_each(work, waiting, processes), 1):
        yield Progress(skipped + done, count, skipped)
    _write_manifest(Path(out))


def _each(work: Any, seeds: list[int], processes: int) -> Iterator[None]:
    if processes == 1 or len(seeds) < 2:
        yield from map(work, seeds)
        return
    from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    # Fresh processes: a fork would copy the threads' locks of whatever this one has loaded.
    pool = ProcessPoolExecutor(min(processes, len(seeds)), get_context("spawn"), initializer=_start_worker)
    left = iter(seeds)
    try:
        running = {pool.submit(work, seed) for seed in islice(left, 4 * processes)}
        while running:
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for scene in finished:
                scene.result()
                running |= {pool.submit(work, seed) for seed in islice(left, 1)}
                yield None
    except BrokenProcessPool:
        raise DataError("a rendering process died; scenes written so far are kept, try processes=1") from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    import signal

    cv2.setNumThreads(1)
    # Ctrl-C reaches the whole group; the parent cancels what waits, and the scene in hand is finished.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _write_one(
    seed: int,
    *,
    folder: Path,
    size: tuple[int, int],
    photos: PhotoTextures | None,
    kind: str | None,
    settings: dict[str, Any],
) -> None:
    rendered = render_scene(seed, size=size, kind=kind, photos=photos)
    name = scene_name(seed)
    bgr = np.asarray(cv2.cvtColor(rendered.image, cv2.COLOR_RGB2BGR), np.uint8)
    if settings["image_format"] == "jpg":
        write_jpeg(folder / f"{name}.jpg", bgr)
    else:
        write_picture(folder / f"{name}-image.png", ".png", bgr, [])
    disparity = encode_disparity(rendered)
    write_picture(folder / f"{name}.png", ".png", disparity, [])
    write_picture(folder / f"{name}-labels.png", ".png", rendered.labels, [])
    write_picture(folder / f"{name}-instances.png", ".png", rendered.instances.astype(np.uint16), [])
    with atomic_write(folder / f"{name}.json") as temporary:
        temporary.write_text(json.dumps(_record(seed, rendered, disparity, settings)), encoding="utf-8")


def _record(
    seed: int, rendered: RenderedScene, disparity: npt.NDArray[np.uint16], settings: dict[str, Any]
) -> dict[str, Any]:
    return {
        **settings,
        "seed": seed,
        "kind": rendered.kind,
        "disparity_scale": DISPARITY_SCALE,
        "intrinsics": list(rendered.intrinsics),
        "camera_pose": rendered.camera_pose.tolist(),
        "valid_fraction": round(float((disparity > 0).mean()), 3),
    }


def encode_disparity(rendered: RenderedScene) -> npt.NDArray[np.uint16]:
    """Inverse depth in steps of `DISPARITY_SCALE`."""
    return np.clip(np.rint(rendered.inverse_depth / DISPARITY_SCALE), 0, 65535).astype(np.uint16)


def write_jpeg(path: Path, bgr: npt.NDArray[np.uint8]) -> None:
    """A picture as JPEG, whole or not at all."""
    write_picture(path, ".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])


def write_picture(path: Path, suffix: str, pixels: npt.NDArray[Any], options: list[int]) -> None:
    """Pixels in the format of `suffix`, whole or not at all."""
    coded = cv2.imencode(suffix, pixels, options)[1]
    with atomic_write(path) as temporary:
        temporary.write_bytes(coded.tobytes())


def read_record(path: Path) -> dict[str, Any] | None:
    """None where there is no file. Raises DataError for one that is no record."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: not the record of a rendered scene ({error}); remove it or choose another folder"
        ) from None
    return record if isinstance(record, dict) else None


def _is_complete(folder: Path, seed: int, settings: dict[str, Any]) -> bool:
    path = folder / f"{scene_name(seed)}.json"
    record = read_record(path)
    if record is None:
        return False
    different = [key for key, value in settings.items() if record.get(key) != value]
    if different:
        raise DataError(f"{path} was rendered with another {different[0]}; choose another folder")
    return True


def _write_manifest(out: Path) -> None:
    text = io.StringIO()
    table = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    table.writeheader()
    for path in sorted((out / SOURCE).glob("scene-*.json")):
        record = read_record(path)
        if record is None:
            continue
        table.writerow(
            {
                "source": SOURCE,
                "split": "train",
                "name": path.stem,
                "scene_type": record["kind"],
                "kind": "disparity",
                "scale": DISPARITY_SCALE,
                "metric": "true",
                "split_group": path.stem,
                "license": "rendered",
                "width": record["size"][1],
                "height": record["size"][0],
                "valid_fraction": record["valid_fraction"],
            }
        )
    with atomic_write(out / "manifest.csv") as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")
