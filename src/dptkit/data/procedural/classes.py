"""What the label ids of rendered pictures mean. The ids are fixed: new classes go to the end."""

from __future__ import annotations

CLASS_NAMES: tuple[str, ...] = (
    "other",  # 0: what fits nowhere else
    "floor",
    "wall",
    "ceiling",
    "sky",
    "road",  # 5
    "pavement",
    "terrain",
    "water",
    "building",
    "tree",  # 10
    "plant",
    "person",
    "animal",
    "vehicle",
    "furniture",  # 15
    "object",
    "window",
    "door",
    "picture",
    "screen",  # 20
    "rug",
    "curtain",
    "stairs",
    "fence",  # 24: railings too
    "pole",
    "lamp",
    "rock",  # 27
)
"""The name of each label id from 0. 255 marks no class and does not occur in rendered pictures."""

CLASS_IDS: dict[str, int] = {name: label for label, name in enumerate(CLASS_NAMES)}
