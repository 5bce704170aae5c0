"""What the emulated portal holds: compare-and-set per mentor, and a published copy that follows.

The rule is the receiver's side of the contract, written without looking at our sender: a greater
version is stored, an equal one is a duplicate or a conflict, a smaller one changes nothing.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from threading import Lock
from typing import Final
from uuid import UUID, uuid4

_SNAPSHOTS_MAX: Final = 32


class Verdict(StrEnum):
    """What compare-and-set decided."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    STALE = "stale"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Stored:
    """One version of one mentor's visibility as the portal stored it."""

    version: int
    visible: bool
    stored_at: datetime


@dataclass(frozen=True, slots=True)
class Row:
    """One mentor as the portal shows him to us: what is stored and what is published."""

    mentor_id: UUID
    stored: Stored
    published: Stored | None
    published_at: datetime | None


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a snapshot; `cursor` is None on the last page."""

    snapshot_at: datetime
    rows: tuple[Row, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class _Snapshot:
    at: datetime
    rows: tuple[Row, ...]


class UnknownCursor(Exception):
    """The cursor was not given out by this store, or is too old."""


@dataclass(slots=True)
class PortalStore:
    """In-memory portal; every public method is atomic, also between threads.

    The published copy is what had been stored `publish_delay` ago, computed when asked: nothing
    runs in the background, so moving a virtual clock is all a test has to do.
    """

    publish_delay: timedelta = timedelta(0)
    _history: dict[UUID, list[Stored]] = field(default_factory=dict)
    _snapshots: dict[str, _Snapshot] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def compare_and_set(
        self, mentor_id: UUID, *, version: int, visible: bool, now: datetime
    ) -> tuple[Verdict, Row]:
        """Apply the contract's rule and return the verdict with the row as it is afterwards."""
        with self._lock:
            held = self._history.get(mentor_id)
            if held is None or version > held[-1].version:
                self._append(mentor_id, Stored(version, visible, now))
                verdict = Verdict.APPLIED
            elif version < held[-1].version:
                verdict = Verdict.STALE
            elif visible == held[-1].visible:
                verdict = Verdict.DUPLICATE
            else:
                verdict = Verdict.CONFLICT
            return verdict, self._row(mentor_id, now)

    def put(self, mentor_id: UUID, *, version: int, visible: bool, now: datetime) -> None:
        """Overwrite without any rule: somebody edits the portal behind our back."""
        with self._lock:
            self._append(mentor_id, Stored(version, visible, now))

    def remove(self, mentor_id: UUID) -> None:
        """Forget a mentor, as a restored or cleaned-up portal would."""
        with self._lock:
            self._history.pop(mentor_id, None)

    def row(self, mentor_id: UUID, now: datetime) -> Row | None:
        """Return one mentor, or None where the portal holds nothing."""
        with self._lock:
            return self._row(mentor_id, now) if mentor_id in self._history else None

    def rows(self, now: datetime) -> tuple[Row, ...]:
        """Return everything, ordered by mentor."""
        with self._lock:
            return tuple(self._row(mentor_id, now) for mentor_id in sorted(self._history))

    def page(self, cursor: str | None, limit: int, now: datetime) -> Page:
        """Return the page `cursor` stands for; without one, the first of a new snapshot.

        Raises `UnknownCursor`.
        """
        if cursor is None:
            return self._first_page(limit, now)
        try:
            name, _, start = base64.urlsafe_b64decode(cursor).decode().partition(":")
            position = int(start)
        except (binascii.Error, ValueError):
            raise UnknownCursor from None
        with self._lock:
            if name not in self._snapshots or position < 0:
                raise UnknownCursor
            return self._page(name, position, limit)

    def _first_page(self, limit: int, now: datetime) -> Page:
        rows = self.rows(now)
        with self._lock:
            while len(self._snapshots) >= _SNAPSHOTS_MAX:  # the oldest first
                del self._snapshots[next(iter(self._snapshots))]
            name = uuid4().hex
            self._snapshots[name] = _Snapshot(now, rows)
            return self._page(name, 0, limit)

    def _append(self, mentor_id: UUID, stored: Stored) -> None:
        self._history.setdefault(mentor_id, []).append(stored)

    def _row(self, mentor_id: UUID, now: datetime) -> Row:
        history = self._history[mentor_id]
        due = [stored for stored in history if stored.stored_at + self.publish_delay <= now]
        published = due[-1] if due else None
        published_at = published.stored_at + self.publish_delay if published else None
        return Row(mentor_id, history[-1], published, published_at)

    def _page(self, name: str, start: int, limit: int) -> Page:
        snapshot = self._snapshots[name]
        end = start + limit
        more = end < len(snapshot.rows)
        cursor = base64.urlsafe_b64encode(f"{name}:{end}".encode()).decode() if more else None
        return Page(snapshot.at, snapshot.rows[start:end], cursor)
