"""The table of the emulated Dataverse: typed columns, a line per key, an ETag per write."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

from handlers.emulators.portal_store import Row, Stored

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_WHOLE_NUMBER_MAX: Final = 2_147_483_647
_TEXT_CHARS_MAX: Final = 100


class BadColumn(Exception):
    """A column that does not exist, or a value that is not of its type."""


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return (
        isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _WHOLE_NUMBER_MAX
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _TEXT_CHARS_MAX


def _is_instant(value: object) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


COLUMNS: Final[Mapping[str, Callable[[object], bool]]] = MappingProxyType(
    {
        "hlf_visible": _is_bool,
        "hlf_visibilityversion": _is_whole,
        "hlf_reason": _is_text,
        "hlf_effectiveat": _is_instant,
    }
)
"""The columns a client may write, and what fits them."""


@dataclass(frozen=True, slots=True)
class Line:
    """One row; `key` is the alternate key's text, `id` the platform's own."""

    id: UUID
    key: str
    values: Mapping[str, Any]
    modified_at: datetime
    etag: str


@dataclass(slots=True)
class Table:
    """In-memory table; every public method is atomic, also between threads."""

    _lines: dict[str, Line] = field(default_factory=dict)
    _writes: int = 0
    _lock: Lock = field(default_factory=Lock)

    def line(self, key: str) -> Line | None:
        """The row under `key`."""
        with self._lock:
            return self._lines.get(key)

    def lines(self, *, ordered: bool) -> list[Line]:
        """Every row, in the order of the keys or in one of the platform's own."""
        with self._lock:
            return sorted(
                self._lines.values(), key=lambda line: line.key if ordered else line.id.hex
            )

    def write(self, key: str, values: Mapping[str, Any], *, now: datetime) -> Line:
        """Create the row or change the columns given. Raises `BadColumn`, for the key's own too."""
        for name, value in values.items():
            if name not in COLUMNS or not COLUMNS[name](value):
                raise BadColumn(name)
        with self._lock:
            before = self._lines.get(key)
            self._writes += 1
            line = Line(
                id=before.id if before else uuid4(),
                key=key,
                values={**(before.values if before else {}), **values},
                modified_at=now,
                etag=f'W/"{self._writes * 7_919 % 100_003}"',  # opaque: a later one may be smaller
            )
            self._lines[key] = line
            return line

    def put(self, mentor_id: UUID, *, version: int, visible: bool, now: datetime) -> None:
        """Overwrite without any rule: somebody edits the table behind our back."""
        values = {"hlf_visible": visible, "hlf_visibilityversion": version}
        self.write(str(mentor_id), values, now=now)

    def remove(self, mentor_id: UUID) -> None:
        """Forget a mentor."""
        with self._lock:
            self._lines.pop(str(mentor_id), None)

    def row(self, mentor_id: UUID, now: datetime) -> Row | None:
        """One mentor as a reader of the contract understands the row; what is stored is shown."""
        del now
        line = self.line(str(mentor_id))
        if line is None:
            return None
        stored = Stored(
            line.values.get("hlf_visibilityversion") or 0,
            bool(line.values.get("hlf_visible")),
            line.modified_at,
        )
        return Row(mentor_id, stored, stored, line.modified_at)
