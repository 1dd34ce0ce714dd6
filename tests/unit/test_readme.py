"""The README keeps its word: files of the tree are there, commands parse, numbers are the presets'."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from dptkit.cli.main import app
from dptkit.presets import PRESETS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
COMMANDS = [
    line.split("#")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("dpt ")
]


def test_everything_in_the_tree_is_there() -> None:
    tree = README.split("## Tree")[1].split("```")[1]
    named = re.findall(r"(?<![\w/])([a-z_0-9]+(?:\.py|/))", tree)
    assert len(named) > 25
    homes = (ROOT, ROOT / "src", ROOT / "src/dptkit", ROOT / "tests", *(ROOT / "src/dptkit").glob("*/"))
    missing = [
        name
        for name in named
        if not any((home / name).exists() for home in (*homes, ROOT / "src/dptkit/model/encoders"))
    ]
    assert not [name for name in missing if name not in ("src/",)]


def test_every_module_is_in_the_tree() -> None:
    tree = README.split("## Tree")[1]
    for path in (ROOT / "src/dptkit").iterdir():
        internal = path.name in ("py.typed", "errors.py", "shapes.py", "version.py") or path.name.startswith(
            "__pycache__"
        )
        assert internal or path.name.removesuffix("/") in tree, path.name


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_parse(command: str) -> None:
    """Verb and options exist; nothing runs."""
    _, *arguments = shlex.split(command)
    group = typer.main.get_command(app)
    context = group.make_context("dpt", list(arguments), resilient_parsing=True)
    while hasattr(group, "commands"):
        name, group, arguments = group.resolve_command(context, arguments)
        context = group.make_context(name, list(arguments), resilient_parsing=True)
    group.make_context(name, list(arguments))


def test_the_table_of_models_is_that_of_the_presets() -> None:
    rows = [line for line in README.split("## Models")[1].split("##")[0].splitlines() if line.startswith("|")]
    for name, preset in PRESETS.items():
        (row,) = [row for row in rows if re.search(rf"\b{name}(?![\w-])", row)]
        assert f"{preset.parameters / 1e6:.1f} M" in row, name
        assert preset.spec.license in row


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
