"""Shapes of people and animals, made of ellipsoids and limbs."""

from __future__ import annotations

from dptkit.data.procedural import materials as mat
from dptkit.data.procedural import meshes
from dptkit.data.procedural import nature_materials as natural
from dptkit.data.procedural.scene import Frame, Point, Scene


def person(scene: Scene, frame: Frame, height: float | None = None, *, fine: bool = True) -> None:
    """Someone standing or walking, face to +y; not `fine` for those far away."""
    draw, thing = scene.draw, scene.thing("person")
    height = draw.between(1.5, 1.9) if height is None else height
    k, wide, stride = height / 1.75, draw.between(0.8, 1.25), draw.between(-0.25, 0.25)
    skin, top = mat.plain(scene, draw.skin()), mat.fabric(scene)
    trousers = mat.fabric(scene) if draw.chance(0.6) else mat.plain(scene, (0.05, 0.07, 0.14))
    shoes, ball = mat.plain(scene), _ball(fine)
    cushion = meshes.cushion() if fine else meshes.sphere(8, 6, 0.45)

    def part(mesh: meshes.Mesh, material: int, size: Point, at: Point) -> None:
        scene.part(thing, mesh, material, [s * k for s in size], [c * k for c in at], frame)

    def limb(material: int, start: Point, end: Point, radius: float, tip: float) -> None:
        a, b = (start[0] * k, start[1] * k, start[2] * k), (end[0] * k, end[1] * k, end[2] * k)
        scene.rod(thing, material, a, b, radius * k, frame, tip * k)

    part(cushion, top, (0.42 * wide, 0.25 * wide, 0.62), (0, 0, 1.17))
    part(ball, trousers, (0.36 * wide, 0.26 * wide, 0.3), (0, 0, 0.93))
    part(meshes.cylinder(), skin, (0.11, 0.11, 0.12), (0, 0, 1.48))
    _head(scene, thing, frame.at(0, 0.01 * k, 1.62 * k), k, skin, fine=fine)
    for i in (-1, 1):
        hip, knee, foot = (
            (i * 0.1 * wide, 0.0, 0.9),
            (i * 0.12, stride * i, 0.48),
            (i * 0.12, stride * i * 1.2 - 0.05, 0.06),
        )
        limb(trousers, hip, knee, 0.085 * wide, 0.065)
        limb(trousers, knee, foot, 0.065 * wide, 0.05)
        part(cushion, shoes, (0.1, 0.27, 0.09), (i * 0.12, stride * i * 1.2 + 0.02, 0.045))
        shoulder = (i * 0.22 * wide, 0.0, 1.42)
        elbow = (i * (0.26 + draw.between(0, 0.1)) * wide, -stride * i + draw.between(-0.05, 0.15), 1.14)
        hand = (
            elbow[0] + draw.between(-0.1, 0.1),
            elbow[1] + draw.between(0, 0.25),
            elbow[2] - draw.between(-0.1, 0.27),
        )
        part(ball, top, (0.15 * wide, 0.15 * wide, 0.15), shoulder)
        limb(top, shoulder, elbow, 0.055 * wide, 0.045)
        limb(top if draw.chance(0.5) else skin, elbow, hand, 0.045 * wide, 0.035)
        part(ball, skin, (0.085, 0.085, 0.11), hand)


def _ball(fine: bool) -> meshes.Mesh:
    return meshes.sphere(12, 8) if fine else meshes.sphere(8, 5)


def _head(scene: Scene, thing: int, frame: Frame, k: float, skin: int, *, fine: bool) -> None:
    """A head about the frame, with face and hair."""
    draw, ball = scene.draw, _ball(fine)
    hair = natural.fur(scene, 0.3)
    dark = mat.plain(scene, (0.03, 0.025, 0.02), specular=0.5)

    def part(material: int, size: Point, at: Point) -> None:
        scene.part(thing, ball, material, [s * k for s in size], [c * k for c in at], frame)

    part(skin, (0.17, 0.21, 0.25), (0, 0, 0))
    part(hair, (0.19, 0.22, 0.19), (0, -0.025, 0.055))
    if not fine:
        return
    part(skin, (0.028, 0.05, 0.05), (0, 0.105, -0.01))
    for i in (-1, 1):
        part(dark, (0.032, 0.02, 0.018), (i * 0.036, 0.094, 0.025))
        part(skin, (0.02, 0.04, 0.06), (i * 0.088, 0, 0))
    lips = mat.plain(scene, (0.45, 0.15, 0.13))
    part(lips, (0.055, 0.02, 0.016), (0, 0.09, -0.065))
    if draw.chance(0.3):
        part(hair, (0.25, 0.2, 0.38), (0, -0.06, -0.07))


