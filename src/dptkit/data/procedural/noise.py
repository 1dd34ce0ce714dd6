"""Compiled building blocks of patterns: hashes, value noise, fractal sums, antialiased pulses.

`footprint` is the width of a pixel in the pattern's own units; detail finer than that fades out.
"""

from __future__ import annotations

import math

from dptkit.data.procedural.compiled import compiled


@compiled
def hash3(x: int, y: int, z: int) -> float:
    """A number in 0..1 for three whole numbers."""
    n = x * 374761393 + y * 668265263 + z * 1274126177  # wraps in 64 bits
    n = (n ^ (n >> 15)) * 2246822519
    n = (n ^ (n >> 13)) * 3266489917
    return ((n ^ (n >> 16)) & 0xFFFF) / 65535.0


@compiled
def smooth(low: float, high: float, x: float) -> float:
    t = min(max((x - low) / (high - low), 0.0), 1.0)
    return t * t * (3 - 2 * t)


@compiled
def value_noise(x: float, y: float, z: float) -> float:
    """Smooth noise in 0..1, one random value per unit cell corner."""
    a = math.floor(x)
    b = math.floor(y)
    c = math.floor(z)
    fx = x - a
    fy = y - b
    fz = z - c
    fx = fx * fx * (3 - 2 * fx)
    fy = fy * fy * (3 - 2 * fy)
    fz = fz * fz * (3 - 2 * fz)
    i = int(a)
    j = int(b)
    k = int(c)
    near0 = hash3(i, j, k) * (1 - fx) + hash3(i + 1, j, k) * fx
    near1 = hash3(i, j + 1, k) * (1 - fx) + hash3(i + 1, j + 1, k) * fx
    far0 = hash3(i, j, k + 1) * (1 - fx) + hash3(i + 1, j, k + 1) * fx
    far1 = hash3(i, j + 1, k + 1) * (1 - fx) + hash3(i + 1, j + 1, k + 1) * fx
    return (near0 * (1 - fy) + near1 * fy) * (1 - fz) + (far0 * (1 - fy) + far1 * fy) * fz


@compiled
def fractal(x: float, y: float, z: float, octaves: int, gain: float, footprint: float) -> float:
    """Octaves of value noise in 0..1; each is twice as fine and `gain` as strong as the one before."""
    total = 0.0
    weight = 1.0
    weights = 0.0
    frequency = 1.0
    for _ in range(octaves):
        visible = 1.0 - frequency * footprint * 1.5
        weights += weight
        if visible > 0:
            noise = value_noise(x * frequency, y * frequency, z * frequency)
            total += weight * (0.5 + (noise - 0.5) * min(visible * 2, 1.0))
        else:
            total += weight * 0.5
        weight *= gain
        frequency *= 2.03
    return total / weights


@compiled
def pulse(x: float, width: float, footprint: float) -> float:
    """1 in the first `width` of every unit interval, else 0; edges as soft as a pixel."""
    f = x - math.floor(x)
    e = max(footprint, 1e-3)
    if e > 0.5:
        return width
    rising = smooth(-e * 0.5, e * 0.5, f) * (1 - smooth(width - e * 0.5, width + e * 0.5, f))
    return rising + smooth(1 - e * 0.5, 1 + e * 0.5, f)
