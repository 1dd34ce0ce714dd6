"""Houses, and what stands along a street. A building's front is towards +y."""

from __future__ import annotations

from dptkit.data.procedural import building_materials as built
from dptkit.data.procedural import material_rows as mr
from dptkit.data.procedural import materials as mat
from dptkit.data.procedural import meshes
from dptkit.data.procedural import nature_materials as natural
from dptkit.data.procedural.draw import Colour, scaled
from dptkit.data.procedural.scene import Frame, Scene

_GABLE = ((-0.5, 0.0), (0.0, 1.0), (0.5, 0.0))
_GLASS: tuple[Colour, ...] = ((0.05, 0.07, 0.1), (0.25, 0.32, 0.4), (0.6, 0.65, 0.7))


def building(scene: Scene, frame: Frame, width: float, depth: float, height: float, *, detail: bool = True) -> None:
    """Storeys with windows, a door, a roof; `detail` adds frames and balconies that stand out of the wall."""
    draw, thing = scene.draw, scene.thing("building")
    storey = draw.between(2.6, 3.6)
    floors = max(1, round(height / storey))
    height = floors * storey
    colour = draw.pick(draw.white(), draw.warm(), draw.warm(), draw.colour(0.3, draw.between(0.2, 0.7)))
    pane = draw.pick(*_GLASS)
    relief = detail and draw.chance(0.5)
    if relief:
        wall = (
            built.bricks(scene) if draw.chance(0.3) else mat.add(scene, mr.NOISE, colour, scaled(colour, 0.8), scale=2)
        )
    elif draw.chance(0.85):
        share = (draw.between(0.35, 0.75), draw.between(0.35, 0.7), draw.unit())
        wall = mat.add(scene, mr.FACADE, colour, pane, scaled(colour, draw.pick(0.3, 1.2)), scale=1 / storey, p=share,
                       dirt=draw.between(0.1, 0.6), dirt_scale=0.3)  # fmt: skip
    else:
        wall = built.bricks(scene)
    scene.box(thing, wall, (width, depth, height), (0, 0, height / 2), frame)
    if draw.chance(0.5):
        tiles = mat.add(scene, mr.TILES, draw.warm(draw.between(0.1, 0.4)), draw.warm(0.25), scale=3, contrast=0.6,
                        p=(0, 0.1, 0))  # fmt: skip
        size = (width + 0.6, depth + 0.6, depth * draw.between(0.2, 0.5))
        scene.part(thing, meshes.prism(_GABLE), tiles, size, (0, 0, height), frame)
        if draw.chance(0.5):
            at = (draw.between(-0.3, 0.3) * width, depth * 0.2, height + size[2] * 0.7)
            scene.box(thing, built.bricks(scene), (0.7, 0.7, size[2]), at, frame)
    elif draw.chance(0.5):
        cornice = mat.plain(scene, scaled(colour, 0.8))
        scene.box(thing, cornice, (width + 0.4, depth + 0.4, 0.4), (0, 0, height + 0.2), frame)
    front = depth / 2
    if draw.chance(0.7):
        door = mat.plain(scene) if draw.chance(0.6) else mat.glass(scene, draw.colour(0.3, 0.1))
        at = (draw.between(-0.33, 0.33) * width, front + 0.03, 1.1)
        scene.box(scene.thing("door"), door, (draw.between(0.9, 2.4), 0.1, 2.2), at, frame)
    if relief:
        _window_relief(scene, frame, thing, pane, width, front, floors, storey)
    if detail and draw.chance(0.15):  # awning of a shop
        cloth = mat.fabric(scene)
        scene.box(thing, cloth, (width * 0.8, 1.4, 0.08), (0, front + 0.7, 2.7), frame)
        scene.box(thing, cloth, (width * 0.8, 0.04, 0.25), (0, front + 1.4, 2.6), frame)


def _window_relief(scene: Scene, frame: Frame, thing: int, pane: Colour, width: float, front: float, floors: int,
                   storey: float) -> None:  # fmt: skip
    draw = scene.draw
    glass, surround = mat.glass(scene, pane), mat.plain(scene, draw.white())
    rail = mat.plain(scene)
    columns = min(max(1, int(width / draw.between(2, 4))), 7)
    for j in range(min(floors, 5)):
        for i in range(columns):
            x, z = -width / 2 + width / columns * (i + 0.5), storey * (j + 0.55)
            scene.box(thing, surround, (1.1, 0.1, 1.5), (x, front, z), frame)
            scene.box(thing, glass, (0.95, 0.1, 1.35), (x, front + 0.015, z), frame)
            if j and draw.chance(0.12):
                scene.box(thing, surround, (1.8, 1.0, 0.1), (x, front + 0.5, z - 0.9), frame)
                scene.box(thing, rail, (1.8, 0.05, 0.8), (x, front + 1, z - 0.5), frame)


def street_lamp(scene: Scene, frame: Frame, height: float) -> None:
    """A pole whose arm reaches to +x."""
    thing, material = scene.thing("pole"), mat.metal(scene)
    scene.rod(thing, material, (0, 0, 0), (0, 0, height), 0.08, frame, 0.05)
    scene.box(thing, material, (1.8, 0.15, 0.1), (0.85, 0, height), frame)


def sign(scene: Scene, frame: Frame, height: float) -> None:
    """A traffic sign or board facing -y."""
    draw, thing = scene.draw, scene.thing("pole")
    scene.rod(thing, mat.metal(scene), (0, 0.03, 0), (0, 0.03, height + 0.3), 0.04, frame)
    face = mat.label(scene, 0.6, 0.6)
    size = draw.between(0.45, 0.8)
    scene.box(thing, face, (size, 0.03, size * draw.pick(1.0, 0.6)), (0, -0.02, height), frame)


def wires(scene: Scene, frame: Frame, span: float, spans: int, height: float) -> None:
    """Poles along +y with sagging cables between them."""
    thing, wood, black = scene.thing("pole"), natural.bark(scene), mat.plain(scene, mat.BLACK)
    for k in range(spans + 1):
        scene.rod(thing, wood, (0, k * span, 0), (0, k * span, height + 0.5), 0.12, frame, 0.09)
        scene.box(thing, wood, (1.6, 0.12, 0.12), (0, k * span, height), frame)
    for x in (-0.7, 0.0, 0.7):
        for k in range(spans):
            for i in range(4):
                a, b = i / 4, (i + 1) / 4
                ends = [(x, (k + t) * span, height + 0.1 - 3.2 * t * (1 - t)) for t in (a, b)]
                scene.rod(thing, black, ends[0], ends[1], 0.02, frame)


def fence(scene: Scene, frame: Frame, length: float) -> None:
    """Posts and rails along +y."""
    thing, material = scene.thing("fence"), mat.furniture(scene)
    height = scene.draw.between(0.9, 1.5)
    gap = scene.draw.pick(0.25, 2.5)
    for k in range(int(min(length, 25 if gap < 1 else 80) / gap) + 1):
        scene.box(thing, material, (0.06, 0.06, height), (0, k * gap, height / 2), frame)
    for z in (0.35, 0.8):
        scene.box(thing, material, (0.04, length, 0.07), (0, length / 2, z * height), frame)
