"""A .pt2 of torch.export, opened only if nothing in it can run code."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dptkit.errors import WeightsError
from dptkit.runtime.backend import Precision, first_line, is_about_memory, require_finite
from dptkit.runtime.card import GRAPH_KEY, SPEC_KEY, Card, read_texts
from dptkit.runtime.torch_backend import find_device

_OPERATORS = re.compile(
    r"torch\.ops\.aten\.[A-Za-z0-9_.]+"
    r"|_operator\.(add|sub|mul|floordiv|mod|neg|pow|getitem|eq|ne|lt|le|gt|ge)"
    r"|torch\.sym_(int|float|not|max|min|ite)"
)
"""What a graph of ours may call. torch looks other names up in its own modules, and torch.hub.load is one of them."""

_FORMULA = re.compile(r"[\w+\-*/%(), <>=!\[\]]*", re.ASCII)
_CALL = re.compile(r"(\w+)\s*\(", re.ASCII)
_FUNCTIONS = {
    "Integer",
    "Rational",
    "Symbol",
    "Add",
    "Mul",
    "Pow",
    "Mod",
    "PythonMod",
    "FloorDiv",
    "CleanDiv",
    "CeilDiv",
    "CeilToInt",
    "FloorToInt",
    "Max",
    "Min",
    "Equality",
    "Unequality",
    "Eq",
    "Ne",
    "StrictLessThan",
    "LessThan",
    "StrictGreaterThan",
    "GreaterThan",
    "And",
    "Or",
    "Not",
    "PowByNatural",
    "IntTrueDiv",
    "TruncToInt",
    "ModularIndexing",
    "Where",
    "ToFloat",
    "Identity",
    "max",
    "min",
    "and",
    "or",
    "not",
}
"""Sizes are formulas, which torch evaluates as Python, and so are a program's checks of its input: numbers and names
of these functions and no other, and no attributes but `.size()`."""


class ProgramBackend:
    """Runs an exported program in torch."""

    engine = "torch"

    def __init__(self, program: Any, device: torch.device, precision: Precision) -> None:
        """`program`: torch.export.ExportedProgram."""
        self._module = program.module().to(device)
        self._device = device
        self.device = str(device)
        self.precision = precision

    def compute(self, inputs: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """What the graph takes -> raw output float32 [B, K, h, w]."""
        try:
            with torch.inference_mode():
                raw = self._module(torch.from_numpy(np.ascontiguousarray(inputs)).to(self._device)).cpu().numpy()
        except RuntimeError as error:
            if is_about_memory(error):
                raise MemoryError(first_line(error)) from error
            raise
        except AssertionError as error:  # the program's own checks of its input's size
            raise ValueError(f"image size {tuple(inputs.shape)}: the graph refuses it ({first_line(error)})") from None
        return require_finite(raw, self.precision, self.device)


def open_program(path: Path, device: str) -> tuple[Card, ProgramBackend]:
    """Raises WeightsError for a file that is broken, foreign, or holds anything that could run code."""
    found = find_device(device)
    card = read_texts(_check(path), str(path))
    if card.graph.precision == "int8":
        raise WeightsError(f"{path}: int8 in a .pt2 is not known here")
    try:
        program = torch.export.load(path)
    except Exception as error:  # damage shows as almost any type of error
        raise WeightsError(f"{path}: not a readable .pt2 ({first_line(error)})") from None
    return card, ProgramBackend(program, found, card.graph.precision)


def _check(path: Path) -> dict[str, str]:
    """The card's texts. Raises WeightsError for what is not a whole .pt2 or is not only graph and numbers."""
    refused = f"{path}: refused, since reading it could run code that it brings along"
    try:
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise WeightsError(f"{path}: damaged ({damaged})")
            texts = {}
            for name in archive.namelist():
                inner = name.split("/", 1)[-1]
                if inner in (f"extra/{SPEC_KEY}", f"extra/{GRAPH_KEY}"):
                    texts[inner.removeprefix("extra/")] = archive.read(name).decode()
                if "aotinductor" in inner or "custom_obj" in inner or inner.endswith((".so", ".pyd", ".dll")):
                    raise WeightsError(f"{refused} ({inner})")
                if inner.endswith(".json"):
                    fault = _fault(json.loads(archive.read(name)))
                    if fault is not None:
                        raise WeightsError(f"{refused} ({fault})")
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, RecursionError) as error:
        raise WeightsError(f"{path}: not a readable .pt2 ({first_line(error)})") from None
    return texts


def _fault(value: Any) -> str | None:
    """What in a part of the file goes beyond graph and numbers; None if nothing does."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            pending.extend(item)
        elif isinstance(item, dict):
            target, expression = item.get("target"), item.get("expr_str")
            if item.get("use_pickle"):
                return "pickled tensors"
            if isinstance(target, str) and "inputs" in item and not _OPERATORS.fullmatch(target):
                return f"calls {target[:60]}"
            for formula in (*([] if expression is None else [expression]), *(item.get("guards_code") or [])):
                if not _is_formula(formula):
                    return f"a size's formula that is none: {str(formula)[:60]}"
            pending.extend(item.values())
    return None


def _is_formula(text: Any) -> bool:
    if not isinstance(text, str) or "__" in text:
        return False
    bare = re.sub(r"'\w+'", "name", text.replace(".size()", ""), flags=re.ASCII)
    calls = [word for word in _CALL.findall(bare) if not word.isdigit()]
    return bool(_FORMULA.fullmatch(bare)) and _FUNCTIONS.issuperset(calls) and not re.search(r"[)\]]\s*\(", bare)
