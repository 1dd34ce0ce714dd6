"""Cars, vans, trucks, bicycles on the road; the front is towards +y, wheels at z = 0."""

from __future__ import annotations

import math

from dptkit.data.procedural import material_rows as mr
from dptkit.data.procedural import materials as mat
from dptkit.data.procedural import meshes
from dptkit.data.procedural.scene import Frame, Scene, tilt_x, tilt_y

# Outlines (y from -0.5 at the back to 0.5, z to 1). The glass of the cabin starts at _SILL of the height.
_BODY = ((-0.5, 0.2), (-0.495, 0.5), (-0.46, 0.6), (0.2, 0.6), (0.42, 0.56), (0.49, 0.48), (0.5, 0.2))
_CABINS = (
    ((-0.44, 0.59), (-0.27, 0.97), (-0.1, 1.0), (0.06, 0.97), (0.25, 0.59)),  # saloon
    ((-0.47, 0.59), (-0.42, 0.95), (-0.1, 1.0), (0.08, 0.97), (0.26, 0.59)),  # hatchback
    ((-0.485, 0.59), (-0.47, 0.96), (0.0, 1.0), (0.2, 0.97), (0.38, 0.57)),  # van
)
_SILL = 0.6
_DISC = ((0.0, -0.5), (0.5, -0.5), (0.5, 0.5), (0.0, 0.5))


def _wheel(scene: Scene, thing: int, frame: Frame, x: float, y: float, diameter: float, width: float) -> None:
    tyre, rim = mat.plain(scene, mat.BLACK), mat.metal(scene)
    sideways = tilt_y(math.pi / 2)
    centre = (x, y, diameter / 2)
    scene.part(thing, meshes.lathe(_DISC, 12), tyre, (diameter, diameter, width), centre, frame, sideways)
    size = (diameter * 0.6, diameter * 0.6, width + 0.02)
    scene.part(thing, meshes.lathe(_DISC, 8), rim, size, centre, frame, sideways)


def car(scene: Scene, frame: Frame) -> None:
    draw, thing = scene.draw, scene.thing("vehicle")
    length, width, height = draw.between(3.6, 4.9), draw.between(1.65, 1.9), draw.between(1.35, 1.75)
    colour = draw.pick(draw.colour(), draw.white(), draw.grey(0.01, 0.3))
    paint = mat.add(scene, mr.PLAIN, colour, scale=3, specular=draw.between(0.2, 0.8), gloss=60, dirt=0.2,
                    reflect=draw.between(0.03, 0.15))  # fmt: skip
    cabin = draw.pick(*_CABINS)
    pane, dark = mat.glass(scene), mat.plain(scene, mat.BLACK)
    size = (width, length, height)
    scene.part(thing, meshes.prism(_BODY), paint, size, frame=frame)
    scene.part(thing, meshes.prism(cabin, 0.2, _SILL), paint, size, frame=frame)
    # Glass: the same cabin a little shorter and wider for the sides, longer and narrower for front and back.
    middle = sum(y for y, _ in cabin) / len(cabin)
    side = tuple((middle + (y - middle) * 0.9, _SILL + (z - _SILL) * 0.84 + 0.02) for y, z in cabin)
    ends = tuple((middle + (y - middle) * 1.02, _SILL + (z - _SILL) * 0.86 + 0.02) for y, z in cabin)
    scene.part(thing, meshes.prism(side, 0.2, _SILL), pane, (width * 1.01, length, height), frame=frame)
    scene.part(thing, meshes.prism(ends, 0.2, _SILL), pane, (width * 0.9, length, height), frame=frame)
    pillar = cabin[0][0] + (cabin[-1][0] - cabin[0][0]) * 0.52
    for i in (-1, 1):
        at = (i * width * 0.452, pillar * length, height * 0.78)
        scene.box(thing, paint, (0.06, 0.09, height * 0.36), at, frame, tilt_y(-i * 0.4))
        for j in (-0.31, 0.31):
            _wheel(scene, thing, frame, i * (width / 2 - 0.09), j * length, draw.between(0.6, 0.66), 0.2)
        lamp = mat.glowing(scene, draw.pick(0.0, 0.6), (0.6, 0.02, 0.02))
        scene.box(thing, lamp, (0.26, 0.05, 0.14), (i * width * 0.37, -length / 2 + 0.01, height * 0.52), frame)
        front = mat.glowing(scene, draw.pick(0.2, 1.5))
        scene.box(thing, front, (0.3, 0.06, 0.12), (i * width * 0.35, length * 0.49, height * 0.44), frame)
        scene.box(thing, paint, (0.14, 0.1, 0.1), (i * (width / 2 + 0.07), length * 0.16, height * 0.64), frame)
    for end in (-1, 1):
        scene.box(thing, dark, (width * 0.9, 0.05, 0.2), (0, end * length * 0.496, 0.38), frame)
        plate = mat.plain(scene, draw.white())
        scene.box(thing, plate, (0.5, 0.02, 0.11), (0, end * (length * 0.496 + 0.03), 0.5), frame)


