"""One subject close up before something far and blurred; and shapes that float in the air."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from dptkit.data.procedural import building_materials as built
from dptkit.data.procedural import figures, meshes, objects, vegetation
from dptkit.data.procedural import material_rows as mr
from dptkit.data.procedural import materials as mat
from dptkit.data.procedural import nature_materials as natural
from dptkit.data.procedural.camera import Camera
from dptkit.data.procedural.daylight import daylight, lamps
from dptkit.data.procedural.scene import ORIGIN, Frame, Scene, tilt_x

_PETAL = ((0, -0.5), (0.3, -0.3), (0.5, 0.2), (0.3, 0.45), (0, 0.5))


def subject(scene: Scene) -> Iterator[Camera]:
    """The camera is at the origin and looks along +y at a subject that fills a good part of the picture."""
    draw = scene.draw
    kind = draw.weighted({"bust": 40, "animal": 25, "flower": 12, "vessel": 13, "product": 10})
    scene.blur = draw.between(1, 5) if draw.chance(0.85) else 0.0
    scene.corner_reach = 0.4
    far = {"bust": 1.1, "animal": 1.9, "flower": 0.5, "vessel": 0.6, "product": 0.7}[kind] * draw.between(0.7, 1.5)
    aside = draw.normal(0.13) * far
    turn = math.pi + draw.normal(0.5)
    level = -draw.between(0.02, 0.35) * far
    if kind == "bust":
        figures.bust(scene, ORIGIN.at(aside, far, -0.25 + draw.normal(0.08), turn))
        drop = 1.2
    elif kind == "animal":
        scale = draw.between(0.4, 1.0)
        figures.animal(scene, ORIGIN.at(aside, far, -0.75 * scale, turn + draw.normal(0.6)), scale)
        drop = 0.75 * scale
    elif kind == "flower":
        _flower(scene, ORIGIN.at(aside, far, draw.normal(0.03)))
        drop = 0.7
    else:
        at = ORIGIN.at(aside, far, level, draw.angle())
        if kind == "vessel":
            draw.pick(objects.cup, objects.bottle, objects.vase, objects.bowl)(scene, at, draw.between(0.9, 1.5))
        else:
            draw.pick(objects.carton, objects.gadget, objects.stack, objects.tumbled, objects.tin)(scene, at, 1.2)
        board = scene.thing("furniture")
        top = mat.furniture(scene)
        scene.box(board, top, (draw.between(1, 2.5), 1.4, 0.04), (0, far + 0.2, level - 0.02))
        drop = -level + 0.75
    _background(scene, far, drop)
    fov = math.radians(draw.between(30, 60))
    while True:
        forward = (aside / far + draw.normal(0.1), 1.0, draw.normal(0.08))
        yield Camera.looking((0, 0, draw.between(0, 0.12) * far), forward, fov, draw.normal(0.04))


def _background(scene: Scene, far: float, drop: float) -> None:
    """A garden, a room's far wall with furniture-like blocks, or a plain backdrop; `drop`: the ground below."""
    draw = scene.draw
    k = draw.unit()
    if k < 0.45:
        daylight(scene)
        scene.box(scene.thing("terrain"), natural.ground(scene), (600, 600, 0.1), (0, 100, -drop - 0.05))
        for _ in range(draw.count(2, 14)):
            y = far + draw.between(2.5, 30)
            at = ORIGIN.at(draw.between(-0.8, 0.8) * y, y, -drop)
            if draw.chance(0.7):
                vegetation.tree(scene, at, draw.between(3, 10), 60)
            else:
                vegetation.bush(scene, at, draw.between(0.4, 1.3), 60)
        return
    wall = far + (draw.between(0.5, 1.2) if k < 0.6 else draw.between(1.5, 5))
    scene.box(scene.thing("wall"), built.wall(scene), (16, 0.1, 8), (0, wall + 0.05, 2))
    scene.box(scene.thing("floor"), built.floor(scene), (16, wall + 4, 0.1), (0, wall / 2 - 2, -drop - 0.05))
    if k > 0.6:
        for _ in range(draw.count(1, 6)):
            size = (draw.between(0.3, 1.4), draw.between(0.3, 0.6), draw.between(0.4, 2))
            place = (draw.between(-0.7, 0.7) * wall, wall - size[1] / 2 - 0.01, size[2] / 2 - drop)
            scene.box(scene.thing("furniture"), mat.furniture(scene), size, place)
        for _ in range(draw.count(0, 3)):
            place = (draw.between(-0.6, 0.6) * wall, wall - 0.02, draw.between(0.2, 1))
            size = (draw.between(0.3, 1.2), 0.03, draw.between(0.3, 0.9))
            scene.box(scene.thing("picture"), mat.picture(scene, 0.8), size, place)
    lamps(scene, [(draw.between(-1.5, 1.5), far - draw.between(0.3, 1.2), draw.between(0.5, 1.6))], draw.between(2, 6))