def bust(scene: Scene, frame: Frame) -> None:
    """Head and shoulders, larger than in `person` and finer; the frame is at the chest, face to +y."""
    draw, thing = scene.draw, scene.thing("person")
    skin, top = mat.plain(scene, draw.skin()), mat.fabric(scene)
    wide = draw.between(0.9, 1.2)
    scene.part(thing, meshes.cushion(), top, (0.46 * wide, 0.27 * wide, 0.75), (0, 0, -0.3), frame)
    for i in (-1, 1):
        scene.part(thing, meshes.sphere(), top, (0.2, 0.2, 0.22), (i * 0.2 * wide, 0, -0.08), frame)
        start, end = (i * 0.23 * wide, 0.0, -0.1), (i * 0.28 * wide, draw.between(-0.05, 0.1), -0.6)
        scene.rod(thing, top, start, end, 0.07, frame, 0.06)
    scene.part(thing, meshes.cylinder(), skin, (0.12, 0.12, 0.2), (0, 0, 0.08), frame)
    if draw.chance(0.5):
        collar = mat.fabric(scene)
        scene.part(thing, meshes.sphere(), collar, (0.22, 0.2, 0.1), (0, 0.02, 0.03), frame)
    _head(scene, thing, frame.at(0, 0.02, 0.26, draw.normal(0.3)), 1.05, skin, fine=True)


def animal(scene: Scene, frame: Frame, scale: float | None = None) -> None:
    """Something on four legs, head to +y."""
    draw, thing = scene.draw, scene.thing("animal")
    s = draw.between(0.3, 1.3) if scale is None else scale
    coat = natural.fur(scene, s)
    dark = mat.plain(scene, (0.02, 0.02, 0.02), specular=0.6)
    leg, neck, stout = draw.between(0.3, 0.6), draw.between(0.05, 0.4), draw.between(0.8, 1.3)
    ball = meshes.sphere()

    def part(mesh: meshes.Mesh, material: int, size: Point, at: Point) -> None:
        scene.part(thing, mesh, material, [v * s for v in size], [v * s for v in at], frame)

    def limb(start: Point, end: Point, radius: float, tip: float) -> None:
        a, b = (start[0] * s, start[1] * s, start[2] * s), (end[0] * s, end[1] * s, end[2] * s)
        scene.rod(thing, coat, a, b, radius * s, frame, tip * s)

    back = leg + 0.2
    part(ball, coat, (0.42 * stout, 1.1, 0.48 * stout), (0, 0, back))
    head = (0.0, 0.62 + neck * 0.4, back + 0.2 + neck)
    limb((0, 0.4, back + 0.05), head, 0.15, 0.11)
    part(ball, coat, (0.3, 0.36, 0.32), head)
    part(ball, coat, (0.15, 0.28, 0.15), (0, head[1] + 0.18, head[2] - 0.06))
    part(ball, dark, (0.06, 0.05, 0.05), (0, head[1] + 0.31, head[2] - 0.04))
    for i in (-1, 1):
        part(ball, dark, (0.05, 0.05, 0.05), (i * 0.09, head[1] + 0.14, head[2] + 0.05))
        part(meshes.cone(), coat, (0.12, 0.06, 0.2), (i * 0.1, head[1] - 0.04, head[2] + 0.2))
        for j in (-0.38, 0.38):
            limb((i * 0.14, j, back - 0.05), (i * 0.15, j + draw.between(-0.08, 0.08), 0.02), 0.08, 0.05)
            part(ball, coat, (0.11, 0.15, 0.07), (i * 0.15, j + 0.02, 0.03))
    limb((0, -0.5, back + 0.08), (draw.between(-0.2, 0.2), -0.9, back + draw.between(-0.2, 0.4)), 0.05, 0.03)
