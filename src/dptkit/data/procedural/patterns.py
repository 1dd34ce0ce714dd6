"""The colour of a surface at a point: every pattern a material can name, compiled."""

from __future__ import annotations

import math
from typing import Any

from dptkit.data.procedural import material_rows as mr
from dptkit.data.procedural.compiled import compiled
from dptkit.data.procedural.noise import fractal, hash3, pulse, smooth, value_noise

RGB = tuple[float, float, float]


@compiled
def photo_colour(photos: Any, slot: int, u: float, v: float, footprint: float) -> RGB:
    """Colour of a crop, mirrored at its borders. photos: float32 [slots, texels of all levels, 3]."""
    level = int(min(max(math.log2(max(footprint * 128.0, 1.0)) + 0.3, 0.0), 5.0))
    side = 128 >> level
    offset = 0
    for finer in range(level):
        offset += (128 >> finer) * (128 >> finer)
    u = abs(u - 2 * math.floor(u * 0.5 + 0.5)) * (side - 1)
    v = abs(v - 2 * math.floor(v * 0.5 + 0.5)) * (side - 1)
    x = min(int(u), side - 2)
    y = min(int(v), side - 2)
    fx = u - x
    fy = v - y
    k = offset + y * side + x
    w00 = (1 - fx) * (1 - fy)
    w01 = fx * (1 - fy)
    w10 = (1 - fx) * fy
    w11 = fx * fy
    p = photos[slot]
    r = p[k, 0] * w00 + p[k + 1, 0] * w01 + p[k + side, 0] * w10 + p[k + side + 1, 0] * w11
    g = p[k, 1] * w00 + p[k + 1, 1] * w01 + p[k + side, 1] * w10 + p[k + side + 1, 1] * w11
    b = p[k, 2] * w00 + p[k + 1, 2] * w01 + p[k + side, 2] * w10 + p[k + side + 1, 2] * w11
    return r, g, b


@compiled
def facade_colour(m: Any, x: float, y: float, z: float, u: float, v: float, f: float) -> RGB:
    across = math.floor(u)
    up = math.floor(v)
    glass = pulse(u - m[mr.P0] * 0.5, 1 - m[mr.P0], f) * pulse(v - m[mr.P1] * 0.5, 1 - m[mr.P1], f)
    frame = 0.0
    if f < 0.3:
        frame = max(pulse(u * 2, 0.06, f * 2), pulse(v * 2 + m[mr.P2], 0.06, f * 2))
    wall = (0.7 + 0.6 * fractal(x * 4, y * 4, z * 4, 4, 0.6, f * 4)) * (1 - 0.4 * pulse(v, 0.08 * m[mr.P2], f))
    lit = hash3(int(across), int(up), 4)
    lit = 0.15 + 0.85 * lit * lit * (0.6 + 0.8 * value_noise(u * 3, v * 3, 1.0))
    k = glass * (1 - frame * 0.8)
    t = glass * frame * 0.6
    r = m[1] * wall * (1 - k - t) + m[4] * lit * k + m[7] * t
    g = m[2] * wall * (1 - k - t) + m[5] * lit * k + m[8] * t
    b = m[3] * wall * (1 - k - t) + m[6] * lit * k + m[9] * t
    return r, g, b


@compiled
def label_colour(m: Any, u: float, v: float, f: float) -> RGB:
    across = math.floor(u)
    up = math.floor(v)
    seed = int(m[mr.P0] * 97)
    keep = m[mr.P2]
    r = (0.1 + 0.9 * hash3(across, up, 11 + seed)) * (1 - keep) + m[1] * keep
    g = (0.1 + 0.9 * hash3(across, up, 12 + seed)) * (1 - keep) + m[2] * keep
    b = (0.1 + 0.9 * hash3(across, up, 13 + seed)) * (1 - keep) + m[3] * keep
    lines = v * m[mr.P1]
    fine = f * m[mr.P1]
    if hash3(across, up, 21 + seed) > 0.35 and fine < 0.7:
        word = value_noise(u * m[mr.P1] * 2.5, math.floor(lines) * 7.3, 3.0)
        ink = pulse(lines, 0.45, fine) * smooth(0.35, 0.45, word) * (1 - fine)
        tone = 0.9 if r + g + b < 1.2 else 0.05
        r += (tone - r) * ink
        g += (tone - g) * ink
        b += (tone - b) * ink
    return r, g, b


