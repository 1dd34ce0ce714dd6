"""A run: what is cropped, what is skipped, what a killed run leaves, and one fit for a video."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up import Guess, Scenes, sample, unreadable

from dptkit.data.kitti import kitti_benchmark_window
from dptkit.errors import ConfigError, DataError
from dptkit.evaluation.evaluate import evaluate
from dptkit.evaluation.prediction_folder import PredictionFolder
from dptkit.evaluation.protocol import DepthProtocol, SegmentationProtocol
from dptkit.evaluation.protocols import find_protocol
from dptkit.evaluation.reading_ahead import AHEAD, read_ahead
from dptkit.evaluation.result import EvaluationResult, ImageResult, read_result, write_result
from dptkit.evaluation.scoring import fit_group, score_picture

PLAIN = DepthProtocol("plain", "", (), "test", "none", ("abs_rel", "rmse"))
VIDEO = replace(PLAIN, name="video", alignment="inverse_least_squares", alignment_scope="video")


def run(subject: Any, dataset: Any, protocol: Any = PLAIN, **more: Any) -> EvaluationResult:
    return evaluate(subject, dataset, protocol, dataset_facts={"name": "scenes", "fingerprint": "f"}, **more)


def test_every_picture_is_scored_in_order_and_everything_is_written_down(tmp_path: Path) -> None:
    seen: list[ImageResult] = []
    result = run(Guess(), Scenes(), on_picture=seen.append, command="dpt eval --data x")
    expected = [score_picture(Guess().predict(sample(k).image), sample(k), PLAIN) for k in range(8)]
    assert list(result.images) == expected == seen
    assert result.summary["abs_rel"].value == pytest.approx(np.mean([one.scores["abs_rel"] for one in expected]))
    assert result.dataset == {"name": "scenes", "fingerprint": "f", "pictures": 8}
    assert (result.subject.weights_sha256, result.protocol, result.command) == ("ab12", PLAIN, "dpt eval --data x")
    assert {"dptkit", "python", "numpy", "torch"} <= set(result.versions)
    assert " core" in result.machine
    assert set(result.seconds) == {"reading", "predicting", "scoring"}
    write_result(tmp_path / "r.json", result)
    assert read_result(tmp_path / "r.json") == result
    assert json.loads((tmp_path / "r.json").read_text())["degenerate_share"] == result.degenerate_share


def test_a_limited_run_says_so() -> None:
    result = run(Guess(), Scenes(), limit=3)
    assert [one.name for one in result.images] == ["all/000", "all/001", "all/002"]
    assert (result.dataset["limit"], result.dataset["pictures_in_split"], result.dataset["pictures"]) == (3, 8, 3)
    assert "limit" not in run(Guess(), Scenes(), limit=8).dataset


def test_the_kitti_crop_is_of_the_picture_only() -> None:
    size = (376, 1242)
    protocol = replace(find_protocol("kitti-garg"), datasets=())
    guess = Guess()
    result = run(guess, Scenes(1, size), protocol)
    assert guess.sizes == [(352, 1216)]
    top, left, height, width = kitti_benchmark_window(size)
    whole = sample(0, size)
    window = whole.image[top : top + height, left : left + width]
    assert (top, left) == (24, 13)
    assert result.images == (score_picture(Guess().predict(window), whole, protocol),)


def test_a_picture_smaller_than_the_crop_is_skipped() -> None:
    result = run(Guess(), Scenes(2, (300, 1242)), find_protocol("kitti-garg"))
    assert [one.state for one in result.images] == ["skipped"] * 2
    assert result.summary["abs_rel"].value is None


def test_bad_pictures_are_skipped_and_in_no_number() -> None:
    scenes = Scenes(broken={1: unreadable("b.png")}, invalid=(4,))
    result = run(Guess(failing={6: DataError("c.npy: no such file")}), scenes)
    states = [one.state for one in result.images]
    assert [k for k, state in enumerate(states) if state == "skipped"] == [1, 4, 6]
    problems = [one.problem for one in result.images]
    assert problems[1] == "b.png: not a picture"
    assert "all/004" in problems[4]
    assert problems[6] == "c.npy: no such file"
    assert result.images[4].name == "all/004"
    kept = [one.scores["rmse"] for one in result.images if one.state != "skipped"]
    assert result.summary["rmse"].value == pytest.approx(np.mean(kept))
    assert result.summary["rmse"].pictures == len(kept) == 5


@pytest.mark.parametrize(
    ("subject", "scenes"),
    [
        (Guess(failing={2: RuntimeError("out of memory")}), Scenes()),
        (Guess(), Scenes(broken={2: RuntimeError("out of memory")})),
    ],
)
def test_other_errors_end_the_run_and_the_journal_keeps_what_was_done(
    subject: Guess, scenes: Scenes, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError, match="out of memory"):
        run(subject, scenes, journal=tmp_path / "j")
    subject.failing, scenes.broken = {}, {}
    subject.calls.clear()
    run(subject, scenes, journal=tmp_path / "j")
    assert subject.calls == [2, 3, 4, 5, 6, 7]
    assert not [one for one in threading.enumerate() if one.name == "dptkit-reader"]


def interrupt_at(number: int) -> Any:
    def hook(current: int) -> None:
        if current == number:
            raise KeyboardInterrupt

    return hook


def test_an_interrupted_run_goes_on_and_gives_the_same_values(tmp_path: Path) -> None:
    journal, kept = tmp_path / "out.partial", tmp_path / "kept"
    with pytest.raises(KeyboardInterrupt):
        run(Guess(hook=interrupt_at(5)), Scenes(), journal=journal, keep_predictions=kept)
    with journal.open("ab") as file:
        file.write(b'{"index":5,"image":{"name":"all/0')  # as a kill leaves it
    guess, seen = Guess(), []
    result = run(guess, Scenes(), journal=journal, keep_predictions=kept, on_picture=seen.append)
    assert guess.calls == [5, 6, 7]
    assert len(seen) == 8
    assert result.images == run(Guess(), Scenes()).images
    assert journal.exists()  # the caller removes it, once the result is written
    assert len(list(kept.rglob("*.npz"))) == 8
    again = run(PredictionFolder(kept, quantity=None), Scenes())
    assert again.images == result.images


def test_a_run_does_not_go_on_with_predictions_that_have_changed(tmp_path: Path) -> None:
    kept, journal = tmp_path / "kept", tmp_path / "j"
    run(Guess(), Scenes(), keep_predictions=kept)
    run(PredictionFolder(kept, quantity=None), Scenes(), journal=journal)
    file = sorted(kept.rglob("*.npz"))[3]
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)  # of the same size
    with pytest.raises(DataError, match=r"subject\.details\.files_sha256 was"):
        run(PredictionFolder(kept, quantity=None), Scenes(), journal=journal)


def test_mended_pictures_are_scored_when_the_run_goes_on(tmp_path: Path) -> None:
    scenes = Scenes(broken={1: unreadable("b.png")})
    with pytest.raises(KeyboardInterrupt):
        run(Guess(hook=interrupt_at(3)), scenes, journal=tmp_path / "j")
    guess = Guess()
    result = run(guess, Scenes(), journal=tmp_path / "j")
    assert guess.calls == [1, 3, 4, 5, 6, 7]
    assert result.images == run(Guess(), Scenes()).images


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"protocol": replace(PLAIN, interpolation="bilinear")}, "protocol.interpolation was bicubic, now bilinear"),
        ({"subject": Guess(details={"device": "cuda"})}, "subject.details.device was null, now cuda"),
        ({"limit": 4}, "dataset.pictures was 8, now 4"),
        ({"facts": {"fingerprint": "g"}}, "dataset.fingerprint was f, now g"),
    ],
)
def test_a_journal_of_another_run_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    facts = {"fingerprint": "f"}
    evaluate(Guess(), Scenes(), PLAIN, dataset_facts=facts, journal=tmp_path / "j")
    with pytest.raises(DataError) as caught:
        evaluate(
            change.get("subject", Guess()),
            Scenes(),
            change.get("protocol", PLAIN),
            dataset_facts=change.get("facts", facts),
            journal=tmp_path / "j",
            limit=change.get("limit"),
        )
    assert said in str(caught.value)
    assert "remove the file" in str(caught.value)


GROUPS = ("a", "b", "a", "b", "a", "a", "b", "c")


def video_by_hand(scenes: Scenes) -> dict[int, ImageResult]:
    """Each group's fit of all its pictures at once, then every picture by it."""
    found = {}
    for group in ("a", "b", "c"):
        members = [k for k, name in enumerate(GROUPS) if name == group]
        pairs = [(Guess().predict(scenes[k].image), scenes[k]) for k in members]
        fit = fit_group(pairs, VIDEO)
        found |= {k: score_picture(*pair, VIDEO, fit) for k, pair in zip(members, pairs, strict=True)}
    return found