def _flower(scene: Scene, frame: Frame) -> None:
    """One or a few blossoms on stems, petals around a disc."""
    draw = scene.draw
    petal = mat.add(scene, mr.NOISE, draw.colour(draw.between(0.2, 0.9), draw.between(0.4, 0.9)), scale=40,
                    contrast=0.5, translucent=0.6, p=(0.6, 0, 0), dirt=0.1)  # fmt: skip
    heart, green = natural.fur(scene, 0.1), natural.foliage(scene)
    count, length = draw.count(5, 12), draw.between(0.05, 0.11)
    for k in range(draw.pick(1, 1, 3, 5)):
        x, y, z = (0.0, 0.0, 0.0) if k == 0 else (draw.normal(0.13), draw.between(-0.05, 0.3), draw.normal(0.08))
        thing, lean = scene.thing("plant"), draw.normal(0.3)
        scene.rod(thing, green, (x * 0.5, y, z - 0.7), (x, y, z), 0.005, frame, 0.004)
        face = tilt_x(math.pi / 2 + lean)
        at = np.array([x, y, z])
        for i in range(count):
            turn = i * 2 * math.pi / count
            c, s = math.cos(turn), math.sin(turn)
            around = face @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
            centre = at + around @ np.array([0, length * 0.6, 0])
            upright = around @ tilt_x(-math.pi / 2 + 0.2)
            size = (length * 0.5, length * 0.12, length)
            scene.part(thing, meshes.lathe(_PETAL, 10), petal, size, centre.tolist(), frame, upright)
        scene.part(thing, meshes.sphere(), heart, (length * 0.5, length * 0.5, length * 0.3), at.tolist(), frame, face)
        vegetation.crown(scene, thing, green, frame, (x * 0.6, y, z - 0.4), (0.15, 0.15, 0.2), 12, hollow=0)


def floating(scene: Scene) -> Iterator[Camera]:
    """Solids of all sizes and materials in the air, mostly before a slanted wall."""
    draw = scene.draw
    far = 10 ** draw.between(0, 1)
    scene.corner_reach = far * 0.2
    walled = draw.chance(0.8)
    if not walled or draw.chance(0.4):
        daylight(scene)
    else:
        place = (draw.between(-0.7, 0.7) * far, -0.3 * far, draw.between(0, 0.8) * far)
        lamps(scene, [place], draw.between(2, 6) * far * far)
    if walled:
        slant = tilt_x(draw.normal(0.3))
        backdrop = mat.picture(scene, far * draw.between(1, 3)) if draw.chance(0.6) else built.wall(scene)
        at_wall = ORIGIN.at(0, far * 1.6, 0, math.pi + draw.normal(0.35))
        scene.part(scene.thing("wall"), meshes.panel(), backdrop, (30 * far, 1, 30 * far), (0, 0, 0), at_wall, slant)
    solids: tuple[Callable[[], meshes.Mesh], ...] = (
        meshes.box,
        meshes.box,
        meshes.sphere,
        meshes.cylinder,
        meshes.cone,
        meshes.rounded_box,
        meshes.cushion,
    )
    for _ in range(draw.count(5, 45)):
        y = far * math.exp(draw.between(-1.3, 0.4))
        at = ORIGIN.at(draw.between(-0.7, 0.7) * y, y, draw.between(-0.55, 0.55) * y)
        widest = y * draw.between(0.08, 0.6)
        size = [widest * draw.between(0.15, 1) for _ in range(3)]
        if draw.chance(0.1):
            crown = scene.thing("plant")
            vegetation.crown(
                scene, crown, natural.foliage(scene), at, (0, 0, 0), (size[0], size[1], size[2]), 120, hollow=0
            )
        else:
            scene.part(scene.thing("object"), draw.pick(*solids)(), mat.anything(scene, widest), size, (0, 0, 0), at,
                       draw.rotation())  # fmt: skip
    fov = math.radians(draw.between(40, 75))
    while True:
        yield Camera.looking((0, 0, 0), (draw.normal(0.05), 1, draw.normal(0.05)), fov, draw.between(-0.1, 0.1))
