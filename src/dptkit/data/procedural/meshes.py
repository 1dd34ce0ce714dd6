"""Unit meshes, made once and kept: triangles with a normal at every corner. Scenes place them by size and position.

Meshes fill the unit cube about the origin unless told otherwise; z is up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Mesh:
    """triangles, normals: float32 [n, 3, 3]; normals need not have unit length, but point outwards.

    vertices float32 [v, 3] and faces int32 [n, 3] say the same as `triangles`, with every corner once: Embree takes
    its time for each number.
    """

    triangles: npt.NDArray[np.float32]
    normals: npt.NDArray[np.float32]
    vertices: npt.NDArray[np.float32] = field(init=False)
    faces: npt.NDArray[np.int32] = field(init=False)

    def __post_init__(self) -> None:
        corners = self.triangles.reshape(-1, 3) + np.float32(0)  # no negative zeros
        bits = np.ascontiguousarray(corners).view(np.uint32).astype(np.uint64)
        keys = (bits * np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)).sum(1)
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        object.__setattr__(self, "vertices", corners[first])
        object.__setattr__(self, "faces", inverse.reshape(-1, 3).astype(np.int32))


def flat_mesh(triangles: npt.ArrayLike, centre: Sequence[float] | None = None) -> Mesh:
    """A mesh of flat faces [n, 3, 3]. Around `centre`, where given, normals are turned outwards."""
    t = np.asarray(triangles, np.float64)
    n = np.cross(t[:, 1] - t[:, 0], t[:, 2] - t[:, 0])
    n /= np.linalg.norm(n, axis=1, keepdims=True) + 1e-12
    if centre is not None:
        n[((t.mean(1) - np.asarray(centre)) * n).sum(1) < 0] *= -1
    return Mesh(t.astype(np.float32), np.repeat(n[:, None], 3, 1).astype(np.float32))


def grid_mesh(points: Floats, normals: Floats | None = None) -> Mesh:
    """A surface through points [rows, columns, 3]; normals from its slopes where not given."""
    if normals is None:
        normals = np.cross(np.gradient(points, axis=1), np.gradient(points, axis=0))
        normals /= np.linalg.norm(normals, axis=-1, keepdims=True) + 1e-12
    return Mesh(_grid_triangles(points), _grid_triangles(normals))


def _grid_triangles(a: Floats) -> npt.NDArray[np.float32]:
    first = np.stack([a[:-1, :-1], a[:-1, 1:], a[1:, 1:]], 2).reshape(-1, 3, 3)
    second = np.stack([a[:-1, :-1], a[1:, 1:], a[1:, :-1]], 2).reshape(-1, 3, 3)
    return np.concatenate([first, second]).astype(np.float32)


@cache
def box() -> Mesh:
    faces = []
    for axis in range(3):
        a, b = (i for i in range(3) if i != axis)
        for side in (-0.5, 0.5):
            corners = np.zeros((4, 3))
            corners[:, axis] = side
            corners[:, a] = (-0.5, 0.5, 0.5, -0.5)
            corners[:, b] = (-0.5, -0.5, 0.5, 0.5)
            faces += [corners[[0, 1, 2]], corners[[0, 2, 3]]]
    return flat_mesh(faces, (0, 0, 0))


@cache
def sphere(around: int = 16, up: int = 10, roundness: float = 1.0) -> Mesh:
    """A ball of diameter 1; with `roundness` below 1 a cushion, and near 0 a box with rounded edges."""
    u, v = np.meshgrid(np.linspace(0, 2 * np.pi, around + 1), np.linspace(-np.pi / 2, np.pi / 2, up + 1))

    def shape(power: float) -> Floats:
        cu, su, cv, sv = (np.sign(f) * np.abs(f) ** power for f in (np.cos(u), np.sin(u), np.cos(v), np.sin(v)))
        return np.stack([cv * cu, cv * su, sv], -1)

    return grid_mesh(shape(roundness) * 0.5, shape(2 - roundness))


def rounded_box() -> Mesh:
    return sphere(16, 10, 0.25)


def cushion() -> Mesh:
    return sphere(14, 9, 0.45)


def coarse_sphere() -> Mesh:
    return sphere(10, 6)


@cache
def lump(variant: int, around: int = 12, up: int = 8) -> Mesh:
    """An uneven ball of diameter 1, the dense inside of a bush; eight variants."""
    rng = np.random.default_rng(variant % 8)
    u, v = np.meshgrid(np.linspace(0, 2 * np.pi, around + 1), np.linspace(-np.pi / 2, np.pi / 2, up + 1))
    bulge = rng.uniform(0.55, 1.15, u.shape)
    bulge[:, -1] = bulge[:, 0]
    bulge[0], bulge[-1] = 0.9, 0.9
    points = np.stack([np.cos(v) * np.cos(u), np.cos(v) * np.sin(u), np.sin(v)], -1)
    return grid_mesh(points * bulge[..., None] * 0.5, points + rng.normal(0, 0.25, (*u.shape, 3)))


@cache
def lathe(profile: tuple[tuple[float, float], ...], around: int = 14) -> Mesh:
    """The (radius, height) profile turned about z, from bottom to top on the outside. Sharp corners stay sharp."""
    angles = np.linspace(0, 2 * np.pi, around + 1)
    triangles, normals = [], []
    for (r0, z0), (r1, z1) in pairwise(profile):
        if r0 == r1 == 0:
            continue
        rows = [
            np.stack([r * np.cos(angles), r * np.sin(angles), np.full_like(angles, z)], -1)
            for r, z in ((r0, z0), (r1, z1))
        ]
        out = np.stack([(z1 - z0) * np.cos(angles), (z1 - z0) * np.sin(angles), np.full_like(angles, r0 - r1)], -1)
        mesh = grid_mesh(np.stack(rows), np.stack([out, out]))
        triangles.append(mesh.triangles)
        normals.append(mesh.normals)
    t, n = np.concatenate(triangles), np.concatenate(normals)
    area = np.linalg.norm(np.cross(t[:, 1] - t[:, 0], t[:, 2] - t[:, 0]), axis=1)
    return Mesh(t[area > 1e-12], n[area > 1e-12])


def cylinder() -> Mesh:
    return lathe(((0, -0.5), (0.5, -0.5), (0.5, 0.5), (0, 0.5)))


def cone() -> Mesh:
    return lathe(((0, -0.5), (0.5, -0.5), (0, 0.5)))


def tube(taper: float = 1.0) -> Mesh:
    """An open thin cylinder, its upper end `taper` as wide."""
    return lathe(((0.5, -0.5), (0.5 * round(taper, 1), 0.5)), 6)


@cache
def panel() -> Mesh:
    """A square of side 1 across y, facing +y."""
    c = [(-0.5, 0, -0.5), (0.5, 0, -0.5), (0.5, 0, 0.5), (-0.5, 0, 0.5)]
    return flat_mesh([[c[0], c[2], c[1]], [c[0], c[3], c[2]]])


@cache
def leaves(count: int, size: float, variant: int, hollow: float = 0.5) -> Mesh:
    """Leaves in a ball of radius 1, `size` long each, none nearer to its centre than `hollow`; eight variants."""
    rng = np.random.default_rng((count, int(size * 1000), variant % 8, int(hollow * 100)))
    outwards = rng.normal(size=(count, 3))
    outwards /= np.linalg.norm(outwards, axis=1, keepdims=True)
    middle = outwards * (rng.random((count, 1)) ** (1 / 3) * (1 - hollow) + hollow)
    along = rng.normal(size=(count, 3)) + outwards * 0.5
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    across = np.cross(along, rng.normal(size=(count, 3)))
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    length = size * rng.uniform(0.6, 1.4, (count, 1))
    ends = [middle - along * length, middle + across * length * 0.45, middle + along * length]
    ends.append(middle - across * length * 0.45)
    face = np.cross(along, across)
    # Bent towards the outside, so that a crown is lit like a volume.
    face = face * np.sign((face * outwards).sum(1, keepdims=True) + 1e-6) * 0.7 + outwards * 0.6
    triangles = np.concatenate([np.stack([ends[0], ends[1], ends[2]], 1), np.stack([ends[0], ends[2], ends[3]], 1)])
    normals = np.repeat(np.concatenate([face, face])[:, None], 3, 1)
    return Mesh(triangles.astype(np.float32), normals.astype(np.float32))


@cache
def blades(count: int, variant: int) -> Mesh:
    """Blades of grass on the unit square, up to 1 high."""
    rng = np.random.default_rng((count, variant % 8))
    foot = np.concatenate([rng.uniform(-0.5, 0.5, (count, 2)), np.zeros((count, 1))], 1)
    turn = rng.uniform(0, 2 * np.pi, count)
    side = np.stack([np.cos(turn), np.sin(turn), 0 * turn], 1) * rng.uniform(0.004, 0.012, (count, 1))
    tip = foot + np.concatenate([rng.normal(0, 0.06, (count, 2)), rng.uniform(0.3, 1, (count, 1))], 1)
    triangles = np.stack([foot - side, foot + side, tip], 1)
    normal = np.stack([-np.sin(turn), np.cos(turn), 0 * turn + 0.7], 1)
    return Mesh(triangles.astype(np.float32), np.repeat(normal[:, None], 3, 1).astype(np.float32))


@cache
def curtain(folds: int) -> Mesh:
    """A hanging cloth across y with folds."""
    x = np.linspace(-0.5, 0.5, folds * 6 + 1)
    y = 0.5 * np.sin((x + 0.5) * 2 * np.pi * folds)
    points = np.stack([np.tile(x, (2, 1)), np.tile(y, (2, 1)), np.repeat([[-0.5], [0.5]], len(x), 1)], -1)
    return grid_mesh(points)


@cache
def prism(profile: tuple[tuple[float, float], ...], taper: float = 0.0, taper_from: float = 1.0) -> Mesh:
    """A (y, z) outline stretched along x from -0.5 to 0.5, narrower by `taper` at z = 1 and straight up to
    `taper_from`. The outline runs once around and sees its first corner from everywhere."""

    def corner(k: int, side: float) -> tuple[float, float, float]:
        y, z = profile[k % len(profile)]
        narrow = 1 - taper * max(0.0, (z - taper_from) / max(1 - taper_from, 1e-6))
        return (side * 0.5 * narrow, y, z)

    faces = []
    for k in range(len(profile)):
        faces.append([corner(k, -1), corner(k, 1), corner(k + 1, 1)])
        faces.append([corner(k, -1), corner(k + 1, 1), corner(k + 1, -1)])
    for side in (-1, 1):
        faces += [[corner(0, side), corner(k, side), corner(k + 1, side)] for k in range(1, len(profile) - 1)]
    centre = np.mean(np.array(profile), 0)
    return flat_mesh(faces, (0.0, float(centre[0]), float(centre[1])))
