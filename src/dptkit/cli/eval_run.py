"""The run of `dpt eval`: open the data set, score each model, write what was asked for, print the table."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dptkit.cli.eval_outputs import Outputs
from dptkit.cli.eval_screen import EvaluationScreen, print_table
from dptkit.data.detect import detect_dataset
from dptkit.data.fingerprint import dataset_fingerprint
from dptkit.data.official import departure
from dptkit.data.pairs import MissingFilesError
from dptkit.data.registry import Option, find_dataset, open_dataset, open_ordinal_dataset, splits_of
from dptkit.errors import ConfigError, DataError
from dptkit.evaluation.changes import change_protocol
from dptkit.evaluation.eligibility import check_dataset, check_reader
from dptkit.evaluation.evaluate import evaluate, with_dataset_classes
from dptkit.evaluation.open_subject import check_subject, open_subject, predicts
from dptkit.evaluation.protocol import Protocol
from dptkit.evaluation.result import EvaluationResult, write_result
from dptkit.evaluation.subject import Subject
from dptkit.evaluation.tables import class_table, result_table, write_image_csv
from dptkit.image_io.names import printable
from dptkit.runtime.choice import choose

if TYPE_CHECKING:
    from dptkit.data.sample import Dataset, OrdinalDataset

INTERRUPTED = 130
_OWN_FOLDERS = ("folder", "labels", "pairs")


@dataclass(frozen=True)
class EvaluationRun:
    """One call of the verb, options checked as far as they can be without opening anything."""

    data: Path
    dataset: str | None
    split: str | None
    data_options: Mapping[str, Option]
    protocol: Protocol
    models: tuple[str, ...]
    limit: int | None
    outputs: Outputs
    engine: Any
    device: str
    precision: Any
    quantity: Any
    scale: float
    allow_skipped: bool
    tta: str | None = None
    token_merge: float = 0.0
    suffix: str | None = None

    def start(self) -> int:
        """Returns the exit code: 0; 1 where pictures were skipped or none was scored; 130 after Ctrl-C."""
        self.outputs.check(self.models)
        if self.tta is not None:
            self._check_predicting("--tta", "has one prediction a picture")
        if self.token_merge:
            self._check_predicting("--token-merge", "has no tokens")
        for model in self.models:
            # What is mistyped is said now, not after the data set was opened and the models before it are done.
            check_subject(model, self.protocol, quantity=self.quantity, scale=self.scale, suffix=self.suffix)
        if self.device != "auto" or any(map(predicts, self.models)):
            self._check_device()
        if not self.data.is_dir():
            raise DataError(f"--data: {printable(self.data)} is not a folder")
        dataset, protocol, facts = self.open_data()
        total = min(self.limit or len(dataset), len(dataset))
        results: list[EvaluationResult] = []
        for model in self.models:
            with EvaluationScreen(model, total) as screen:
                try:
                    results.append(self._score(model, dataset, protocol, facts, screen))
                except KeyboardInterrupt:
                    self._interrupted(model, screen.done, total)
                    return INTERRUPTED
        self._finish(results, dataset)
        skipped = sum(image.state == "skipped" for result in results for image in result.images)
        empty = [r for r in results if all(image.state == "skipped" for image in r.images)]
        if empty:
            typer.echo(f"dpt: no picture could be scored for {printable(empty[0].subject.name)}", err=True)
        elif skipped and not self.allow_skipped:
            typer.echo("dpt: pictures were skipped, so the result is not the protocol's (--allow-skipped)", err=True)
        return 1 if empty or (skipped and not self.allow_skipped) else 0

    def open_data(self) -> tuple[Dataset | OrdinalDataset, Protocol, dict[str, Any]]:
        """The data set, the protocol with the split that is read, and what the result says of the data set."""
        name = self.dataset or self._detect()
        protocol = self.protocol
        if name != "shards":  # of any data set; they say of which when they are open
            check_dataset(find_dataset(name).name, protocol)
            check_reader(name, protocol)
        given: dict[str, Option] = {**getattr(protocol, "dataset_options", {}), **self.data_options}
        split = self._split(name)
        opened = open_ordinal_dataset if find_dataset(name).kind == "ordinal" else open_dataset
        dataset: Dataset | OrdinalDataset
        try:
            dataset = opened(name, self.data, split, **given)
        except MissingFilesError as error:
            if not self.allow_skipped:
                raise DataError(f"{error} (--allow-skipped scores the other pictures)") from None
            dataset = error.dataset
        if name == "shards":
            check_dataset(dataset.name, protocol)
        if split != protocol.split:
            # What is made for any data set has no split of its own.
            named = change_protocol(protocol, [f"split={split}"]) if protocol.datasets else protocol
            protocol = replace(named, split=split)
        protocol = with_dataset_classes(protocol, dataset)
        warning = self._departure(name, split, dataset)
        if warning is not None:
            typer.echo(f"dpt: warning: {warning}", err=True)
        called = dataset.name if name == "shards" else name
        facts: dict[str, Any] = {"name": called, "folder": printable(self.data.resolve().name), "split": split}
        if given:
            facts["options"] = dict(given)
        if warning:
            facts["warning"] = warning
        return dataset, protocol, facts | {"fingerprint": dataset_fingerprint(dataset)}

    def _departure(self, name: str, split: str, dataset: Dataset | OrdinalDataset) -> str | None:
        """How the split differs from the official one. Raises DataError where nobody asked for that."""
        protocol = self.protocol
        pictures = getattr(protocol, "pictures", None) if split == protocol.split else None
        if pictures is None and getattr(protocol, "dataset_options", {}):
            return None  # a part of it, of no known size
        found = departure(find_dataset(name), split, dataset, pictures)
        # Without models nothing is published: `dpt quantize` compares a model with itself.
        if found and self.models and not self.data_options and not self.allow_skipped:
            raise DataError(f"{found} (--allow-skipped scores what is there)")
        return found

    def _check_device(self) -> None:
        """Raises ConfigError for what is not on this machine."""
        chosen = choose(self.engine, self.device, self.precision)
        if chosen.engine == "torch":
            from dptkit.runtime.torch_backend import find_device

            find_device(chosen.device)

    def _check_predicting(self, option: str, reason: str) -> None:
        """Raises ConfigError where a model is none of ours, which `option` needs."""
        for model in self.models:
            if not predicts(model):
                raise ConfigError(f"{option} is for models that predict: {printable(model)} {reason}")

    def _detect(self) -> str:
        """What the files tell; of your own kind of folder the protocol's data set, which may be laid out so.

        Where they tell nothing, the only data set of the protocol: its reader says what the folder lacks.
        """
        made_for = self.protocol.datasets
        try:
            name = detect_dataset(self.data)
        except DataError:
            if len(made_for) != 1:
                raise
            return made_for[0]
        return made_for[0] if len(made_for) == 1 and name in _OWN_FOLDERS else name

    def _split(self, name: str) -> str:
        if self.split is not None or self.protocol.datasets:
            return self.protocol.split if self.split is None else self.split
        there = splits_of(name, self.data)
        divided = [self.data / mark for mark in ("manifest.csv", self.protocol.split)]
        if name == "folder" and not any(mark.exists() for mark in divided):
            return "all"  # nobody divided it: what would be held out from training is not what was asked for
        if self.protocol.split in there or not there:
            return self.protocol.split
        if len(there) == 1:
            return there[0]
        raise ConfigError(f"{name} has no split {self.protocol.split!r}: name one of {', '.join(there)} with --split")

    def _score(
        self,
        model: str,
        dataset: Dataset | OrdinalDataset,
        protocol: Protocol,
        facts: dict[str, Any],
        screen: EvaluationScreen,
    ) -> EvaluationResult:
        result = evaluate(
            self._subject(model, protocol),
            dataset,
            protocol,
            dataset_facts=facts,
            journal=self.outputs.journal(model),
            keep_predictions=self.outputs.predictions_of(model),
            limit=self.limit,
            on_picture=screen.picture,
            command=shlex.join(["dpt", *sys.argv[1:]]),
        )
        if (path := self.outputs.of_model(self.outputs.json, model)) is not None:
            write_result(path, result)
        if (path := self.outputs.of_model(self.outputs.csv, model)) is not None:
            write_image_csv(path, result)
        return result

    def _finish(self, results: list[EvaluationResult], dataset: Dataset | OrdinalDataset) -> None:
        print_table(result_table(results))
        classes = class_table(results[0]) if len(results) == 1 else None
        if classes is not None:
            typer.echo()
            print_table(classes)
        if (page := self.outputs.page) is not None:
            from dptkit.cli.eval_report import write_run_report

            write_run_report(page, results, dataset, lambda k: self._subject(self.models[k], results[k].protocol))
        # Only now: until all models are done, the same command takes the first ones from their journals.
        for model in self.models:
            if (journal := self.outputs.journal(model)) is not None:
                journal.unlink(missing_ok=True)

    def _subject(self, model: str, protocol: Protocol) -> Subject:
        return open_subject(
            model,
            protocol,
            engine=self.engine,
            device=self.device,
            precision=self.precision,
            token_merge=self.token_merge,
            quantity=self.quantity,
            scale=self.scale,
            suffix=self.suffix,
        )

    def _interrupted(self, model: str, done: int, total: int) -> None:
        journal = self.outputs.journal(model)
        if journal is None:
            hint = "with --json OUT or --csv OUT the same command would go on where it stopped"
        elif not journal.exists():  # stopped while the model was being loaded
            hint = "nothing was noted yet: the same command starts again"
        else:
            hint = f"the same command goes on from there, by {printable(journal)}"
        typer.echo(f"dpt: interrupted after {done} of {total} pictures of {model}; {hint}", err=True)