@compiled
def road_colour(m: Any, x: float, y: float, f: float) -> RGB:
    """Asphalt along local y, with lane markings about x = 0 and along both edges."""
    worn = fractal(x * 0.4, y * 0.15, 3.0, 4, 0.6, f * 0.4)
    base = (0.6 + 0.5 * fractal(x * 8, y * 8, 0.0, 6, 0.75, f * 8)) * (0.7 + 0.6 * worn)
    line = 0.0
    if m[mr.P1] > 0.2:
        soft = max(f, 0.01)
        side = abs(x)
        line = (1 - smooth(0.07, 0.07 + soft, side)) * pulse(y / m[mr.P2], 0.45, f * 3 / m[mr.P2])
        if m[mr.P1] > 0.5:
            line = max(line, 1 - smooth(0.07, 0.07 + soft, abs(side - (m[mr.P0] - 0.35))))
        if m[mr.P1] > 0.7:
            dashes = pulse(y / m[mr.P2] + 0.3, 0.35, f * 3 / m[mr.P2])
            line = max(line, (1 - smooth(0.06, 0.06 + soft, abs(side - m[mr.P0] * 0.5))) * dashes)
        line *= 0.55 + 0.4 * worn
    r = m[1] * base
    g = m[2] * base
    b = m[3] * base
    return r + (0.75 - r) * line, g + (0.75 - g) * line, b + (0.7 - b) * line


@compiled
def view_colour(m: Any, x: float, y: float, z: float, f: float) -> RGB:
    """What lies behind a window, flat: sky, a jagged line of trees or houses, ground."""
    s = m[mr.SCALE]
    u = (x + y) * s
    horizon = m[mr.P0] + 0.5 * (fractal(u * 1.5, 2.0, 5.0, 5, 0.65, f * s) - 0.5)
    height = z * s
    above = smooth(horizon, horizon + 0.02 + f * s, height)
    sky = smooth(m[mr.P0] - 0.2, m[mr.P0] + 1.2, height)
    leaves = 0.4 + 1.2 * fractal(u * 5, height * 5, 1.0, 5, 0.75, f * s * 5)
    r = (m[4] + (m[1] - m[4]) * sky) * above + m[7] * leaves * (1 - above)
    g = (m[5] + (m[2] - m[5]) * sky) * above + m[8] * leaves * (1 - above)
    b = (m[6] + (m[3] - m[6]) * sky) * above + m[9] * leaves * (1 - above)
    return r, g, b


@compiled
def cell_mix(m: Any, u: float, v: float, f: float) -> tuple[float, float]:
    nearest = 9.0
    tone = 0.0
    i = math.floor(u)
    j = math.floor(v)
    for a in range(i - 1, i + 2):
        for c in range(j - 1, j + 2):
            dx = a + hash3(a, c, 1) - u
            dy = c + hash3(a, c, 2) - v
            d = dx * dx + dy * dy
            if d < nearest:
                nearest = d
                tone = hash3(a, c, 3)
    fade = max(0.0, 1 - f * 1.2)
    return 0.5 + (tone - 0.5) * m[mr.CONTRAST] * fade, smooth(0.3, 0.9, nearest) * m[mr.P1] * fade


@compiled
def wood_mix(m: Any, u: float, v: float, f: float) -> tuple[float, float]:
    plank = math.floor(u)
    offset = hash3(plank, 5, 9) * 37.0
    along = v * 0.25 + hash3(plank, 1, 2) * 5
    piece = math.floor(along)
    grain = fractal(u * 6 + offset, v * 0.35 + offset, hash3(plank, piece, 3) * 9, 5, 0.62, f * 6)
    rings = math.sin((u * 2.2 + grain * m[mr.P2] * 5 + offset) * 6.28) * max(0.0, 1 - f * 8)
    k = 0.5 + (grain - 0.5) * 1.6 * m[mr.CONTRAST] + 0.15 * rings * m[mr.CONTRAST]
    k += (hash3(plank, piece, 8) - 0.5) * m[mr.P0]
    return min(max(k, 0.0), 1.0), max(pulse(u, 0.025, f), pulse(along, 0.004, f)) * m[mr.P1]


