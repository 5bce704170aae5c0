"""The lab: an application's sagas under experiment, in memory or on a real database.

Handlers answer as told, time stands still until it is moved, processes die where they are told to.
Whatever decides is the engine's own code in both; see `lab_memory` for what memory cannot show.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from outbox.app import App
from outbox.clock import VirtualClock
from outbox.errors import UsageError
from outbox.publication import Publication
from outbox.saga import persons
from outbox.saga.declaration import Timer
from outbox.testing.lab_engine import MemoryEngine
from outbox.testing.lab_postgres import PostgresEngine
from outbox.testing.lab_replies import Call, Crash, Replies, Reply, Whose, name_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping

    from outbox.message import Message
    from outbox.saga.declaration import Saga, SagaState
    from outbox.saga.store import StoredSaga
    from outbox.testing.lab_memory import MessageRow

START = datetime(2026, 1, 1, tzinfo=UTC)
"""When time begins in a lab, if nothing else is said."""


@dataclass(frozen=True, slots=True)
class Life:
    """One instance of a saga as it stands: `state` is the saga's own model."""

    id: int
    key: str
    state: Any
    version: int
    ended: bool
    parked_why: str | None
    timers: Mapping[str, datetime]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an instance's timeline; `published` are topics."""

    topic: str
    note: str
    fields: Mapping[str, Any]
    published: tuple[str, ...]
    armed: Mapping[str, datetime]
    cancelled: tuple[str, ...]
    actor: str | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """A message that was published. `by` is the saga whose instance did, if one did.

    `message` is its payload as a dictionary where no handler of the application takes its topic.
    """

    topic: str
    message: Any
    key: str | None
    by: str | None


@dataclass(frozen=True, slots=True)
class Trace:
    """How one attempt ended, or what was decided of a delivery without one."""

    handler: str
    topic: str
    attempt: int
    outcome: str
    reason: str | None


