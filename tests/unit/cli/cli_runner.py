"""Run `dpt` inside the test's process: what true processes alone can show is in tests/e2e."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from typer.testing import CliRunner

from dptkit.cli.main import app


@dataclass(frozen=True)
class Ran:
    """How a call ended. `lines`: standard output; `errors`: standard error."""

    code: int
    lines: list[str]
    errors: list[str]

    @property
    def records(self) -> list[dict[str, Any]]:
        """Standard output as one JSON object a line."""
        return [json.loads(line) for line in self.lines]


def dpt(*arguments: str | os.PathLike[str], stdin: bytes = b"") -> Ran:
    """`dpt ARGUMENTS`. An exception that the user would see as a traceback is raised here."""
    result = CliRunner().invoke(app, [os.fspath(argument) for argument in arguments], input=stdin, prog_name="dpt")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ran(result.exit_code, result.stdout.splitlines(), result.stderr.splitlines())


def save_picture(path: Path, size: tuple[int, int] = (40, 30), seed: int = 0, **options: Any) -> Path:
    """A small coloured picture of (width, height); its format follows from the name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(path, **options)
    return path


def files_below(folder: Path) -> set[str]:
    """Every file, hidden ones too, as a path below `folder`."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
