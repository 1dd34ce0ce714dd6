"""Furniture standing on the floor: each function puts one piece at the origin of a frame, its front towards +y."""

from __future__ import annotations

import math

from dptkit.data.procedural import material_rows as mr
from dptkit.data.procedural import materials as mat
from dptkit.data.procedural import meshes, objects
from dptkit.data.procedural.draw import scaled
from dptkit.data.procedural.scene import Frame, Scene, tilt_x


def table(scene: Scene, frame: Frame, width: float, depth: float, height: float, *, clutter: bool = True) -> None:
    draw, thing = scene.draw, scene.thing("furniture")
    top = mat.furniture(scene)
    legs = top if draw.chance(0.5) else mat.furniture(scene)
    t = draw.between(0.02, 0.06)
    if draw.chance(0.15):
        scene.part(thing, meshes.cylinder(), top, (width, depth, t), (0, 0, height - t / 2), frame)
        scene.part(thing, meshes.cylinder(), legs, (0.08, 0.08, height - t), (0, 0, (height - t) / 2), frame)
        scene.part(thing, meshes.cylinder(), legs, (0.5 * width, 0.5 * depth, 0.03), (0, 0, 0.015), frame)
    else:
        scene.box(thing, top, (width, depth, t), (0, 0, height - t / 2), frame)
        leg = draw.between(0.03, 0.08)
        if draw.chance(0.7):
            for i in (-1, 1):
                for j in (-1, 1):
                    at = (i * (width / 2 - leg), j * (depth / 2 - leg), (height - t) / 2)
                    scene.box(thing, legs, (leg, leg, height - t), at, frame)
            if draw.chance(0.4):
                at = (0, -depth / 2 + leg, height - t - 0.06)
                scene.box(thing, legs, (width - 3 * leg, 0.02, 0.1), at, frame)
        else:
            for i in (-1, 1):
                scene.box(
                    thing, legs, (0.05, depth * 0.97, height - t), (i * (width / 2 - 0.05), 0, (height - t) / 2), frame
                )
            if draw.chance(0.5) and width > 1:
                side = frame.at(draw.sign() * (width / 2 - 0.3), 0)
                cabinet(scene, side, 0.42, depth * 0.9, height - t - 0.01)
    if clutter:
        objects.scatter(scene, frame.at(0, 0, height), width * 0.85, depth * 0.85, draw.count(0, 8))


def chair(scene: Scene, frame: Frame) -> None:
    draw, thing = scene.draw, scene.thing("furniture")
    legs = mat.furniture(scene)
    seat = mat.fabric(scene) if draw.chance(0.5) else legs
    h, w, back = draw.between(0.42, 0.5), draw.between(0.38, 0.5), draw.between(0.35, 0.55)
    soft = meshes.rounded_box() if draw.chance(0.5) else meshes.box()
    scene.part(thing, soft, seat, (w, w, draw.between(0.03, 0.09)), (0, 0, h), frame)
    if draw.chance(0.65):
        for i in (-1, 1):
            for j in (-1, 1):
                scene.box(thing, legs, (0.035, 0.035, h), (i * (w / 2 - 0.035), j * (w / 2 - 0.035), h / 2), frame)
    else:  # on a swivel
        scene.part(thing, meshes.cylinder(), legs, (0.05, 0.05, h), (0, 0, h / 2), frame)
        for i in range(5):
            scene.box(thing, legs, (0.28, 0.04, 0.05), (0.14, 0, 0.04), frame.at(0, 0, 0, i * 2 * math.pi / 5))
    if draw.chance(0.88):
        lean = tilt_x(draw.between(0, 0.2))
        if draw.chance(0.6):
            scene.part(thing, soft, seat, (w, 0.04, back), (0, -w / 2, h + back / 2 + 0.02), frame, lean)
        else:
            for i in range(4):
                scene.box(thing, legs, (0.03, 0.03, back), ((i - 1.5) * w / 3.3, -w / 2, h + back / 2), frame, lean)
            scene.box(thing, legs, (w, 0.035, 0.08), (0, -w / 2 - back * 0.08, h + back), frame, lean)
    if draw.chance(0.3):
        for i in (-1, 1):
            scene.box(thing, legs, (0.04, w * 0.8, 0.03), (i * w / 2, 0, h + 0.2), frame)
            scene.box(thing, legs, (0.03, 0.03, 0.2), (i * w / 2, w * 0.3, h + 0.1), frame)


