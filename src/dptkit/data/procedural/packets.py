"""Compiled: rays handed to Embree.

A packet holds field after field, each for all its rays: origin (3), nearest, direction (3), time, reach, mask, number,
flags; of a hit the normal (3), u, v, triangle, geometry, instance. `bits` is the same memory as whole numbers.
"""

from __future__ import annotations

from typing import Any

from dptkit.data.procedural.compiled import compiled
from dptkit.data.procedural.embree import PACKET

NEAREST, DIRECTION, TIME, REACH, MASK, NUMBER, FLAGS = 3, 4, 7, 8, 9, 10, 11
U, V, TRIANGLE, GEOMETRY, INSTANCE = 15, 16, 17, 18, 19


@compiled
def first_hits(
    intersect: Any,
    scene: int,
    origins: Any,
    directions: Any,
    ray: Any,
    bits: Any,
    triangle: Any,
    distance: Any,
    u: Any,
    v: Any,
) -> None:
    """Fill the last four arrays [N] for rays [N, 3]; `triangle` is -1 and `distance` 1e37 for a miss.

    One ray at a time: where two faces lie in one plane, a packet may see the other one.
    """
    ray[NEAREST] = 0.0
    ray[TIME] = 0.0
    bits[MASK] = -1
    bits[NUMBER] = 0
    bits[FLAGS] = 0
    for i in range(origins.shape[0]):
        for c in range(3):
            ray[c] = origins[i, c]
            ray[DIRECTION + c] = directions[i, c]
        ray[REACH] = 1e37
        bits[TRIANGLE] = -1
        bits[GEOMETRY] = -1
        bits[INSTANCE] = -1
        intersect(scene, ray.ctypes, 0)
        triangle[i] = bits[TRIANGLE]
        distance[i] = ray[REACH]
        u[i] = ray[U]
        v[i] = ray[V]


@compiled
def any_hits(
    occluded: Any,
    scene: int,
    arguments: int,
    origins: Any,
    directions: Any,
    reach: float,
    packet: Any,
    bits: Any,
    valid: Any,
    blocked: Any,
) -> None:
    """Fill `blocked` [N]: whether a ray [N, 3] meets anything nearer than `reach`, the same in whatever order."""
    for k in range(PACKET):
        packet[NEAREST * PACKET + k] = 0.0
        packet[TIME * PACKET + k] = 0.0
        bits[MASK * PACKET + k] = -1
        bits[NUMBER * PACKET + k] = 0
        bits[FLAGS * PACKET + k] = 0
        valid[k] = -1
    n = origins.shape[0]
    for first in range(0, n, PACKET):
        count = min(PACKET, n - first)
        for k in range(count):
            for c in range(3):
                packet[c * PACKET + k] = origins[first + k, c]
                packet[(DIRECTION + c) * PACKET + k] = directions[first + k, c]
            packet[REACH * PACKET + k] = reach
        for k in range(count, PACKET):
            valid[k] = 0
        occluded(valid.ctypes, scene, packet.ctypes, arguments)
        for k in range(count):
            # Embree sets the reach of a blocked ray to minus infinity, which fast arithmetic may not compare.
            blocked[first + k] = bits[REACH * PACKET + k] < 0
