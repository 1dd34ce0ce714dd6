"""float32 openvino.Model -> int8 openvino.Model, by NNCF's post-training quantisation. No torch here."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from typing import Any

import numpy as np
import numpy.typing as npt

from dptkit.runtime.nncf_import import import_nncf
from dptkit.runtime.openvino_import import import_openvino

Input = npt.NDArray[np.float32]
OnInput = Callable[[int], None]
"""Called with how many inputs the present pass over them reads."""


def quantize_openvino(
    model: Any, inputs: Sequence[Input], keep: Sequence[str] = (), on_input: OnInput | None = None
) -> Any:
    """Weights and activations of convolutions and matrix products in int8, their ranges from `inputs`.

    model: of `dptkit.runtime.conversion.to_openvino`; it is changed. inputs: normalised float32 [1, 3, h, w], of any
    sizes. keep: modules that stay as they are, by the network's names, as "head.conv2".

    Activations are asymmetric where their range is (preset "mixed"), biases are corrected for the mean error of each
    layer (fast bias correction). Attention between its projections, norms and additions stay high. NNCF's model type
    "transformer", with or without SmoothQuant, doubled the error (docs/quantize.md). The same inputs give the same
    model.
    Raises ConfigError if NNCF is missing, and RuntimeError or its own errors where it cannot take the model.
    """
    nncf = import_nncf()
    fold_constants(model)
    scope = nncf.IgnoredScope(patterns=[rf"__module\.{re.escape(name)}[./].*" for name in keep], validate=False)
    with redirect_stdout(io.StringIO()):  # its bars
        return nncf.quantize(
            model,
            nncf.Dataset(_Counted(inputs, on_input)),
            subset_size=len(inputs),
            preset=nncf.QuantizationPreset.MIXED,
            ignored_scope=scope,
        )


def fold_constants(model: Any) -> None:
    """Weights as one constant each: a folded norm leaves products of constants, which int8 convolutions refuse."""
    import_openvino()
    from openvino.passes import ConstantFolding, Manager

    manager = Manager()
    manager.register_pass(ConstantFolding())
    manager.run_passes(model)


class _Counted:
    """An iterable that says how far each pass over it is; NNCF makes several."""

    def __init__(self, inputs: Sequence[Input], on_input: OnInput | None) -> None:
        self._inputs, self._on_input = inputs, on_input

    def __len__(self) -> int:
        return len(self._inputs)

    def __iter__(self) -> Iterator[Input]:
        for index, one in enumerate(self._inputs):
            if self._on_input is not None:
                self._on_input(index + 1)
            yield one
