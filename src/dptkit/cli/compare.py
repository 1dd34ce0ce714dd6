"""`dpt compare`: two or more results side by side, and beside what a paper says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dptkit.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dptkit.data.sample import Dataset, OrdinalDataset, OrdinalSample, Sample
    from dptkit.evaluation.protocol import Protocol
    from dptkit.evaluation.result import EvaluationResult
    from dptkit.evaluation.subject import Prediction, StoredPredictions
    from dptkit.evaluation.worth import PredictAgain, Worth


def compare(
    files: Annotated[list[Path], typer.Argument(metavar="A.json B.json...", help="Results that dpt eval wrote.")],
    paper: Annotated[
        str | None, typer.Option(metavar="NAME", help="Also beside the published numbers of this model.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The data set's folder: says what each difference of rules is worth."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which data set it is. Default: as in the results.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="With --data, the first result's model: it predicts again where a rule changes the prediction.",
        ),
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", metavar="OUT", help="Write all of it as JSON.")] = None,
    samples: Annotated[int, typer.Option(metavar="N", min=100, help="Samples of the bootstrap.")] = 10_000,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of the bootstrap.")] = 0,
) -> int:
    """Say how much two results differ, whether that is more than chance, and why they differ if their rules do.

    Each result is compared with the first, over the pictures that all have in common. Where protocols differ, each
    field is explained. With --data, and predictions kept by dpt eval --predictions, the first one's predictions are
    scored again with one field changed at a time, so that it is known what each is worth. --model tells it also of the
    crop, the network's input and test-time augmentation, which take a new run of the model each.
    """
    from dptkit.cli.compare_text import comparison_text, need_text, paper_text, worth_text
    from dptkit.evaluation.compare import compare_results, compare_with_paper, to_json
    from dptkit.evaluation.result import read_result
    from dptkit.image_io.atomic import write_bytes

    if len(files) < 2 and paper is None:
        raise ConfigError("dpt compare needs two results, or one and --paper NAME")
    results = [read_result(path) for path in files]
    against_paper = [compare_with_paper(result, paper) for result in results] if paper is not None else []
    comparison = None
    worths: list[Worth | None] = []
    needs: list[str] = []
    if len(results) > 1:
        comparison = compare_results(results, samples=samples, seed=seed)
        typer.echo(comparison_text(comparison))
        for number in range(1, len(results)):
            worth, need = _worth((results[0], files[0]), results[number], data, dataset, model)
            worths.append(worth)
            needs.append(need)
            if worth is not None:
                typer.echo("\n" + worth_text(worth, number))
            elif need:
                typer.echo("\n" + need_text(need, number))
    for rows in against_paper:
        typer.echo(("\n" if comparison else "") + paper_text(rows))
    if json is not None:
        write_bytes(json, to_json(comparison, worths, needs, against_paper))
    return 0


def _worth(
    left: tuple[EvaluationResult, Path],
    right: EvaluationResult,
    data: Path | None,
    dataset: str | None,
    model: str | None,
) -> tuple[Worth | None, str]:
    """What each difference of rules is worth, or what is needed to tell; neither where the rules are the same."""
    from dptkit.evaluation.worth import told_fields, worth_of_differences

    told, not_told = told_fields(left[0].protocol, right.protocol, again=model is not None)
    if not told:
        return None, "; ".join(f"{name}: {reason}" for name, reason in not_told.items())
    if data is None:
        return None, _without_data(left[0])
    stored = _stored_predictions(*left)
    if isinstance(stored, str):
        return None, stored
    opened = _open(left[0], data, dataset)
    again = None if model is None else _predict_again(model, left[0], opened)
    return worth_of_differences(left[0], right, opened, stored, again), ""


def _predict_again(model: str, result: EvaluationResult, dataset: Dataset | OrdinalDataset) -> PredictAgain:
    """By the rules of any protocol, on the engine of the result. Raises DataError if it is not the result's model."""
    from dptkit.evaluation.one_picture import Setting
    from dptkit.evaluation.open_subject import check_subject, open_subject
    from dptkit.image_io.names import printable

    details = result.subject.details

    def again(protocol: Protocol) -> Callable[[Sample | OrdinalSample], Prediction]:
        subject = open_subject(
            model,
            protocol,
            engine=details.get("engine", "auto"),
            device=details.get("device", "auto"),
            precision=details.get("precision", "float32"),
            token_merge=details.get("token_merge", 0.0),
        )
        if subject.identity.weights_sha256 != result.subject.weights_sha256:
            raise DataError(
                f"{printable(model)}: not the weights that {printable(result.subject.name)} was scored with"
            )
        return Setting(subject, dataset, protocol, None).predict

    check_subject(model, result.protocol)  # what is mistyped is said now; weights are loaded where they are needed
    return again


def _without_data(left: EvaluationResult) -> str:
    if left.predictions is None:
        return f"give --data DIR, and {_keep_predictions(left)}"
    return "give --data DIR, the folder that was scored"


def _keep_predictions(result: EvaluationResult) -> str:
    command = result.command or "dpt eval ..."
    return f"keep the predictions of {result.subject.name} by running again: {command} --predictions DIR"


def _stored_predictions(result: EvaluationResult, file: Path) -> StoredPredictions | str:
    """Those kept with a result, also where both were moved together; or what is needed to have them."""
    from dptkit.evaluation.prediction_folder import PredictionFolder

    if result.predictions is None:
        return _keep_predictions(result)
    kept = Path(result.predictions)
    for folder in (kept, file.parent / kept, file.parent / kept.name):
        if folder.is_dir():
            return PredictionFolder(folder, quantity=None)
    return f"the predictions kept in {result.predictions} are not there; put them back, or {_keep_predictions(result)}"


def _open(result: EvaluationResult, data: Path, dataset: str | None) -> Dataset | OrdinalDataset:
    from dptkit.data.pairs import MissingFilesError
    from dptkit.data.registry import find_dataset, open_dataset, open_ordinal_dataset

    facts = result.dataset
    name = dataset or facts.get("name")
    if not isinstance(name, str):
        raise DataError("the result does not say which data set it is: name it with --dataset")
    try:
        opened = open_ordinal_dataset if find_dataset(name).kind == "ordinal" else open_dataset
        return opened(name, data, str(facts.get("split") or ""), **facts.get("options", {}))
    except MissingFilesError as error:
        return error.dataset  # pictures that were not scored are not needed
