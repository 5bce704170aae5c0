"""Working off deliveries in memory: whose turn it is, attempts, settlements, expired leases."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from outbox.consume import Consumer, decode
from outbox.destination import CIRCUIT_PROBE_AFTER
from outbox.errors import CredentialsRejected, DestinationHeld
from outbox.handler import Effect, Order, Settled, UnknownPolicy
from outbox.outcome import (
    Dead,
    Done,
    Retry,
    Superseded,
    Suppressed,
    Unknown,
    outcome_name,
    outcome_reason,
)
from outbox.queries import Claimed
from outbox.saga.reports import tell_sagas
from outbox.saga.runner import SagaRun
from outbox.testing.harness import NoJitter
from outbox.testing.lab_memory import DeliveryRow, MemoryStore, Tables
from outbox.testing.lab_replies import Crash

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from outbox.app import App
    from outbox.clock import VirtualClock
    from outbox.handler import Attempt, Handler
    from outbox.message import Message
    from outbox.outcome import AnyOutcome, Outcome
    from outbox.saga.declaration import Saga
    from outbox.settlement import Ended
    from outbox.testing.lab_replies import Replies

_TOKEN = UUID(int=1)


class _RolledBack(Exception):
    """The attempt did not end well: what it wrote is taken back."""


class MemoryEngine:
    """Works off the deliveries of an application whose handlers answer from `replies`."""

    def __init__(self, app: App, clock: VirtualClock, replies: Replies) -> None:
        self.app, self._clock, self._replies = app, clock, replies
        self.tables = Tables()
        self.store = MemoryStore(app, self.tables)
        self._held: dict[str, datetime] = {}
        self._handlers: dict[str, Handler] = {}
        for handler in app.handlers.values():
            saga = app.sagas.get(handler.name)
            mine = replies.scripted(handler) if saga is None else self._saga_handler(handler, saga)
            self._handlers[handler.name] = mine

    async def run(self) -> int:
        """Work until nothing is due; how many attempts were made."""
        tried = 0
        while moved := sum([await self._pass(name) for name in self._handlers]):
            tried += moved
        return tried

    async def deliver(self, delivery_id: int) -> None:
        """Make one attempt, of a delivery out of `due()`."""
        row = self.tables.deliveries[delivery_id]
        handler = self._handlers[row.handler]
        if handler.order is Order.NEWEST:
            await self._supersede(handler, row)
        await self._attempt(handler, row)

    def due(self, handler: str | None = None) -> list[DeliveryRow]:
        """What may be tried now, one of each ordering key."""
        return [
            row
            for row in sorted(self.tables.deliveries.values(), key=lambda row: row.id)
            if handler in {None, row.handler} and self._may_go(row)
        ]

    def next_due(self) -> datetime | None:
        """When something falls due, or a lease runs out, that is not due now."""
        now = self._clock.now()
        dates = [
            at
            for row in self.tables.deliveries.values()
            if not row.unknown
            for at in (row.lease_until or row.due_at,)
            if at is not None and at > now
        ]
        return min([*dates, *(at for at in self._held.values() if at > now)], default=None)

    def redrive(self, handler: str | None, actor: str) -> int:  # noqa: ARG002 - as on a database
        """Give every dead letter (of one handler) a new life; how many there were."""
        letters = [
            row for row in self.tables.dead_letters.values() if handler in {None, row.handler}
        ]
        for row in letters:
            del self.tables.dead_letters[row.id]
            self.store.receipt(row, "redriven", None, attempt=row.attempts)
            self.tables.deliveries[row.id] = DeliveryRow(
                row.id, row.message_id, row.handler, row.key, row.position, self._clock.now()
            )
        return len(letters)

    async def expire(self, handler: str) -> int:
        """Decide about leases that have run out; how many deliveries were looked at."""
        seen = 0
        for row in list(self.tables.deliveries.values()):
            if row.handler == handler and not row.unknown and self._has_expired(row):
                seen += await self._expired(self._handlers[handler], row)
        return seen

    async def _pass(self, name: str) -> int:
        if self._held.get(name, self._clock.now()) > self._clock.now():
            return 0
        tried = await self.expire(name)
        handler = self._handlers[name]
        batch = [row.id for row in self.tables.deliveries.values() if self._is_due(row, name)]
        for delivery_id in sorted(batch):
            row = self.tables.deliveries.get(delivery_id)
            if row is None or not self._may_go(row):
                continue  # superseded meanwhile, or an earlier one of its key goes first
            if self._held.get(name, self._clock.now()) > self._clock.now():
                break
            if handler.order is Order.NEWEST:
                await self._supersede(handler, row)
            await self._attempt(handler, row)
            tried += 1
        return tried

    def _is_due(self, row: DeliveryRow, handler: str) -> bool:
        if row.handler != handler or row.unknown or row.lease_until is not None:
            return False
        return row.due_at is None or row.due_at <= self._clock.now()

    def _may_go(self, row: DeliveryRow) -> bool:
        if not self._is_due(row, row.handler):
            return False
        handler = self._handlers[row.handler]
        if row.key is None or handler.order is Order.NONE:
            return True
        others = [
            other
            for other in self.tables.deliveries.values()
            if other.handler == row.handler
            and other.key == row.key
            and other.id != row.id
            # one whose first due date lies ahead has not joined yet
            and (other.waited or other.due_at is None or other.due_at <= self._clock.now())
        ]
        if handler.order is Order.NEWEST:
            later = [o for o in others if (o.position, o.id) > (row.position, row.id)]
            return not later and not any(o.lease_until is not None for o in others)
        dead = self.tables.dead_letters.values() if handler.blocks else ()
        first = [*others, *(o for o in dead if (o.handler, o.key) == (row.handler, row.key))]
        return all((o.position, o.id) > (row.position, row.id) for o in first)

    async def _supersede(self, handler: Handler, newest: DeliveryRow) -> None:
        for row in list(self.tables.deliveries.values()):
            overtaken = (row.position, row.id) < (newest.position, newest.id)
            if row.handler != handler.name or row.key is None or row.key != newest.key:
                continue
            if overtaken and row.lease_until is None and not row.unknown:
                del self.tables.deliveries[row.id]
                self.store.receipt(row, "superseded", "overtaken", attempt=row.attempts)
                await self._tell(row, Superseded(), attempt=row.attempts)

    async def _attempt(self, handler: Handler, row: DeliveryRow) -> None:
        crash = self._replies.crash(handler.name)
        if crash is not None:
            await self._crash(handler, row, crash)
            return
        with self.tables.transaction():
            ended = await self._call(handler, row)
            self._note_hold(handler, ended)
            await self._settle(handler, row, ended.outcome, attempt=row.attempts + 1)

    async def _call(self, handler: Handler, row: DeliveryRow) -> Ended:
        message = self.tables.messages[row.message_id]
        claimed = Claimed(
            row.id, row.message_id, row.key, row.position, row.attempts, row.resends,
            self._clock.now() + handler.lease, row.due_at is None, message.topic, message.version,
            message.payload, None, message.key, message.sequence, message.correlation_id,
            message.created_at, 0, _TOKEN,
        )  # fmt: skip
        consumer = Consumer(self.app, handler, self._clock, NoJitter())
        timer = consumer.timer()
        ended: Ended | None = None
        try:
            with self.tables.transaction():
                attempt = consumer.attempt(claimed)
                ended = await consumer.call(claimed, decode(self.app, claimed), attempt, timer)
                if not isinstance(ended.outcome, Done | Suppressed):
                    raise _RolledBack
        except _RolledBack:
            pass
        finally:
            timer.close()
        assert ended is not None, "an attempt comes to an end"
        return ended

    async def _crash(self, handler: Handler, row: DeliveryRow, crash: Crash) -> None:
        called = crash is Crash.AFTER_CALL and handler.name not in self.app.sagas
        if called:
            await self._call(handler, row)
        self.tables.deliveries[row.id] = replace(
            row,
            lease_until=self._clock.now() + handler.lease,
            begun=called and handler.effect is Effect.AMBIGUOUS,
        )

    async def _settle(
        self, handler: Handler, row: DeliveryRow, outcome: Outcome, *, attempt: int
    ) -> None:
        tables, now = self.tables, self._clock.now()
        told: AnyOutcome | None = outcome
        match outcome:
            case Done() | Suppressed():
                del tables.deliveries[row.id]
            case Retry(after=after, spent=spent):
                due_at = now if after is None else now + after
                tables.deliveries[row.id] = replace(
                    row, attempts=row.attempts + spent, due_at=due_at,
                    lone_claims=0, lease_until=None, begun=False, waited=True,
                )  # fmt: skip
                if not spent:
                    return
            case Dead():
                del tables.deliveries[row.id]
                tables.dead_letters[row.id] = replace(row, attempts=attempt, lease_until=None)
            case Unknown():
                told = self._keep_unknown(handler, row, outcome)
        self.store.receipt(row, outcome_name(outcome), outcome_reason(outcome), attempt=attempt)
        if told is not None:
            await self._tell(row, told, attempt=attempt)

    def _keep_unknown(self, handler: Handler, row: DeliveryRow, outcome: Unknown) -> Unknown | None:
        """Hold it, or send it again once: then there is nothing to tell yet."""
        if handler.unknown is UnknownPolicy.RESEND_ONCE and row.resends == 0:
            self.tables.deliveries[row.id] = replace(
                row, attempts=row.attempts + 1, resends=1, due_at=self._clock.now(), begun=False,
                lease_until=None, waited=True,
            )  # fmt: skip
            return None
        held = self._clock.now() if row.lease_until is None else row.lease_until
        self.tables.deliveries[row.id] = replace(
            row, unknown=True, lease_until=held, reason=outcome.reason
        )
        return outcome

    async def _tell(self, row: DeliveryRow, outcome: AnyOutcome, *, attempt: int) -> None:
        message = self.tables.messages[row.message_id]
        read = self.app.reader(message.topic, message.version)
        assert read is not None, "only what this application handles is delivered"
        settled = Settled(
            delivery_id=row.id, message_id=row.message_id, handler=row.handler,
            topic=message.topic, key=message.key, sequence=message.sequence,
            correlation_id=message.correlation_id, attempt=attempt, message=read(message.payload),
            outcome=outcome, at=self._clock.now(), final=not isinstance(outcome, Retry | Unknown),
        )  # fmt: skip
        await tell_sagas(self.store, self.app.sagas, [settled])

    def _has_expired(self, row: DeliveryRow) -> bool:
        return row.lease_until is not None and row.lease_until <= self._clock.now()

    async def _expired(self, handler: Handler, row: DeliveryRow) -> int:
        attempt = row.attempts + 1
        if row.begun:
            with self.tables.transaction():
                lost = Unknown("lease_lost_after_begin")
                await self._settle(handler, row, lost, attempt=attempt)
            return 1
        free = replace(row, lease_until=None)
        if row.lone_claims >= handler.lone_claims_max:
            with self.tables.transaction():
                await self._settle(handler, free, Dead("poison"), attempt=row.attempts)
            return 1
        alone = replace(free, lone_claims=row.lone_claims + 1)
        self.tables.deliveries[row.id] = alone
        await self._attempt(handler, alone)
        return 1

    def _note_hold(self, handler: Handler, ended: Ended) -> None:
        match ended.error:
            case DestinationHeld(retry_after=wait):
                self._held[handler.name] = self._clock.now() + wait
            case CredentialsRejected():
                self._held[handler.name] = self._clock.now() + CIRCUIT_PROBE_AFTER
            case _:
                pass

    def _saga_handler(self, handler: Handler, saga: Saga[Any]) -> Handler:
        async def call(message: Message, attempt: Attempt, *_: Any) -> Outcome:
            items: Sequence[tuple[Message, Attempt]] = [(message, attempt)]
            return (await SagaRun(saga, self.store).run(items))[attempt.delivery_id]

        return replace(handler, call=call, call_many=None)
