"""Pictures rendered from a seed, with exact depth, normals, instances, classes and camera: training data without end.

Needs `pip install 'dptkit[render]'`; nothing of that is imported before the first picture.
"""

from dptkit.data.procedural.classes import CLASS_IDS, CLASS_NAMES
from dptkit.data.procedural.clip_writing import write_clips
from dptkit.data.procedural.dataset import ProceduralDataset
from dptkit.data.procedural.photos import PhotoTextures
from dptkit.data.procedural.rendered import RenderedScene
from dptkit.data.procedural.rendering import KINDS, render_clip, render_scene
from dptkit.data.procedural.writing import Progress, write_scenes

__all__ = [
    "CLASS_IDS",
    "CLASS_NAMES",
    "KINDS",
    "PhotoTextures",
    "ProceduralDataset",
    "Progress",
    "RenderedScene",
    "render_clip",
    "render_scene",
    "write_clips",
    "write_scenes",
]
