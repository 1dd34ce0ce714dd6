"""Batches, stages, and what a process of its own tells."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dptkit.benchmarking import own_process
from dptkit.benchmarking.bench import Bench, Measured
from dptkit.benchmarking.own_process import OwnProcessError, measure_in_own_process
from dptkit.benchmarking.pictures import MOST_PICTURES, Batch, batches_of, make_picture, pictures_in
from dptkit.benchmarking.stages import STAGES, StagedPrediction, Timing
from dptkit.benchmarking.surroundings import Surroundings
from dptkit.benchmarking.tables import tables_of
from dptkit.errors import ConfigError
from dptkit.image_io import read_depth, read_image
from dptkit.predictor import Predictor, load
from dptkit.presets import PRESETS

CONFIG = replace(PRESETS["dpt-lite"].spec.preprocess, size=(64, 64))
AROUND = Surroundings("A CPU, 2 cores", 2, {"torch": "1"}, {"dptkit": "1"}, 0.1, "now")


def save(path: Path, width: int, height: int) -> Path:
    Image.fromarray(np.full((height, width, 3), 100, np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return load("dpt-lite", engine="torch", device="cpu", precision="float32", size=32)


def test_the_made_picture_is_always_the_same_and_no_easy_one(tmp_path: Path) -> None:
    first, second = make_picture(tmp_path / "a.jpg"), make_picture(tmp_path / "b.jpg")
    assert first.read_bytes() == second.read_bytes()
    assert read_image(first).shape == (480, 640, 3)
    # A blank JPEG of this size has 6 kB, a photo 60 to 200: decoding must be work.
    assert 40_000 < first.stat().st_size < 250_000


def test_a_batch_holds_pictures_of_one_network_size(tmp_path: Path) -> None:
    wide = [save(tmp_path / f"wide{n}.png", 128, 64) for n in range(3)]
    square = save(tmp_path / "square.png", 64, 64)
    batches = batches_of([wide[0], square, *wide[1:]], 2, CONFIG)
    assert [(batch.network_size, batch.paths) for batch in batches] == [
        ((64, 128), (wide[0], wide[1])),
        ((64, 128), (wide[2], wide[0])),
        ((64, 64), (square, square)),
    ]


def test_a_folder_gives_its_first_pictures(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture", "utf-8")
    for number in range(MOST_PICTURES + 2):
        save(tmp_path / f"{number:03}.png", 8, 8)
    assert [path.name for path in pictures_in(tmp_path)] == [f"{n:03}.png" for n in range(MOST_PICTURES)]


def test_a_folder_without_pictures_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no pictures in this folder"):
        pictures_in(tmp_path)
    with pytest.raises(ConfigError, match="no such folder"):
        pictures_in(tmp_path / "missing")


def test_stages_write_what_the_predictor_gives(tmp_path: Path, predictor: Predictor) -> None:
    picture = make_picture(tmp_path / "picture.jpg")
    timing = StagedPrediction(predictor, tmp_path).time(Batch((picture,), (32, 32)))
    wanted = predictor.predict(picture)
    found = read_depth(tmp_path / "0.png")
    # The file holds 16 bits of the values' range.
    step = float(np.ptp(wanted.values)) / 65535
    assert np.abs(found.values - wanted.values).max() <= 0.51 * step
    assert tuple(timing.seconds) == STAGES
    assert timing.whole == pytest.approx(sum(timing.seconds.values()))


def test_a_batch_that_does_not_fit_says_what_to_do(tmp_path: Path, predictor: Predictor) -> None:
    class Full:
        engine = precision = device = "none"

        def predict(self, images: object) -> object:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    picture = save(tmp_path / "a.png", 64, 64)
    full = Predictor(predictor.spec, Full())  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="batch of 2: use a smaller --batch"):
        StagedPrediction(full, tmp_path).time(Batch((picture, picture), (32, 32)))


def test_a_process_of_its_own_tells_of_itself_only(tmp_path: Path) -> None:
    picture = save(tmp_path / "a.png", 64, 64)
    found = measure_in_own_process("dpt-lite", "torch", "cpu", "float32", 32, [picture])
    assert 0 < found.imports_s < found.start_up_s
    assert found.first_prediction_s > 0
    if found.memory_mb is not None and found.import_mb is not None:
        # The weights alone have 22 MB. This process, with its own copy of torch and all tests, has more than 300.
        assert 10 < found.memory_mb < 250
        assert found.import_mb < 1000


def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(OwnProcessError, match="dpt-lrage"):
        measure_in_own_process("dpt-lrage", "openvino", "cpu", "float32", 32, [])


def bench(predictor: Predictor, tmp_path: Path, **milliseconds: list[float]) -> Bench:
    """Settings whose `predict` takes these times, and every other stage one millisecond."""
    settings = {}
    for label, times in milliseconds.items():
        rows = [{stage: 1e-3 * (time if stage == "predict" else 1) for stage in STAGES} for time in times]
        settings[label] = Measured(label, predictor, [Timing(row, 1.5) for row in rows])
    return Bench("dpt-lite", settings, [Batch((tmp_path / "a.png",) * 2, (32, 64))], 32, AROUND, finished=True)


def test_tables_and_json_hold_the_numbers(predictor: Predictor, tmp_path: Path) -> None:
    measured = bench(predictor, tmp_path, ours=[6.0, 6.0, 6.0], other=[12.0, 24.0, 12.0])
    ours, _, ratios = tables_of(measured)
    assert ours.rows[2] == ("predict", "6.00", "6.00", "6.00", "6.00", "60%", "333.3")  # 2 pictures in 6 ms
    assert ours.rows[-1] == ("whole", "10.00", "10.00", "10.00", "10.00", "100%", "200.0")
    assert ratios.rows == (("ours against other", "2.00x (2.00 to 4.00)", "1.60x (1.60 to 2.80)"),)
    written = json.loads(json.dumps(measured.to_json()))
    assert written["comparisons"][0]["predict"]["value"] == pytest.approx(2.0)
    assert written["settings"]["other"]["latency_s"]["predict"]["mean"] == pytest.approx(0.016)
    assert written["settings"]["other"]["samples_s"]["predict"] == pytest.approx([0.012, 0.024, 0.012])
    assert (written["batch"], written["network_sizes"], written["cores"]) == (2, [[32, 64]], 2)


def test_what_was_not_measured_is_left_out(predictor: Predictor, tmp_path: Path) -> None:
    measured = bench(predictor, tmp_path, ours=[], other=[])
    assert tables_of(measured) == []
    assert json.loads(json.dumps(measured.to_json()))["settings"]["ours"]["latency_s"] == {}
    measured = bench(predictor, tmp_path, ours=[6.0])
    measured.settings["ours"].problem = "killed"
    assert "start-up and memory not measured: killed" in tables_of(measured)[0].notes


def test_peak_memory_is_unknown_where_the_system_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_process, "Path", lambda _: Path("/not/there"))
    assert own_process._resident_mb("VmHWM") is None
