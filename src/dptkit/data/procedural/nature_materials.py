"""Materials of the open air: leaves, bark, fur, stone, ground, water. See `materials`."""

from __future__ import annotations

from dptkit.data.procedural import material_rows as mr
from dptkit.data.procedural.draw import scaled
from dptkit.data.procedural.materials import add
from dptkit.data.procedural.scene import Scene


def foliage(scene: Scene) -> int:
    draw = scene.draw
    green = draw.green()
    other = draw.between(0.3, 0.8)
    second = (green[0] * other * draw.between(0.7, 1.5), green[1] * other, green[2] * other)
    return add(
        scene,
        mr.NOISE,
        green,
        second,
        scale=draw.between(1, 6),
        contrast=3,
        p=(0.6, 0, 0),
        translucent=draw.between(0.3, 0.8),
        dirt=0.3,
        dirt_scale=6,
        bump=0.5,
        bump_scale=9,
        specular=draw.pick(0, 0, 0.08),
    )


def bark(scene: Scene, scale: float = 8.0) -> int:
    draw = scene.draw
    return add(scene, mr.NOISE, draw.warm(0.15), draw.warm(0.25), scale=scale, contrast=3, p=(0.6, 0, 0))


def fur(scene: Scene, size: float) -> int:
    draw = scene.draw
    colour = draw.warm()
    second = draw.warm() if draw.chance(0.4) else scaled(colour, 0.6)
    return add(scene, mr.NOISE, colour, second, scale=draw.between(3, 30) / size, contrast=2.5, p=(0.7, 0, 0), bump=0.3)


def stone(scene: Scene) -> int:
    draw = scene.draw
    grey = draw.grey(0.1, 0.5)
    return add(scene, mr.NOISE, grey, scaled(grey, 0.6), scale=3, contrast=2.5, p=(0.7, 0, 0), bump=0.5)


def ground(scene: Scene) -> int:
    """Grass, earth, sand or snow."""
    draw = scene.draw
    k = draw.unit()
    if k < 0.6:
        return add(
            scene,
            mr.GRASS,
            draw.green(),
            draw.green(),
            draw.warm(draw.between(0.1, 0.5)),
            scale=draw.between(4, 25),
            p=(draw.unit(), 0, 0),
        )
    if k < 0.9:
        return add(
            scene, mr.NOISE, draw.warm(), draw.warm(), scale=draw.between(1, 8), contrast=2.5, p=(0.75, 0, 0), bump=0.3
        )
    return add(scene, mr.NOISE, (0.85, 0.85, 0.85), (0.6, 0.65, 0.75), scale=0.5, p=(0.7, 0, 0))


def water(scene: Scene) -> int:
    return add(
        scene,
        mr.NOISE,
        (0.04, 0.08, 0.1),
        (0.08, 0.14, 0.18),
        scale=0.6,
        specular=1.0,
        gloss=40,
        bump=0.06,
        bump_scale=2.0,
        reflect=0.15,
        p=(0.6, 0, 0),
        dirt=0,
    )
