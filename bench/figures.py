"""A figure: one quantity, measured several times, told as its median and its spread."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Figure:
    """`values` in the order they were measured, all in `unit`; `terms` says what was measured."""

    scenario: str
    name: str
    unit: str
    values: tuple[float, ...]
    terms: Mapping[str, Any] = field(default_factory=dict)

    @property
    def median(self) -> float:
        """The middle value."""
        return median(self.values)

    def as_json(self) -> dict[str, Any]:
        """Everything a reader needs to judge the figure."""
        return {
            "scenario": self.scenario,
            "name": self.name,
            "unit": self.unit,
            "median": round(self.median, 4),
            "lowest": round(min(self.values), 4),
            "highest": round(max(self.values), 4),
            "values": [round(value, 4) for value in self.values],
            "terms": dict(self.terms),
        }


def ratios(name: str, ours: Figure, theirs: Figure, **terms: Any) -> Figure:
    """`ours` over `theirs`, pair by pair: each pair was measured side by side."""
    pairs = zip(ours.values, theirs.values, strict=True)
    values = tuple(mine / other for mine, other in pairs)
    return Figure(ours.scenario, name, "ratio", values, terms)


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured. Every figure has at least three values."""

    quick: bool
    runs: int
    deliveries: int
    transactions: int
    rows_per_call: int
    mentors: int


FULL = Scale(
    quick=False, runs=5, deliveries=20_000, transactions=500, rows_per_call=1_000, mentors=200
)
QUICK = Scale(quick=True, runs=3, deliveries=1_000, transactions=100, rows_per_call=200, mentors=40)
