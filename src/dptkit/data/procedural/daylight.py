"""Sun, sky and haze for open scenes, lamps for closed ones."""

from __future__ import annotations

import math

from dptkit.data.procedural.camera import heading
from dptkit.data.procedural.draw import Colour, scaled
from dptkit.data.procedural.scene import Light, Scene, Sky


def daylight(scene: Scene) -> None:
    """Clear, overcast or low sun."""
    draw = scene.draw
    sun = heading(draw.angle(), math.radians(draw.between(10, 75)))
    direction = (float(sun[0]), float(sun[1]), float(sun[2]))
    k = draw.unit()
    cloud_tone = draw.between(0.6, 1.3)
    cloud: Colour = (cloud_tone,) * 3
    if k < 0.5:
        top = scaled((0.12, 0.28, 0.75), draw.between(0.5, 1.4))
        horizon = scaled((0.6, 0.72, 0.9), draw.between(0.7, 1.3))
        cover, strength = draw.between(0, 0.9), draw.between(1.5, 4)
        sunlight = (strength, strength * draw.between(0.8, 1), strength * draw.between(0.6, 0.95))
        above = scaled((0.55, 0.65, 0.85), draw.between(0.4, 1))
    elif k < 0.85:
        tone = draw.between(0.5, 1.1)
        top, horizon = (tone * 0.85,) * 3, (tone,) * 3
        cover, strength = draw.unit(), draw.between(0, 0.5)
        sunlight = (strength,) * 3
        above = (draw.between(0.6, 1.2),) * 3
    else:
        top = scaled((0.25, 0.3, 0.5), draw.between(0.3, 1))
        horizon = scaled((1.0, 0.55, 0.25), draw.between(0.6, 1.3))
        cloud = scaled((0.9, 0.5, 0.35), draw.between(0.5, 1.2))
        cover, strength = draw.between(0, 0.9), draw.between(0.8, 2.5)
        sunlight = (strength, strength * 0.6, strength * 0.3)
        above = scaled((0.45, 0.4, 0.5), draw.between(0.5, 1))
    scene.sky = Sky(top, horizon, cloud, cover, draw.between(0, 50), direction, scaled(sunlight, 0.6))
    scene.lights.append(Light(direction, sunlight, sun=True, soft=draw.between(0, 0.04)))
    scene.ambient = (above, scaled(above, draw.between(0.3, 0.6)))
    if draw.chance(0.5):
        scene.haze = (10 ** draw.between(-3.6, -2.0), scaled(horizon, 0.95))


def lamps(scene: Scene, places: list[tuple[float, float, float]], total: float) -> None:
    """Warm to white lamps at the places, `total` strong together, and light from all walls."""
    draw = scene.draw
    for place in places:
        strength = total / len(places)
        colour = (strength, strength * draw.between(0.75, 1), strength * draw.between(0.45, 1))
        scene.lights.append(Light(place, colour, soft=draw.between(0.05, 0.4)))
    level, tint = draw.between(0.15, 0.8), draw.between(0.85, 1.15)
    scene.ambient = (
        (level * tint, level, level / tint),
        (level * tint * 0.8, level * 0.75, level * 0.7 / tint),
    )
