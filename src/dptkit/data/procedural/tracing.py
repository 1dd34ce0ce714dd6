"""Rays against triangles: what the pipeline asks, answered through Embree's C interface or, failing that, embreex."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dptkit.data.procedural import packets
from dptkit.data.procedural.compiled import require_renderer
from dptkit.data.procedural.embree import PACKET, Embree, EmbreeScene, load_embree, packet_memory

Floats32 = npt.NDArray[np.float32]
Triangles = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Hits:
    """triangle: int32 [N], -1 for a miss. distance: float32 [N], 1e37 for a miss. u, v: float32 [N], weights of the
    second and third corner."""

    triangle: Triangles
    distance: Floats32
    u: Floats32
    v: Floats32


class Tracer(Protocol):
    """Origins and directions: float32 [N, 3], in rows; distances count in lengths of the direction given."""

    def hits(self, origins: Floats32, directions: Floats32) -> Hits:
        """What each ray meets first."""

    def blocked(self, origins: Floats32, directions: Floats32, reach: float, *, alike: bool) -> Bools:
        """[N] whether anything lies nearer than `reach`. `alike`: neighbours point nearly the same way, which is
        quicker so, and gives the same."""


def build_tracer(vertices: Floats32, faces: Triangles) -> Tracer:
    """A tracer of vertices float32 [V, 3] and faces int32 [T, 3]. Raises DataError where embreex is missing."""
    require_renderer()
    embree = load_embree()
    return EmbreexTracer(vertices, faces) if embree is None else PacketTracer(embree, vertices, faces)


class PacketTracer:
    """Through the C interface. Safe in several threads at a time."""

    def __init__(self, embree: Embree, vertices: Floats32, faces: Triangles) -> None:
        self._embree = embree
        self._scene = EmbreeScene(embree, vertices, faces)

    def hits(self, origins: Floats32, directions: Floats32) -> Hits:
        n, ray = len(origins), packet_memory(1)
        found = Hits(np.empty(n, np.int32), *(np.empty(n, np.float32) for _ in range(3)))
        packets.first_hits(
            self._embree.intersect, self._scene.address, origins, directions, ray, ray.view(np.int32),
            found.triangle, found.distance, found.u, found.v,
        )  # fmt: skip
        return found

    def blocked(self, origins: Floats32, directions: Floats32, reach: float, *, alike: bool) -> Bools:
        packet, blocked = packet_memory(PACKET), np.empty(len(origins), np.bool_)
        valid = packet_memory(1).view(np.int32)[:PACKET]
        packets.any_hits(
            self._embree.occluded, self._scene.address, self._embree.coherent if alike else 0, origins, directions,
            float(reach), packet, packet.view(np.int32), valid, blocked,
        )  # fmt: skip
        return blocked


class EmbreexTracer:
    """Through embreex's own classes: slower, the same answers."""

    def __init__(self, vertices: Floats32, faces: Triangles) -> None:
        from embreex import rtcore_scene
        from embreex.mesh_construction import TriangleMesh

        self._scene: Any = rtcore_scene.EmbreeScene()
        self._mesh = TriangleMesh(self._scene, vertices, faces)

    def hits(self, origins: Floats32, directions: Floats32) -> Hits:
        found = self._scene.run(origins, directions, output=True)
        return Hits(found["primID"], found["tfar"], found["u"], found["v"])

    def blocked(self, origins: Floats32, directions: Floats32, reach: float, *, alike: bool) -> Bools:
        reaches = np.full(len(origins), reach, np.float32)
        found = self._scene.run(origins, directions, dists=reaches, query="OCCLUDED")
        blocked: Bools = np.asarray(found) >= 0
        return blocked
