"""Options that several verbs share, each described once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import typer

from dptkit.errors import ConfigError

Inputs = Annotated[
    list[str], typer.Argument(metavar="INPUTS...", help="Pictures, folders, patterns, or - for standard input.")
]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the results.")]
Weights = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Your own weights, in any known layout, for the architecture of --model."),
]
Device = Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:1, mps.")]
Engine = Annotated[
    str, typer.Option(metavar="NAME", help="auto (openvino on a CPU, torch on a GPU), torch, openvino, onnx.")
]
PrecisionOption = Annotated[
    str,
    typer.Option(metavar="TYPE", help="auto (bfloat16 where the CPU computes in it), float32, bfloat16 or float16."),
]
TokenMerge = Annotated[
    float,
    typer.Option(
        "--token-merge",
        metavar="RATIO",
        help="Share of the transformer's tokens merged into others, below 0.9: faster, less exact. 0: none.",
    ),
]
Tta = Annotated[
    str,
    typer.Option(
        metavar="none|flip|ms-flip",
        help="Test-time augmentation: the mean of a picture's result and its mirror image's, or of those at several"
        " --scales. Twice the time per scale.",
    ),
]
Scales = Annotated[
    str | None, typer.Option(metavar="LIST", help="For ms-flip: factors of the network's input size, as 0.857,1,1.143.")
]
Size = Annotated[
    int | None,
    typer.Option(metavar="N", help="Network input height, a multiple of 32. Default: the model's own."),
]
Background = Annotated[
    str, typer.Option(metavar="COLOUR", help="What shows through transparent pictures: #rrggbb, white, black, grey.")
]
BatchSize = Annotated[int, typer.Option(metavar="N", min=1, help="Pictures that run through the network together.")]
Recursive = Annotated[bool, typer.Option("--recursive", "-r", help="Look into subfolders.")]
SkipExisting = Annotated[bool, typer.Option("--skip-existing", help="Leave pictures alone whose results are there.")]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="Stop at the first picture that fails.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object per picture.")]

DEFAULT_OUTPUT = Path("dpt_output")
_COLOURS = {"white": (255, 255, 255), "black": (0, 0, 0), "grey": (128, 128, 128), "gray": (128, 128, 128)}


def parse_colour(text: str) -> tuple[int, int, int]:
    """ "#rrggbb" or a colour's name -> RGB in 0..255. Raises ConfigError."""
    if text.lower() in _COLOURS:
        return _COLOURS[text.lower()]
    match = re.fullmatch(r"#?([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})", text.lower())
    if match is None:
        raise ConfigError(f"{text!r} is not a colour: use #rrggbb, white, black or grey")
    red, green, blue = (int(digits, 16) for digits in match.groups())
    return red, green, blue


def parse_choices(text: str, known: tuple[str, ...], option: str) -> tuple[str, ...]:
    """ "a,b" -> ("a", "b"), each once. Raises ConfigError naming the unknown one."""
    wanted = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        raise ConfigError(f"{option}: {unknown[0] if unknown else text!r} is none of {', '.join(known)}")
    return wanted


def parse_scales(text: str | None, tta: str) -> tuple[float, ...]:
    """ "0.5,1" -> (0.5, 1.0); (1.0,) without --scales. Raises ConfigError, also for ms-flip without any."""
    if text is None:
        if tta == "ms-flip":
            raise ConfigError("--tta ms-flip needs --scales, as 0.857,1,1.143")
        return (1.0,)
    if tta != "ms-flip":
        raise ConfigError("--scales is for --tta ms-flip")
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--scales: {text!r} is no list of numbers, as 0.857,1,1.143") from None


def check_choice(value: str, known: Sequence[str], option: str) -> None:
    """Raises ConfigError naming the nearest known value."""
    if value not in known:
        near = get_close_matches(value, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"{option}: {value!r} is none of {', '.join(known)}{hint}")


def check_share(value: float, option: str) -> None:
    """Raises ConfigError for what is no share to remove."""
    if not 0 <= value < 1:
        raise ConfigError(f"{option}: {value:g} is not a share from 0 to below 1")
