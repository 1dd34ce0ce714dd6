"""What a layout fills and the renderer reads: things placed in the world, materials, lights, sky.

World: metres, z up. A thing has one class and one instance number; it is made of parts, which are meshes with a
size, a place and a material. Placing only notes numbers; `Scene.geometry` turns all into triangles at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dptkit.data.procedural import meshes
from dptkit.data.procedural.classes import CLASS_IDS
from dptkit.data.procedural.draw import Colour, Draw
from dptkit.data.procedural.meshes import Mesh
from dptkit.data.procedural.placing import place_parts

Point = tuple[float, float, float]
Floats = npt.NDArray[np.float64]


class Frame(NamedTuple):
    """A place to stand: a point and a turn about the vertical. Its +y is called the front."""

    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    cos: float = 1.0
    sin: float = 0.0

    def at(self, x: float = 0.0, y: float = 0.0, z: float = 0.0, turn: float = 0.0) -> Frame:
        """The frame at (x, y, z) of this one, turned by `turn` radians to the left."""
        c, s = (math.cos(turn), math.sin(turn)) if turn else (1.0, 0.0)
        return Frame(
            self.x + self.cos * x - self.sin * y,
            self.y + self.sin * x + self.cos * y,
            self.z + z,
            self.cos * c - self.sin * s,
            self.sin * c + self.cos * s,
        )

    def point(self, x: float, y: float, z: float) -> Point:
        return self.at(x, y, z)[:3]


ORIGIN = Frame()


def tilt_x(angle: float) -> Floats:
    """Rotation [3, 3] about x: the top leans back (towards -y) for positive angles."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def tilt_y(angle: float) -> Floats:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


class Light(NamedTuple):
    """A lamp at a point, or the sun in a direction. `soft`: radius in metres, or of the sun's disc in radians."""

    at: Point
    colour: Colour
    sun: bool = False
    soft: float = 0.1


@dataclass
class Sky:
    """Colours of the sky, linear; what shows where no ray hits anything."""

    top: Colour
    horizon: Colour
    cloud: Colour = (1.0, 1.0, 1.0)
    cover: float = 0.0
    seed: float = 0.0
    sun: Point = (0.0, 0.0, 1.0)
    glow: Colour = (0.0, 0.0, 0.0)


@dataclass(frozen=True, eq=False)
class Geometry:
    """A scene as arrays: P parts, T triangles, V vertices.

    vertices: float32 [V, 3], world. faces: int32 [T, 3], rows of `vertices`. part: int32 [T].
    mesh_row: int32 [T], row in `mesh_triangles`, `normals`.
    rotations [P, 3, 3], places [P, 3], sizes [P, 3]: mesh to world is rotation @ (size * point) + place.
    materials: int32 [P], rows of `Scene.material_rows`. things: int32 [P]. thing_class: uint8 [things].
    """

    vertices: npt.NDArray[np.float32]
    faces: npt.NDArray[np.int32]
    part: npt.NDArray[np.int32]
    mesh_row: npt.NDArray[np.int32]
    mesh_triangles: npt.NDArray[np.float32]
    normals: npt.NDArray[np.float32]
    rotations: Floats
    places: Floats
    sizes: Floats
    materials: npt.NDArray[np.int32]
    things: npt.NDArray[np.int32]
    thing_class: npt.NDArray[np.uint8]


