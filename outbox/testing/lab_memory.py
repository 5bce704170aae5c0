"""The engine's tables in memory, for sagas: the same decisions without a server.

What decides is the engine's own code: correlation, timers, `react`, steps, reports, retry policies,
persons' acts. What stands here is where rows are kept, and whose turn it is (P5), written by hand.
Races, locks and SQL are out of its reach; `PostgresBackend` runs the same scenarios.
"""

from __future__ import annotations

import copy
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from outbox.saga.store import Origin, StoredSaga

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from outbox.app import App
    from outbox.message import Message
    from outbox.publication import Publication
    from outbox.saga.store import Addressed, Change, Transition


@dataclass(frozen=True, slots=True)
class MessageRow:
    """A message as the memory keeps it."""

    id: int
    topic: str
    version: int
    payload: str
    key: str | None
    sequence: int | None
    correlation_id: str | None
    created_at: datetime
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """A delivery as the memory keeps it."""

    id: int
    message_id: int
    handler: str
    key: str | None
    position: int
    due_at: datetime | None
    attempts: int = 0
    lone_claims: int = 0
    resends: int = 0
    unknown: bool = False
    begun: bool = False
    lease_until: datetime | None = None
    waited: bool = False
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ReceiptRow:
    """One line of a delivery's trace."""

    delivery_id: int
    message_id: int
    handler: str
    attempt: int
    outcome: str
    reason: str | None


