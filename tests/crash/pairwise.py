"""Few combinations that hold every possible pair of values, drawn by a seed."""

from __future__ import annotations

from itertools import combinations, product
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Row = tuple[Any, ...]


def pairs_of(row: Row) -> Iterator[tuple[int, Any, int, Any]]:
    """Each pair of values in `row`, with their places."""
    for (i, a), (j, b) in combinations(enumerate(row), 2):
        yield i, a, j, b


def pairwise(
    *values: Sequence[Any], seed: int, possible: Callable[[Row], bool] = lambda _: True
) -> list[Row]:
    """Rows of `product(*values)` in which every pair of a possible row occurs at least once.

    Greedy: always a row with the most pairs still missing; among equals the seed decides.
    """
    rows = [row for row in product(*values) if possible(row)]
    Random(seed).shuffle(rows)  # noqa: S311 - a seed, not a secret
    missing = {pair for row in rows for pair in pairs_of(row)}
    chosen: list[Row] = []
    while missing:
        best = max(rows, key=lambda row: len(missing.intersection(pairs_of(row))))
        chosen.append(best)
        missing.difference_update(pairs_of(best))
    return chosen
