"""A number as it stands in a paper, and a row of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

_ROUNDING = 1e-9
"""Share of half a unit of the last digit that floats may be off: 0.0625 is printed .062 by some and .063 by others."""


@dataclass(frozen=True)
class Printed:
    """A number as it stands in a paper. percent: printed times 100."""

    text: str
    percent: bool = False

    @property
    def value(self) -> float:
        """In our unit: shares in [0, 1]."""
        return float(self._exact)

    @property
    def half_unit(self) -> float:
        """Half a unit of the last printed digit, in our unit: how far off a number that agrees can be."""
        exponent = self._exact.as_tuple().exponent
        return 0.5 * 10.0 ** int(exponent)

    @property
    def _exact(self) -> Decimal:
        return Decimal(self.text).scaleb(-2) if self.percent else Decimal(self.text)

    def agrees(self, value: float) -> bool:
        """Whether `value` would be printed so. Where it lies just between two numbers, both would do."""
        return abs(value - self.value) <= self.half_unit * (1 + _ROUNDING) + 1e-15


@dataclass(frozen=True)
class PublishedRow:
    """One model by one protocol. citation: which table. note: what differs from the protocol; training data."""

    model: str
    protocol: str
    values: Mapping[str, Printed]
    citation: str
    note: str = ""