class Lab:
    """An application's sagas with handlers that answer as told. Open one with `memory`, `postgres`.

    A handler that nobody has told anything answers `Done()`.
    """

    def __init__(self, engine: MemoryEngine | PostgresEngine, replies: Replies) -> None:
        self._engine, self._replies = engine, replies
        self.app = engine.app
        clock = engine.app.clock
        assert isinstance(clock, VirtualClock), "a lab makes its own"
        self.clock: VirtualClock = clock

    @classmethod
    def in_memory(cls, app: App, *, start: datetime = START) -> Self:
        """A lab without a database, ready at once."""
        clock, replies = VirtualClock(start), Replies()
        return cls(MemoryEngine(_copied(app, clock, Replies(), real=None), clock, replies), replies)

    @classmethod
    @asynccontextmanager
    async def memory(cls, app: App, *, start: datetime = START) -> AsyncIterator[Lab]:
        """A lab without a database."""
        yield cls.in_memory(app, start=start)

    @classmethod
    @asynccontextmanager
    async def postgres(
        cls, app: App, dsn: str, *, start: datetime = START, real: Collection[str] = ()
    ) -> AsyncIterator[Lab]:
        """A lab on the migrated database at `dsn`, which must be private to it.

        Handlers named in `real` do what they do; all others answer as told.
        """
        clock, replies = VirtualClock(start), Replies()
        engine = PostgresEngine(_copied(app, clock, replies, real=real), dsn, replies)
        async with engine.opened():
            yield cls(engine, replies)

    @property
    def now(self) -> datetime:
        """The lab's instant."""
        return self.clock.now()

    def script(self, whose: Whose, *replies: Reply) -> None:
        """Queue replies of a handler (by name) or of whoever handles a message class."""
        self._replies.queued[name_of(whose)].extend(replies)

    def always(self, whose: Whose, reply: Reply) -> None:
        """Let a handler, or whoever handles a message class, answer this when nothing is queued."""
        self._replies.standing[name_of(whose)] = reply

    def crash(self, handler: str, at: Crash = Crash.BEFORE_CALL) -> None:
        """Let the process die in the next attempt of a handler or saga; its lease then runs out."""
        if handler not in self.app.handlers:
            known = ", ".join(sorted(self.app.handlers))
            raise UsageError(f"there is no handler {handler!r} to crash; there are {known}")
        self._replies.crashes[handler].append(at)

    async def publish(self, message: Message, **terms: Any) -> int:
        """Publish and commit; the message's id. `terms` are those of `outbox.publish`."""
        publications = [Publication(message=message, **terms)]
        if isinstance(self._engine, MemoryEngine):
            return (await self._engine.store.publish(None, publications))[0]
        return (await self._engine.publish(publications))[0]

    async def run(self) -> int:
        """Let everybody work until nothing is due at this instant; how many attempts were made."""
        return await self._engine.run()

    async def tell(self, *messages: Message, **terms: Any) -> None:
        """Publish messages one by one, each worked off before the next."""
        for message in messages:
            await self.publish(message, **terms)
            await self.run()

    def advance(self, by: timedelta) -> datetime:
        """Let time pass while nobody works, as in an outage; the new instant."""
        return self.clock.advance(by)

    async def elapse(self, by: timedelta) -> None:
        """Let time pass while everybody works: whatever falls due meanwhile is done in its time."""
        until = self.now + by
        await self.run()
        while (at := await self.next_due()) is not None and at <= until:
            self.clock.set(at)
            await self.run()
        self.clock.set(until)
        await self.run()

    async def next_due(self) -> datetime | None:
        """When something falls due, or a lease runs out, after this instant; None for never."""
        if isinstance(self._engine, MemoryEngine):
            return self._engine.next_due()
        return await self._engine.next_due()

    def due(self, handler: str | None = None) -> list[int]:
        """Deliveries that may be tried now, one of each ordering key; in memory only."""
        return [row.id for row in self._memory().due(handler)]

    async def deliver(self, delivery_id: int) -> None:
        """Make one attempt of a delivery out of `due()`; in memory only."""
        await self._memory().deliver(delivery_id)

    def handler_of(self, delivery_id: int) -> str:
        """Whose a delivery is; in memory only."""
        return self._memory().tables.deliveries[delivery_id].handler

    async def expire(self) -> None:
        """Decide about leases that have run out, as a relay that looks; in memory only."""
        for handler in self.app.handlers:
            await self._memory().expire(handler)

    async def lives(self, saga: str, key: str | None = None) -> list[Life]:
        """The instances of a saga (of one key), open and ended, the oldest first."""
        declared = self._saga(saga)
        return [
            _life(declared, one)
            for one in await self._stored(saga)
            if key is None or one.key == key
        ]

    async def life(self, saga: str, key: str) -> Life:
        """The newest instance of a key. Raises `LookupError` where there never was one."""
        lives = await self.lives(saga, key)
        if not lives:
            known = ", ".join(sorted({one.key for one in await self.lives(saga)})) or "none"
            raise LookupError(f"saga {saga} has no instance of {key!r}; there are {known}")
        return lives[-1]

    async def timeline(self, saga: str, key: str) -> list[Line]:
        """What happened to the newest instance of a key."""
        life = await self.life(saga, key)
        topics = {row.id: row.topic for row in await self._messages()}
        if isinstance(self._engine, MemoryEngine):
            lines = [one for one in self._engine.tables.transitions if one.saga_id == life.id]
        else:
            lines = await self._engine.transitions(life.id)
        return [
            Line(
                topic=one.topic, note=one.change["note"], fields=one.change["fields"],
                published=tuple(topics[message_id] for message_id in one.published),
                armed={name: datetime.fromisoformat(at) for name, at in one.armed.items()},
                cancelled=tuple(one.cancelled), actor=one.change.get("actor"),
            )
            for one in lines
        ]  # fmt: skip

    async def said(self, whose: type[Message] | None = None) -> list[Said]:
        """What was published (of one class), in its order; the engine's own messages left out."""
        found = []
        for row in await self._messages():
            read = self.app.reader(row.topic, row.version)
            if row.topic.startswith("outbox."):
                continue
            if whose is None or row.topic == whose.declaration.topic:
                by = None if row.origin is None else row.origin.name
                message = json.loads(row.payload) if read is None else read(row.payload)
                found.append(Said(row.topic, message, row.key, by))
        return found

    async def traces(self, handler: str | None = None) -> list[Trace]:
        """How attempts ended (of one handler), delivery by delivery."""
        topics = {row.id: row.topic for row in await self._messages()}
        if isinstance(self._engine, MemoryEngine):
            receipts = sorted(
                self._engine.tables.receipts, key=lambda one: (one.message_id, one.delivery_id)
            )
        else:
            receipts = await self._engine.receipts()
        return [
            Trace(one.handler, topics[one.message_id], one.attempt, one.outcome, one.reason)
            for one in receipts
            if handler in {None, one.handler}
        ]

    def calls(self, handler: str | None = None) -> list[Call]:
        """The calls that answering handlers have had, in their order."""
        return [call for call in self._replies.calls if handler in {None, call.handler}]

    async def skip(self, saga: str, key: str, step: str, *, why: str, actor: str) -> str:
        """What `outbox saga skip` does. Raises `ActRefused`."""
        declared = self._saga(saga)
        async with self._transaction() as store:
            return await persons.skip_step(
                store, declared, key, step=step, why=why, actor=actor, now=self.now
            )

    async def compensate(self, saga: str, key: str, *, why: str, actor: str) -> str:
        """What `outbox saga compensate` does. Raises `ActRefused`."""
        declared = self._saga(saga)
        async with self._transaction() as store:
            return await persons.compensate(
                store, declared, key, why=why, actor=actor, now=self.now
            )

    async def rearm(self, saga: str, key: str, timer: str, at: datetime, *, actor: str) -> None:
        """What `outbox saga re-arm` does. Raises `ActRefused`."""
        declared = self._saga(saga)
        async with self._transaction() as store:
            await persons.rearm(
                store, declared, key, timer=Timer(timer, at), actor=actor, now=self.now
            )

    async def redrive(self, handler: str | None = None, *, actor: str = "lab") -> int:
        """Give every dead letter (of one handler) a new life; how many there were."""
        if isinstance(self._engine, MemoryEngine):
            return self._engine.redrive(handler, actor)
        return await self._engine.redrive(handler, actor)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Any]:
        if isinstance(self._engine, MemoryEngine):
            with self._engine.tables.transaction():
                yield self._engine.store
        else:
            async with self._engine.transaction() as store:
                yield store

    async def _stored(self, saga: str) -> list[StoredSaga]:
        if isinstance(self._engine, MemoryEngine):
            return [one for one in self._engine.tables.sagas.values() if one.name == saga]
        return await self._engine.sagas(saga)

    async def _messages(self) -> list[MessageRow]:
        if isinstance(self._engine, MemoryEngine):
            return list(self._engine.tables.messages.values())
        return await self._engine.messages()

    def _saga(self, name: str) -> Saga[Any]:
        if name not in self.app.sagas:
            known = ", ".join(sorted(self.app.sagas)) or "none"
            raise UsageError(f"the application has no saga {name!r}; there are {known}")
        return self.app.sagas[name]

    def _memory(self) -> MemoryEngine:
        if not isinstance(self._engine, MemoryEngine):
            raise UsageError("a database chooses by itself which delivery is next; use `run`")
        return self._engine


def _copied(
    app: App, clock: VirtualClock, replies: Replies, *, real: Collection[str] | None
) -> App:
    """The application in the lab's time. `real` None: handlers are left to the memory's engine."""
    named = set(real or ())
    if unknown := sorted(named - set(app.handlers)):
        known = ", ".join(sorted(app.handlers)) or "none"
        raise UsageError(f"there is no handler {', '.join(unknown)}; there are {known}")
    terms: dict[str, Any] = {"lifespan": app.lifespan} if named else {}
    copied = App(app.name, clock=clock, **terms)
    for name, handler in app.handlers.items():
        if name in app.sagas:
            copied.add_saga(app.sagas[name])
        else:
            keep = real is None or name in named
            copied.add(handler if keep else replies.scripted(handler))
    return copied


def _life(saga: Saga[SagaState], stored: StoredSaga) -> Life:
    timers = {name: datetime.fromisoformat(armed["at"]) for name, armed in stored.timers.items()}
    return Life(
        id=stored.id, key=stored.key, state=saga.read(stored.state, stored.state_version),
        version=stored.version, ended=stored.ended_at is not None, parked_why=stored.parked_why,
        timers=timers,
    )  # fmt: skip