def test_a_video_has_one_fit_of_all_its_pictures() -> None:
    guess = Guess()
    result = run(guess, Scenes(groups=GROUPS), VIDEO)
    expected = video_by_hand(Scenes(groups=GROUPS))
    assert list(result.images) == [expected[k] for k in range(8)]
    assert sorted(guess.calls) == list(range(8))  # each picture is predicted once
    fits = {(one.group, tuple(one.fit.items())) for one in result.images}
    assert len(fits) == 3
    assert (
        result.images[0].fit
        != run(Guess(), Scenes(groups=GROUPS), replace(VIDEO, alignment_scope="image")).images[0].fit
    )


def test_a_video_without_a_fit_is_scored_as_its_pictures_are() -> None:
    scenes = Scenes(groups=GROUPS)
    assert run(Guess(), scenes, replace(VIDEO, alignment="none")).images == run(Guess(), scenes).images


def test_a_bad_picture_does_not_cost_its_video() -> None:
    scenes = Scenes(groups=GROUPS, broken={2: unreadable("x.png")}, invalid=(3, 7))
    result = run(Guess(failing={4: DataError("no prediction")}), scenes, VIDEO)
    states = {k: one.state for k, one in enumerate(result.images)}
    assert [k for k, state in states.items() if state == "skipped"] == [2, 3, 4, 7]
    assert "no prediction" in result.images[4].problem
    whole = Scenes(groups=GROUPS)
    fit = fit_group([(Guess().predict(whole[k].image), whole[k]) for k in (0, 5)], VIDEO)
    assert result.images[0] == score_picture(Guess().predict(whole[0].image), whole[0], VIDEO, fit)


