"""The data set and what is written to disk."""

from __future__ import annotations

import csv
import pickle
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("embreex")
pytest.importorskip("numba")

from dptkit.cli.data_render import render
from dptkit.data.procedural import (
    CLASS_NAMES,
    PhotoTextures,
    ProceduralDataset,
    materials,
    render_scene,
    write_scenes,
)
from dptkit.data.procedural.materials import photo_slots_used
from dptkit.data.procedural.photos import SLOTS
from dptkit.data.procedural.scene import Scene
from dptkit.data.procedural.writing import DISPARITY_SCALE
from dptkit.data.sample import Dataset
from dptkit.errors import DataError

SMALL = (48, 64)


@pytest.fixture
def photos(tmp_path: Path) -> PhotoTextures:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for k in range(2):
        cv2.imwrite(str(folder / f"{k}.png"), rng.integers(0, 256, (90, 70, 3), np.uint8))
    return PhotoTextures(folder)


def test_samples_are_inverse_depth_with_the_sky_at_zero() -> None:
    data: Dataset = ProceduralDataset(5, seed=3, size=SMALL, kind="landscape")
    assert data.name == "procedural"
    assert len(data) == 5
    sample, rendered = data[2], render_scene(5, size=SMALL, kind="landscape")
    np.testing.assert_array_equal(sample.image, rendered.image)
    assert sample.unit == "1/m"
    assert sample.valid.all()
    np.testing.assert_array_equal(sample.target == 0, np.isinf(rendered.depth_m))
    assert sample.group == sample.name == "scene-00000005"
    with pytest.raises(IndexError):
        data[5]
    assert len(list(data)) == 5  # iteration ends


def test_the_data_set_pickles_small_and_renders_the_same(photos: PhotoTextures) -> None:
    data = ProceduralDataset(3, size=SMALL, kind="floating", photos=photos)
    stored = pickle.dumps(data)
    assert len(stored) < 1000
    np.testing.assert_array_equal(pickle.loads(stored)[1].image, data[1].image)


def test_photos_change_the_picture_but_need_pictures(photos: PhotoTextures, tmp_path: Path) -> None:
    with_photos = render_scene(1, size=SMALL, kind="floating", photos=photos)
    assert with_photos.image.std() > 0
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no photos there"):
        PhotoTextures(tmp_path / "empty")
    (photos.folder / "2.png").write_bytes(b"not a picture")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "1.png").write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"1\.png: not a picture"):
        render_scene(1, size=SMALL, photos=PhotoTextures(tmp_path / "broken"))


def test_only_photos_that_are_shown_are_prepared(photos: PhotoTextures, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[set[int]] = []

    def noted(scene: Scene) -> set[int]:
        shown.append(photo_slots_used(scene))
        return shown[-1]

    monkeypatch.setattr(materials, "photo_slots_used", noted)
    some = [render_scene(seed, size=SMALL, kind="tabletop", photos=photos).image for seed in range(3)]
    assert any(0 < len(slots) < SLOTS for slots in shown)
    monkeypatch.setattr(materials, "photo_slots_used", lambda scene: range(SLOTS))
    for seed, image in enumerate(some):
        np.testing.assert_array_equal(render_scene(seed, size=SMALL, kind="tabletop", photos=photos).image, image)


def test_files_hold_what_was_rendered(tmp_path: Path) -> None:
    *_, last = write_scenes(tmp_path, 2, seed=7, size=SMALL, kind="street", image_format="png")
    assert (last.done, last.total, last.skipped) == (2, 2, 0)
    rendered = render_scene(7, size=SMALL, kind="street")
    folder = tmp_path / "procedural"
    stored = cv2.imread(str(folder / "scene-00000007.png"), cv2.IMREAD_UNCHANGED)
    assert stored.dtype == np.uint16
    inverse = np.minimum(rendered.inverse_depth, 65535 * DISPARITY_SCALE)
    np.testing.assert_allclose(stored * DISPARITY_SCALE, inverse, atol=DISPARITY_SCALE * 0.51)
    labels = cv2.imread(str(folder / "scene-00000007-labels.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(labels, rendered.labels)
    things = cv2.imread(str(folder / "scene-00000007-instances.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(things, rendered.instances)
    image = cv2.imread(str(folder / "scene-00000007-image.png"))
    np.testing.assert_array_equal(image[:, :, ::-1], rendered.image)
    with (tmp_path / "manifest.csv").open() as text:
        rows = list(csv.DictReader(text))
    assert [row["name"] for row in rows] == ["scene-00000007", "scene-00000008"]
    assert rows[0]["kind"] == "disparity"
    assert float(rows[0]["scale"]) == DISPARITY_SCALE


def test_a_second_run_goes_on_where_the_first_stopped(tmp_path: Path) -> None:
    run = write_scenes(tmp_path, 3, size=SMALL, kind="floating")
    next(run)
    next(run)
    run.close()  # cut off after one scene
    folder = tmp_path / "procedural"
    assert len(list(folder.glob("*.json"))) == 1
    before = (folder / "scene-00000000.png").stat().st_mtime_ns
    *_, last = write_scenes(tmp_path, 3, size=SMALL, kind="floating")
    assert (last.done, last.skipped) == (3, 1)
    assert (folder / "scene-00000000.png").stat().st_mtime_ns == before
    assert not list(folder.glob(".*"))
    with pytest.raises(DataError, match="rendered with another size"):
        list(write_scenes(tmp_path, 3, size=(32, 32), kind="floating"))


def test_two_processes_write_the_same_files(tmp_path: Path) -> None:
    for processes in (1, 2):
        list(write_scenes(tmp_path / str(processes), 3, size=SMALL, kind="subject", processes=processes))
    one, two = (sorted((tmp_path / str(k)).rglob("*.*")) for k in (1, 2))
    assert [path.name for path in one] == [path.name for path in two]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(one, two, strict=True))


def test_the_command_renders_and_refuses_a_wrong_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert render(tmp_path / "out", count=1, seed=2, size="48x64", kind="room", photos=None, processes=1) == 0
    assert "1 scenes" in capsys.readouterr().out
    assert (tmp_path / "out" / "procedural" / "scene-00000002.jpg").is_file()
    with pytest.raises(DataError, match="'big' is not a size"):
        render(tmp_path / "out", count=1, size="big")


@pytest.mark.parametrize("arguments", [{"count": 0}, {"count": 1, "processes": 0}, {"count": 1, "seed": -1}])
def test_wrong_numbers_are_refused(tmp_path: Path, arguments: dict) -> None:
    with pytest.raises(DataError):
        list(write_scenes(tmp_path, **arguments))


def test_the_data_set_satisfies_the_protocol_without_rendering() -> None:
    before = set(sys.modules)
    ProceduralDataset(10)
    assert "embreex" not in set(sys.modules) - before
    with pytest.raises(DataError):
        ProceduralDataset(0)


def test_the_class_list_in_the_docs_is_the_one_in_the_code() -> None:
    page = (Path(__file__).parents[4] / "docs" / "procedural.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ") and line[2].isdigit()]
    cells = [cell.strip() for row in rows for cell in row.strip("|").split("|")]
    listed = {int(cells[k]): cells[k + 1].split(",")[0] for k in range(0, len(cells), 2)}
    assert listed == dict(enumerate(CLASS_NAMES))
