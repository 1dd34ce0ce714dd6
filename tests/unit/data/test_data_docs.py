"""docs/data.md names every data set, and its code runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from data_trees import CODES, grey, picture
from dptkit.data import augment
from dptkit.data.folder import open_pairs
from dptkit.data.registry import DATASETS

TEXT = (Path(__file__).parents[3] / "docs" / "data.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_every_data_set_has_a_row() -> None:
    assert {name for name in DATASETS if f"| `{name}` |" not in TEXT} == set()


def test_every_step_is_named() -> None:
    steps = [name for name in augment.__all__ if name[0].isupper() and name not in ("Augmentation", "CutMixed")]
    assert [name for name in steps if name not in TEXT and name != "ToInverseDepth"] == []


def test_the_code_runs(tmp_path: Path, monkeypatch: Any) -> None:
    for name in "ab":
        picture(tmp_path / f"my_data/train/images/{name}.jpg")
        grey(tmp_path / f"my_data/train/depth/{name}.png", CODES)
    monkeypatch.chdir(tmp_path)
    first, mixing = BLOCKS
    names: dict[str, Any] = {}
    exec(first, names)
    assert names["sample"].target[0, 1] == np.float32(0.1)
    sets = [open_pairs(Path("my_data"), "train", kind="depth", scale=0.001)]
    few = mixing.replace("steps=72_000", "steps=1").replace("workers=4", "workers=0")
    exec(few, names | {"sets": sets})