def test_a_video_that_was_cut_off_in_the_middle_has_the_same_fit(tmp_path: Path) -> None:
    seen: list[ImageResult] = []

    def stop(image: ImageResult) -> None:
        seen.append(image)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Guess(), Scenes(groups=GROUPS), VIDEO, journal=tmp_path / "j", on_picture=stop)
    guess = Guess()
    result = run(guess, Scenes(groups=GROUPS), VIDEO, journal=tmp_path / "j")
    assert result.images == run(Guess(), Scenes(groups=GROUPS), VIDEO).images
    assert len(guess.calls) == 8  # the fit needs every picture of the group
    guess.calls.clear()
    run(guess, Scenes(groups=GROUPS), VIDEO, journal=tmp_path / "j")
    assert guess.calls == []


def test_stored_predictions_of_a_video(tmp_path: Path) -> None:
    first = run(Guess(), Scenes(groups=GROUPS), VIDEO, keep_predictions=tmp_path)
    again = run(PredictionFolder(tmp_path, quantity=None), Scenes(groups=GROUPS), VIDEO)
    assert again.images == first.images


@pytest.mark.parametrize("protocol", [replace(VIDEO, alignment_scope="image"), VIDEO])
def test_a_stored_prediction_that_cannot_be_scored_is_named_by_its_file(tmp_path: Path, protocol: Any) -> None:
    scenes = Scenes(groups=GROUPS)
    for index in range(len(scenes)):
        sample = scenes[index]
        values = np.ones(sample.target.shape, np.float32) if index != 2 else np.full(sample.target.shape, np.nan)
        file = tmp_path / f"{sample.name}.npy"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, values)
    result = run(PredictionFolder(tmp_path, quantity="inverse_depth"), scenes, protocol)
    (bad,) = [one for one in result.images if one.state == "skipped"]
    assert bad.problem.endswith(f"(predicted in {tmp_path / bad.name}.npy)")
    assert "without a finite value" in bad.problem


def test_labels_take_the_classes_of_the_data_set() -> None:
    protocol = find_protocol("folder-labels")
    assert isinstance(protocol, SegmentationProtocol)
    with pytest.raises(ConfigError, match="does not name them"):
        run(Guess(), Scenes(), protocol)


def test_an_empty_data_set_is_an_error() -> None:
    with pytest.raises(DataError, match="no pictures"):
        run(Guess(), Scenes(0))


def test_reading_goes_on_while_the_picture_before_is_predicted() -> None:
    scenes = Scenes()
    ahead: list[int] = []

    def hook(number: int) -> None:
        time.sleep(0.05)
        ahead.append(len(scenes.read) - (number + 1))

    run(Guess(hook=hook), scenes)
    assert scenes.threads == {"dptkit-reader"}
    assert max(ahead) >= 1
    # Those that wait, and one that is read and finds no place.
    assert max(ahead) <= AHEAD + 1
    assert not [one for one in threading.enumerate() if one.name == "dptkit-reader"]


def test_the_reader_stops_when_nobody_reads_on() -> None:
    scenes = Scenes(count=1000)
    reads = read_ahead(scenes, range(1000))
    assert next(reads).index == 0
    reads.close()  # type: ignore[attr-defined]
    assert len(scenes.read) <= AHEAD + 2
    assert not [one for one in threading.enumerate() if one.name == "dptkit-reader"]