def cabinet(scene: Scene, frame: Frame, width: float, depth: float, height: float, *, clutter: bool = False) -> None:
    """Doors or drawers on a body."""
    draw, thing = scene.draw, scene.thing("furniture")
    body = mat.furniture(scene)
    foot = draw.pick(0.0, 0.08)
    scene.box(thing, body, (width, depth, height - foot), (0, 0, foot + (height - foot) / 2), frame)
    if foot:
        scene.box(thing, body, (width - 0.1, depth - 0.1, foot), (0, 0, foot / 2), frame)
    handle = mat.metal(scene)
    columns = max(1, round(width / draw.between(0.4, 0.7)))
    rows = draw.count(1, 4) if height < 1.3 else draw.count(1, 3)
    w, h = width / columns, (height - foot - 0.02) / rows
    handles = draw.chance(0.85)
    for i in range(columns):
        for j in range(rows):
            x, z = -width / 2 + w * (i + 0.5), foot + 0.01 + h * (j + 0.5)
            scene.box(thing, body, (w - 0.014, 0.018, h - 0.014), (x, depth / 2 + 0.009, z), frame)
            if handles and h < w:
                scene.box(thing, handle, (0.12, 0.02, 0.015), (x, depth / 2 + 0.028, z + h * 0.2), frame)
            elif handles:
                scene.box(thing, handle, (0.015, 0.02, 0.12), (x + w * 0.38, depth / 2 + 0.028, z), frame)
    if clutter:
        objects.scatter(scene, frame.at(0, 0, height), width * 0.85, depth * 0.7, draw.count(0, 5))


def shelf(scene: Scene, frame: Frame, width: float, depth: float, height: float, boards: int | None = None) -> None:
    draw, thing = scene.draw, scene.thing("furniture")
    material, t = mat.furniture(scene), 0.025
    n = draw.count(2, 6) if boards is None else boards
    for i in (-1, 1):
        scene.box(thing, material, (t, depth, height), (i * (width - t) / 2, 0, height / 2), frame)
    if draw.chance(0.7):
        scene.box(thing, material, (width - 2 * t, 0.01, height), (0, -depth / 2 + 0.005, height / 2), frame)
    gap = (height - t) / n - t
    for j in range(n + 1):
        z = t / 2 + (height - t) * j / n
        scene.box(thing, material, (width - 2 * t, depth, t), (0, 0, z), frame)
        if j == n:
            break
        on = frame.at(0, 0, z + t / 2)
        if draw.chance(0.55):
            objects.books(scene, on, width - 2 * t, depth, min(gap, 0.4))
        elif draw.chance(0.85):
            objects.scatter(scene, on, width * 0.8, depth * 0.6, draw.count(1, 5), gap * 0.9)


def sofa(scene: Scene, frame: Frame, width: float, depth: float = 0.9) -> None:
    draw, thing = scene.draw, scene.thing("furniture")
    cloth, h, arm = mat.fabric(scene), draw.between(0.38, 0.46), draw.between(0.12, 0.25)
    rounded, cushion = meshes.rounded_box(), meshes.cushion()
    scene.part(thing, rounded, cloth, (width, depth, h * 0.8), (0, 0, h * 0.4), frame)
    seats = max(1, int(width / 0.7))
    w = (width - 2 * arm) / seats
    for i in range(seats):
        x = -(width - 2 * arm) / 2 + w * (i + 0.5)
        scene.part(thing, cushion, cloth, (w, depth * 0.75, 0.2), (x, 0.08, h), frame)
        scene.part(thing, cushion, cloth, (w, 0.25, 0.5), (x, -depth / 2 + 0.2, h + 0.25), frame, tilt_x(0.15))
    scene.part(thing, rounded, cloth, (width, 0.2, h + 0.4), (0, -depth / 2 + 0.08, (h + 0.4) / 2), frame)
    for i in (-1, 1):
        scene.part(thing, rounded, cloth, (arm, depth, h + 0.2), (i * (width - arm) / 2, 0, (h + 0.2) / 2), frame)
    for _ in range(draw.count(0, 3)):
        x = draw.between(-width / 2 + 0.35, width / 2 - 0.35)
        size, at = (0.42, 0.18, 0.42), (x, -0.05, h + 0.27)
        scene.part(scene.thing("object"), cushion, mat.fabric(scene), size, at, frame, tilt_x(draw.between(0.2, 0.5)))


