"""`dpt quantize`: a model in 8-bit integers, if its accuracy holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dptkit.cli import options

if TYPE_CHECKING:
    from dptkit.evaluation.evaluate import OnPicture
    from dptkit.quantization.gate import Gate


def quantize(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A published model (see dpt models), or a file.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="OUT.xml for OpenVINO, OUT.onnx for ONNX Runtime.")],
    calibrate: Annotated[
        list[Path],
        typer.Option(metavar="DIR", help="Pictures as the model will see, no ground truth needed. Repeatable."),
    ],
    count: Annotated[int, typer.Option(metavar="N", min=1, help="How many of them, evenly spread.")] = 64,
    weights: options.Weights = None,
    gate: Annotated[
        Path | None, typer.Option(metavar="DATA", help="Score before and after on this data set, as dpt eval does.")
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(metavar="NAME", help="The protocol of --gate; see dpt eval --list-protocols.")
    ] = None,
    allow: Annotated[
        float, typer.Option(metavar="POINTS", help="How much of delta1 or mIoU may be lost, in points of 100.")
    ] = 0.7,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which data set --gate is. Default: told by its files.")
    ] = None,
    split: Annotated[str | None, typer.Option(metavar="NAME", help="Of --gate. Default: the protocol's.")] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="Score only the first N pictures.")] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODULE",
            help="Leave this part of the network high, as head.conv2; none quantises all. "
            "Repeatable. Default: what docs/quantize.md found to need it.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it is there.")] = False,
) -> int:
    """Write MODEL with weights and activations in int8, ranges taken from calibration pictures.

    With --gate, a result that loses more than allowed is refused: nothing is written and the command ends with 1.
    Never calibrate on the pictures of the gate. What was done, and the scores, lie in the file.
    """
    from dptkit.errors import ConfigError
    from dptkit.image_io.names import printable

    if (gate is None) != (protocol is None):
        raise ConfigError("--gate and --protocol belong together: the data set, and how it is scored")
    if gate is None and (dataset is not None or split is not None or limit is not None):
        raise ConfigError("--dataset, --split and --limit are for --gate")

    from dptkit.quantization.quantize import KEPT, quantize_model, target_format
    from dptkit.runtime.exported_files import refuse_existing

    target_format(target)
    refuse_existing(target, force)  # before hours of work
    opened = None
    if gate is not None and protocol is not None:
        opened = _open_gate(gate, protocol, allow, dataset, split, limit)
    else:
        typer.echo("dpt: without --gate nobody measures what int8 costs this model", err=True)
    kept = KEPT if keep is None else tuple(name for name in keep if name != "none")
    done = quantize_model(
        model, target, calibrate, weights=weights, count=count, keep=kept, gate=opened, force=force, steps=_Screen()
    )
    scores = ""
    if done.gate is not None:
        scores = f", {done.gate.gate.metric} {done.gate.before:.4f} before, {done.gate.after:.4f} after"
    typer.echo(f"{printable(target)}: {done.spec.name} in int8{scores}; licence {done.spec.license}")
    return 0


def _open_gate(
    data: Path, protocol: str, allow: float, dataset: str | None, split: str | None, limit: int | None
) -> Gate:
    """The data set and protocol, opened just as `dpt eval` opens them."""
    from dptkit.cli.eval_outputs import Outputs
    from dptkit.cli.eval_run import EvaluationRun
    from dptkit.evaluation.protocols import find_protocol
    from dptkit.quantization.gate import Gate

    nothing = Outputs(None, None, None, None, several=False)
    run = EvaluationRun(
        data, dataset, split, {}, find_protocol(protocol), (), limit, nothing, "auto", "auto", "auto", None, 1.0, False
    )
    samples, settled, facts = run.open_data()
    return Gate(samples, settled, facts, allow, limit)


class _Screen:
    """Tells of the steps on standard error: a bar on a terminal, lines elsewhere."""

    def calibrating(self, total: int) -> Callable[[int], None]:
        typer.echo(f"calibrating on {total} picture{'' if total == 1 else 's'}, several times over", err=True)

        def show(done: int) -> None:
            if done == total or 4 * done // total > 4 * (done - 1) // total:
                typer.echo(f"calibrating: {done} of {total}", err=True)

        return show

    def scoring(self, what: str, total: int) -> OnPicture:
        done = 0

        def show(_: object) -> None:
            nonlocal done
            done += 1
            if done == total or 4 * done // total > 4 * (done - 1) // total:
                typer.echo(f"scoring {what}: {done} of {total} pictures", err=True)

        return show

    def problem(self, text: str) -> None:
        typer.echo(f"dpt: left out: {text}", err=True)
