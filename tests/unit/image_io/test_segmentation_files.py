"""Labels, scores, legend and table of a SegmentationMap."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from dptkit.errors import ConfigError, ImageReadError, OutputWriteError
from dptkit.image_io import (
    SEGMENT_SUFFIXES,
    draw_overlay,
    read_labels,
    write_labels,
    write_overlay,
    write_scores,
    write_segments_json,
)
from dptkit.outputs import Provenance, SegmentationMap

PROVENANCE = Provenance("dpt-seg", "0.1.0", "cd" * 32, network_size=(480, 480))
NAMES = ("wall", "небо; sky", "树")
PALETTE = ((120, 120, 120), (6, 230, 230), (4, 200, 3))


def seg_map(labels: Any, scores: Any = None) -> SegmentationMap:
    return SegmentationMap(np.asarray(labels, np.uint8), NAMES, PALETTE, PROVENANCE, scores)


def many_classes(height: int, width: int, count: int) -> SegmentationMap:
    labels = (np.arange(height * width) % count).reshape(height, width).astype(np.uint8)
    names = tuple(f"class number {k} with a name that is too long for a legend" for k in range(count))
    return SegmentationMap(labels, names, tuple((k, 255 - k, 90) for k in range(count)), PROVENANCE)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        np.uint8,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
        elements=st.sampled_from([0, 1, 2, 255]),
    )
)
def test_labels_round_trip(tmp_path_factory: pytest.TempPathFactory, labels: np.ndarray) -> None:
    path = tmp_path_factory.getbasetemp() / "round_labels.png"
    assert write_labels(path, seg_map(labels)) == path
    back = read_labels(path)
    np.testing.assert_array_equal(back.labels, labels)
    assert (back.class_names, back.palette, back.provenance, back.scores) == (
        NAMES,
        PALETTE,
        PROVENANCE,
        None,
    )


def test_labels_of_255_classes(tmp_path: Path) -> None:
    seg = many_classes(16, 17, 255)
    write_labels(tmp_path / "a.png", seg)
    back = read_labels(tmp_path / "a.png")
    np.testing.assert_array_equal(back.labels, seg.labels)
    assert back.palette == seg.palette


def test_labels_with_pillow_alone(tmp_path: Path) -> None:
    write_labels(tmp_path / "a.png", seg_map([[0, 1, 2, 255]]))
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "P"
        assert np.asarray(image).tolist() == [[0, 1, 2, 255]]
        assert np.asarray(image.convert("RGB")).tolist() == [[*map(list, PALETTE), [0, 0, 0]]]
        record = json.loads(image.text["dptkit"])  # type: ignore[attr-defined]
    assert [entry["name"] for entry in record["classes"]] == list(NAMES)
    assert record["provenance"]["weights_sha256"] == "cd" * 32
    assert (record["ignored"], record["ignore_label"]) == (1, 255)


def test_scores_with_pillow_alone(tmp_path: Path) -> None:
    scores = np.array([[0, 0.5, 1]], np.float32)
    write_scores(tmp_path / "a.png", seg_map([[0, 1, 2]], scores))
    with Image.open(tmp_path / "a.png") as image:
        codes = np.asarray(image)
        record = json.loads(image.text["dptkit"])  # type: ignore[attr-defined]
    assert codes.tolist() == [[0, 32768, 65535]]
    assert "score = stored / 65535" in record["meaning"]
    assert (record["scale"], record["offset"], record["content"]) == (1 / 65535, 0, "scores")


@pytest.mark.parametrize("score", [-0.01, 1.01, np.nan])
def test_scores_are_never_wrapped(tmp_path: Path, score: float) -> None:
    with pytest.raises(OutputWriteError, match=r"not all in \[0, 1\]"):
        write_scores(tmp_path / "a.png", seg_map([[0]], np.full((1, 1), score, np.float32)))
    with pytest.raises(OutputWriteError, match="made without scores"):
        write_scores(tmp_path / "a.png", seg_map([[0]]))
    assert list(tmp_path.iterdir()) == []


def test_segments_json(tmp_path: Path) -> None:
    write_segments_json(tmp_path / "a.json", seg_map([[2, 2, 2], [1, 255, 2]]))
    record = json.loads((tmp_path / "a.json").read_text("utf-8"))
    assert record["classes"] == [
        {"id": 2, "name": "树", "colour": [4, 200, 3], "pixels": 4, "share": 4 / 6},
        {"id": 1, "name": "небо; sky", "colour": [6, 230, 230], "pixels": 1, "share": 1 / 6},
    ]
    assert (record["ignored"], record["height"], record["width"]) == (1, 2, 3)
    assert record["provenance"]["model"] == "dpt-seg"


def test_labels_from_elsewhere_are_refused(tmp_path: Path) -> None:
    Image.new("P", (2, 2)).save(tmp_path / "foreign.png")
    write_scores(tmp_path / "scores.png", seg_map([[0]], np.ones((1, 1), np.float32)))
    (tmp_path / "text.png").write_text("labels")
    for name, reason in {
        "foreign.png": "not written by dptkit",
        "scores.png": "it holds 'scores', not labels",
        "text.png": "not a picture",
        "none.png": "no such file",
    }.items():
        with pytest.raises(ImageReadError, match=f"{name}: .*{reason}"):
            read_labels(tmp_path / name)


def test_unwritable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    seg = seg_map([[0]], np.ones((1, 1), np.float32))
    for write in (write_labels, write_scores, write_segments_json):
        with pytest.raises(OutputWriteError, match=r"cannot write .*Not a directory"):
            write(tmp_path / "file" / "a.png", seg)


def test_overlay_blends_by_alpha_and_spares_ignored_pixels() -> None:
    image = np.full((1, 4, 3), (100, 50, 200), np.uint8)
    seg = seg_map([[0, 1, 2, 255]])
    # Too low for a legend, so the picture alone.
    assert draw_overlay(image, seg, 0.5).tolist() == [[[110, 85, 160], [53, 140, 215], [52, 125, 102], [100, 50, 200]]]
    assert draw_overlay(image, seg, 0.0).tolist() == image.tolist()
    assert draw_overlay(image, seg, 1.0).tolist() == [[*map(list, PALETTE), [100, 50, 200]]]


def swatches(legend: np.ndarray, palette: Any) -> list[int]:
    """The class ids whose colour fills a box in the legend, top to bottom."""
    found = []
    for k, colour in enumerate(palette):
        rows = np.flatnonzero((legend == colour).all(axis=2).sum(axis=1) >= 5)
        if rows.size:
            found.append((int(rows[0]), k))
    return [k for _, k in sorted(found)]


def test_legend_has_the_classes_present_largest_first() -> None:
    labels = np.zeros((200, 300), np.uint8)
    labels[:, 100:] = 2
    labels[0, :50] = 1  # 50 of 60000 pixels: less than 0.1 %
    image = np.zeros((200, 300, 3), np.uint8)
    result = draw_overlay(image, seg_map(labels))
    assert result.shape[0] == 200
    assert result.shape[1] > 300
    assert swatches(result[:, 300:], PALETTE) == [2, 0]
    labels[0, :60] = 1
    assert swatches(draw_overlay(image, seg_map(labels))[:, 300:], PALETTE) == [2, 0, 1]


def test_legend_text_is_drawn_within_the_strip() -> None:
    seg = many_classes(300, 200, 5)
    legend = draw_overlay(np.zeros((300, 200, 3), np.uint8), seg)[:, 200:]
    dark = (legend.max(axis=2) < 100).any(axis=0)
    assert np.count_nonzero(dark) > legend.shape[1] // 2
    assert not dark[-4:].any()  # nothing is cut off at the right


@pytest.mark.parametrize("size", [(1, 1), (5, 400), (13, 13), (40, 3), (400, 20), (90, 120)])
@pytest.mark.parametrize("count", [1, 3, 150])
def test_overlay_of_any_size(size: tuple[int, int], count: int) -> None:
    height, width = size
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    result = draw_overlay(image, many_classes(height, width, count), 0.0)
    assert result.dtype == np.uint8
    assert result.shape[0] == height
    np.testing.assert_array_equal(result[:, :width], image)


def test_overlay_without_any_class() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    assert draw_overlay(image, seg_map(np.full((100, 100), 255))).shape == (100, 100, 3)


def test_overlay_file(tmp_path: Path) -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    seg = seg_map(np.ones((60, 80)))
    write_overlay(tmp_path / "a.png", image, seg, 0.25)
    with Image.open(tmp_path / "a.png") as written:
        np.testing.assert_array_equal(np.asarray(written), draw_overlay(image, seg, 0.25))
        assert json.loads(written.text["dptkit"])["content"] == "overlay"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("image", "alpha", "message"),
    [
        (np.zeros((2, 3, 3), np.uint8), 0.5, r"picture is \(2, 3\) pixels, its classes are \(2, 2\)"),
        (np.zeros((2, 2), np.uint8), 0.5, r"must be uint8 \[H, W, 3\]"),
        (np.zeros((2, 2, 3)), 0.5, "not float64"),
        (np.zeros((2, 2, 3), np.uint8), 1.5, r"alpha must lie in \[0, 1\]"),
    ],
)
def test_overlay_of_wrong_input(image: np.ndarray, alpha: float, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        draw_overlay(image, seg_map([[0, 1], [2, 2]]), alpha)


def test_suffixes() -> None:
    assert SEGMENT_SUFFIXES == {
        "labels": "_labels.png",
        "overlay": "_overlay.png",
        "json": "_segments.json",
        "scores": "_scores.png",
    }