def bed(scene: Scene, frame: Frame, width: float = 1.6, length: float = 2.0) -> None:
    """Its head is at -y."""
    draw, thing = scene.draw, scene.thing("furniture")
    board = mat.furniture(scene)
    scene.box(thing, board, (width, length, 0.3), (0, 0, 0.15), frame)
    rounded = meshes.rounded_box()
    scene.part(thing, rounded, mat.fabric(scene), (width * 1.01, length * 0.98, 0.3), (0, 0, 0.42), frame)
    high = draw.between(0.7, 1.2)
    scene.box(thing, board, (width, 0.06, high), (0, -length / 2 - 0.03, high / 2), frame)
    if draw.chance(0.6):
        scene.part(
            thing, rounded, mat.fabric(scene), (width * 1.04, length * 0.6, 0.33), (0, length * 0.2, 0.43), frame
        )
    for i in (-1, 1):
        size, at = (width * 0.42, 0.4, 0.18), (i * width * 0.24, -length / 2 + 0.3, 0.6)
        scene.part(scene.thing("object"), meshes.cushion(), mat.plain(scene, draw.white()), size, at, frame)


def kitchen(scene: Scene, frame: Frame, width: float) -> None:
    """A counter with a row of cupboards above; the frame is at the wall."""
    cabinet(scene, frame.at(0, 0.31), width, 0.6, 0.88)
    scene.box(scene.thing("furniture"), mat.furniture(scene), (width, 0.64, 0.04), (0, 0.33, 0.9), frame)
    cabinet(scene, frame.at(0, 0.19, 1.45), width, 0.35, 0.7)
    objects.scatter(scene, frame.at(0, 0.3, 0.92), width * 0.9, 0.4, scene.draw.count(1, 6), 0.45)


def stairs(scene: Scene, frame: Frame, width: float, steps: int) -> None:
    """Steps rising towards -y from the frame, with a railing."""
    draw, thing = scene.draw, scene.thing("stairs")
    material, rise, tread = mat.furniture(scene), draw.between(0.15, 0.19), draw.between(0.24, 0.3)
    solid = draw.chance(0.6)
    for k in range(steps):
        z = rise * (k + 1)
        tall = z if solid else 0.05
        scene.box(thing, material, (width, tread - 0.001, tall), (0, -tread * (k + 0.5), z - tall / 2), frame)
    railing(scene, frame, (width / 2 - 0.04, 0.0, 0.0), (width / 2 - 0.04, -tread * steps, rise * steps))


def railing(scene: Scene, frame: Frame, start: tuple[float, float, float], end: tuple[float, float, float]) -> None:
    """Thin bars under a handrail, `start` and `end` at its foot."""
    draw, thing = scene.draw, scene.thing("fence")
    material, height = mat.metal(scene) if draw.chance(0.6) else mat.furniture(scene), draw.between(0.85, 1.1)
    length = math.dist(start, end)
    bars = max(2, int(length / draw.between(0.1, 0.3)))
    for k in range(bars + 1):
        x, y, z = (a + (b - a) * k / bars for a, b in zip(start, end, strict=True))
        scene.rod(thing, material, (x, y, z), (x, y, z + height), 0.01, frame)
    top = [(x, y, z + height) for x, y, z in (start, end)]
    scene.rod(thing, material, top[0], top[1], 0.025, frame)


def radiator(scene: Scene, frame: Frame, width: float) -> None:
    white = scene.draw.white()
    ribs = mat.add(scene, mr.STRIPES, white, scaled(white, 0.7), scale=14, p=(0.7, 0, 0))
    scene.box(scene.thing("object"), ribs, (width, 0.08, 0.6), (0, 0.06, 0.42), frame)
