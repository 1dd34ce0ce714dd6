"""Where `dpt eval` writes what was asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from dptkit.errors import ConfigError
from dptkit.evaluation.open_subject import predicts
from dptkit.image_io.names import printable


@dataclass(frozen=True)
class Outputs:
    """Files that were asked for. several: whether each model has its own, named after it."""

    json: Path | None
    csv: Path | None
    report: Path | None
    predictions: Path | None
    several: bool

    def of_model(self, path: Path | None, model: str) -> Path | None:
        """OUT.json -> OUT-MODEL.json where there are several models."""
        if path is None or not self.several:
            return path
        return path.with_name(f"{path.stem}-{file_name(model)}{path.suffix}")

    @property
    def page(self) -> Path | None:
        """The report: a file of that ending as it is, DIR/report.html for any other path."""
        if self.report is None or self.report.suffix.lower() in (".html", ".htm"):
            return self.report
        return self.report / "report.html"

    def journal(self, model: str) -> Path | None:
        """Beside the JSON file, else beside the CSV file, else nowhere."""
        path = self.of_model(self.json or self.csv, model)
        return None if path is None else path.with_name(path.name + ".partial")

    def predictions_of(self, model: str) -> Path | None:
        """DIR, or DIR/MODEL."""
        return self.predictions and (self.predictions / file_name(model) if self.several else self.predictions)

    def check(self, models: tuple[str, ...]) -> None:
        """Before hours of work: raises ConfigError for places that cannot be, or would be written over or twice."""
        for path in (self.json, self.csv):
            if path is not None and path.is_dir():
                raise ConfigError(f"{printable(path)} is a folder: name a file in it")
        if self.json is not None and self.json == self.csv:
            raise ConfigError(f"--json and --csv are both {printable(self.json)}")
        for option, folder in (("--report", self.page and self.page.parent), ("--predictions", self.predictions)):
            if folder and folder.is_file():
                raise ConfigError(f"{option}: {printable(folder)} is a file: name a folder")
        names: dict[str, str] = {}
        for model in models:
            if file_name(model) in names:
                other = names[file_name(model)]
                raise ConfigError(f"--model: {printable(other)} and {printable(model)} would be written under one name")
            names[file_name(model)] = model
            kept = None if predicts(model) or model in ("ramp", "constant") else self.predictions_of(model)
            if kept and kept.resolve() == Path(model).resolve():
                raise ConfigError(f"--predictions: {printable(kept)} are the model's own: name another folder")


def file_name(model: str) -> str:
    """A model as part of a file's name: the last part of a path, without what file systems dislike."""
    path = Path(model)
    name = path.stem if path.is_file() else path.name
    return re.sub(r"[^\w.+-]+", "_", printable(name)) or "model"
