"""Compiled: the light that comes back from what the rays hit.

Rows of lights: 1 for the sun, else 0; its direction or place (3); colour (3); softness.
"""

from __future__ import annotations

import math
from typing import Any

from dptkit.data.procedural import material_rows as mr
from dptkit.data.procedural.compiled import compiled
from dptkit.data.procedural.noise import fractal, smooth, value_noise
from dptkit.data.procedural.patterns import surface_colour


@compiled
def shade(
    part_hit: Any,
    points: Any,
    normal: Any,
    local: Any,
    axis: Any,
    distance: Any,
    directions: Any,
    materials: Any,
    rows: Any,
    photos: Any,
    pixel_angle: float,
    lights: Any,
    lit: Any,
    openness: Any,
    ambient: Any,
    haze: Any,
    behind: Any,
    out: Any,
) -> None:
    """Linear colour [N, 3] of every ray: pattern, dirt, bumps, lamps, highlights, ambient light, haze.

    lit: [lights, N], 0 in shadow to 1. openness: [N], ambient occlusion. behind: [N, 3], the sky for misses.
    """
    for i in range(part_hit.shape[0]):
        part = part_hit[i]
        if part < 0:
            for c in range(3):
                out[i, c] = behind[i, c]
            continue
        m = rows[materials[part]]
        dx = directions[i, 0]
        dy = directions[i, 1]
        dz = directions[i, 2]
        length = 1.0 / math.sqrt(dx * dx + dy * dy + dz * dz)
        dx *= length
        dy *= length
        dz *= length
        nx = normal[i, 0]
        ny = normal[i, 1]
        nz = normal[i, 2]
        slant = abs(nx * dx + ny * dy + nz * dz)
        footprint = distance[i] * pixel_angle / max(math.sqrt(slant), 0.12)
        lx0 = local[i, 0]
        ly0 = local[i, 1]
        lz0 = local[i, 2]
        r, g, b = surface_colour(m, lx0, ly0, lz0, axis[i], footprint, photos)
        if m[mr.DIRT] > 0:
            s = m[mr.DIRT_SCALE]
            keep = 1 - m[mr.DIRT] * fractal(lx0 * s + 7, ly0 * s, lz0 * s, 4, 0.6, footprint * s)
            r *= keep
            g *= keep
            b *= keep
        if m[mr.BUMP] > 0:
            s = m[mr.BUMP_SCALE]
            w = m[mr.BUMP] * max(0.0, 1 - footprint * s) * 2.5
            if w > 0:
                x = lx0 * s
                y = ly0 * s
                z = lz0 * s
                here = value_noise(x, y, z)
                nx += w * (value_noise(x + 0.35, y, z) - here)
                ny += w * (value_noise(x, y + 0.35, z) - here)
                nz += w * (value_noise(x, y, z + 0.35) - here)
                q = 1 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-9)
                nx *= q
                ny *= q
                nz *= q
        up = 0.5 + 0.5 * nz
        open_ = openness[i]
        lr = (ambient[0, 0] * up + ambient[1, 0] * (1 - up)) * open_
        lg = (ambient[0, 1] * up + ambient[1, 1] * (1 - up)) * open_
        lb = (ambient[0, 2] * up + ambient[1, 2] * (1 - up)) * open_
        shine = 0.0
        for j in range(lights.shape[0]):
            shown = lit[j, i]
            if shown <= 0:
                continue
            lx = lights[j, 1]
            ly = lights[j, 2]
            lz = lights[j, 3]
            if lights[j, 0] < 0.5:
                lx -= points[i, 0]
                ly -= points[i, 1]
                lz -= points[i, 2]
                q = lx * lx + ly * ly + lz * lz
                shown /= q + 0.3
                q = 1 / math.sqrt(q + 1e-9)
                lx *= q
                ly *= q
                lz *= q
            cosine = nx * lx + ny * ly + nz * lz
            if cosine < 0:
                # Light from behind shines through leaves and cloth, and spreads.
                through = -cosine * m[mr.TRANSLUCENT] * shown
                lr += lights[j, 4] * through
                lg += lights[j, 5] * through
                lb += lights[j, 6] * through * 0.6
                continue
            lr += lights[j, 4] * cosine * shown
            lg += lights[j, 5] * cosine * shown
            lb += lights[j, 6] * cosine * shown
            if m[mr.SPECULAR] > 0:
                hx = lx - dx
                hy = ly - dy
                hz = lz - dz
                q = (nx * hx + ny * hy + nz * hz) / math.sqrt(hx * hx + hy * hy + hz * hz + 1e-9)
                if q > 0:
                    shine += m[mr.SPECULAR] * q ** m[mr.GLOSS] * shown * lights[j, 5]
        glow = m[mr.EMISSION]
        r = r * (lr + glow) + shine
        g = g * (lg + glow) + shine
        b = b * (lb + glow) + shine
        if haze[0] > 0:
            clear = math.exp(-distance[i] * haze[0])
            r = r * clear + haze[1] * (1 - clear)
            g = g * clear + haze[2] * (1 - clear)
            b = b * clear + haze[3] * (1 - clear)
        out[i, 0] = r
        out[i, 1] = g
        out[i, 2] = b


@compiled
def paint_sky(
    directions: Any, top: Any, horizon: Any, cloud: Any, cover: float, seed: float, sun: Any, glow: Any, out: Any
) -> None:
    """Colour of the sky [N, 3] along every direction."""
    for i in range(directions.shape[0]):
        x = directions[i, 0]
        y = directions[i, 1]
        z = directions[i, 2]
        length = 1.0 / math.sqrt(x * x + y * y + z * z)
        x *= length
        y *= length
        z *= length
        high = math.sqrt(max(z, 0.0))
        clouds = 0.0
        if cover > 0 and z > 0:
            q = 1 / (z + 0.12)
            n = fractal(x * q * 1.3 + seed, y * q * 1.3, seed * 0.7, 6, 0.58, 0.01 / (z + 0.05))
            clouds = smooth(0.62 - cover * 0.3, 0.85 - cover * 0.3, n) * smooth(0.0, 0.06, z)
        near = max(0.0, x * sun[0] + y * sun[1] + z * sun[2])
        near = near**40 * 0.4 + near**6 * 0.12
        for c in range(3):
            value = horizon[c] + (top[c] - horizon[c]) * high
            value += (cloud[c] * (0.75 + 0.25 * high) - value) * clouds
            out[i, c] = value + glow[c] * near
