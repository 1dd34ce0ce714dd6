"""Trees, bushes, pot plants, grass. Crowns are kept clouds of leaves, placed by size."""

from __future__ import annotations

import math

from dptkit.data.procedural import materials as mat
from dptkit.data.procedural import meshes
from dptkit.data.procedural import nature_materials as natural
from dptkit.data.procedural.scene import Frame, Scene

_POT = ((0, 0), (0.35, 0), (0.5, 1), (0.45, 1), (0, 0.9))
_TIER = ((0.75, 0), (0.45, 0.4), (0, 1))


def crown(scene: Scene, thing: int, material: int, frame: Frame, at: tuple[float, float, float],
          radius: tuple[float, float, float], leaves: int, *, hollow: float = 0.5) -> None:  # fmt: skip
    """A cloud of about `leaves` leaves filling an ellipsoid."""
    variant = scene.draw.count(0, 7)
    count = max(n for n in (12, 30, 60, 120, 250, 400) if n <= max(leaves, 12))
    mesh = meshes.leaves(count, round(1.7 / math.sqrt(count), 3), variant, hollow)
    scene.part(thing, mesh, material, radius, frame=frame.at(*at, scene.draw.angle()))


def tree(scene: Scene, frame: Frame, height: float, leaves: int = 250) -> None:
    """A tree of about `leaves` leaves per cloud of its crown; fewer for far ones."""
    draw, thing = scene.draw, scene.thing("tree")
    trunk, leaf = natural.bark(scene), natural.foliage(scene)
    k = draw.unit()
    if k < 0.2:  # conifer
        scene.rod(thing, trunk, (0, 0, 0), (0, 0, height * 0.95), height * 0.02, frame, height * 0.006)
        wide = draw.between(0.14, 0.26)
        for i in range(8):
            z, r = height * (0.12 + 0.105 * i), height * wide * (1 - i / 8.5)
            scene.part(thing, meshes.lathe(_TIER, 9), leaf, (r * 1.6, r * 1.6, height * 0.2), (0, 0, z), frame)
            if leaves > 60:
                crown(scene, thing, leaf, frame, (0, 0, z + height * 0.04), (r, r, height * 0.06), 30)
        return
    if k < 0.88:
        fork = height * draw.between(0.2, 0.45)
        scene.rod(
            thing, trunk, (0, 0, 0), (0, 0, fork * 1.4), height * draw.between(0.015, 0.035), frame, height * 0.012
        )
        detail = (12, 8) if leaves > 100 else (7, 5)
        clouds = draw.count(2, 5 if leaves > 60 else 3)
        for _ in range(clouds):
            centre = (draw.between(-0.18, 0.18) * height, draw.between(-0.18, 0.18) * height,
                      height * draw.between(0.55, 0.8))  # fmt: skip
            r = height * draw.between(0.13, 0.26)
            scene.rod(thing, trunk, (0, 0, fork), centre, height * 0.012, frame, height * 0.006)
            scene.part(thing, meshes.lump(draw.count(0, 7), *detail), leaf, (r * 1.1, r * 1.1, r * 0.9), centre, frame)
            crown(scene, thing, leaf, frame, centre, (r, r, r * 0.85), leaves)
        return
    scene.rod(thing, trunk, (0, 0, 0), (0, 0, height * 0.9), height * 0.02, frame, height * 0.008)
    for _ in range(16):  # bare
        turn, z, length = draw.angle(), height * draw.between(0.35, 0.9), height * draw.between(0.1, 0.3)
        end = (math.cos(turn) * length, math.sin(turn) * length, z + length * draw.between(0, 0.9))
        scene.rod(thing, trunk, (0, 0, z), end, height * 0.007, frame, height * 0.003)


def bush(scene: Scene, frame: Frame, radius: float, leaves: int = 250) -> None:
    draw, thing, leaf = scene.draw, scene.thing("plant"), natural.foliage(scene)
    middle = (0, 0, radius * 0.55)
    scene.part(thing, meshes.lump(draw.count(0, 7)), leaf, (radius * 1.15, radius * 1.15, radius), middle, frame)
    crown(scene, thing, leaf, frame, middle, (radius, radius, radius * 0.8), leaves)


def hedge(scene: Scene, frame: Frame, length: float, height: float) -> None:
    """A cut hedge along +y of the frame."""
    thing, leaf = scene.thing("plant"), natural.foliage(scene)
    scene.box(thing, leaf, (0.75, length, height), (0, length / 2, height / 2), frame)
    for k in range(int(min(length, 36) / 2.4)):
        crown(scene, thing, leaf, frame, (0, k * 2.4 + 1.2, height * 0.55), (0.5, 1.5, height * 0.6), 120, hollow=0.6)


def pot_plant(scene: Scene, frame: Frame, height: float) -> None:
    draw, thing = scene.draw, scene.thing("plant")
    width = height * draw.between(0.3, 0.4)
    scene.part(thing, meshes.lathe(_POT), mat.anything(scene, width), (width, width, height * 0.3), frame=frame)
    stem, leaf = natural.bark(scene, 30), natural.foliage(scene)
    scene.rod(thing, stem, (0, 0, height * 0.25), (0, 0, height * 0.6), height * 0.012, frame)
    radius = (height * 0.33, height * 0.33, height * 0.38)
    crown(scene, thing, leaf, frame, (0, 0, height * 0.65), radius, draw.pick(30, 60, 120, 250), hollow=0.1)


def grass_patch(scene: Scene, frame: Frame, width: float, height: float) -> None:
    size = (width, width, height)
    scene.part(
        scene.thing("plant"), meshes.blades(250, scene.draw.count(0, 7)), natural.foliage(scene), size, frame=frame
    )
