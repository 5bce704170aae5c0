"""The order in which files are shared out over processes: what takes long begins.

Else the last process to be handed such a file ends with it alone, while the others have nothing
left to do.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from pathlib import Path


class Placed(Protocol):
    """A test, as pytest has collected it."""

    @property
    def path(self) -> Path:
        """The file it stands in."""
        ...

    def get_closest_marker(self, name: str) -> object | None:
        """Its marker of that name."""
        ...


Test = TypeVar("Test", bound=Placed)


def longest_first(tests: list[Test]) -> list[Test]:
    """The same tests, by files: those with one marked `slow`, then by the number of their tests.

    Where that decides nothing, and inside a file, the order stays that which was drawn.
    """
    sizes = Counter(test.path for test in tests)
    slow = {test.path for test in tests if test.get_closest_marker("slow") is not None}
    drawn = {path: place for place, path in enumerate(sizes)}
    weights = {path: (path not in slow, -sizes[path], drawn[path]) for path in sizes}
    return sorted(tests, key=lambda test: weights[test.path])
