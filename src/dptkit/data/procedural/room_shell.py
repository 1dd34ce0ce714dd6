"""The box of a room and what is on its walls: doors, windows and what lies behind them, pictures, boards."""

from __future__ import annotations

import math

from dptkit.data.procedural import building_materials as built
from dptkit.data.procedural import furniture, meshes, objects, vegetation
from dptkit.data.procedural import materials as mat
from dptkit.data.procedural import nature_materials as natural
from dptkit.data.procedural.daylight import daylight
from dptkit.data.procedural.scene import ORIGIN, Frame, Scene, tilt_x

Opening = tuple[float, float, float, float]
"""A hole in a wall: its middle along the wall, its lower edge, width, height."""


def shell(scene: Scene, width: float, depth: float, height: float) -> list[tuple[Frame, float, Opening | None]]:
    """Floor, ceiling, four walls; some walls have a real window with the open air behind. Returns the walls: frames
    at the floor in their middle, +y into the room, their lengths and openings."""
    draw = scene.draw
    scene.box(scene.thing("floor"), built.floor(scene), (width + 0.3, depth + 0.3, 0.1), (0, 0, -0.05))
    scene.box(scene.thing("ceiling"), built.ceiling(scene), (width + 0.3, depth + 0.3, 0.1), (0, 0, height + 0.05))
    common = built.wall(scene)
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
        material = common if draw.chance(0.8) else built.wall(scene)
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
    for up in draw.pick((0.0, 1.0), (0.0, 0.35, 1.0)):
        scene.box(thing, material, (w - 0.12, 0.06, 0.06), (x, -0.02, z + 0.03 + up * (h - 0.06)), frame)
    scene.box(thing, material, (w + 0.15, 0.2, 0.03), (x, 0.06, z - 0.015), frame)


def _outside(scene: Scene) -> None:
    draw = scene.draw
    daylight(scene)
    level = -draw.pick(0.3, 3.0, 9.0)
    scene.box(scene.thing("terrain"), natural.ground(scene), (400, 400, 0.1), (0, 0, level - 0.05))
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
    scene.box(thing, built.outdoors(scene, w), (w, 0.02, h), (x, 0.01, z), frame)
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
            scene.part(cloth, mesh, material, size, (x + k * w / 2, 0.22, (top + low) / 2), frame)


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
