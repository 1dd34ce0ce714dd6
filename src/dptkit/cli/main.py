"""The `dpt` command: verbs, exit codes, and one line for every mistake.

Exit codes: 0 all done · 1 something failed · 2 wrong usage, unknown model or option value · 130 Ctrl-C.
"""

from __future__ import annotations

import functools
import io
import os
import sys
from collections.abc import Callable
from typing import Any

import typer

from dptkit.cli.ablate import ablate
from dptkit.cli.bench import bench
from dptkit.cli.compare import compare
from dptkit.cli.convert import convert
from dptkit.cli.data_check import check
from dptkit.cli.data_label import label
from dptkit.cli.data_render import render
from dptkit.cli.data_shard import shard
from dptkit.cli.depth import depth
from dptkit.cli.eval import evaluate
from dptkit.cli.export import export
from dptkit.cli.models import models
from dptkit.cli.prune import prune
from dptkit.cli.pull import pull
from dptkit.cli.quantize import quantize
from dptkit.cli.segment import segment
from dptkit.cli.train import train
from dptkit.errors import ConfigError, DptkitError, UnknownModelError
from dptkit.version import __version__

INTERRUPTED = 130


def _with_exit_code(verb: Callable[..., int]) -> Callable[..., None]:
    """The verb as a command that ends with its exit code, or with one line for an error that a user can act on."""

    @functools.wraps(verb)
    def command(*args: Any, **options: Any) -> None:
        try:
            code = verb(*args, **options)
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except DptkitError as error:
            typer.echo(f"dpt: {error}", err=True)
            code = 2 if isinstance(error, (UnknownModelError, ConfigError)) else 1
        except KeyboardInterrupt:
            typer.echo("dpt: interrupted", err=True)
            code = INTERRUPTED
        except OSError as error:
            typer.echo(f"dpt: {error.strerror or error}", err=True)
            _silence_stdout()
            code = 1
        except (MemoryError, RuntimeError) as error:  # as when a model does not fit on a GPU
            from dptkit.runtime.backend import first_line, is_about_memory

            if not is_about_memory(error):
                raise
            typer.echo(f"dpt: not enough memory ({first_line(error)})", err=True)
            code = 1
        raise typer.Exit(code)

    return command


app = typer.Typer(
    name="dpt",
    help="Depth and semantic segmentation from one image, with dense prediction transformers (DPT).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _verb in (depth, segment, models, pull, convert, export, quantize, prune, train, ablate, compare, bench):
    app.command()(_with_exit_code(_verb))
app.command("eval")(_with_exit_code(evaluate))
_data = typer.Typer(name="data", help="Pictures with ground truth: check, shard, render, label.", no_args_is_help=True)
for _data_verb in (check, shard, render, label):
    _data.command()(_with_exit_code(_data_verb))
app.add_typer(_data)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dpt {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", callback=_print_version, is_eager=True
    ),
) -> None:
    """Depth and semantic segmentation from one image, with dense prediction transformers (DPT)."""


def main() -> None:
    """Run the command line; ends by SystemExit with the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file's name that the terminal's encoding lacks must not end the run.
            stream.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="dpt")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        _silence_stdout()
        sys.exit(1)


def _silence_stdout() -> None:
    """Nobody takes our output any more, as in `dpt models | head`; Python must not complain of it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
