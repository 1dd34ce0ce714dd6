"""Pictures in, results out: RGB from any source, depth and classes to files that say what their numbers mean."""

from dptkit.image_io.atomic import atomic_write
from dptkit.image_io.colour import ColourPicture, colorize, colormap_names
from dptkit.image_io.depth_files import (
    DEPTH_SUFFIXES,
    DepthFormat,
    WrittenDepth,
    depth_endings,
    read_depth,
    read_metadata,
    write_depth,
)
from dptkit.image_io.names import describe_source
from dptkit.image_io.opening import SUPPORTED_SUFFIXES
from dptkit.image_io.overlay import draw_overlay
from dptkit.image_io.read import ImageSource, count_pixels, read_image
from dptkit.image_io.record import NoRecordError
from dptkit.image_io.segmentation_files import (
    SEGMENT_SUFFIXES,
    SegmentFormat,
    read_labels,
    write_labels,
    write_overlay,
    write_scores,
    write_segments_json,
)
from dptkit.image_io.sidecar import sidecar_path

__all__ = [
    "DEPTH_SUFFIXES",
    "SEGMENT_SUFFIXES",
    "SUPPORTED_SUFFIXES",
    "ColourPicture",
    "DepthFormat",
    "ImageSource",
    "NoRecordError",
    "SegmentFormat",
    "WrittenDepth",
    "atomic_write",
    "colorize",
    "colormap_names",
    "count_pixels",
    "depth_endings",
    "describe_source",
    "draw_overlay",
    "read_depth",
    "read_image",
    "read_labels",
    "read_metadata",
    "sidecar_path",
    "write_depth",
    "write_labels",
    "write_overlay",
    "write_scores",
    "write_segments_json",
]
