"""A run's folder: what it was made of, its log, its results. Enough to repeat it."""

from __future__ import annotations

import csv
import errno
import json
import os
import platform
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dptkit.data.fingerprint import describe_dataset
from dptkit.data.sample import Dataset
from dptkit.errors import OutputWriteError, TrainingError
from dptkit.image_io.atomic import write_bytes
from dptkit.training.config import TrainConfig, parse_config, to_plain
from dptkit.version import __version__

_PACKAGES = ("torch", "numpy", "opencv-python-headless", "pillow", "lightning-fabric", "numba", "embreex")
LOG = "log.csv"
VALIDATION_LOG = "validation.csv"
MAY_CHANGE = ("workers", "checkpoint_every", "keep_checkpoints", "log_every", "panels_every", "tensorboard")
"""Keys of a configuration that may be other when a run goes on: they do not change what is learned."""


@dataclass(frozen=True)
class RunFolder:
    """`run.json` (configuration, versions, data), logs, `checkpoints/`, `best.` and `model.safetensors`."""

    path: Path
    accept_changed_data: bool = False

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def metric_start(self) -> Path:
        """Scale and shift that a metric run began with."""
        return self.path / "metric_start.json"

    def open(self, config: TrainConfig, datasets: Mapping[str, Dataset]) -> None:
        """Begin the run, or find it begun already. datasets: by their keys in the configuration.

        Where data that have changed since are accepted, the record says what they were before.
        Raises TrainingError if the folder holds a run of another configuration, or of data that have changed since, or
        files that are not of this run and would be lost.
        """
        data = {key: describe_dataset(dataset) for key, dataset in datasets.items()}
        if self.check_same(config):
            self._take_data(data)
            return
        content = {
            "config": to_plain(config),
            "working_folder": str(Path.cwd()),
            "versions": {"dptkit": __version__, "python": platform.python_version(), **_versions()},
            "machine": platform.platform(),
            "data": data,
        }
        write_bytes(self.record, json.dumps(content, indent=2).encode())

    def _take_data(self, data: Mapping[str, Mapping[str, Any]]) -> None:
        """What comes at a step depends on the number and order of samples, so that other data are another run."""
        content = json.loads(self.record.read_text("utf-8"))
        begun = content["data"]
        if isinstance(begun, list):  # older runs noted the sources alone
            begun = {f"sources.{number}": facts for number, facts in enumerate(begun)}
        changed = [key for key, facts in data.items() if key in begun and begun[key] != facts]
        if not changed:
            return
        if not self.accept_changed_data:
            key = changed[0]
            raise TrainingError(
                f"{self.path}: {key} has changed since the run began: {begun[key]['samples']} samples then, "
                f"{data[key]['samples']} now, or files of another name or size; put it back, begin another run, or "
                "go on all the same with --accept-changed-data"
            )
        content |= {"data": {**begun, **data}, "data_before": [*content.get("data_before", []), begun]}
        write_bytes(self.record, json.dumps(content, indent=2).encode())

    @property
    def record(self) -> Path:
        """What the run is: `dpt train` takes it as a configuration, and does the same again."""
        return self.path / "run.json"

    @property
    def best(self) -> Path:
        return self.path / "best.safetensors"

    @property
    def model(self) -> Path:
        """The trained model."""
        return self.path / "model.safetensors"

    def best_validation(self) -> tuple[int, float] | None:
        """Step and validation loss of the model in `best.safetensors`; None without one."""
        log = self.path / VALIDATION_LOG
        if not (self.best.is_file() and log.is_file()):
            return None
        with log.open(newline="", encoding="utf-8") as file:
            rows = [(int(row["step"]), float(row["validation"])) for row in csv.DictReader(file)]
        return min(rows, key=lambda row: row[1], default=None)

    def begun_with(self) -> TrainConfig | None:
        """The configuration of the run that the folder holds; None if it holds none."""
        if not self.record.is_file():
            return None
        try:
            content = json.loads(self.record.read_text("utf-8"))["config"]
        except (OSError, ValueError, KeyError, TypeError):
            raise TrainingError(
                f"{self.record}: broken, so that nobody knows of which run; name another folder"
            ) from None
        return parse_config(content, str(self.record))

    def check_same(self, config: TrainConfig) -> bool:
        """Whether the run was begun before. Raises TrainingError if with another configuration, or an unknown one."""
        begun = self.begun_with()
        if begun is None:
            self._check_unused()
            return False
        before = to_plain(begun)
        changed = [key for key, value in to_plain(config).items() if before[key] != value and key not in MAY_CHANGE]
        if changed:
            raise TrainingError(
                f"{self.path}: holds a run of another configuration: {', '.join(changed)} differ; name another"
            )
        return True

    def _check_unused(self) -> None:
        for path in (self.model, self.best, self.path / LOG, self.path / VALIDATION_LOG, self.checkpoints):
            if path.exists():
                raise TrainingError(
                    f"{self.path}: has {path.name}, but no run.json that says of which run; name another folder"
                )

    def lock(self) -> int | None:
        """Keep other processes from training here until the returned descriptor is closed, or this process ends.

        `.lock` says who it is. None where the system has no such locks. Raises TrainingError if another has it.
        """
        if sys.platform == "win32":
            return None
        import fcntl

        path = self.path / ".lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:
            return None
        try:
            # Unlike flock's, this lock is not inherited by loader workers, which may outlive a killed process.
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()} on {platform.node()}\n".encode())
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                os.close(descriptor)
                who = path.read_text("utf-8", "replace").strip()
                raise TrainingError(f"{self.path}: process {who} is training there; end it, or name another") from None
        return descriptor

    def remove_half_files(self) -> None:
        """What a killed process was writing: as large as a checkpoint, and of no use. Only for who has the lock."""
        for pattern in (".*-*.part", "checkpoints/.*-*.part", "panels/.*-*.part"):
            for path in self.path.glob(pattern):
                with suppress(OSError):
                    path.unlink()

    def keep_logs_up_to(self, step: int) -> None:
        """Forget what was logged after the checkpoint that the run goes on from."""
        for log in (self.path / LOG, self.path / VALIDATION_LOG):
            if log.is_file():
                header, *rows = log.read_text("utf-8").splitlines() or [""]
                whole = (row.split(",") for row in rows if row.count(",") == header.count(","))
                kept = [",".join(row) for row in whole if row[0].isdigit() and int(row[0]) <= step]
                if kept:
                    write_bytes(log, ("\n".join([header, *kept]) + "\n").encode())
                else:
                    log.unlink()

    def log(self, step: int, values: Mapping[str, float], name: str = LOG) -> None:
        """Append a row to a log, whole or not at all. The first row's columns stay; a value without one is left out.

        Raises OutputWriteError, as where the disk is full.
        """
        log = self.path / name
        fresh = not log.is_file()
        columns = ["step", *values] if fresh else next(csv.reader([log.read_text("utf-8").split("\n", 1)[0]]))
        size = 0 if fresh else log.stat().st_size
        try:
            with log.open("a", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                if fresh:
                    writer.writerow(columns)
                row: dict[str, Any] = {"step": step, **{name: f"{value:.6g}" for name, value in values.items()}}
                writer.writerow([row.get(column, "") for column in columns])
        except OSError as error:
            with suppress(OSError):
                os.truncate(log, size)
            if fresh:
                log.unlink(missing_ok=True)  # its first row would be without columns
            raise OutputWriteError(f"cannot write {log}: {error.strerror or error}") from error


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
