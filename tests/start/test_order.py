"""Files that take long are handed out first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.order import longest_first


@dataclass(frozen=True)
class Drawn:
    """A test, as far as the order asks for it."""

    path: Path
    name: str
    slow: bool = False

    def get_closest_marker(self, name: str) -> object | None:
        return self if self.slow and name == "slow" else None


def test_slow_files_begin_then_the_large_and_files_stay_whole() -> None:
    drawn = [
        Drawn(Path(file), name, slow=name == "slow")
        for file, names in (
            ("small", ("b",)), ("large", ("z", "a")), ("last", ("slow", "a")), ("tiny", ("a",))
        )
        for name in names
    ]  # fmt: skip

    order = longest_first(drawn)

    assert [(str(test.path), test.name) for test in order] == [
        ("last", "slow"), ("last", "a"), ("large", "z"), ("large", "a"), ("small", "b"),
        ("tiny", "a"),
    ]  # fmt: skip