@dataclass(slots=True)
class Tables:
    """All rows; a transaction that fails puts them back as they were."""

    messages: dict[int, MessageRow] = field(default_factory=dict)
    deliveries: dict[int, DeliveryRow] = field(default_factory=dict)
    dead_letters: dict[int, DeliveryRow] = field(default_factory=dict)
    receipts: list[ReceiptRow] = field(default_factory=list)
    dedup: dict[tuple[str, str], tuple[int, datetime | None]] = field(default_factory=dict)
    sagas: dict[int, StoredSaga] = field(default_factory=dict)
    transitions: list[Transition] = field(default_factory=list)
    last_id: int = 0

    def new_id(self) -> int:
        """The next id, of anything."""
        self.last_id += 1
        return self.last_id

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit at the end of the block, or put all back where it raises."""
        before = {name: copy.copy(getattr(self, name)) for name in _CONTAINERS}
        try:
            yield
        except BaseException:
            for name, rows in before.items():
                setattr(self, name, rows)
            raise


_CONTAINERS = (
    "messages", "deliveries", "dead_letters", "receipts", "dedup", "sagas", "transitions",
)  # fmt: skip


class MemoryStore:
    """`SagaStore` over tables in memory, and what else writes to them."""

    def __init__(self, app: App, tables: Tables) -> None:
        self._app, self.tables = app, tables

    async def lock(self, name: str, keys: Sequence[str]) -> list[StoredSaga]:
        """The open instances of `keys`."""
        wanted = set(keys)
        found = [
            one
            for one in self.tables.sagas.values()
            if one.name == name and one.key in wanted and one.ended_at is None
        ]
        return sorted(found, key=lambda one: one.key)

    async def start(
        self, name: str, states: Mapping[str, str], *, state_version: int
    ) -> list[StoredSaga]:
        """Make instances where none is open."""
        taken = {one.key for one in await self.lock(name, list(states))}
        made = [
            StoredSaga(
                id=self.tables.new_id(), name=name, key=key, state=state,
                state_version=state_version, version=1, timers={}, parked_why=None, ended_at=None,
            )
            for key, state in sorted(states.items())
            if key not in taken
        ]  # fmt: skip
        self.tables.sagas |= {one.id: one for one in made}
        return made

    async def save(self, changes: Sequence[Change], transitions: Sequence[Transition]) -> None:
        """Store and tell."""
        now = self._app.clock.now()
        for change in changes:
            before = self.tables.sagas[change.saga_id]
            assert before.version == change.version_before, "nobody else works on these tables"
            self.tables.sagas[change.saga_id] = replace(
                before, state=change.state, state_version=change.state_version,
                version=change.version, timers=dict(change.timers), parked_why=change.parked_why,
                ended_at=now if change.ended else None,
            )  # fmt: skip
        self.tables.transitions += transitions

    async def publish(
        self, origin: Origin | None, publications: Sequence[Publication]
    ) -> list[int]:
        """Publish to whoever handles the topic; `origin` None: from outside of any instance."""
        return [self._publish(origin, one) for one in publications]

    def _publish(self, origin: Origin | None, one: Publication) -> int:
        now, declaration = self._app.clock.now(), one.message.declaration
        if one.dedup_key is not None:
            taken = self.tables.dedup.get((declaration.topic, one.dedup_key))
            if taken is not None and (taken[1] is None or taken[1] > now):
                return taken[0]
        row = self._insert(
            one.message, key=one.key, sequence=one.sequence, correlation_id=one.correlation_id,
            origin=origin,
        )  # fmt: skip
        if one.dedup_key is not None:
            window = declaration.dedup_window
            until = None if window is None else now + window
            self.tables.dedup[declaration.topic, one.dedup_key] = (row.id, until)
        for handler in self._app.handlers.values():
            if any(kind.declaration.topic == declaration.topic for kind in handler.messages):
                key = one.key if handler.ordered else None
                self._deliver(row, handler.name, key, one.due_at)
        return row.id

    async def address(self, addressed: Addressed) -> int:
        """Publish to one handler."""
        row = self._insert(
            addressed.message, key=addressed.key, sequence=None,
            correlation_id=addressed.correlation_id, origin=None,
        )  # fmt: skip
        self._deliver(row, addressed.handler, addressed.key, addressed.due_at)
        return row.id

    async def published(self, saga_id: int, topics: Sequence[str]) -> list[int]:
        """What the timeline says was published."""
        return [
            message_id
            for line in self.tables.transitions
            if line.saga_id == saga_id
            for message_id in line.published
            if self.tables.messages[message_id].topic in topics
        ]

    async def withdraw(self, message_ids: Sequence[int], *, reason: str) -> None:
        """Close what has not begun."""
        for row in self._of(self.tables.deliveries, message_ids):
            if row.lease_until is None:
                del self.tables.deliveries[row.id]
                self.receipt(row, "withdrawn", reason, attempt=row.attempts)
        for row in self._of(self.tables.dead_letters, message_ids):
            del self.tables.dead_letters[row.id]
            self.receipt(row, "withdrawn", reason, attempt=row.attempts)

    async def revoke(self, message_ids: Sequence[int], *, reason: str) -> datetime | None:
        """Close all of it."""
        rows = self._of(self.tables.deliveries, message_ids)
        for table in (self.tables.dead_letters, self.tables.deliveries):
            for row in self._of(table, message_ids):
                del table[row.id]
                self.receipt(row, "withdrawn", reason, attempt=row.attempts)
        flying = [row.lease_until for row in rows if row.lease_until and not row.unknown]
        return max(flying, default=None)

    async def origins(self, message_ids: Sequence[int]) -> dict[int, Origin]:
        """Who published what."""
        rows = [self.tables.messages[message_id] for message_id in message_ids]
        return {row.id: row.origin for row in rows if row.origin is not None}

    def receipt(self, row: DeliveryRow, outcome: str, reason: str | None, *, attempt: int) -> None:
        """Add a line to a delivery's trace."""
        self.tables.receipts.append(
            ReceiptRow(row.id, row.message_id, row.handler, attempt, outcome, reason)
        )

    def _insert(
        self,
        message: Message,
        *,
        key: str | None,
        sequence: int | None,
        correlation_id: str | None,
        origin: Origin | None,
    ) -> MessageRow:
        row = MessageRow(
            id=self.tables.new_id(), topic=message.declaration.topic,
            version=message.declaration.version, payload=message.model_dump_json(), key=key,
            sequence=sequence, correlation_id=correlation_id, created_at=self._app.clock.now(),
            origin=origin,
        )  # fmt: skip
        self.tables.messages[row.id] = row
        return row

    def _deliver(
        self, message: MessageRow, handler: str, key: str | None, due_at: datetime | None
    ) -> None:
        position = message.id if message.sequence is None else message.sequence
        row = DeliveryRow(self.tables.new_id(), message.id, handler, key, position, due_at)
        self.tables.deliveries[row.id] = row

    @staticmethod
    def _of(table: Mapping[int, DeliveryRow], message_ids: Sequence[int]) -> list[DeliveryRow]:
        wanted = set(message_ids)
        return [row for row in table.values() if row.message_id in wanted]
