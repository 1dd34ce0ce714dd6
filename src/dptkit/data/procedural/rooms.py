"""Rooms and corridors: a closed box, things on its walls, furniture along them and between them."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from dptkit.data.procedural import figures, furniture, meshes, objects, vegetation
from dptkit.data.procedural import materials as mat
from dptkit.data.procedural.camera import Camera
from dptkit.data.procedural.daylight import daylight, lamps
from dptkit.data.procedural.scene import ORIGIN, Frame, Scene, tilt_x

Opening = tuple[float, float, float, float]
"""A hole in a wall: its middle along the wall, its lower edge, width, height."""


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


def shell(scene: Scene, width: float, depth: float, height: float) -> list[tuple[Frame, float, Opening | None]]:
    """Floor, ceiling, four walls; some walls have a real window with the open air behind. Returns the walls: frames
    at the floor in their middle, +y into the room, their lengths and openings."""
    draw = scene.draw
    scene.box(scene.thing("floor"), mat.floor(scene), (width + 0.3, depth + 0.3, 0.1), (0, 0, -0.05))
    scene.box(scene.thing("ceiling"), mat.ceiling(scene), (width + 0.3, depth + 0.3, 0.1), (0, 0, height + 0.05))
    common = mat.wall(scene)
    trim = mat.furniture(scene) if draw.chance(0.4) else mat.plain(scene, draw.white())
    view = draw.chance(0.3)
    walls: list[tuple[Frame, float, Opening | None]] = []
    for x, y, turn, length in (
        (0, depth / 2, math.pi, width),
        (0, -depth / 2, 0, width),
        (width / 2, 0, math.pi / 2, depth),
        (-width / 2, 0, -math.pi / 2, depth),
    ):
        frame = ORIGIN.at(x, y, 0, turn)
        opening = None
        if view and length > 2.4 and draw.chance(0.4):
            w, h = draw.between(0.8, min(2.4, length - 1)), draw.between(0.9, 1.5)
            opening = (draw.between(-0.5, 0.5) * (length - w - 0.4), min(0.9, height - h - 0.15), w, h)
            _window_frame(scene, frame, opening)
        material = common if draw.chance(0.8) else mat.wall(scene)
        _wall(scene, frame, material, length, height, opening)
        if draw.chance(0.6):
            scene.box(scene.thing("wall"), trim, (length, 0.02, 0.1), (0, 0.01, 0.05), frame)
        walls.append((frame, length, opening))
    if any(opening for _, _, opening in walls):
        _outside(scene)
    return walls


def _wall(scene: Scene, frame: Frame, material: int, length: float, height: float, opening: Opening | None) -> None:
    thing = scene.thing("wall")
    if opening is None:
        scene.box(thing, material, (length + 0.2, 0.1, height), (0, -0.05, height / 2), frame)
        return
    x, z, w, h = opening
    left, right = x - w / 2 + length / 2 + 0.1, length / 2 + 0.1 - x - w / 2
    scene.box(thing, material, (left, 0.1, height), (-length / 2 - 0.1 + left / 2, -0.05, height / 2), frame)
    scene.box(thing, material, (right, 0.1, height), (length / 2 + 0.1 - right / 2, -0.05, height / 2), frame)
    scene.box(thing, material, (w, 0.1, z), (x, -0.05, z / 2), frame)
    above = height - z - h
    scene.box(thing, material, (w, 0.1, above), (x, -0.05, height - above / 2), frame)


def _window_frame(scene: Scene, frame: Frame, opening: Opening) -> None:
    draw, thing = scene.draw, scene.thing("window")
    material = mat.plain(scene, draw.white()) if draw.chance(0.7) else mat.furniture(scene)
    x, z, w, h = opening
    for k in draw.pick((-1, 1), (-1, 0, 1)):
        scene.box(thing, material, (0.06, 0.07, h), (x + k * (w / 2 - 0.03), -0.02, z + h / 2), frame)
    for k in draw.pick((0, 1), (0, 0.35, 1)):
        scene.box(thing, material, (w - 0.12, 0.06, 0.06), (x, -0.02, z + 0.03 + k * (h - 0.06)), frame)
    scene.box(thing, material, (w + 0.15, 0.2, 0.03), (x, 0.06, z - 0.015), frame)


def _outside(scene: Scene) -> None:
    draw = scene.draw
    daylight(scene)
    level = -draw.pick(0.3, 3.0, 9.0)
    scene.box(scene.thing("terrain"), mat.ground(scene), (400, 400, 0.1), (0, 0, level - 0.05))
    for k in range(14):
        far = draw.between(9, 40)
        at = ORIGIN.at(0, 0, 0, k * math.pi / 7).at(0, far, level)
        vegetation.tree(scene, at, draw.between(4, 12), 30)


def _pane(scene: Scene, frame: Frame, x: float, height: float) -> None:
    """A closed window whose pane glows with a view."""
    draw, thing = scene.draw, scene.thing("window")
    w, h = draw.between(0.8, 1.8), draw.between(0.9, 1.4)
    z = min(draw.between(1.4, 1.7), height - h / 2 - 0.1)
    material = mat.plain(scene, draw.white()) if draw.chance(0.6) else mat.furniture(scene)
    scene.box(thing, mat.outdoors(scene, w), (w, 0.02, h), (x, 0.01, z), frame)
    for k in (-1, 0, 1):
        scene.box(thing, material, (0.06, 0.05, h + 0.06), (x + k * w / 2, 0.03, z), frame)
    for k in (-1, 1):
        scene.box(thing, material, (w, 0.045, 0.06), (x, 0.03, z + k * h / 2), frame)
    scene.box(thing, material, (w + 0.15, 0.16, 0.03), (x, 0.08, z - h / 2 - 0.045), frame)
    if draw.chance(0.5):
        cloth, top = scene.thing("curtain"), min(height - 0.05, z + h / 2 + 0.2)
        low = draw.pick(0.05, z - h / 2 - 0.1)
        material = mat.fabric(scene)
        for k in (-1, 1):
            size = (draw.between(0.25, 0.5), draw.between(0.04, 0.08), top - low)
            mesh = meshes.curtain(draw.count(3, 7))
            scene.part(cloth, mesh, material, size, (x + k * w / 2, 0.15, (top + low) / 2), frame)


def _painting(scene: Scene, frame: Frame, x: float) -> None:
    draw, thing = scene.draw, scene.thing("picture")
    w, h, t = draw.between(0.2, 1.2), draw.between(0.2, 0.9), draw.between(0.008, 0.04)
    z = draw.between(1.3, 1.75)
    scene.box(thing, mat.furniture(scene), (w, t, h), (x, t / 2, z), frame)
    inside = draw.pick(0.86, 0.95, 0.99)
    shown = mat.picture(scene, max(w, h)) if draw.chance(0.7) else mat.anything(scene, max(w, h))
    scene.box(thing, shown, (w * inside, t, h * inside), (x, t / 2 + 0.004, z), frame)


def _wall_board(scene: Scene, frame: Frame, x: float) -> None:
    draw = scene.draw
    z, w, d = draw.between(1.1, 1.8), draw.between(0.5, 1.4), 0.22
    scene.box(scene.thing("furniture"), mat.furniture(scene), (w, d, 0.025), (x, d / 2, z), frame)
    on = frame.at(x, d / 2, z + 0.0125)
    if draw.chance(0.6):
        objects.books(scene, on, w, d, 0.28)
    else:
        objects.scatter(scene, on, w * 0.85, d * 0.4, draw.count(1, 5), 0.3)


def _door(scene: Scene, frame: Frame, x: float) -> None:
    draw, thing = scene.draw, scene.thing("door")
    w = draw.between(0.8, 1)
    leaf = mat.furniture(scene)
    surround = leaf if draw.chance(0.4) else mat.plain(scene, draw.white())
    scene.box(thing, surround, (w + 0.16, 0.04, 2.12), (x, 0.02, 1.06), frame)
    scene.box(thing, leaf, (w, 0.04, 2.02), (x, 0.03, 1.01), frame)
    tone = mat.first_colour(scene, leaf)
    panel = mat.plain(scene, (tone[0] * 0.92, tone[1] * 0.92, tone[2] * 0.92))
    for z in draw.pick((), (0.5, 1.5), (0.35, 1.0, 1.65)):
        scene.box(thing, panel, (w * 0.7, 0.012, 0.5), (x, 0.055, z), frame)
    knob = (x + draw.sign() * w * 0.4, 0.09, 1.02)
    scene.part(thing, meshes.sphere(), mat.metal(scene), (0.05, 0.1, 0.05), knob, frame)


def on_wall(scene: Scene, frame: Frame, length: float, height: float, opening: Opening | None = None) -> None:
    """Doors, windows, pictures, boards, radiators in slots along the wall, none over another."""
    draw = scene.draw
    slots = max(1, int(length / 1.6))
    w = length / slots
    door = draw.count(0, slots - 1) if draw.chance(0.5) else -1
    for k in range(slots):
        x = -length / 2 + w * (k + 0.5) + draw.between(-0.1, 0.1)
        if opening and abs(x - opening[0]) < opening[2] / 2 + 0.8:
            continue
        if k == door:
            _door(scene, frame, x)
            continue
        kind = draw.weighted({"": 4, "picture": 4, "pane": 2, "board": 2, "radiator": 1, "switch": 1})
        if kind == "picture":
            _painting(scene, frame, x)
        elif kind == "pane":
            _pane(scene, frame, x, height)
        elif kind == "board":
            _wall_board(scene, frame, x)
        elif kind == "radiator":
            furniture.radiator(scene, frame.at(x), draw.between(0.6, 1.4))
        elif kind == "switch":
            size, at = (0.1, 0.1, 0.03), (x, 0.015, draw.pick(0.3, 1.1, 1.9))
            scene.part(scene.thing("object"), meshes.cylinder(), mat.plain(scene), size, at, frame, tilt_x(math.pi / 2))


def along_wall(scene: Scene, frame: Frame, length: float, height: float) -> None:
    """Furniture with its back to the wall, one piece beside another."""
    draw = scene.draw
    x, end = -length / 2 + 0.05, length / 2
    kinds = {"gap": 14, "cabinet": 18, "shelf": 16, "sofa": 12, "desk": 20, "bed": 8, "plant": 4, "lamp": 3,
             "person": 2, "kitchen": 4}  # fmt: skip
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


def _between(scene: Scene, width: float, depth: float, density: float) -> None:
    """Rug, tables with chairs, and single things in the middle of the room."""
    draw = scene.draw
    if draw.chance(0.5):
        rug = mat.fabric(scene) if draw.chance(0.6) else mat.picture(scene, 1.6)
        at = ORIGIN.at(draw.sign() * width / 5, draw.sign() * depth / 5, 0, draw.pick(0, 0, draw.between(0, 3)))
        scene.box(scene.thing("rug"), rug, (draw.between(1, 2.2), draw.between(1, 3), 0.012), (0, 0, 0.006), at)
    for _ in range(draw.count(0, 2)):
        at = ORIGIN.at(draw.between(-0.22, 0.22) * width, draw.between(-0.3, 0.3) * depth, 0,
                       draw.pick(0, math.pi / 2, draw.angle()))  # fmt: skip
        w, d, high = draw.between(0.6, 1.8), draw.between(0.5, 1), draw.pick(0.42, 0.75, 0.75)
        furniture.table(scene, at, w, d, high)
        if high > 0.6:
            for _ in range(draw.count(0, 4)):
                side = draw.sign()
                turn = (0 if side < 0 else math.pi) + draw.between(-0.5, 0.5)
                beside = at.at(draw.between(-0.4, 0.4) * w, side * (d / 2 + draw.between(0, 0.35)), 0, turn)
                furniture.chair(scene, beside)
    for _ in range(int(draw.between(0, 6) * density)):
        at = ORIGIN.at(draw.between(-0.35, 0.35) * width, draw.between(-0.35, 0.35) * depth, 0, draw.angle())
        kind = draw.weighted({"chair": 30, "carton": 20, "person": 10, "plant": 10, "cabinet": 8, "pillar": 4, "item": 12,
                              "dog": 4})  # fmt: skip
        if kind == "chair":
            furniture.chair(scene, at)
        elif kind == "carton":
            objects.carton(scene, at, 2.3)
        elif kind == "person":
            figures.person(scene, at)
        elif kind == "plant":
            vegetation.pot_plant(scene, at, draw.between(0.4, 1.5))
        elif kind == "cabinet":
            furniture.cabinet(
                scene, at, draw.between(0.4, 1.2), draw.between(0.4, 0.6), draw.between(0.5, 1.3), clutter=True
            )
        elif kind == "pillar":
            scene.part(scene.thing("wall"), meshes.cylinder(), mat.wall(scene), (0.4, 0.4, 4), (0, 0, 1.95), at)
        elif kind == "dog":
            figures.animal(scene, at, draw.between(0.35, 0.6))
        else:
            objects.item(scene, at)