@compiled
def surface_colour(m: Any, px: float, py: float, pz: float, axis: int, footprint: float, photos: Any) -> RGB:
    """Linear colour of material row `m` at the local point (metres); `axis` is the one the surface faces most."""
    pattern = int(m[mr.PATTERN])
    s = m[mr.SCALE]
    x = px + m[mr.SHIFT]
    y = py + m[mr.SHIFT + 1]
    z = pz + m[mr.SHIFT + 2]
    if axis == 0:
        u, v = y, z
    elif axis == 1:
        u, v = x, z
    else:
        u, v = x, y
    if m[mr.ROTATION] != 0:
        c = math.cos(m[mr.ROTATION])
        q = math.sin(m[mr.ROTATION])
        u, v = u * c - v * q, u * q + v * c
    u *= s
    v *= s
    f = footprint * s
    fade = max(0.0, 1 - f * 1.4)
    k = 0.0  # share of the second colour
    k2 = 0.0  # share of the third, over it
    if pattern == mr.PHOTO:
        r, g, b = photo_colour(photos, int(m[mr.PHOTO_SLOT]), u, v, f)
        return r * m[1] * 1.6, g * m[2] * 1.6, b * m[3] * 1.6
    if pattern == mr.FACADE:
        return facade_colour(m, x, y, z, u, v, f)
    if pattern == mr.LABEL:
        return label_colour(m, u, v, f)
    if pattern == mr.ROAD:
        return road_colour(m, px, py, footprint)
    if pattern == mr.VIEW:
        return view_colour(m, px, py, pz, footprint)
    if pattern == mr.PLAIN:
        k = 1 + 0.09 * (fractal(x * s, y * s, z * s, 4, 0.6, f) - 0.5)
        return m[1] * k, m[2] * k, m[3] * k
    if pattern == mr.NOISE:
        k = (fractal(x * s, y * s, z * s, 6, m[mr.P0], f) - 0.5) * m[mr.CONTRAST] + 0.5
        k = min(max(k, 0.0), 1.0)
    elif pattern == mr.TILES:
        a = math.floor(u)
        c2 = math.floor(v)
        if m[mr.P0] > 0.5:
            k = 0.5 + (((a + c2) & 1) - 0.5) * fade
        else:
            k = 0.5 + (hash3(a, c2, 7) - 0.5) * m[mr.CONTRAST] * fade
        k2 = max(pulse(u, m[mr.P1], f), pulse(v, m[mr.P1], f))
    elif pattern == mr.STRIPES:
        k = pulse(u + 0.3 * m[mr.P1] * (value_noise(u * 0.7, v * 0.7, 0.0) - 0.5), m[mr.P0], f)
        k2 = pulse(u * 3.1, 0.12, f * 3.1) * m[mr.P2]
    elif pattern == mr.BRICKS:
        row = math.floor(v * 2)
        shifted = u + 0.5 * (row & 1)
        k = 0.5 + (hash3(math.floor(shifted), row, 3) - 0.5) * m[mr.CONTRAST] * fade
        k2 = max(pulse(shifted, 0.06, f), pulse(v * 2, 0.12, f * 2))
    elif pattern == mr.WOOD:
        k, k2 = wood_mix(m, u, v, f)
    elif pattern == mr.CELLS:
        k, k2 = cell_mix(m, u, v, f)
    elif pattern == mr.GRASS:
        k = min(max((fractal(x * s, y * s, z * s, 6, 0.85, f) - 0.5) * 2.2 + 0.5, 0.0), 1.0)
        wide = fractal(x * s * 0.06, y * s * 0.06, z * s * 0.06, 4, 0.6, f * 0.06)
        k2 = smooth(0.45, 0.6, wide) * m[mr.P0]
    elif pattern == mr.PANELS:
        w = v * m[mr.P0]
        k2 = max(pulse(u + 0.012, 0.024, f), pulse(w + 0.012, 0.024 * m[mr.P0], f * m[mr.P0]))
        k = 0.3 * (fractal(x * s * 9, y * s * 1.5, z * s * 1.5, 4, 0.6, f * 9) - 0.5)
        k = max(k + 0.4 * (hash3(math.floor(u), math.floor(w), 2) - 0.5) * m[mr.CONTRAST], 0.0)
    r = m[1] + (m[4] - m[1]) * k
    g = m[2] + (m[5] - m[2]) * k
    b = m[3] + (m[6] - m[3]) * k
    return r + (m[7] - r) * k2, g + (m[8] - g) * k2, b + (m[9] - b) * k2
