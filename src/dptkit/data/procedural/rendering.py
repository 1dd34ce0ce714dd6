"""A seed to a picture, or to a clip: the same seed gives the same bytes, whatever was rendered before."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from dptkit.data.procedural.compiled import require_renderer
from dptkit.data.procedural.rendered import RenderedScene
from dptkit.errors import DataError

if TYPE_CHECKING:
    from dptkit.data.procedural.camera import Camera
    from dptkit.data.procedural.draw import Draw
    from dptkit.data.procedural.photos import PhotoTextures
    from dptkit.data.procedural.pipeline import Stage
    from dptkit.data.procedural.sensor import Sensor

KINDS = ("room", "tabletop", "street", "foliage", "landscape", "subject", "floating")
_CAMERAS = 12  # tried in one scene before another is built
_SMALLEST = 16


def render_scene(
    seed: int, *, size: tuple[int, int] = (240, 320), kind: str | None = None, photos: PhotoTextures | None = None
) -> RenderedScene:
    """The picture of `seed`.

    size: (height, width). kind: one of KINDS; drawn by their shares where None. photos: textures from a folder,
    besides drawn ones. Raises DataError for arguments out of range, or without the extra `render`.
    """
    return _staged(seed, size, kind, photos)[-1]


def render_clip(
    seed: int,
    frames: int,
    *,
    size: tuple[int, int] = (240, 320),
    kind: str | None = None,
    photos: PhotoTextures | None = None,
) -> Iterator[RenderedScene]:
    """`frames` pictures of the scene of `seed`, from a camera on a smooth path; nothing else moves.

    The exposure stays, noise differs from frame to frame. Each frame has its own pose. The path shrinks until
    nothing comes too near. Raises as `render_scene` does, on the first frame.
    """
    from dptkit.data.procedural.camera import camera_path
    from dptkit.data.procedural.draw import Draw
    from dptkit.data.procedural.kinds import TABLE

    if frames < 1:
        raise DataError(f"a clip needs at least 1 frame, not {frames}")
    stage, camera, sensor, first = _staged(seed, size, kind, photos)
    nearest = TABLE[first.kind].nearest
    reach = float(np.median(first.depth_m[np.isfinite(first.depth_m)])) * 0.35
    path = [camera] * frames
    for attempt in range(8):
        tried = camera_path(camera, frames, reach * 0.6**attempt, Draw(seed, 3, attempt))
        if all(stage.nearest(view, size).min() > nearest * 0.7 for view in tried):
            path = tried
            break
    steady = sensor.steady(stage.brightness(camera, size, sensor, seed))
    for k, view in enumerate(path):
        yield stage.render(view, size, steady, seed + 7919 * k)


def _staged(
    seed: int, size: tuple[int, int], kind: str | None, photos: PhotoTextures | None
) -> tuple[Stage, Camera, Sensor, RenderedScene]:
    """A scene with a camera that sees something, and its picture."""
    require_renderer()
    from dptkit.data.procedural.draw import Draw
    from dptkit.data.procedural.kinds import TABLE
    from dptkit.data.procedural.sensor import draw_sensor

    check_request(seed, size, kind)
    _keep_freed_memory()
    if kind is None:
        kind = Draw(seed, 0).weighted({name: entry.share for name, entry in TABLE.items()})
    for attempt in itertools.count():
        draw = Draw(seed, 1, attempt)
        stage, cameras = _build(kind, draw, photos)
        sensor = draw_sensor(draw, stage.scene.blur)
        for camera in itertools.islice(cameras, _CAMERAS):
            if not _sees_something(stage, camera, size, kind):
                continue
            rendered = stage.render(camera, size, sensor, seed)
            if rendered.depth_m.min() > TABLE[kind].nearest:
                return stage, camera, sensor, rendered
    raise AssertionError("unreachable")


@cache
def _keep_freed_memory() -> None:
    """Let one picture's memory serve the next: glibc keeps blocks up to the size of the largest that it saw freed, and
    gives larger ones back to the system, whose fresh pages took a twentieth of the time."""
    np.empty(1 << 24, np.uint8)


def check_request(seed: int, size: tuple[int, int], kind: str | None) -> None:
    """Raise DataError for a seed, a size or a kind that cannot be rendered."""
    if seed < 0:
        raise DataError(f"a seed must be 0 or more, not {seed}")
    if len(size) != 2 or min(size) < _SMALLEST:
        raise DataError(f"a picture must be at least {_SMALLEST} pixels high and wide, not {size}")
    if kind is not None and kind not in KINDS:
        raise DataError(f"{kind!r} is no kind of scene; there are {', '.join(KINDS)}")


def _build(kind: str, draw: Draw, photos: PhotoTextures | None) -> tuple[Stage, Iterator[Camera]]:
    from dptkit.data.procedural.kinds import TABLE
    from dptkit.data.procedural.materials import photo_slots_used
    from dptkit.data.procedural.photos import texels
    from dptkit.data.procedural.pipeline import Stage
    from dptkit.data.procedural.scene import Scene

    crops = photos.crops(draw) if photos else []
    scene = Scene(draw, kind, len(crops))
    cameras = TABLE[kind].layout(scene)
    first = next(cameras)  # fills the scene
    return Stage(scene, texels(crops, photo_slots_used(scene))), itertools.chain([first], cameras)


def _sees_something(stage: Stage, camera: Camera, size: tuple[int, int], kind: str) -> bool:
    """Not from inside a thing, not onto one close face, not only flat or empty."""
    from dptkit.data.procedural.kinds import TABLE

    depth, limits = stage.nearest(camera, size), TABLE[kind]
    low, middle, high = np.quantile(depth, (0.05, 0.5, 0.95))
    return bool(
        depth.min() > limits.nearest and middle > limits.nearest * limits.crowded and high > 1.15 * low and low < 1e5
    )