def truck(scene: Scene, frame: Frame) -> None:
    """A truck, bus or van with a box, up to twelve metres."""
    draw, thing = scene.draw, scene.thing("vehicle")
    length, width, height = draw.between(5.5, 12), draw.between(2.1, 2.55), draw.between(2.6, 3.9)
    paint, dark, pane = mat.plain(scene, specular=0.4), mat.plain(scene, mat.BLACK), mat.glass(scene)
    kind = draw.unit()
    if kind < 0.25:  # bus
        scene.part(thing, meshes.box(), paint, (width, length, height - 0.35), (0, 0, height / 2 + 0.17), frame)
        scene.box(thing, pane, (width + 0.02, length * 0.92, height * 0.3), (0, 0, height * 0.66), frame)
        scene.box(thing, pane, (width * 0.9, length + 0.02, height * 0.38), (0, 0, height * 0.64), frame)
    else:
        cab, tall = draw.between(1.6, 2.2), min(height, draw.between(2.4, 3.2))
        scene.box(thing, paint, (width * 0.97, cab, tall - 0.4), (0, length / 2 - cab / 2, tall / 2 + 0.2), frame)
        scene.box(thing, pane, (width * 0.84, 0.06, tall * 0.3), (0, length / 2, tall * 0.68), frame)
        scene.box(thing, pane, (width * 0.99, cab * 0.5, tall * 0.26), (0, length / 2 - cab * 0.4, tall * 0.68), frame)
        load = length - cab - 0.2
        scene.box(thing, dark, (width * 0.85, length * 0.96, 0.3), (0, -0.1, 0.8), frame)
        cargo = draw.pick(
            mat.plain(scene, draw.white()), mat.plain(scene), mat.label(scene, 2.5, 0.8), mat.picture(scene, 3)
        )
        middle = -length / 2 + load / 2
        if kind < 0.75:
            scene.box(thing, cargo, (width, load, height - 0.95), (0, middle, 0.95 + (height - 0.95) / 2), frame)
        elif kind < 0.87:
            size = (width * 0.85, width * 0.85, load)
            scene.part(thing, meshes.cylinder(), cargo, size, (0, middle, 1 + width * 0.43), frame, tilt_x(math.pi / 2))
        else:
            scene.box(thing, cargo, (width, load, 0.6), (0, middle, 1.25), frame)
    for i in (-1, 1):
        for j in (-0.38, -0.25, 0.34):
            _wheel(scene, thing, frame, i * (width / 2 - 0.15), j * length, 0.95, 0.28)
        lamp = mat.glowing(scene, draw.pick(0.0, 1.0), (0.6, 0.02, 0.02))
        scene.box(thing, lamp, (0.25, 0.06, 0.15), (i * width * 0.42, -length / 2 - 0.01, 0.9), frame)
    bumper = dark
    if draw.chance(0.4):
        bumper = mat.add(scene, mr.STRIPES, (0.8, 0.7, 0.1), (0.7, 0.05, 0.05), scale=2, p=(0.5, 0, 0))
    scene.box(thing, bumper, (width * 0.9, 0.06, 0.15), (0, -length / 2 - 0.01, 0.65), frame)


def bicycle(scene: Scene, frame: Frame) -> None:
    """Thin tubes and two wheels of spokes."""
    thing = scene.thing("vehicle")
    paint, dark = mat.plain(scene, specular=0.4), mat.plain(scene, mat.BLACK)
    for y in (-0.52, 0.52):
        for k in range(12):
            a, b = k * math.pi / 6, (k + 1) * math.pi / 6
            rim = [(0.0, y + 0.33 * math.cos(t), 0.34 + 0.33 * math.sin(t)) for t in (a, b)]
            scene.rod(thing, dark, rim[0], rim[1], 0.018, frame)
            if k % 2:
                scene.rod(thing, dark, (0, y, 0.34), rim[0], 0.004, frame)
    joints = {
        "back": (0.0, -0.52, 0.34),
        "crank": (0.0, -0.05, 0.3),
        "seat": (0.0, -0.2, 0.82),
        "head": (0.0, 0.35, 0.8),
    }
    for start, end in (("back", "crank"), ("back", "seat"), ("crank", "seat"), ("crank", "head"), ("seat", "head")):
        scene.rod(thing, paint, joints[start], joints[end], 0.018, frame)
    scene.rod(thing, paint, (0, 0.52, 0.34), (0, 0.33, 0.98), 0.018, frame)
    scene.rod(thing, dark, (-0.28, 0.32, 1.0), (0.28, 0.32, 1.0), 0.015, frame)
    scene.part(thing, meshes.cushion(), dark, (0.16, 0.26, 0.08), (0, -0.22, 0.9), frame)
