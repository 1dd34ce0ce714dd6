"""Streets: a road along +y, pavements, buildings or gardens, traffic, people, trees."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from dptkit.data.procedural import building_materials as built
from dptkit.data.procedural import buildings, figures, vegetation, vehicles
from dptkit.data.procedural import material_rows as mr
from dptkit.data.procedural import materials as mat
from dptkit.data.procedural import nature_materials as natural
from dptkit.data.procedural.camera import Camera, heading
from dptkit.data.procedural.daylight import daylight
from dptkit.data.procedural.scene import ORIGIN, Scene


@dataclass(frozen=True)
class _Plan:
    half: float  # of the road's width
    pavement: float
    length: float
    alley: bool


_KERB = 0.12


def street(scene: Scene) -> Iterator[Camera]:
    draw = scene.draw
    daylight(scene)
    scene.corner_reach = 1.5
    alley = draw.chance(0.17)
    plan = _Plan(
        half=draw.between(1.2, 2.2) if alley else draw.between(2.6, 7.5),
        pavement=draw.between(0.3, 1) if alley else draw.between(1, 5),
        length=draw.between(60, 240),
        alley=alley,
    )
    _ground(scene, plan)
    for side in (-1, 1):
        _fronts(scene, plan, side)
        if not alley:
            _edge(scene, plan, side)
        _pavement_things(scene, plan, side)
    # Half of all streets are full of traffic.
    if plan.half > 2.8 and draw.chance(0.5 / 0.8):
        _heavy_traffic(scene, plan)
    elif plan.half > 2.5:
        for _ in range(draw.count(0, 4)):
            at = ORIGIN.at(draw.sign() * plan.half * 0.35, draw.between(8, 60), 0, draw.pick(0, math.pi))
            vehicles.car(scene, at)
    for _ in range(draw.pick(0, 0, 1, 3)):
        at = ORIGIN.at(draw.between(-1, 1) * plan.half, draw.between(3, 25), 0, draw.angle())
        figures.person(scene, at, fine=at.y < 8)
    _background(scene, plan)
    driving = draw.chance(0.6)
    fov = math.radians(draw.between(75, 100) if draw.chance(0.3) else draw.between(45, 75))
    while True:
        high = draw.between(1.2, 2.2) if draw.chance(0.85) else draw.between(2.5, 8)
        pitch = draw.normal(0.06) - (0.12 if high > 2.5 else 0.0)
        if driving:
            x, yaw = draw.between(-0.6, 0.6) * plan.half, draw.normal(0.12)
        else:
            x, yaw = draw.sign() * (plan.half + draw.between(0.2, plan.pavement)), draw.normal(0.6)
        yield Camera.looking((x, 0, high + _KERB), heading(yaw, pitch), fov, draw.normal(0.03))


def _ground(scene: Scene, plan: _Plan) -> None:
    draw = scene.draw
    scene.box(scene.thing("terrain"), natural.ground(scene), (700, 700, 0.1), (0, 150, -0.15))
    tone = draw.grey(0.08, 0.4)
    markings = 0.0 if plan.alley else draw.unit()
    wet = draw.pick(0.0, 0.0, 0.0, draw.between(0.05, 0.2))
    road = mat.add(scene, mr.ROAD, tone, p=(plan.half, markings, draw.between(5, 12)), reflect=wet, dirt=0.2)
    scene.box(scene.thing("road"), road, (2 * plan.half, plan.length + 60, 0.1), (0, plan.length / 2 - 10, -0.05))
    slabs = mat.add(scene, mr.TILES, draw.grey(0.25, 0.6), scale=draw.between(1, 3), contrast=0.3, p=(0, 0.03, 0))
    material = draw.pick(slabs, mat.add(scene, mr.NOISE, (0.4,) * 3, (0.3,) * 3, scale=10, p=(0.6, 0, 0)))
    for side in (-1, 1):
        size = (plan.pavement, plan.length + 60, 0.2 + _KERB)
        at = (side * (plan.half + plan.pavement / 2), plan.length / 2 - 10, _KERB - size[2] / 2)
        scene.box(scene.thing("pavement"), material, size, at)


def _fronts(scene: Scene, plan: _Plan, side: int) -> None:
    """Buildings, or gardens with trees, along one side."""
    draw = scene.draw
    back = 0.0 if plan.alley else draw.between(0, 6) if draw.chance(0.6) else draw.between(5, 20)
    urban = 1.0 if plan.alley else draw.unit()
    y = draw.between(-15, -8)
    while y < plan.length:
        w, d = draw.between(6, 24), draw.between(6, 14)
        high = draw.between(3, 9) if urban < 0.5 else draw.between(6, 25)
        x = side * (plan.half + plan.pavement + back + d / 2)
        if draw.chance(0.15 + 0.85 * urban):
            at = ORIGIN.at(x, y + w / 2, -0.1, math.pi / 2 * side)
            buildings.building(scene, at, w, d, high, detail=y < 50)
        elif draw.chance(0.7):
            for _ in range(draw.count(1, 3)):
                at = ORIGIN.at(x + draw.between(-3, 3), y + draw.between(0, w), -0.1)
                vegetation.tree(scene, at, draw.between(4, 12), 120 if y < 40 else 30)
        y += w + (0 if draw.chance(0.4 * urban + 0.1) else draw.between(0.5, 10))
    if back > 1:
        edge = ORIGIN.at(side * (plan.half + plan.pavement + min(back * 0.3, 1)), -8, -0.1)
        kind = draw.weighted({"": 5, "wall": 3, "hedge": 2, "fence": 2})
        if kind == "wall":
            high = draw.between(0.8, 2)
            scene.box(
                scene.thing("wall"), built.wall(scene), (0.25, plan.length, high), (0, plan.length / 2, high / 2), edge
            )
        elif kind == "hedge":
            vegetation.hedge(scene, edge, plan.length * 0.6, draw.between(0.9, 2))
        elif kind == "fence":
            buildings.fence(scene, edge, plan.length * 0.6)


def _edge(scene: Scene, plan: _Plan, side: int) -> None:
    """Rows beside the kerb: trees, lamps, wires, parked cars."""
    draw = scene.draw
    if draw.chance(0.6):
        gap, height = draw.between(7, 20), draw.between(3, 9)
        y = draw.between(2, gap)
        while y < min(plan.length, 90):
            at = ORIGIN.at(side * (plan.half + plan.pavement * 0.6), y, _KERB)
            vegetation.tree(scene, at, height * draw.between(0.7, 1.3), 250 if y < 15 else 120 if y < 35 else 30)
            y += gap * draw.between(0.6, 1.4)
    if draw.chance(0.6):
        y, height = draw.between(3, 15), draw.between(5, 8)
        while y < min(plan.length, 120):
            turn = 0.0 if side < 0 else math.pi
            buildings.street_lamp(scene, ORIGIN.at(side * (plan.half + 0.35), y, _KERB, turn), height)
            y += draw.between(14, 30)
    elif draw.chance(0.3):
        buildings.wires(
            scene, ORIGIN.at(side * (plan.half + 0.5), -10, _KERB), draw.between(18, 30), 4, draw.between(6, 8)
        )
    if plan.half > 3 and draw.chance(0.75):
        y, filled = draw.between(-4, 6), draw.between(0.3, 1)
        while y < min(plan.length, 75):
            if draw.chance(filled) and abs(y) > 3.2:
                turn = (math.pi if draw.chance(0.5) else 0) + draw.normal(0.03)
                vehicles.car(scene, ORIGIN.at(side * (plan.half - 1.1), y, 0, turn))
            y += draw.between(5.2, 8)


def _pavement_things(scene: Scene, plan: _Plan, side: int) -> None:
    draw = scene.draw
    for _ in range(draw.count(0, 2)):
        at = ORIGIN.at(side * (plan.half + 0.3), draw.between(4, 35), _KERB)
        buildings.sign(scene, at, draw.between(1.8, 2.8))
    for _ in range(draw.count(0, 5)):
        at = ORIGIN.at(
            side * (plan.half + draw.between(0.3, 1) * plan.pavement), draw.between(2.5, 40), _KERB, draw.angle()
        )
        figures.person(scene, at, fine=at.y < 8)
    if draw.chance(0.25):
        at = ORIGIN.at(side * (plan.half + plan.pavement * 0.8), draw.between(3, 14), _KERB, draw.pick(0, math.pi / 2))
        vehicles.bicycle(scene, at)


def _heavy_traffic(scene: Scene, plan: _Plan) -> None:
    """Lanes full of cars and trucks, close ahead; sometimes a bridge."""
    draw = scene.draw
    lanes = max(2, int(2 * plan.half / 3.2))
    own = draw.count(0, lanes - 1)
    for lane in range(lanes):
        x = -plan.half + 2 * plan.half * (lane + 0.5) / lanes
        y = draw.between(7, 14) if lane == own else draw.between(4, 10)
        oncoming = math.pi if x < 0 and draw.chance(0.6) else 0.0
        while y < 60 and draw.chance(0.87):
            big = draw.chance(0.3)
            at = ORIGIN.at(x + draw.between(-0.2, 0.2), y + (4 if big else 0), 0, oncoming + draw.normal(0.02))
            (vehicles.truck if big else vehicles.car)(scene, at)
            y += draw.between(7, 12) + (6 if big else 0)
    if draw.chance(0.2):
        y, low = draw.between(20, 70), draw.between(5.5, 8)
        bridge, concrete = scene.thing("building"), natural.stone(scene)
        scene.box(bridge, concrete, (80, draw.between(3, 9), 1.3), (0, y, low + 0.65))
        for x in (-1, 1):
            scene.box(bridge, concrete, (1, 2, low), (x * (plan.half + plan.pavement + 0.6), y, low / 2))


def _background(scene: Scene, plan: _Plan) -> None:
    draw = scene.draw
    if draw.chance(0.6):
        for _ in range(6):
            at = ORIGIN.at(draw.between(-60, 60), plan.length + draw.between(25, 80), -0.2, math.pi)
            buildings.building(scene, at, draw.between(15, 40), 15, draw.between(5, 40), detail=False)
    for _ in range(draw.count(0, 15)):
        x = draw.sign() * draw.between(plan.half + plan.pavement + 22, 80)
        vegetation.tree(scene, ORIGIN.at(x, draw.between(5, 150), -0.1), draw.between(4, 15), 30)
