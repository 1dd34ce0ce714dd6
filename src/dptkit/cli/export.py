"""`dpt export`: a model as a file that other programs run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from dptkit.cli import options

FORMATS = ("onnx", "openvino", "torch-export")
PRECISIONS: tuple[Literal["float32", "float16", "bfloat16"], ...] = ("float32", "float16", "bfloat16")


def export(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A published model (see dpt models), or a file of ours.")
    ],
    target: Annotated[
        Path, typer.Argument(metavar="OUT", help="OUT.onnx, OUT.xml (OUT.bin comes beside it), OUT.pt2.")
    ],
    format_name: Annotated[
        str | None,
        typer.Option("--format", metavar="NAME", help=f"{', '.join(FORMATS)}. Default: what OUT's ending says."),
    ] = None,
    weights: options.Weights = None,
    precision: Annotated[
        str, typer.Option(metavar="TYPE", help="What is stored: float32, float16, and in a .pt2 bfloat16.")
    ] = "float32",
    dynamic: Annotated[bool, typer.Option("--dynamic", help="For any batch, height and width, as is the default.")] = (
        False
    ),
    size: Annotated[
        str | None,
        typer.Option(metavar="HxW", help="For one picture of this height and width, to which any is stretched."),
    ] = None,
    with_preprocess: Annotated[
        bool, typer.Option("--with-preprocess", help="Take uint8 RGB [B, H, W, 3], resized, and normalise inside.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it is there.")] = False,
) -> int:
    """Write a model for ONNX Runtime, OpenVINO or torch.export, with how to prepare pictures and read its output.

    The file is compared with PyTorch on several shapes first, and not written if it differs. dpt depth --model OUT and
    dptkit.load("OUT") run it. docs/export.md says what is in it.
    """
    from dptkit.errors import ConfigError

    options.check_choice(precision, PRECISIONS, "--precision")
    if format_name is not None:
        options.check_choice(format_name, FORMATS, "--format")
    if dynamic and size is not None:
        raise ConfigError("--dynamic and --size: a graph is for any size or for one; give one of the two")
    sides = _parse_size(size)

    from dptkit.cli.progress import DownloadBar
    from dptkit.runtime.exported import ENGINE_OF_SUFFIX, is_exported
    from dptkit.runtime.exported_files import refuse_existing

    if not is_exported(target):
        raise ConfigError(f"{target}: must end in {', '.join(ENGINE_OF_SUFFIX)}")
    refuse_existing(target, force)
    if is_exported(Path(model)):
        raise ConfigError(f"{model}: is exported already; export from the model that it was made from")

    from dptkit.runtime.export import SUFFIXES, Wanted, export_model
    from dptkit.weights.load import load_model

    meant = {suffix: name for name, suffix in SUFFIXES.items()}[target.suffix]
    chosen = next(name for name in SUFFIXES if name == (format_name or meant))
    wanted = Wanted(chosen, next(name for name in PRECISIONS if name == precision), sides, with_preprocess)
    bar = DownloadBar(model)
    try:
        spec, network, sha256 = load_model(model, weights, bar)
    finally:
        bar.close()
    card = export_model(spec, network, target, wanted, weights_sha256=sha256, force=force)
    graph = card.graph
    shape = "any size" if graph.size is None else f"{graph.size[0]}x{graph.size[1]}"
    typer.echo(
        f"{spec.name} -> {target} ({chosen}, {graph.precision}, {shape}; differs from PyTorch by at most "
        f"{graph.difference:.1e} of the largest value; licence {spec.license})"
    )
    return 0


def _parse_size(text: str | None) -> tuple[int, int] | None:
    from dptkit.errors import ConfigError

    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", text)
    if match is None:
        raise ConfigError(f"--size: {text!r} is not HEIGHTxWIDTH, as in 384x640")
    return int(match[1]), int(match[2])
