"""Embree's C interface, in the library that embreex brings: triangles are read where they lie, kernels call it.

embreex's own classes copy a mesh number by number, which took half as long as all rays did, and trace rays one by
one. What lies where in a packet is told by Embree's header `rtcore_ray.h`.
"""

from __future__ import annotations

import ctypes
import weakref
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dptkit.errors import DataError

PACKET = 16
"""Rays that `occluded` takes together."""
_MAJOR_VERSION = 4  # others have other arguments
_TRIANGLE_GEOMETRY, _INDEX_BUFFER, _VERTEX_BUFFER = 0, 0, 1
_UINT3, _FLOAT3 = 0x5003, 0x9003
_ROBUST = 1 << 2  # no ray slips between two triangles; embreex's scenes have it too
_COHERENT = 1 << 16
_ALL_FEATURES = 0xFFFFFFFF
_ROWS_OF_A_RAY = 32  # 12 of the ray, up to 9 of the hit, and room


class _QueryArguments(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint),
        ("feature_mask", ctypes.c_uint),
        ("context", ctypes.c_void_p),
        ("filter", ctypes.c_void_p),
        ("intersect", ctypes.c_void_p),
        ("spare", ctypes.c_void_p * 4),
    )


class Embree(NamedTuple):
    """The library. Functions have their C types, so kernels can take them as arguments.

    intersect(scene, ray, arguments): `rtcIntersect1`. occluded(valid, scene, packet, arguments): `rtcOccluded16`.
    coherent: address of the arguments for rays that lie alike.
    """

    functions: ctypes.CDLL
    device: int
    intersect: Any
    occluded: Any
    arguments: _QueryArguments  # kept, `coherent` points there

    @property
    def coherent(self) -> int:
        return ctypes.addressof(self.arguments)


@cache
def load_embree() -> Embree | None:
    """None where the interface is out of reach: another version, or a system that hides libraries of libraries."""
    from embreex import rtcore_scene

    address, number, size = ctypes.c_void_p, ctypes.c_uint, ctypes.c_size_t
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "rtcNewDevice": (address, [ctypes.c_char_p]),
        "rtcGetDeviceProperty": (ctypes.c_ssize_t, [address, number]),
        "rtcGetDeviceError": (number, [address]),
        "rtcNewScene": (address, [address]),
        "rtcSetSceneFlags": (None, [address, number]),
        "rtcCommitScene": (None, [address]),
        "rtcReleaseScene": (None, [address]),
        "rtcNewGeometry": (address, [address, number]),
        "rtcSetSharedGeometryBuffer": (None, [address, number, number, number, address, size, size, size]),
        "rtcCommitGeometry": (None, [address]),
        "rtcAttachGeometry": (number, [address, address]),
        "rtcReleaseGeometry": (None, [address]),
        "rtcIntersect1": (None, [address, address, address]),
        "rtcOccluded16": (None, [address, address, address, address]),
    }
    try:
        functions = ctypes.CDLL(rtcore_scene.__file__)
        for name, (result, arguments) in signatures.items():
            function = getattr(functions, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError):
        return None
    # One thread: pictures are made in many processes, and helpers that wait for work would take time from them.
    device = functions.rtcNewDevice(b"threads=1")
    if not device or functions.rtcGetDeviceProperty(device, 0) // 10000 != _MAJOR_VERSION:
        return None
    coherent = _QueryArguments(flags=_COHERENT, feature_mask=_ALL_FEATURES)
    return Embree(functions, device, functions.rtcIntersect1, functions.rtcOccluded16, coherent)


class EmbreeScene:
    """A committed scene of vertices float32 [V, 3] and faces int32 [T, 3], which it keeps. Raises DataError where
    Embree refuses. `address` is what `Embree`'s functions call the scene."""

    def __init__(self, embree: Embree, vertices: npt.NDArray[np.float32], faces: npt.NDArray[np.int32]) -> None:
        call, device = embree.functions, embree.device
        self._vertices = np.zeros(3 * len(vertices) + 4, np.float32)  # Embree reads 16 bytes of every vertex
        self._vertices[: 3 * len(vertices)] = vertices.ravel()
        self._faces = np.ascontiguousarray(faces, np.int32)
        self.address: int = call.rtcNewScene(device)
        weakref.finalize(self, call.rtcReleaseScene, self.address)
        call.rtcSetSceneFlags(self.address, _ROBUST)
        geometry = call.rtcNewGeometry(device, _TRIANGLE_GEOMETRY)
        for kind, form, numbers, count in (
            (_VERTEX_BUFFER, _FLOAT3, self._vertices, len(vertices)),
            (_INDEX_BUFFER, _UINT3, self._faces, len(faces)),
        ):
            call.rtcSetSharedGeometryBuffer(geometry, kind, 0, form, numbers.ctypes.data, 0, 12, count)
        call.rtcCommitGeometry(geometry)
        call.rtcAttachGeometry(self.address, geometry)
        call.rtcReleaseGeometry(geometry)
        call.rtcCommitScene(self.address)
        code = call.rtcGetDeviceError(device)
        if code:
            raise DataError(f"Embree refused a scene of {len(faces)} triangles with error {code}")


def packet_memory(rays: int) -> npt.NDArray[np.float32]:
    """Room for `rays` rays and their hits, float32 [fields * rays], aligned as Embree asks."""
    raw = np.zeros(4 * _ROWS_OF_A_RAY * rays + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + 4 * _ROWS_OF_A_RAY * rays].view(np.float32)
