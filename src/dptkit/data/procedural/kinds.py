"""The kinds of pictures: how often each is drawn, and how near things may come to the camera."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dptkit.data.procedural.camera import Camera
from dptkit.data.procedural.nature import foliage, landscape
from dptkit.data.procedural.rooms import room
from dptkit.data.procedural.scene import Scene
from dptkit.data.procedural.streets import street
from dptkit.data.procedural.subjects import floating, subject
from dptkit.data.procedural.tabletops import tabletop


@dataclass(frozen=True)
class Kind:
    """layout: fills a scene and yields cameras without end. share: of all pictures. nearest: metres, a picture with
    anything nearer is thrown away. crowded: median depth over `nearest` below which the view counts as blocked."""

    layout: Callable[[Scene], Iterator[Camera]]
    share: float
    nearest: float
    crowded: float = 2.0


TABLE: dict[str, Kind] = {
    "room": Kind(room, 0.28, 0.25, 4.0),
    "tabletop": Kind(tabletop, 0.25, 0.12),
    "street": Kind(street, 0.17, 0.5, 4.0),
    "foliage": Kind(foliage, 0.10, 0.25),
    "landscape": Kind(landscape, 0.08, 0.4),
    "subject": Kind(subject, 0.07, 0.15),
    "floating": Kind(floating, 0.05, 0.1),
}
