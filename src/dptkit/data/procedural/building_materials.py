"""Materials of buildings: floors, walls, bricks, ceilings, and what shines through a window. See `materials`."""

from __future__ import annotations

from dptkit.data.procedural import material_rows as mr
from dptkit.data.procedural.draw import scaled
from dptkit.data.procedural.materials import add, glowing, picture, wood
from dptkit.data.procedural.scene import Scene


def floor(scene: Scene) -> int:
    draw = scene.draw
    shiny = draw.pick(0.0, 0.0, 0.08, draw.between(0.1, 0.3))
    k = draw.unit()
    if k < 0.35:
        material = wood(scene, draw.between(5, 14), 0.5)
    elif k < 0.55:
        colour = scaled(draw.white(), draw.between(0.3, 1))
        material = add(
            scene,
            mr.TILES,
            colour,
            scaled(colour, draw.between(0.6, 1)),
            scaled(colour, draw.between(0.3, 1.1)),
            scale=draw.between(1.5, 4),
            contrast=draw.between(0.1, 1),
            p=(float(draw.chance(0.15)), draw.between(0.01, 0.03), 0),
            specular=draw.pick(0, 0.3),
            gloss=60,
        )
    elif k < 0.8:  # carpet
        shiny = 0.0
        colour = draw.colour(draw.between(0, 0.4), draw.between(0.05, 0.6))
        material = add(
            scene,
            mr.NOISE,
            colour,
            scaled(colour, draw.between(0.5, 1)),
            scale=draw.between(15, 90),
            contrast=draw.between(1, 3),
            p=(0.8, 0, 0),
        )
    elif k < 0.9:
        colour = scaled(draw.white(), draw.between(0.3, 0.8))
        material = add(scene, mr.CELLS, colour, scaled(colour, 0.7), scale=draw.between(20, 80), p=(0, 0.2, 0))
    else:
        colour = scaled(draw.white(), draw.between(0.2, 0.8))
        material = add(scene, mr.NOISE, colour, scaled(colour, 0.8), scale=draw.between(1, 4), p=(0.6, 0, 0))
    scene.material_rows[material][mr.REFLECT] = shiny
    return material


def wall(scene: Scene) -> int:
    draw = scene.draw
    colour = draw.white() if draw.chance(0.65) else draw.colour(draw.between(0.1, 0.6), draw.between(0.2, 0.8))
    k = draw.unit()
    if k < 0.62:
        return add(
            scene,
            mr.PLAIN,
            colour,
            scale=draw.between(1, 30),
            dirt=draw.pick(0.0, 0.06, draw.between(0, 0.25)),
            dirt_scale=draw.between(0.3, 2),
        )
    if k < 0.7:
        return add(
            scene,
            mr.NOISE,
            colour,
            scaled(colour, draw.between(0.7, 0.95)),
            scale=draw.between(4, 40),
            contrast=draw.between(0.5, 2),
            p=(0.6, 0, 0),
        )
    if k < 0.77:
        return add(
            scene, mr.STRIPES, colour, scaled(colour, draw.between(0.6, 0.95)), scale=draw.between(3, 15), p=(0.5, 0, 0)
        )
    if k < 0.83:
        return bricks(scene)
    if k < 0.9:
        return add(
            scene,
            mr.TILES,
            colour,
            scaled(colour, 0.9),
            scaled(colour, 0.6),
            scale=draw.between(3, 8),
            contrast=0.3,
            p=(0, 0.03, 0),
            specular=0.3,
            gloss=60,
        )
    if k < 0.95:
        return wood(scene, draw.between(6, 12))
    return add(
        scene, mr.PANELS, colour, scaled(colour, 0.9), scaled(colour, 0.5), scale=draw.between(0.6, 1.5), p=(0.4, 0, 0)
    )


def bricks(scene: Scene) -> int:
    draw = scene.draw
    return add(
        scene,
        mr.BRICKS,
        draw.warm(),
        draw.warm(),
        scaled(draw.white(), 0.6),
        scale=draw.between(3, 5),
        contrast=1,
        bump=0.2,
    )


def ceiling(scene: Scene) -> int:
    draw = scene.draw
    if draw.chance(0.75):
        return add(scene, mr.PLAIN, draw.white(), scale=2, dirt=draw.between(0, 0.2))
    white = draw.white()
    return add(
        scene,
        mr.TILES,
        white,
        draw.white(),
        scaled(white, 0.5),
        scale=draw.between(0.8, 1.7),
        contrast=0.1,
        p=(0, 0.03, 0),
    )


def outdoors(scene: Scene, size: float) -> int:
    """What a bright window pane shows."""
    draw = scene.draw
    glow = draw.between(0.8, 5)
    if draw.chance(0.25):
        return glowing(scene, glow, (0.9, 0.9, 0.9))
    if scene.photo_slots and draw.chance(0.5):
        return picture(scene, size, emission=glow)
    return add(
        scene,
        mr.VIEW,
        draw.colour(0.4, 0.7),
        draw.white(),
        draw.green(),
        scale=1 / size,
        p=(draw.between(-0.3, 0.3), 0, 0),
        emission=glow,
        dirt=0.1,
    )
