"""Materials by what they are for: each function adds one to the scene, with drawn colours, and returns its number."""

from __future__ import annotations

import math

from dptkit.data.procedural import material_rows as mr
from dptkit.data.procedural.draw import Colour, scaled
from dptkit.data.procedural.scene import Scene

BLACK: Colour = (0.02, 0.02, 0.02)


def add(
    scene: Scene,
    pattern: int,
    first: Colour | None = None,
    second: Colour | None = None,
    third: Colour | None = None,
    *,
    scale: float = 1.0,
    contrast: float = 1.5,
    p: tuple[float, float, float] = (0.0, 0.0, 0.0),
    photo: int = 0,
    bump: float = 0.0,
    bump_scale: float | None = None,
    specular: float = 0.0,
    gloss: float = 20.0,
    emission: float = 0.0,
    reflect: float = 0.0,
    translucent: float = 0.0,
    dirt: float | None = None,
    dirt_scale: float = 1.5,
    rotation: float = 0.0,
) -> int:
    """The number of a new material. See `material_rows` for what the patterns read."""
    draw = scene.draw
    first = draw.colour() if first is None else first
    second = draw.colour() if second is None else second
    third = scaled(first, 0.4) if third is None else third
    if pattern in (mr.ROAD, mr.VIEW):
        shift = [0.0, 0.0, 0.0]
    elif pattern in (mr.FACADE, mr.LABEL, mr.PANELS):
        shift = [draw.unit()] * 3
    else:
        shift = [draw.between(-50, 50) for _ in range(3)]
    dirt = draw.pick(0.0, 0.1, draw.between(0, 0.6)) if dirt is None else dirt
    row = [pattern, *first, *second, *third, scale, contrast, *p, photo, bump, bump_scale or scale, specular, gloss]
    row += [emission, reflect, translucent, dirt, dirt_scale, rotation, *shift]
    scene.material_rows.append([float(value) for value in row])
    return len(scene.material_rows) - 1


def first_colour(scene: Scene, material: int) -> Colour:
    r, g, b = scene.material_rows[material][mr.FIRST : mr.FIRST + 3]
    return (r, g, b)


def photo_slots_used(scene: Scene) -> set[int]:
    """The crops of photos that materials of the scene show."""
    return {int(row[mr.PHOTO_SLOT]) for row in scene.material_rows if row[mr.PATTERN] == mr.PHOTO}


def plain(scene: Scene, colour: Colour | None = None, *, specular: float = 0.0, gloss: float = 30.0) -> int:
    return add(
        scene,
        mr.PLAIN,
        colour,
        scale=3,
        specular=specular,
        gloss=gloss,
        dirt=scene.draw.pick(0.0, 0.08, scene.draw.between(0, 0.3)),
    )


def glowing(scene: Scene, strength: float, colour: Colour = (0.9, 0.88, 0.8)) -> int:
    return add(scene, mr.PLAIN, colour, emission=strength, dirt=0)


def metal(scene: Scene) -> int:
    return add(scene, mr.PLAIN, scene.draw.grey(0.1, 0.7), scale=3, specular=0.6, gloss=50, reflect=0.25, dirt=0.15)


def glass(scene: Scene, colour: Colour = (0.03, 0.03, 0.035)) -> int:
    """Dark panes that mirror what is before them."""
    return add(scene, mr.PLAIN, colour, specular=0.8, gloss=100, reflect=0.35, dirt=0.05)


def picture(scene: Scene, size: float, *, emission: float = 0.0, brightness: float = 0.55) -> int:
    """A photo where there are any, else a drawn poster; `size` metres across."""
    draw = scene.draw
    if scene.photo_slots:
        slot = draw.count(0, scene.photo_slots - 1)
        tint = (brightness, brightness, brightness)
        return add(scene, mr.PHOTO, tint, scale=1 / size, photo=slot, emission=emission, dirt=0)
    if draw.chance(0.4):
        sky, land = draw.colour(0.4, 0.7), draw.green()
        return add(
            scene,
            mr.VIEW,
            sky,
            draw.white(),
            land,
            scale=1 / size,
            p=(draw.between(-0.2, 0.2), 0, 0),
            emission=emission,
            dirt=0,
        )
    if draw.chance(0.5):
        return add(
            scene,
            mr.NOISE,
            scale=draw.between(2, 8) / size,
            contrast=draw.between(2, 5),
            p=(0.6, 0, 0),
            emission=emission,
            dirt=0,
        )
    return label(scene, size, emission=emission)


