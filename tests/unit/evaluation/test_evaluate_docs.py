"""The examples of docs/evaluate.md: those that need no download run, and the others name what exists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dptkit.evaluation.prediction_folder import PredictionFolder
from dptkit.evaluation.subject import ImagePredictor
from dptkit.outputs import DepthMap

BLOCKS = re.findall(
    r"^```python\n(.*?)^```",
    (Path(__file__).parents[3] / "docs" / "evaluate.md").read_text("utf-8"),
    re.DOTALL | re.MULTILINE,
)


def block(word: str) -> str:
    (found,) = [text for text in BLOCKS if word in text]
    return found


def test_the_predictor_of_your_own_is_one() -> None:
    names: dict[str, Any] = {}
    exec(block("class Darkness"), names)
    subject = names["Darkness"]()
    assert isinstance(subject, ImagePredictor)
    image = np.zeros((2, 3, 3), np.uint8)
    image[:, 0] = 255
    result = subject.predict(image)
    assert isinstance(result, DepthMap)
    np.testing.assert_array_equal(result.values, [[0, 1, 1]] * 2)


def test_the_folder_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "predictions").mkdir()
    np.save(tmp_path / "predictions" / "a.npy", np.array([[256, 512]], np.uint16))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(block("PredictionFolder("), names)
    assert isinstance(names["subject"], PredictionFolder)
    assert names["subject"].read("a").values.tolist() == [[1, 2]]


def test_transformers_examples_name_what_exists() -> None:
    import transformers

    for name in re.findall(r"(?:Auto\w+)", "\n".join(BLOCKS)):
        assert name in dir(transformers)
    for text in BLOCKS:
        compile(text, "evaluate.md", "exec")
