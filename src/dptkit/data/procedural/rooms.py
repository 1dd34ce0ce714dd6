"""Rooms and corridors: a closed box, things on its walls, furniture along them and between them."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from dptkit.data.procedural import building_materials as built
from dptkit.data.procedural import figures, furniture, meshes, objects, vegetation
from dptkit.data.procedural import materials as mat
from dptkit.data.procedural.camera import Camera
from dptkit.data.procedural.daylight import lamps
from dptkit.data.procedural.room_shell import on_wall, shell
from dptkit.data.procedural.scene import ORIGIN, Frame, Scene


def room(scene: Scene) -> Iterator[Camera]:
    draw = scene.draw
    corridor = draw.chance(0.14)
    if corridor:
        width, depth, height = draw.between(1.3, 2.4), draw.between(6, 20), draw.between(2.3, 3.1)
    else:
        width, depth, height = draw.between(2.6, 7), draw.between(3, 8), draw.between(2.3, 3.3)
    walls = shell(scene, width, depth, height)
    density = draw.unit()
    for frame, length, opening in walls:
        on_wall(scene, frame, length, height, opening)
        if not corridor and draw.chance(0.35 + 0.6 * density):
            along_wall(scene, frame, length - 1, height)
    _ceiling_lamps(scene, width, depth, height)
    if not corridor:
        _between(scene, width, depth, density)
        if draw.chance(0.07):
            at = ORIGIN.at(width / 2 - 0.6, draw.between(-0.1, 0.3) * depth)
            furniture.stairs(scene, at, 1.1, draw.count(5, 12))
    elif draw.chance(0.5):
        length = depth * 0.8
        x = (width / 2 - 0.1) * draw.sign()
        furniture.railing(scene, ORIGIN, (x, -length / 2, 0), (x, length / 2, 0))
    places = [
        (draw.between(-0.4, 0.4) * width, draw.between(-0.4, 0.4) * depth, height - draw.between(0.2, 0.6))
        for _ in range(draw.count(1, 2))
    ]
    lamps(scene, places, draw.between(2, 9))
    fov = math.radians(draw.between(42, 85))
    while True:
        yield _look_corridor(scene, width, depth, fov) if corridor else _look(scene, width, depth, height, fov)


def _look(scene: Scene, width: float, depth: float, height: float, fov: float) -> Camera:
    draw = scene.draw
    high = draw.between(0.6, 1.9) if draw.chance(0.85) else draw.between(0.2, height - 0.2)
    # Mostly near a wall or corner, looking across: what people photograph.
    edge = 0.42 if draw.chance(0.7) else 0.3
    position = np.array(
        [draw.sign() * width * draw.between(0.1, edge), draw.sign() * depth * draw.between(0.2, edge), high]
    )
    target = np.array([draw.between(-0.3, 0.3) * width, draw.between(-0.3, 0.3) * depth, draw.between(0.2, 1.4)])
    if draw.chance(0.8):
        target[1] = -math.copysign(draw.between(0.05, 0.4) * depth, position[1])
    roll = draw.normal(0.05 if draw.chance(0.75) else 0.2)
    return Camera.looking(position, target - position, fov, roll)


def _look_corridor(scene: Scene, width: float, depth: float, fov: float) -> Camera:
    draw = scene.draw
    end = draw.sign()
    position = np.array(
        [draw.between(-0.3, 0.3) * width, end * depth * draw.between(0.2, 0.45), draw.between(0.8, 1.9)]
    )
    target = np.array([draw.between(-0.3, 0.3) * width, -end * depth * 0.4, draw.between(0.5, 1.6)])
    return Camera.looking(position, target - position, fov, draw.normal(0.05))


def along_wall(scene: Scene, frame: Frame, length: float, height: float) -> None:
    """Furniture with its back to the wall, one piece beside another."""
    draw = scene.draw
    x, end = -length / 2 + 0.05, length / 2
    kinds: dict[str, float] = {
        "gap": 14, "cabinet": 18, "shelf": 16, "sofa": 12, "desk": 20, "bed": 8, "plant": 4, "lamp": 3,
        "person": 2, "kitchen": 4,
    }  # fmt: skip
    while x < end - 0.4:
        left, kind = end - x, draw.weighted(kinds)
        w = min(draw.between(0.5, 1.8), left)
        middle = frame.at(x + w / 2)
        if kind == "gap":
            w = draw.between(0.2, 1)
        elif kind == "cabinet":
            d = draw.between(0.35, 0.6)
            high = draw.between(0.5, 1) if draw.chance(0.6) else draw.between(1.6, min(2.2, height - 0.05))
            furniture.cabinet(scene, middle.at(0, d / 2 + 0.02), w, d, high, clutter=True)
        elif kind == "shelf":
            d = draw.between(0.25, 0.4)
            furniture.shelf(scene, middle.at(0, d / 2 + 0.02), w, d, draw.between(0.8, min(2.2, height - 0.05)))
        elif kind == "sofa" and left > 1.3:
            w = min(draw.between(1.3, 2.4), left)
            furniture.sofa(scene, frame.at(x + w / 2, 0.5), w)
        elif kind == "desk" and left > 0.9:
            w, d, high = min(draw.between(0.9, 1.8), left), draw.between(0.6, 0.8), draw.between(0.7, 0.78)
            at = frame.at(x + w / 2, d / 2 + 0.03)
            furniture.table(scene, at, w, d, high, clutter=False)
            objects.desk_set(scene, at.at(0, 0, high), w, d)
            if draw.chance(0.8):
                turn = math.pi + draw.between(-0.8, 0.8)
                furniture.chair(scene, at.at(draw.between(-0.2, 0.2), d / 2 + draw.between(0.1, 0.5), 0, turn))
        elif kind == "bed" and left > 1.9:
            w = draw.between(1, 1.8)
            furniture.bed(scene, frame.at(x + w / 2, 1.1), w)
        elif kind == "plant":
            w = 0.5
            vegetation.pot_plant(scene, frame.at(x + 0.25, 0.35), draw.between(0.5, 1.8))
        elif kind == "lamp":
            w = 0.4
            objects.lamp(scene, frame.at(x + 0.2, 0.3), draw.between(1.2, 1.8))
        elif kind == "person":
            w = 0.6
            figures.person(scene, frame.at(x + 0.3, 0.4, 0, draw.normal(0.5)))
        elif kind == "kitchen" and left > 1.5:
            w = min(draw.between(1.5, 3), left)
            furniture.kitchen(scene, frame.at(x + w / 2), w)
        else:
            w = 0.3
        x += w + draw.between(0.02, 0.5)


def _ceiling_lamps(scene: Scene, width: float, depth: float, height: float) -> None:
    draw = scene.draw
    for _ in range(draw.count(0, 2)):
        thing, glow = scene.thing("lamp"), mat.glowing(scene, draw.between(1, 4))
        x, y = draw.between(-0.33, 0.33) * width, draw.between(-0.33, 0.33) * depth
        if draw.chance(0.6):
            scene.box(thing, glow, (draw.between(0.3, 1.2), draw.between(0.2, 0.6), 0.05), (x, y, height - 0.025))
        else:
            scene.rod(thing, mat.plain(scene), (x, y, height - 0.6), (x, y, height), 0.005)
            scene.part(thing, meshes.sphere(), glow, (0.3, 0.3, 0.25), (x, y, height - 0.65))


_LOOSE = {
    "chair": 30, "carton": 20, "person": 10, "plant": 10, "cabinet": 8, "pillar": 4, "item": 12, "dog": 4,
}  # fmt: skip


def _between(scene: Scene, width: float, depth: float, density: float) -> None:
    """Rug, tables with chairs, and single things in the middle of the room."""
    draw = scene.draw
    if draw.chance(0.5):
        rug = mat.fabric(scene) if draw.chance(0.6) else mat.picture(scene, 1.6)
        at = ORIGIN.at(draw.sign() * width / 5, draw.sign() * depth / 5, 0, draw.pick(0, 0, draw.between(0, 3)))
        scene.box(scene.thing("rug"), rug, (draw.between(1, 2.2), draw.between(1, 3), 0.012), (0, 0, 0.006), at)
    for _ in range(draw.count(0, 2)):
        w, d, high = draw.between(0.6, 1.8), draw.between(0.5, 1), draw.pick(0.42, 0.75, 0.75)
        spot = _free_spot(scene, width * 0.6, depth * 0.6, 0.5 * w + 0.2)
        if spot is None:
            continue
        furniture.table(scene, spot, w, d, high)
        if high > 0.6:
            for _ in range(draw.count(0, 4)):
                side = draw.sign()
                turn = (0 if side < 0 else math.pi) + draw.between(-0.5, 0.5)
                beside = spot.at(draw.between(-0.4, 0.4) * w, side * (d / 2 + draw.between(0, 0.35)), 0, turn)
                furniture.chair(scene, beside)
    for _ in range(int(draw.between(0, 6) * density)):
        spot = _free_spot(scene, width * 0.8, depth * 0.8, 0.3)
        if spot is None:
            continue
        kind = draw.weighted(_LOOSE)
        if kind == "chair":
            furniture.chair(scene, spot)
        elif kind == "carton":
            objects.carton(scene, spot, 2.3)
        elif kind == "person":
            figures.person(scene, spot)
        elif kind == "plant":
            vegetation.pot_plant(scene, spot, draw.between(0.4, 1.5))
        elif kind == "cabinet":
            furniture.cabinet(
                scene, spot, draw.between(0.4, 1.2), draw.between(0.4, 0.6), draw.between(0.5, 1.3), clutter=True
            )
        elif kind == "pillar":
            scene.part(scene.thing("wall"), meshes.cylinder(), built.wall(scene), (0.4, 0.4, 4), (0, 0, 1.95), spot)
        elif kind == "dog":
            figures.animal(scene, spot, draw.between(0.35, 0.6))
        else:
            objects.item(scene, spot)


def _free_spot(scene: Scene, width: float, depth: float, radius: float) -> Frame | None:
    """A frame about which nothing stands, in the middle `width` by `depth` of the room; None where all is full."""
    draw, discs = scene.draw, scene.standing()
    for _ in range(8):
        x, y = draw.between(-0.5, 0.5) * width, draw.between(-0.5, 0.5) * depth
        if (np.hypot(discs[:, 0] - x, discs[:, 1] - y) > discs[:, 2] + radius).all():
            return ORIGIN.at(x, y, 0, draw.pick(0, math.pi / 2, draw.angle()))
    return None
