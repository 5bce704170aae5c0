"""The mutants that no test kills, and those of them that `docs/mutation.md` judges to be equal.

A mutant is known by its function and the lines it changes: numbers that mutmut gives move with
every edit of a module.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_BLOCK = re.compile(
    r"^`(?P<function>[\w.]+)`\n\n```diff\n(?P<diff>.*?)^```$", re.MULTILINE | re.DOTALL
)
_NUMBERED = re.compile(r"\.x[_ǁ](?P<name>\w+)__mutmut_\d+$")


@dataclass(frozen=True, slots=True, order=True)
class Mutant:
    """One change: `before` and `after` are the lines of the function that differ."""

    function: str
    before: tuple[str, ...]
    after: tuple[str, ...]

    @classmethod
    def of(cls, function: str, diff: str) -> Mutant:
        """Read a unified diff; what it leaves as it was does not count."""
        lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++", "@@"))]
        return cls(
            function,
            tuple(line[1:].strip() for line in lines if line.startswith("-")),
            tuple(line[1:].strip() for line in lines if line.startswith("+")),
        )

    def __str__(self) -> str:
        """As `docs/mutation.md` shows it."""
        lines = [f"-{line}" for line in self.before] + [f"+{line}" for line in self.after]
        return "\n".join([f"`{self.function}`", "", "```diff", *lines, "```"])


def function_of(mutant_name: str) -> str:
    """`outbox.retry.xǁLadderǁafter__mutmut_3` is a change of `outbox.retry.Ladder.after`."""
    return _NUMBERED.sub(lambda found: "." + found["name"].replace("ǁ", "."), mutant_name)


def judged(page: str) -> set[Mutant]:
    """The mutants that a page judges: each is the function, a diff, and a reason below it."""
    return {Mutant.of(found["function"], found["diff"]) for found in _BLOCK.finditer(page)}


def without_reason(page: str) -> list[str]:
    """The functions of those diffs after which no sentence follows before the next one."""
    parts = list(_BLOCK.finditer(page))
    ends = [found.start() for found in parts[1:]] + [len(page)]
    return [
        found["function"]
        for found, end in zip(parts, ends, strict=False)
        if not re.search(r"^[A-Z`].*\.", page[found.end() : end], re.MULTILINE)
    ]


def unjudged(survivors: Iterable[Mutant], page: str) -> list[Mutant]:
    """Those survivors that the page says nothing about."""
    return sorted(set(survivors) - judged(page))
