"""Small things that stand on a surface: each function puts one at the origin of a frame, z up from the surface."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from dptkit.data.procedural import material_rows as mr
from dptkit.data.procedural import materials as mat
from dptkit.data.procedural import meshes
from dptkit.data.procedural.scene import Frame, Scene, tilt_x, tilt_y
from dptkit.data.procedural.vegetation import pot_plant

# Profiles (radius, height) of unit height; sizes vary when they are placed.
_CUPS = tuple(
    ((0, 0), (0.5 * t, 0), (0.25 * (t + 1), 0.5), (0.5, 1), (0.45, 1), (0.42 * t, 0.15), (0, 0.12))
    for t in (0.6, 0.8, 1.0)
)
_BOTTLES = tuple(
    (
        (0, 0),
        (0.5, 0),
        (0.5, low),
        (0.45, low + 0.1),
        (0.5 * n, 0.8),
        (0.5 * n, 0.93),
        (0.6 * n, 0.93),
        (0.6 * n, 1),
        (0, 1),
    )
    for n in (0.3, 0.45)
    for low in (0.45, 0.6)
)
_BOWL = ((0, 0), (0.25, 0), (0.4, 0.4), (0.5, 1), (0.47, 1), (0.35, 0.4), (0, 0.12))
_VASES = (
    ((0, 0), (0.3, 0), (0.5, 0.4), (0.4, 0.7), (0.2, 0.85), (0.28, 1), (0.24, 1), (0.15, 0.85), (0, 0.8)),
    ((0, 0), (0.4, 0), (0.45, 0.3), (0.3, 0.6), (0.45, 1), (0.41, 1), (0.26, 0.6), (0, 0.5)),
)
_SOLIDS: tuple[Callable[[], meshes.Mesh], ...] = (
    meshes.box, meshes.cylinder, meshes.rounded_box, meshes.sphere, meshes.cone, meshes.cushion,
)  # fmt: skip
_SHADE = ((0.5, 0), (0.28, 1))


def cup(scene: Scene, frame: Frame, scale: float = 1.0) -> None:
    draw, thing = scene.draw, scene.thing("object")
    radius, height = draw.between(0.03, 0.045) * scale, draw.between(0.07, 0.12) * scale
    material = mat.anything(scene, 0.2) if draw.chance(0.4) else mat.plain(scene, specular=0.4, gloss=60)
    scene.part(thing, meshes.lathe(draw.pick(*_CUPS)), material, (2 * radius, 2 * radius, height), frame=frame)
    if draw.chance(0.5):
        angles = np.linspace(-1.4, 1.4, 6)
        points = [
            (radius * 0.95 + 0.028 * scale * math.cos(a), 0.0, height * (0.5 + 0.33 * math.sin(a))) for a in angles
        ]
        for start, end in pairwise(points):
            scene.rod(thing, material, start, end, 0.006 * scale, frame)


def bottle(scene: Scene, frame: Frame, scale: float = 1.0) -> None:
    draw, thing = scene.draw, scene.thing("object")
    width, height = draw.between(0.05, 0.1) * scale, draw.between(0.15, 0.32) * scale
    material = mat.glass(scene, draw.colour()) if draw.chance(0.4) else mat.label(scene, height)
    scene.part(thing, meshes.lathe(draw.pick(*_BOTTLES)), material, (width, width, height), frame=frame)


def bowl(scene: Scene, frame: Frame, scale: float = 1.0) -> None:
    draw, thing = scene.draw, scene.thing("object")
    width = draw.between(0.12, 0.3) * scale
    height = width * draw.between(0.2, 0.4)
    material = mat.plain(scene, specular=0.4) if draw.chance(0.7) else mat.anything(scene, 0.2)
    scene.part(thing, meshes.lathe(_BOWL), material, (width, width, height), frame=frame)
    for _ in range(draw.pick(0, 0, 4)):
        fruit, size = scene.thing("object"), width * 0.28
        at = (draw.between(-0.25, 0.25) * width, draw.between(-0.25, 0.25) * width, height * 0.6)
        scene.part(fruit, meshes.coarse_sphere(), mat.anything(scene, 0.1), (size, size, size), at, frame)


def vase(scene: Scene, frame: Frame, scale: float = 1.0) -> None:
    draw = scene.draw
    width, height = draw.between(0.07, 0.16) * scale, draw.between(0.12, 0.35) * scale
    mesh = meshes.lathe(draw.pick(*_VASES))
    scene.part(scene.thing("object"), mesh, mat.anything(scene, height), (width, width, height), frame=frame)


def carton(scene: Scene, frame: Frame, scale: float = 1.0) -> None:
    draw = scene.draw
    w, d, h = (draw.between(0.03, 0.26) * scale for _ in range(3))
    mesh = meshes.box() if draw.chance(0.8) else meshes.rounded_box()
    scene.part(scene.thing("object"), mesh, mat.anything(scene, max(w, h)), (w, d, h), (0, 0, h / 2), frame)


def tin(scene: Scene, frame: Frame, scale: float = 1.0) -> None:
    draw = scene.draw
    width, h = draw.between(0.05, 0.12) * scale, draw.between(0.05, 0.2) * scale
    size = (width, width, h)
    scene.part(scene.thing("object"), meshes.cylinder(), mat.anything(scene, h), size, (0, 0, h / 2), frame)


def ball(scene: Scene, frame: Frame, scale: float = 1.0) -> None:
    draw = scene.draw
    d = draw.between(0.06, 0.18) * scale
    h = d * draw.between(0.75, 1.1)
    scene.part(scene.thing("object"), meshes.sphere(), mat.anything(scene, d), (d, d, h), (0, 0, h / 2), frame)


def stack(scene: Scene, frame: Frame, scale: float = 1.0) -> None:
    """Books or folders lying on one another."""
    draw, z = scene.draw, 0.0
    for _ in range(draw.count(1, 5)):
        h = draw.between(0.01, 0.05) * scale
        w, d = draw.between(0.14, 0.22) * scale, draw.between(0.2, 0.3) * scale
        turned = frame.at(turn=draw.between(-0.3, 0.3))
        scene.box(scene.thing("object"), mat.anything(scene, 0.25), (w, d, h), (0, 0, z + h / 2), turned)
        z += h


def tumbled(scene: Scene, frame: Frame, scale: float = 1.0) -> None:
    """A solid lying as it fell, its lowest point on the surface."""
    draw = scene.draw
    size = [draw.between(0.04, 0.2) * scale for _ in range(3)]
    mesh = draw.pick(*_SOLIDS)()
    turn = draw.rotation()
    if draw.chance(0.7):  # flat on one side
        turn = draw.pick(np.eye(3), tilt_x(math.pi / 2), tilt_y(math.pi / 2))
    lowest = float((mesh.triangles.reshape(-1, 3) * np.array(size) @ turn[2]).min())
    scene.part(scene.thing("object"), mesh, mat.anything(scene, 0.15), size, (0, 0, -lowest - 0.002), frame, turn)


def gadget(scene: Scene, frame: Frame, scale: float = 1.0) -> None:
    """Several solids joined: a toy, a tool, a device."""
    draw, thing = scene.draw, scene.thing("object")
    body = mat.furniture(scene) if draw.chance(0.5) else mat.plain(scene)
    z = 0.0
    for _ in range(draw.count(2, 6)):
        size = [draw.between(0.02, 0.12) * scale for _ in range(3)]
        mesh = draw.pick(*_SOLIDS[:4])()
        centre = (draw.between(-0.04, 0.04) * scale, draw.between(-0.04, 0.04) * scale, z + size[2] / 2)
        part = body if draw.chance(0.6) else mat.plain(scene, specular=0.3)
        scene.part(thing, mesh, part, size, centre, frame.at(turn=draw.angle()))
        z += size[2] * draw.pick(0.3, 0.8, 0.95)


def paper(scene: Scene, frame: Frame, scale: float = 1.0) -> None:
    scene.box(scene.thing("object"), mat.page(scene), (0.21 * scale, 0.297 * scale, 0.004), (0, 0, 0.002), frame)


def pen(scene: Scene, frame: Frame, scale: float = 1.0) -> None:
    scene.rod(scene.thing("object"), mat.plain(scene, specular=0.3), (0, 0, 0.006), (0.14, 0, 0.006), 0.005, frame)


def cable(scene: Scene, frame: Frame, scale: float = 1.0) -> None:
    draw, thing = scene.draw, scene.thing("object")
    material = mat.plain(scene, draw.grey(0.02, 0.05) if draw.chance(0.7) else draw.white(), specular=0.2)
    x, y, turn = 0.0, 0.0, draw.angle()
    for _ in range(draw.count(6, 14)):
        turn += draw.normal(0.6)
        end = (x + math.cos(turn) * 0.05 * scale, y + math.sin(turn) * 0.05 * scale)
        scene.rod(thing, material, (x, y, 0.004), (*end, 0.004), 0.004, frame)
        x, y = end


def monitor(scene: Scene, frame: Frame, scale: float = 1.0) -> None:
    draw, thing = scene.draw, scene.thing("screen")
    case = mat.plain(scene, draw.grey(0.01, 0.08), specular=0.3)
    w = draw.between(0.4, 0.7) * scale
    h, z = w * 0.6, draw.between(0.08, 0.18) * scale
    scene.box(thing, case, (w, 0.03, h), (0, 0, z + h / 2), frame)
    shown = mat.picture(scene, w, emission=draw.between(0.3, 1)) if draw.chance(0.6) else mat.glass(scene)
    scene.box(thing, shown, (w * 0.95, 0.004, h * 0.92), (0, 0.0155, z + h / 2), frame)
    scene.box(thing, case, (0.06, 0.03, z + 0.1), (0, -0.03, z / 2 + 0.05), frame)
    scene.box(thing, case, (0.25 * scale, 0.18 * scale, 0.015), (0, 0, 0.0075), frame)


def keyboard(scene: Scene, frame: Frame, scale: float = 1.0) -> None:
    tone = scene.draw.pick(0.02, 0.05, 0.6, 0.8)
    gap = tone * (0.3 if tone < 0.1 else 0.1)
    keys = mat.add(scene, mr.TILES, (tone,) * 3, (tone * 0.9,) * 3, (gap,) * 3, scale=50, p=(0, 0.15, 0), contrast=0.1)
    scene.box(scene.thing("object"), keys, (0.44 * scale, 0.14 * scale, 0.02), (0, 0, 0.012), frame, tilt_x(0.05))


def laptop(scene: Scene, frame: Frame, scale: float = 1.0) -> None:
    draw, thing = scene.draw, scene.thing("screen")
    tone = draw.pick(0.03, 0.1, 0.5, 0.7)
    case = mat.plain(scene, (tone,) * 3, specular=0.3)
    keys = mat.add(scene, mr.TILES, (0.03,) * 3, (0.04,) * 3, (tone,) * 3, scale=55, p=(0, 0.15, 0))
    scene.box(thing, case, (0.34, 0.24, 0.018), (0, 0, 0.009), frame)
    scene.box(thing, keys, (0.29, 0.11, 0.003), (0, -0.02, 0.0195), frame)
    lean = draw.between(0, 0.6)
    s, c = math.sin(lean), math.cos(lean)
    scene.box(thing, case, (0.34, 0.01, 0.22), (0, -0.12 - 0.11 * s, 0.018 + 0.11 * c), frame, tilt_x(lean))
    shown = mat.picture(scene, 0.3, emission=draw.between(0.2, 0.9)) if draw.chance(0.7) else mat.glass(scene)
    centre = (0, -0.12 - 0.11 * s + 0.006 * c, 0.018 + 0.11 * c + 0.006 * s)
    scene.box(thing, shown, (0.32, 0.003, 0.2), centre, frame, tilt_x(lean))


def mouse(scene: Scene, frame: Frame, scale: float = 1.0) -> None:
    material = mat.plain(scene, scene.draw.grey(0.02, 0.7), specular=0.3)
    scene.part(scene.thing("object"), meshes.sphere(), material, (0.06, 0.1, 0.05), (0, 0, 0.01), frame)


def lamp(scene: Scene, frame: Frame, height: float) -> None:
    draw, thing = scene.draw, scene.thing("lamp")
    stand = mat.metal(scene)
    scene.part(thing, meshes.cylinder(), stand, (height * 0.3, height * 0.3, 0.02), (0, 0, 0.01), frame)
    scene.part(thing, meshes.cylinder(), stand, (0.02, 0.02, height), (0, 0, height / 2), frame)
    shade = mat.add(scene, mr.PLAIN, draw.warm(0.8), scale=3, emission=draw.between(0, 2), translucent=0.6, dirt=0)
    size = (height * 0.36, height * 0.36, height * 0.25)
    scene.part(thing, meshes.lathe(_SHADE), shade, size, (0, 0, height * 0.8), frame)


def small_plant(scene: Scene, frame: Frame, scale: float = 1.0) -> None:
    pot_plant(scene, frame, scene.draw.between(0.15, 0.4) * scale)


def desk_lamp(scene: Scene, frame: Frame, scale: float = 1.0) -> None:
    lamp(scene, frame, scene.draw.between(0.3, 0.5) * scale)


Placer = Callable[[Scene, Frame, float], None]
SMALL: dict[Placer, float] = {
    carton: 24, cup: 11, bottle: 11, bowl: 6, vase: 4, tin: 8, stack: 8, paper: 5, ball: 6, tumbled: 7, small_plant: 5,
    desk_lamp: 3, gadget: 5, cable: 2, pen: 2,
}  # fmt: skip
"""Things for tables and shelves, with how often each is drawn."""


def item(scene: Scene, frame: Frame, height: float = 9.0) -> None:
    """Any small thing no taller than `height` metres."""
    scene.draw.weighted(SMALL)(scene, frame, min(1.0, height / 0.33))


def scatter(scene: Scene, frame: Frame, width: float, depth: float, count: int, height: float = 9.0) -> None:
    """`count` things on a surface `width` by `depth` about the frame; they keep apart where there is room."""
    draw = scene.draw
    taken: list[tuple[float, float]] = []
    apart = 0.5 * math.sqrt(width * depth / max(count, 1))
    for _ in range(count):
        for _ in range(4):
            x, y = draw.between(-width / 2, width / 2), draw.between(-depth / 2, depth / 2)
            if all((x - a) ** 2 + (y - b) ** 2 > apart**2 for a, b in taken):
                break
        taken.append((x, y))
        if height > 0.35 and draw.chance(0.06):
            turn = draw.between(-0.5, 0.5) + draw.pick(0.0, math.pi)
            draw.pick(monitor, laptop, keyboard)(scene, frame.at(x, y, 0, turn), 1.0)
        else:
            item(scene, frame.at(x, y, 0, draw.angle() if draw.chance(0.6) else draw.pick(0.0, math.pi / 2)), height)


def books(scene: Scene, frame: Frame, width: float, depth: float, height: float) -> None:
    """A row of books on a board `width` wide with `height` free above it."""
    draw = scene.draw
    x, end = -width / 2, draw.between(0.4, 1) * width / 2
    row = draw.between(0.55, 0.85) * height
    while x < end:
        if draw.chance(0.06):
            x += draw.between(0.05, 0.3)
            continue
        thick, tall = draw.between(0.012, 0.06), min(row * draw.between(0.8, 1.1), height * 0.95)
        deep = depth * draw.between(0.6, 0.85)
        material = mat.plain(scene, specular=0.1) if draw.chance(0.6) else mat.label(scene, max(tall, 0.05), 0.6)
        lean = tilt_y(draw.between(0.05, 0.15)) if draw.chance(0.1) else None
        centre = (x + thick / 2, (depth - deep) * 0.3, tall / 2)
        scene.box(scene.thing("object"), material, (thick, deep, tall), centre, frame, lean)
        x += thick + 0.002


def crate(scene: Scene, frame: Frame, width: float, depth: float, height: float) -> None:
    """An open box standing at the frame."""
    thing, material, t = scene.thing("object"), mat.furniture(scene), 0.015
    scene.box(thing, material, (width, depth, t), (0, 0, t / 2), frame)
    for side in (-1, 1):
        scene.box(thing, material, (t, depth, height), (side * (width - t) / 2, 0, height / 2), frame)
        scene.box(thing, material, (width - 2 * t, t, height), (0, side * (depth - t) / 2, height / 2), frame)


def desk_set(scene: Scene, frame: Frame, width: float, depth: float) -> None:
    """What lies on a desk; the frame is the middle of its top, +y towards who sits there."""
    draw = scene.draw
    screens = draw.count(0, 2)
    for k in range(screens):
        x = (k - (screens - 1) / 2) * 0.55 + draw.between(-0.05, 0.05)
        monitor(scene, frame.at(x, -depth * 0.22, 0, draw.between(-0.35, 0.35)), draw.between(0.8, 1.1))
    if screens == 0 or draw.chance(0.3):
        laptop(scene, frame.at(draw.between(-0.3, 0.3), draw.between(-0.1, 0.1), 0, draw.between(-0.4, 0.4)))
    if draw.chance(0.75):
        keyboard(scene, frame.at(draw.between(-0.15, 0.15), depth * 0.25, 0, draw.between(-0.15, 0.15)))
        mouse(scene, frame.at(draw.between(0.25, 0.4), depth * 0.25, 0, draw.between(-0.3, 0.3)))
    if draw.chance(0.4):
        desk_lamp(scene, frame.at(draw.sign() * width * 0.4, -depth * 0.3))
    if draw.chance(0.4):
        books(scene, frame.at(draw.sign() * width * 0.35, -depth * 0.32), width * 0.25, 0.2, 0.28)
    for placer, most in ((paper, 3), (cable, 2), (pen, 3)):
        for _ in range(draw.count(0, most)):
            x, y = draw.between(-0.4, 0.4) * width, draw.between(-0.2, 0.4) * depth
            placer(scene, frame.at(x, y, 0, draw.angle()))
    scatter(scene, frame, width * 0.85, depth * 0.7, draw.count(1, 8), 0.34)
