"""Close-ups: table tops, desks, the floor, bins and drawers, boards of a shelf, seen from an arm's length or two."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from dptkit.data.procedural import furniture, meshes, objects, room_shell, rooms
from dptkit.data.procedural import materials as mat
from dptkit.data.procedural.camera import Camera, heading
from dptkit.data.procedural.daylight import lamps
from dptkit.data.procedural.scene import ORIGIN, Frame, Scene


def tabletop(scene: Scene) -> Iterator[Camera]:
    draw = scene.draw
    scene.corner_reach = 0.3
    width, depth, height = draw.between(3, 8), draw.between(3, 8), draw.between(2.4, 3)
    for frame, length, opening in room_shell.shell(scene, width, depth, height):
        if draw.chance(0.5):
            room_shell.on_wall(scene, frame, length, height, opening)
        if draw.chance(0.4):
            rooms.along_wall(scene, frame, length - 1.6, height)
    if draw.chance(0.3):
        scene.blur = draw.between(1, 4)
    kind = draw.weighted({"desk": 28, "table": 34, "floor": 12, "bin": 14, "shelf": 12})
    if kind == "shelf":
        yield from _shelf(scene, depth)
        return
    spot = ORIGIN.at(draw.between(-0.2, 0.2) * width, draw.between(-0.2, 0.2) * depth, 0, draw.angle())
    if kind == "desk":
        top, w, d = _desk(scene, depth)
    elif kind == "table":
        top, w, d = _table(scene, spot)
    elif kind == "bin":
        top, w, d = _bin(scene, spot)
    else:
        top, w, d = spot, draw.between(0.5, 1.5), draw.between(0.5, 1.5)
    if kind != "desk":
        objects.scatter(
            scene,
            top,
            w,
            d,
            draw.count(5, 22) if draw.chance(0.8) else draw.count(1, 5),
            0.24 if kind == "bin" else 9.0,
        )
    if draw.chance(0.25):
        objects.cable(scene, top, 1.0)
    if draw.chance(0.12):
        _hand(scene, top, d)
    above = top.point(draw.between(-1.2, 1.2), draw.between(-1.2, 1.2), draw.between(0.8, 1.5))
    lamps(scene, [above], draw.between(2, 6))
    fov = math.radians(draw.between(35, 70))
    while True:
        # From above in front; a desk only from where its user sits.
        far = draw.between(0.55, 1.8) if kind == "desk" else draw.between(0.4, 1.6)
        steep = draw.between(30 if kind == "bin" else 8, 70) if draw.chance(0.85) else draw.between(70, 89)
        pitch = math.radians(draw.between(5, 50) if kind == "desk" else steep)
        yaw = math.pi + draw.normal(0.5) if kind == "desk" else draw.angle()
        target = np.array(top.point(draw.normal(0.12), draw.normal(0.12), draw.between(0, 0.12)))
        forward = heading(yaw, -pitch)
        roll = draw.normal(0.08 if draw.chance(0.75) else 0.5)
        yield Camera(target - forward * far, forward, fov, roll)


def _desk(scene: Scene, depth: float) -> tuple[Frame, float, float]:
    """A desk with its back to a wall."""
    draw = scene.draw
    high, w, d = draw.between(0.68, 0.8), draw.between(1, 2), draw.between(0.55, 0.85)
    frame = ORIGIN.at(draw.between(-0.5, 0.5), -depth / 2 + d / 2 + 0.05)
    furniture.table(scene, frame, w, d, high, clutter=False)
    top = frame.at(0, 0, high)
    objects.desk_set(scene, top, w, d)
    if draw.chance(0.5):
        turn = math.pi + draw.between(-0.7, 0.7)
        furniture.chair(scene, frame.at(draw.between(-0.4, 0.4), d / 2 + draw.between(0.1, 0.4), 0, turn))
    return top, w * 0.5, d * 0.5


def _table(scene: Scene, frame: Frame) -> tuple[Frame, float, float]:
    draw = scene.draw
    high, w, d = draw.between(0.4, 0.95), draw.between(0.7, 2.2), draw.between(0.5, 1.2)
    furniture.table(scene, frame, w, d, high, clutter=False)
    for _ in range(draw.count(0, 3)):
        side = draw.sign()
        turn = (0 if side < 0 else math.pi) + draw.between(-0.5, 0.5)
        furniture.chair(scene, frame.at(draw.between(-0.4, 0.4) * w, side * (d / 2 + 0.3), 0, turn))
    if draw.chance(0.25):
        cloth = mat.fabric(scene)
        scene.box(scene.thing("object"), cloth, (w * 0.6, d * 0.8, 0.004), (0, 0, high + 0.002), frame)
    return frame.at(0, 0, high), w * 0.8, d * 0.8


def _bin(scene: Scene, frame: Frame) -> tuple[Frame, float, float]:
    draw = scene.draw
    high = draw.pick(0.0, 0.75)
    if high:
        furniture.table(scene, frame, 1.6, 1, high, clutter=False)
    w, d = draw.between(0.3, 0.8), draw.between(0.25, 0.6)
    top = frame.at(0, 0, high, draw.angle())
    objects.crate(scene, top, w, d, draw.between(0.08, 0.4))
    return top.at(0, 0, 0.015), max(w - 0.2, 0.1), max(d - 0.2, 0.1)


def _shelf(scene: Scene, depth: float) -> Iterator[Camera]:
    draw = scene.draw
    w, deep, high = draw.between(0.6, 2), draw.between(0.3, 0.45), draw.between(1, 2.1)
    at = ORIGIN.at(0, -depth / 2 + deep / 2 + 0.03)
    furniture.shelf(scene, at, w, deep, high, draw.count(3, 6))
    lamps(scene, [(draw.between(-1, 1), 0, 2.2)], draw.between(3, 6))
    fov = math.radians(draw.between(35, 70))
    while True:
        z = draw.between(0.2, high)
        position = np.array(at.point(draw.between(-0.4, 0.4) * w, draw.between(0.6, 1.5), z + draw.between(-0.1, 0.3)))
        forward = (draw.between(-0.4, 0.4), -1.0, draw.between(-0.4, 0.1))
        yield Camera.looking(position, forward, fov, draw.normal(0.06))


def _hand(scene: Scene, top: Frame, depth: float) -> None:
    """A forearm that reaches in."""
    draw, thing = scene.draw, scene.thing("person")
    skin = mat.plain(scene, draw.skin())
    sleeve = mat.fabric(scene) if draw.chance(0.5) else skin
    wrist = (draw.between(-0.1, 0.1), 0.0, 0.09)
    scene.rod(thing, sleeve, (draw.between(-0.3, 0.3), -depth * 0.5 - 0.25, 0.3), wrist, 0.045, top, 0.035)
    palm = (wrist[0], 0.04, 0.08)
    scene.part(thing, meshes.sphere(), skin, (0.09, 0.14, 0.05), palm, top)
    for k in range(4):
        start = (wrist[0] + (k - 1.5) * 0.02, 0.09, 0.08)
        scene.rod(thing, skin, start, (wrist[0] + (k - 1.5) * 0.03, 0.17, 0.05), 0.009, top)
