"""Open land with trees, rocks and water; foliage that fills the frame."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from dptkit.data.procedural import buildings, figures, meshes, vegetation
from dptkit.data.procedural import material_rows as mr
from dptkit.data.procedural import materials as mat
from dptkit.data.procedural import nature_materials as natural
from dptkit.data.procedural.camera import Camera, heading
from dptkit.data.procedural.compiled import compiled
from dptkit.data.procedural.daylight import daylight
from dptkit.data.procedural.noise import fractal
from dptkit.data.procedural.scene import ORIGIN, Frame, Scene

Floats = npt.NDArray[np.float64]


@compiled
def terrain_heights(x: Floats, y: Floats, seed: float, hills: float, mountains: float, out: Floats) -> None:
    """Heights [N] of hills up to about `hills` metres, and mountains far out; 0 at the origin, nearly."""
    for i in range(x.shape[0]):
        far = math.hypot(x[i], y[i])
        wide = fractal(x[i] * 0.012 + seed, y[i] * 0.012, seed, 5, 0.5, 0.0) - 0.5
        near = fractal(x[i] * 0.3 + seed, y[i] * 0.3, 3.0, 3, 0.5, 0.0) - 0.5
        z = wide * hills * 2 * min(1.0, far / 20) + near * 0.5 * min(1.0, far / 3)
        if far > 150 and mountains > 0:
            ridge = max(0.0, fractal(x[i] * 0.0009 + seed, y[i] * 0.0009, seed + 9, 7, 0.52, 0.0) - 0.35)
            z += mountains * ((far - 150) / 2500) ** 0.8 * ridge * 3
        out[i] = z


def landscape(scene: Scene) -> Iterator[Camera]:
    draw = scene.draw
    daylight(scene)
    hills = draw.pick(0.5, 2.0, 8.0, 25.0)
    height = _terrain(scene, hills, draw.between(100, 900) if draw.chance(0.55) else draw.between(0, 40))
    if draw.chance(0.18):
        level = -draw.between(0.4, 1 + hills * 0.4)
        scene.box(scene.thing("water"), natural.water(scene), (6000, 6000, 0.02), (0, 0, level))

    def spot(nearest: float, farthest: float, spread: float = 0.9) -> tuple[Frame, float]:
        """A frame on the ground ahead, and its distance."""
        far, turn = math.exp(draw.between(math.log(nearest), math.log(farthest))), draw.between(-spread, spread)
        x, y = far * math.sin(turn), far * math.cos(turn)
        return ORIGIN.at(x, y, height(x, y) - 0.05, draw.angle()), far

    for _ in range(int(6 + 45 * draw.unit() ** 2)):
        at, far = spot(6, 250)
        tall = draw.between(3, 12) if draw.chance(0.8) else draw.between(10, 22)
        vegetation.tree(scene, at, tall, 250 if far < 10 else 120 if far < 22 else 30 if far < 70 else 12)
    for _ in range(draw.count(0, 22)):
        at, far = spot(2, 60)
        k = draw.unit()
        if k < 0.4:
            vegetation.bush(scene, at, draw.between(0.3, 1.2), 250 if far < 12 else 60)
        elif k < 0.8:
            size = [draw.between(0.2, 1.8) for _ in range(3)]
            mesh = meshes.cushion() if draw.chance(0.5) else meshes.coarse_sphere()
            scene.part(scene.thing("rock"), mesh, natural.stone(scene), size, (0, 0, size[2] * 0.2), at)
        elif k < 0.93:
            figures.person(scene, at, fine=far < 8)
        else:
            figures.animal(scene, at)
    if draw.chance(0.3):
        for _ in range(draw.count(1, 5)):
            at, _ = spot(18, 120, 0.7)
            buildings.building(scene, at.at(0, 0, -0.5), draw.between(5, 14), draw.between(5, 10), draw.between(3, 8))
    if draw.chance(0.2):
        buildings.wires(scene, ORIGIN.at(draw.between(-15, 15), 3, -0.5, draw.normal(0.3)), draw.between(20, 35), 4, 8)
    if draw.chance(0.45):
        for _ in range(9):
            x, y = draw.between(-2.5, 2.5), draw.between(0.9, 5)
            at = ORIGIN.at(x, y, height(x, y) - 0.03, draw.angle())
            vegetation.grass_patch(scene, at, draw.between(0.8, 1.8), draw.between(0.15, 0.5))
    subject = draw.unit()
    if subject < 0.3:
        at, _ = spot(1.8, 5, 0.2)
        figures.person(scene, at)
        scene.blur = draw.between(-1, 1.5)
    elif subject < 0.42:
        at, _ = spot(1.8, 5, 0.2)
        figures.animal(scene, at)
    fov = math.radians(draw.between(35, 75))
    high = draw.between(0.6, 2.2) if draw.chance(0.8) else draw.between(2, 15)
    while True:
        pitch = draw.normal(0.1) - (0.1 if high > 2.2 else 0.02)
        yield Camera.looking((0, 0, high), heading(draw.normal(0.25), pitch), fov, draw.normal(0.03))


def _terrain(scene: Scene, hills: float, mountains: float) -> Callable[[float, float], float]:
    """Add the ground, 4 km around, finer near the camera; returns its height at a point."""
    seed = scene.draw.between(0, 100)
    rings = np.concatenate([[0.0], np.geomspace(0.4, 4000, 48)])
    angles = np.linspace(-np.pi, np.pi, 65)  # the seam lies behind the camera
    x, y = rings[:, None] * np.sin(angles), rings[:, None] * np.cos(angles)
    z = np.empty(x.size)
    terrain_heights(x.ravel(), y.ravel(), seed, hills, mountains, z)
    points = np.stack([x, y, z.reshape(x.shape)], -1)
    mesh = meshes.grid_mesh(points)
    normals = mesh.normals * np.where(mesh.normals[..., 2:] < 0, -1, 1).astype(np.float32)
    # The innermost ring is a point, whose slope is not defined.
    area = np.linalg.norm(
        np.cross(mesh.triangles[:, 1] - mesh.triangles[:, 0], mesh.triangles[:, 2] - mesh.triangles[:, 0]), axis=1
    )
    kept = area > 1e-9
    normals[np.linalg.norm(normals, axis=-1) < 0.5] = (0, 0, 1)
    scene.part(scene.thing("terrain"), meshes.Mesh(mesh.triangles[kept], normals[kept]), natural.ground(scene))
    one = np.empty(1)

    def height(px: float, py: float) -> float:
        terrain_heights(np.array([px]), np.array([py]), seed, hills, mountains, one)
        return float(one[0])

    return height


_GROUND = -1.6


def foliage(scene: Scene) -> Iterator[Camera]:
    """Twigs and leaves close to the camera, at several depths, without ground in sight."""
    draw = scene.draw
    daylight(scene)
    scene.corner_reach = 0.3
    grass = mat.add(scene, mr.GRASS, draw.green(), draw.green(), draw.warm(), scale=8, p=(draw.unit(), 0, 0))
    scene.box(scene.thing("terrain"), grass, (300, 300, 0.1), (0, 0, _GROUND - 0.05))
    for _ in range(draw.count(4, 14)):
        at = ORIGIN.at(draw.between(-12, 12), draw.between(6, 25), _GROUND)
        vegetation.tree(scene, at, draw.between(3, 9), 120)
    for _ in range(draw.count(0, 3)):
        at = ORIGIN.at(draw.between(-3, 3), draw.between(3, 6), _GROUND)
        vegetation.bush(scene, at, draw.between(0.8, 1.8))
    leaves = [natural.foliage(scene) for _ in range(3)]
    bark = natural.bark(scene, 30)
    spread = draw.between(0.5, 1.4)
    if draw.chance(0.65):  # a thicket behind, so that little sky shows
        far = draw.between(2, 5)
        for _ in range(draw.count(7, 12)):
            at = ORIGIN.at(draw.between(-0.9, 0.9) * far, far + draw.between(-0.5, 1.5), draw.between(-0.6, 0.7) * far)
            radius = far * draw.between(0.2, 0.45)
            inside = meshes.lump(draw.count(0, 7))
            scene.part(scene.thing("plant"), inside, draw.pick(*leaves), (radius,) * 3, frame=at)
            around = scene.thing("plant")
            vegetation.crown(scene, around, draw.pick(*leaves), at, (0, 0, 0), (radius,) * 3, 250, hollow=0.2)
    for _ in range(draw.count(5, 14)):
        middle = np.array([draw.normal(spread), draw.between(0.8, 4), draw.normal(0.7)])
        along = np.array([draw.normal() for _ in range(3)]) * 0.6
        _twig(scene, middle, along, draw.pick(*leaves), bark)
    if draw.chance(0.4):
        scene.blur = draw.between(0.3, 2.5)
    fov = math.radians(draw.between(35, 70))
    while True:
        yield Camera.looking((0, 0, 0), heading(draw.normal(0.2), draw.normal(0.2) + 0.05), fov, draw.normal(0.1))


def _twig(scene: Scene, middle: Floats, along: Floats, leaf: int, bark: int) -> None:
    draw, twig = scene.draw, scene.thing("tree")
    a, b = middle - along, middle + along
    scene.rod(twig, bark, (a[0], a[1], a[2]), (b[0], b[1], b[2]), draw.between(0.003, 0.014))
    for _ in range(draw.count(1, 4)):
        at = middle + along * draw.between(-1, 1)
        radius = draw.between(0.15, 0.5)
        crown = scene.thing("plant")
        vegetation.crown(
            scene, crown, leaf, ORIGIN, (at[0], at[1], at[2]), (radius,) * 3, draw.pick(30, 60, 120, 250), hollow=0
        )
        if draw.chance(0.4):
            skin = mat.add(scene, mr.NOISE, draw.pick((0.7, 0.1, 0.08), (0.8, 0.5, 0.1), draw.green()), scale=12,
                           contrast=0.6, specular=0.2, p=(0.6, 0, 0))  # fmt: skip
            size = draw.between(0.05, 0.1)
            for _ in range(draw.count(1, 4)):
                place = [c + draw.normal(0.5 * radius) for c in at]
                scene.part(scene.thing("object"), meshes.sphere(), skin, (size, size, size), place)
