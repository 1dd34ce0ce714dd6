"""What an exported file says about itself: its model's specification, and what its graph takes and gives.

Two JSON texts, so that a reader in any language needs no more than the file. `dptkit` is the specification, the same
text as in our weight files; `dptkit_graph` is `GraphCard` without it. No torch here.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, TypeAdapter, ValidationError

from dptkit.config import ModelSpec, from_json, to_json
from dptkit.errors import WeightsError
from dptkit.version import __version__

SPEC_KEY, GRAPH_KEY = "dptkit", "dptkit_graph"
"""Names of the two texts: in an ONNX file's metadata_props, an IR's rt_info, a .pt2's extra files."""

IMAGE, PIXELS, OUTPUT = "image", "pixels", "raw"
"""Names of the graph's input, by what it takes, and of its output."""

StoredPrecision = Literal["float32", "float16", "bfloat16", "int8"]
_Positive = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class GraphCard:
    """What a graph takes and gives.

    input: "image", normalised float32 [B, 3, H, W]; or "pixels", uint8 RGB [B, H, W, 3], normalised in the graph.
    size: (height, width) of a graph for one picture [1, ...] of that size; None where batch, height and width are
    free, the latter two multiples of `stride` and at least `smallest`.
    output: "raw", float32 [B, K, H, W], which `spec.decoding` makes a result of.
    precision: what the weights are stored in; "int8": quantised, with what computes in float beside it.
    weights_sha256: of the weight file that it was made from. difference: the largest from PyTorch in float32 that was
    seen when it was checked, as a share of the output's largest value; None if it was not measured so.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
    precision: StoredPrecision
    stride: _Positive
    input: Literal["image", "pixels"] = "image"
    size: tuple[int, int] | None = None
    smallest: tuple[int, int] | None = None
    weights_sha256: str | None = None
    difference: float | None = None
    opset: int | None = None
    dptkit_version: str = __version__
    format: Literal[1] = 1


@dataclass(frozen=True)
class Card:
    """All that an exported file says about itself."""

    spec: ModelSpec
    graph: GraphCard
    notes: dict[str, str] = field(default_factory=dict)
    """More for people, such as what a quantised file was calibrated on: text by a short name."""

    def to_texts(self) -> dict[str, str]:
        """The JSON texts by their keys."""
        graph = {**asdict(self.graph), "notes": self.notes}
        return {SPEC_KEY: to_json(self.spec), GRAPH_KEY: json.dumps(graph, ensure_ascii=False, separators=(",", ":"))}


def read_texts(texts: dict[str, str], where: str) -> Card:
    """The card of a file's texts. Raises WeightsError naming the file `where` and what is missing or wrong."""
    missing = [key for key in (SPEC_KEY, GRAPH_KEY) if key not in texts]
    if missing:
        raise WeightsError(f"{where}: not written by dpt export: it does not say what it is (no {missing[0]} in it)")
    spec = from_json(texts[SPEC_KEY], where)
    try:
        content = json.loads(texts[GRAPH_KEY])
        notes = TypeAdapter(dict[str, str]).validate_python(content.pop("notes", {}))
        graph = TypeAdapter(GraphCard).validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or GRAPH_KEY
        raise WeightsError(f"{where}: {GRAPH_KEY}: {key}: {first['msg']}; a newer dptkit may have written it") from None
    except (ValueError, AttributeError):
        raise WeightsError(f"{where}: {GRAPH_KEY} is not JSON") from None
    return Card(spec, graph, notes)