def label(scene: Scene, size: float, keep: float | None = None, *, emission: float = 0.0) -> int:
    """Packaging and print, `size` metres across."""
    draw = scene.draw
    p = (draw.unit(), draw.between(3, 10), draw.between(0, 0.9) if keep is None else keep)
    return add(
        scene,
        mr.LABEL,
        scale=draw.between(0.7, 2.0) / size,
        p=p,
        emission=emission,
        specular=draw.pick(0, 0, 0.1, 0.4),
        dirt=draw.between(0, 0.3),
    )


def page(scene: Scene) -> int:
    draw = scene.draw
    return add(
        scene, mr.LABEL, draw.white(), scale=draw.between(3, 5), p=(draw.unit(), draw.between(10, 30), 0.85), dirt=0.05
    )


def anything(scene: Scene, size: float = 0.3) -> int:
    """Any material at all, for an object `size` metres large."""
    draw = scene.draw
    f = 1 / max(size, 1e-3)
    specular, gloss = draw.pick(0, 0, 0.1, 0.5), draw.pick(8, 30, 120)
    k = draw.unit()
    if k < 0.28:
        return add(scene, mr.PLAIN, scale=f * 4, specular=specular, gloss=gloss, reflect=draw.pick(0, 0, 0, 0.1, 0.3))
    if k < 0.42:
        return add(
            scene,
            mr.NOISE,
            scale=f * draw.between(1, 12),
            contrast=draw.between(1, 4),
            p=(draw.between(0.45, 0.8), 0, 0),
            specular=specular,
            gloss=gloss,
        )
    if k < 0.5:
        p = (draw.between(0.2, 0.8), draw.pick(0, 0, 0.5), draw.pick(0, 0.5))
        return add(scene, mr.STRIPES, scale=f * draw.between(1, 6), p=p, rotation=_turn(scene), specular=specular)
    if k < 0.56:
        p = (draw.pick(0.0, 1.0), draw.pick(0.02, 0.06), 0.0)
        return add(scene, mr.TILES, scale=f * draw.between(1.5, 8), p=p, specular=specular, gloss=gloss)
    if k < 0.75:
        return label(scene, size)
    if k < 0.9:
        return picture(scene, size * draw.between(0.6, 2))
    if k < 0.95:
        return wood(scene, f * 2)
    p = (0.0, draw.between(0, 0.6), 0.0)
    return add(scene, mr.CELLS, scale=f * draw.between(2, 15), contrast=draw.between(0.5, 2), p=p, specular=specular)


def _turn(scene: Scene) -> float:
    return scene.draw.pick(0.0, math.pi / 2, scene.draw.between(0, 3))


def wood(scene: Scene, scale: float = 8.0, planks: float = 0.4) -> int:
    draw = scene.draw
    colour = draw.warm()
    return add(
        scene,
        mr.WOOD,
        colour,
        scaled(colour, draw.between(0.3, 0.75)),
        scaled(colour, 0.2),
        scale=scale,
        contrast=draw.between(0.3, 1.2),
        p=(planks * draw.unit(), draw.unit(), draw.between(0, 2)),
        specular=draw.pick(0, 0.1, 0.3),
        gloss=draw.pick(10, 40),
        rotation=draw.pick(0.0, math.pi / 2),
    )


def furniture(scene: Scene) -> int:
    draw = scene.draw
    k = draw.unit()
    if k < 0.42:
        return wood(scene, draw.between(2, 10))
    if k < 0.66:
        return plain(scene, draw.white(), specular=draw.pick(0, 0.2))
    if k < 0.8:
        return plain(scene, draw.grey(0.02, 0.2), specular=draw.pick(0, 0.3))
    return plain(scene, specular=draw.pick(0, 0.2))


def fabric(scene: Scene) -> int:
    draw = scene.draw
    colour = draw.colour()
    k = draw.unit()
    if k < 0.6:
        return add(
            scene,
            mr.NOISE,
            colour,
            scaled(colour, draw.between(0.6, 0.95)),
            scale=draw.between(20, 120),
            p=(0.8, 0, 0),
            bump=draw.between(0, 0.3),
            dirt=0.2,
        )
    if k < 0.8:
        p = (draw.between(0.3, 0.7), 0.0, draw.pick(0.0, 1.0))
        return add(scene, mr.STRIPES, colour, scale=draw.between(4, 20), p=p, rotation=_turn(scene), dirt=0.2)
    return add(scene, mr.NOISE, colour, scale=draw.between(3, 12), contrast=draw.between(2, 5), p=(0.6, 0, 0))