@dataclass
class Scene:
    """See the module. `ambient`: light from above and from below; `haze`: (density per metre, colour);
    `blur`: strength of the lens blur, 0 = none; `corner_reach`: how near other surfaces darken a corner, metres."""

    draw: Draw
    kind: str = ""
    photo_slots: int = 0
    lights: list[Light] = field(default_factory=list)
    ambient: tuple[Colour, Colour] = ((0.6, 0.6, 0.6), (0.4, 0.4, 0.4))
    sky: Sky | None = None
    haze: tuple[float, Colour] = (0.0, (0.7, 0.7, 0.7))
    blur: float = 0.0
    corner_reach: float = 1.2
    material_rows: list[list[float]] = field(default_factory=list)
    thing_classes: list[int] = field(default_factory=lambda: [CLASS_IDS["sky"]])
    _parts: list[tuple[float, ...]] = field(default_factory=list)
    _rotations: list[Floats] = field(default_factory=lambda: [np.eye(3)])
    _meshes: dict[int, tuple[int, Mesh]] = field(default_factory=dict)

    def thing(self, name: str) -> int:
        """The number of a new thing of class `name`; parts are given to it."""
        self.thing_classes.append(CLASS_IDS[name])
        return len(self.thing_classes) - 1

    def part(
        self,
        thing: int,
        mesh: Mesh,
        material: int,
        size: Sequence[float] = (1.0, 1.0, 1.0),
        centre: Sequence[float] = (0.0, 0.0, 0.0),
        frame: Frame = ORIGIN,
        rotation: Floats | None = None,
    ) -> None:
        """Add `mesh`, `size` metres large, turned by `rotation`, with its origin at `centre` of `frame`."""
        known = self._meshes.setdefault(id(mesh), (len(self._meshes), mesh))
        turned = 0
        if rotation is not None:
            self._rotations.append(rotation)
            turned = len(self._rotations) - 1
        self._parts.append((known[0], material, thing, turned, *frame, *centre, *size))

    def box(
        self,
        thing: int,
        material: int,
        size: Sequence[float],
        centre: Sequence[float],
        frame: Frame = ORIGIN,
        rotation: Floats | None = None,
    ) -> None:
        self.part(thing, meshes.box(), material, size, centre, frame, rotation)

    def rod(
        self,
        thing: int,
        material: int,
        start: Point,
        end: Point,
        radius: float,
        frame: Frame = ORIGIN,
        end_radius: float | None = None,
    ) -> None:
        """A thin round bar from `start` to `end`, both in `frame`."""
        dx, dy, dz = end[0] - start[0], end[1] - start[1], end[2] - start[2]
        length = math.sqrt(dx * dx + dy * dy + dz * dz) + 1e-9
        dx, dy, dz = dx / length, dy / length, dz / length
        rotation = None
        if dz < 0.9999:
            flat = math.hypot(dx, dy)
            # Columns: level and across, the rest, along the rod.
            ax, ay = (-dy / flat, dx / flat) if flat > 1e-9 else (1.0, 0.0)
            rotation = np.array([[ax, -ay * dz, dx], [ay, ax * dz, dy], [0.0, ay * dx - ax * dy, dz]])
        centre = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2, (start[2] + end[2]) / 2)
        mesh = meshes.tube(1.0 if end_radius is None else end_radius / radius)
        self.part(thing, mesh, material, (2 * radius, 2 * radius, length), centre, frame, rotation)

    def standing(self) -> Floats:
        """Where something stands on the floor, roughly: (x, y, radius) [N, 3] of all parts but walls and the like."""
        rows = np.array(self._parts)
        x, y = rows[:, 4] + rows[:, 7] * rows[:, 9] - rows[:, 8] * rows[:, 10], rows[:, 5] + rows[:, 8] * rows[:, 9]
        y = y + rows[:, 7] * rows[:, 10]
        z, size = rows[:, 6] + rows[:, 11], rows[:, 12:15]
        low = (z < 2) & (z + size[:, 2] / 2 > 0.1) & (size[:, :2].max(1) < 2.6)
        discs = np.stack([x, y, 0.4 * np.hypot(size[:, 0], size[:, 1])], 1)
        return np.asarray(discs[low])

    def geometry(self) -> Geometry:
        """All parts as triangles. Raises ValueError for a scene without parts."""
        if not self._parts:
            raise ValueError("a scene needs at least one part")
        rows = np.array(self._parts)
        used = [mesh for _, mesh in self._meshes.values()]
        vertex_starts = np.cumsum([0] + [len(mesh.vertices) for mesh in used])
        face_starts = np.cumsum([0] + [len(mesh.faces) for mesh in used])
        which = rows[:, 0].astype(np.int64)
        total = int(np.diff(face_starts)[which].sum())
        vertices = np.empty((int(np.diff(vertex_starts)[which].sum()), 3), np.float32)
        faces = np.empty((total, 3), np.int32)
        part, mesh_row = np.empty(total, np.int32), np.empty(total, np.int32)
        rotations, places = np.empty((len(rows), 3, 3)), np.empty((len(rows), 3))
        mesh_vertices = np.concatenate([mesh.vertices for mesh in used])
        mesh_faces = np.concatenate([mesh.faces for mesh in used])
        place_parts(
            rows, np.array(self._rotations), vertex_starts, face_starts, mesh_vertices, mesh_faces, vertices, faces,
            part, mesh_row, rotations, places,
        )  # fmt: skip
        return Geometry(
            vertices=vertices,
            faces=faces,
            part=part,
            mesh_row=mesh_row,
            mesh_triangles=np.concatenate([mesh.triangles for mesh in used]),
            normals=np.concatenate([mesh.normals for mesh in used]),
            rotations=rotations,
            places=places,
            sizes=np.ascontiguousarray(rows[:, 12:15]),
            materials=rows[:, 1].astype(np.int32),
            things=rows[:, 2].astype(np.int32),
            thing_class=np.array(self.thing_classes, np.uint8),
        )
