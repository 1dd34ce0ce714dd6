"""What a key table is: an invertible list of renamings between our tensor names and another layout's.

A table is written as pairs of module (or tensor) names; it is expanded against the network's own tensors, so each
of our tensors has exactly one counterpart, and whatever is left over on either side is an error that names it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from dptkit.errors import WeightsError

NAMED_IN_ERRORS = 4


class Transform(Protocol):
    """How one of our tensors is made of theirs; `split` undoes `join` to the bit."""

    def join(self, theirs: list[Tensor]) -> Tensor: ...
    def split(self, ours: Tensor, parts: int) -> list[Tensor]: ...


@dataclass(frozen=True)
class Concatenated:
    """Ours is theirs, in order, along one dimension; one part: the same tensor."""

    dim: int = 0

    def join(self, theirs: list[Tensor]) -> Tensor:
        return theirs[0] if len(theirs) == 1 else torch.cat(theirs, dim=self.dim)

    def split(self, ours: Tensor, parts: int) -> list[Tensor]:
        return [ours] if parts == 1 else [part.contiguous() for part in ours.chunk(parts, dim=self.dim)]


@dataclass(frozen=True)
class Pair:
    """Our module or tensor name, and theirs (several: ours is made of them by `transform`)."""

    ours: str
    theirs: str | tuple[str, ...]
    transform: Transform = Concatenated()


@dataclass(frozen=True)
class Drop:
    """Tensors of theirs that the network never uses, as a regular expression on the whole name.

    written: names and shapes that a file of that layout holds all the same, so that strict loaders accept ours;
    they are written as zeros, since nothing reads them.
    """

    pattern: str
    reason: str
    written: tuple[tuple[str, tuple[int, ...]], ...] = ()


@dataclass(frozen=True)
class Rule:
    """One tensor of ours, its counterparts and its shape."""

    ours: str
    theirs: tuple[str, ...]
    transform: Transform
    shape: tuple[int, ...]
    dtype: torch.dtype

    def part_shapes(self) -> list[tuple[int, ...]]:
        """The shapes of the counterparts."""
        meta = torch.empty(self.shape, dtype=self.dtype, device="meta")
        return [tuple(part.shape) for part in self.transform.split(meta, len(self.theirs))]


class KeyTable:
    """A layout's table for one network. Raises ValueError if a tensor of ours has no counterpart."""

    def __init__(
        self, layout: str, network: Mapping[str, Tensor], pairs: Iterable[Pair], drops: Iterable[Drop] = ()
    ) -> None:
        """`network`: our state dict, of which only names, shapes and types count (meta tensors do)."""
        self.layout = layout
        self.drops = tuple(drops)
        by_name = {pair.ours: pair for pair in pairs}
        self.rules = tuple(_expand(name, tensor, by_name) for name, tensor in network.items())

    def to_ours(self, state: Mapping[str, Tensor], where: str = "state dict") -> dict[str, Tensor]:
        """Their tensors under our names. Raises WeightsError naming unknown, missing or misshapen ones."""
        known = {name for rule in self.rules for name in rule.theirs}
        missing = [name for name in sorted(known) if name not in state]
        unknown = [name for name in state if name not in known and self.drop_reason(name) is None]
        if missing or unknown:
            problems = [
                f"{kind} {_listed(names)}" for kind, names in (("missing", missing), ("unknown", unknown)) if names
            ]
            raise WeightsError(f"{where}: does not fit the network ({self.layout} layout): {'; '.join(problems)}")
        ours = {}
        for rule in self.rules:
            parts = [state[name] for name in rule.theirs]
            for name, part, shape in zip(rule.theirs, parts, rule.part_shapes(), strict=True):
                if tuple(part.shape) != shape:
                    raise WeightsError(
                        f"{where}: {name} has shape {tuple(part.shape)}, not {shape} as the network needs"
                    )
            tensor = rule.transform.join(parts)
            # Counters survive a file that was cast to half precision as a whole.
            ours[rule.ours] = tensor if rule.dtype.is_floating_point else tensor.to(rule.dtype)
        return ours

    def from_ours(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Our tensors under their names, and zeros for what that layout stores but nothing reads."""
        theirs: dict[str, Tensor] = {}
        for rule in self.rules:
            parts = rule.transform.split(state[rule.ours], len(rule.theirs))
            theirs.update(zip(rule.theirs, parts, strict=True))
        dtype = next(tensor.dtype for tensor in state.values() if tensor.is_floating_point())
        for drop in self.drops:
            for name, shape in drop.written:
                integer = name.endswith("num_batches_tracked")
                theirs[name] = torch.zeros(shape, dtype=torch.int64 if integer else dtype)
        return theirs

    def drop_reason(self, name: str) -> str | None:
        """Why that tensor of theirs is left out on purpose; None if it is not."""
        return next((drop.reason for drop in self.drops if re.fullmatch(drop.pattern, name)), None)

    def manifest(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of a whole file of that layout."""
        meta = {rule.ours: torch.empty(rule.shape, dtype=rule.dtype, device="meta") for rule in self.rules}
        return {name: tuple(tensor.shape) for name, tensor in self.from_ours(meta).items()}


def _expand(name: str, tensor: Tensor, by_name: Mapping[str, Pair]) -> Rule:
    module, suffix = name, ""
    while module not in by_name:
        if "." not in module:
            raise ValueError(f"no counterpart for {name} in the key table")
        module, _, last = module.rpartition(".")
        suffix = f".{last}{suffix}"
    pair = by_name[module]
    theirs = (pair.theirs,) if isinstance(pair.theirs, str) else pair.theirs
    return Rule(name, tuple(t + suffix for t in theirs), pair.transform, tuple(tensor.shape), tensor.dtype)


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:NAMED_IN_ERRORS])
    more = len(names) - NAMED_IN_ERRORS
    return f"{shown} and {more} more" if more > 0 else shown
