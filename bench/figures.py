"""A figure: one quantity, measured several times, told as its median and its spread."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Figure:
    """`values` in the order they were measured, all in `unit`; `terms` says what was measured.

    A figure without values could not be measured; `terms["why"]` says why.
    """

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
        spread: dict[str, float | None] = {"median": None, "lowest": None, "highest": None}
        if self.values:
            spread = {
                "median": round(self.median, 4),
                "lowest": round(min(self.values), 4),
                "highest": round(max(self.values), 4),
            }
        return {
            "scenario": self.scenario,
            "name": self.name,
            "unit": self.unit,
            **spread,
            "values": [round(value, 4) for value in self.values],
            "terms": dict(self.terms),
        }


def ratios(name: str, ours: Figure, theirs: Figure, **terms: Any) -> Figure:
    """`ours` over `theirs`, pair by pair: each pair was measured side by side."""
    pairs = zip(ours.values, theirs.values, strict=True)
    values = tuple(mine / other for mine, other in pairs)
    return Figure(ours.scenario, name, "ratio", values, terms)


class Gathered:
    """Values by figure, as runs go round: each round measures every figure once."""

    def __init__(self, scenario: str, **terms: Any) -> None:
        self._scenario, self._terms = scenario, terms
        self._units: dict[str, str] = {}
        self._values: dict[str, list[float]] = {}
        self._more: dict[str, dict[str, Any]] = {}

    def add(self, name: str, value: float, unit: str, **terms: Any) -> None:
        """One more value of `name`; the terms of the last one are kept."""
        self._units[name] = unit
        self._values.setdefault(name, []).append(value)
        self._more[name] = terms

    def lacks(self, name: str, unit: str, why: str) -> None:
        """It cannot be measured here."""
        self._units[name], self._more[name] = unit, {"why": why}
        self._values.setdefault(name, [])

    def __contains__(self, name: str) -> bool:
        return bool(self._values.get(name))

    def __getitem__(self, name: str) -> Figure:
        terms = self._terms | self._more[name]
        values = tuple(self._values[name])
        return Figure(self._scenario, name, self._units[name], values, terms)

    def figures(self, *more: Figure) -> list[Figure]:
        """All of them, then `more`."""
        return [*(self[name] for name in self._values), *more]

    def ratio(self, name: str, ours: str, theirs: str) -> Sequence[Figure]:
        """`ours` over `theirs`, if both were measured."""
        if ours not in self or theirs not in self:
            return []
        return [ratios(name, self[ours], self[theirs])]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much of everything is measured."""

    quick: bool = False
    runs: int = 3
    deliveries: int = 50_000
    published: int = 2_000
    transactions: int = 500
    rows_in_bulk: int = 50_000
    committers: int = 8
    committing_seconds: float = 2.0
    latency: tuple[tuple[int, float], ...] = ((100, 10.0), (500, 10.0))
    settle_seconds: int = 3
    backlog: int = 1_000_000
    backlog_drained: int = 50_000
    snapshot: int = 200_000
    window: int = 20_000
    keys: int = 100_000
    mentors: int = 200
    recipients: int = 200
    recipients_at_once: int = 5_000
    certificates: int = 100_000
    seconds_max: float = 120.0


FULL = Scale()
QUICK = Scale(
    quick=True,
    runs=1,
    deliveries=10_000,
    transactions=150,
    rows_in_bulk=10_000,
    latency=((100, 3.0), (500, 2.0)),
    settle_seconds=1,
    seconds_max=15.0,
)
