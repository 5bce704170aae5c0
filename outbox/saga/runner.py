"""The runner: lock, decide, write state, timeline, timers and messages in one commit (P9).

A saga is reached through deliveries like any other DATABASE handler, so its writes commit with the
settlement of the delivery or not at all. A batch locks its instances in the order of their keys,
and makes new ones in that order; where somebody else made one at the same moment, the batch is
given up and each is run alone, so that nobody waits for an instance while holding another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from outbox.consume import VERSION_WAIT
from outbox.errors import OutboxError, PermanentFailure, TransientFailure
from outbox.handler import Attempt, Effect, Handler, Order
from outbox.outcome import Done, Outcome, Retry, Suppressed
from outbox.saga.declaration import Decision, OnMissing, Saga, SagaState, Timer
from outbox.saga.instance import Instance
from outbox.saga.messages import Compensate, DeliveryReport, SkipStep, TimedOut
from outbox.saga.postgres import PostgresStore
from outbox.saga.store import Addressed, Origin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from outbox.app import App
    from outbox.message import Message
    from outbox.queries import Conn
    from outbox.saga.store import SagaStore

S = TypeVar("S", bound=SagaState)

log = structlog.get_logger("outbox")

BATCH_MAX = 100
"""Deliveries of a saga in one transaction: as long are its instances locked."""


class StartedElsewhere(OutboxError):
    """Somebody else started an instance of this batch; each of it is run alone."""


class StateNewer(OutboxError):
    """A person's act would need a program that reads the instance's state."""


def saga_handler(saga: Saga[S], app: App) -> Handler:
    """The handler through which `saga` receives its messages, timers and reports."""

    async def call_many(
        items: Sequence[tuple[Message, Attempt]], conn: Conn
    ) -> Mapping[int, Outcome]:
        return await SagaRun(saga, PostgresStore(conn, app)).run(items)

    async def call(message: Message, attempt: Attempt, conn: Conn) -> Outcome:
        outcomes = await call_many([(message, attempt)], conn)
        return outcomes[attempt.delivery_id]

    return Handler(
        name=saga.name,
        messages=saga.messages,
        effect=Effect.DATABASE,
        call=call,
        call_many=call_many,
        order=Order.KEYED,
        batch_max=BATCH_MAX,
    )


class SagaRun:
    """Brings messages to their instances in one transaction of `store`.

    What finds no instance, or comes late, is decided, not raised.
    """

    def __init__(self, saga: Saga[Any], store: SagaStore) -> None:
        self._saga, self._store = saga, store
        self._open: dict[str, Instance] = {}

    async def run(self, items: Sequence[tuple[Message, Attempt]]) -> dict[int, Outcome]:
        """Run all in their order; outcomes by delivery."""
        keyed = [(self._key_of(message), message, attempt) for message, attempt in items]
        await self._lock(sorted({key for key, _, _ in keyed if key}))
        await self._start_missing(keyed, alone=len(items) == 1)
        outcomes = {
            attempt.delivery_id: await self._run_one(key, message, attempt)
            for key, message, attempt in keyed
        }
        await self._flush()
        return outcomes

    async def intervene(
        self, key: str, message: Message, attempt: Attempt, *, saga_id: int | None = None
    ) -> Decision[Any] | None:
        """Bring a person's act to an instance (that life of it); None where it is not open."""
        instance = await self._one(key, saga_id)
        if instance is None:
            return None
        decision = await self._decide(instance, message, attempt)
        await self._flush()
        return decision

    async def rearm(
        self,
        key: str,
        timer: Timer,
        attempt: Attempt,
        act: Mapping[str, str],
        *,
        saga_id: int | None = None,
    ) -> bool:
        """Arm a timer at a person's word, replacing one that is armed; False: it is not open."""
        instance = await self._one(key, saga_id)
        if instance is None:
            return False
        decision: Decision[Any] = Decision(
            instance.state, arm=(timer,), note="re-armed", park=instance.parked_why
        )
        await self._carry_out(instance, decision, None, attempt, act=act)
        await self._flush()
        return True

    async def _one(self, key: str, saga_id: int | None) -> Instance | None:
        await self._lock([key])
        instance = self._open.get(key)
        if instance is None or saga_id not in {None, instance.id}:
            return None
        if instance.is_newer:
            raise StateNewer("its state was stored by a newer program; use that one")
        return instance

    def _key_of(self, message: Message) -> str | None:
        match message:
            case TimedOut() | DeliveryReport():
                return message.key
            case _:
                return self._saga.key_of(message)

    async def _lock(self, keys: Sequence[str]) -> None:
        if keys:
            for stored in await self._store.lock(self._saga.name, keys):
                self._open[stored.key] = Instance.of(self._saga, stored)

    async def _start_missing(
        self, keyed: Sequence[tuple[str | None, Message, Attempt]], *, alone: bool
    ) -> None:
        starting: dict[str, Message] = {}
        for key, message, _ in keyed:
            if key and key not in self._open and type(message) in self._saga.starts:
                starting.setdefault(key, message)
        if not starting:
            return
        started = await self._start(starting)
        if started == len(starting):
            return
        if not alone:
            raise StartedElsewhere("a racing starter was there first")
        await self._lock(sorted(starting))

    async def _start(self, starting: Mapping[str, Message]) -> int:
        saga = self._saga
        states = {
            key: saga.starts[type(message)](message).model_dump_json()
            for key, message in starting.items()
        }
        made = await self._store.start(saga.name, states, state_version=saga.state_version)
        for stored in made:
            self._open[stored.key] = Instance.of(saga, stored, starter=starting[stored.key])
        return len(made)

    async def _run_one(self, key: str | None, message: Message, attempt: Attempt) -> Outcome:
        if key is None and isinstance(message, DeliveryReport):
            raise PermanentFailure("report_uncorrelated")
        if not key:
            return Suppressed("uncorrelated")
        instance = await self._instance(key, message)
        if instance is None:
            return self._missing(message)
        if (late := _of_another_life(instance, message)) is not None:
            return Suppressed(late)
        if instance.is_newer:  # a newer relay will take it
            return Retry(VERSION_WAIT, "state_newer", spent=False)
        decision = await self._decide(instance, message, attempt)
        if decision.ignored:
            return Done({"decision": "ignored", "why": decision.note, "saga_id": instance.id})
        return Done({"decision": decision.note or "moved", "saga_id": instance.id})

    async def _instance(self, key: str, message: Message) -> Instance | None:
        """The open instance that `message` finds or begins."""
        instance = self._open.get(key)
        if instance is not None and instance.ended:
            await self._flush()
            del self._open[key]
            instance = None
        if instance is None and type(message) in self._saga.starts:
            await self._start({key: message})
            instance = self._open[key]
        if instance is not None and instance.starter is not None:
            if message is not instance.starter:  # it came before the one that starts it
                return None
            instance.starter = None
        return instance

    def _missing(self, message: Message) -> Outcome:
        match self._saga.on_missing.get(type(message), OnMissing.IGNORE):
            case OnMissing.WAIT:
                raise TransientFailure("no_instance")
            case OnMissing.DEAD:
                raise PermanentFailure("no_instance")
            case _:
                return Suppressed("no_instance")

    async def _decide(
        self, instance: Instance, message: Message, attempt: Attempt
    ) -> Decision[Any]:
        decision = self._saga.react(instance.state, message, now=attempt.now)
        if not decision.ignored:
            await self._carry_out(instance, decision, message, attempt, act=_act_of(message))
        return decision

    async def _carry_out(
        self,
        instance: Instance,
        decision: Decision[Any],
        message: Message | None,
        attempt: Attempt,
        *,
        act: Mapping[str, str] | None,
    ) -> None:
        unknown = {timer.name for timer in decision.arm} - self._saga.timers
        if unknown:
            raise PermanentFailure("timer_undeclared")
        not_before = await self._take_back(instance, decision)
        if isinstance(message, TimedOut):
            instance.timers.pop(message.name, None)  # it has fired
        armed, cancelled = await self._set_timers(instance, decision, attempt)
        publications = [
            one
            if not_before is None or (one.due_at is not None and one.due_at >= not_before)
            else one._replace(due_at=not_before)
            for one in decision.publish
        ]
        published: list[int] = []
        if publications:
            origin = Origin(self._saga.name, instance.id, instance.key)
            published = await self._store.publish(origin, publications)
        is_news = decision.park not in {None, instance.parked_why}
        instance.move(
            decision,
            topic=topic_told(message),
            message_id=attempt.message_id or None,
            published=tuple(published),
            armed=armed,
            cancelled=tuple(cancelled),
            act=act,
        )
        if is_news:
            log.error(
                "saga.parked", saga=self._saga.name, saga_id=instance.id, reason=decision.park
            )

    async def _take_back(self, instance: Instance, decision: Decision[Any]) -> datetime | None:
        """Withdraw and revoke; until when something revoked may still be in flight."""
        if not decision.withdraw and not decision.revoke:
            return None
        await self._flush()  # what this transaction has published counts too
        if decision.withdraw:
            ids = await self._store.published(instance.id, decision.withdraw)
            await self._store.withdraw(ids, reason="withdrawn_by_saga")
        if not decision.revoke:
            return None
        ids = await self._store.published(instance.id, decision.revoke)
        return await self._store.revoke(ids, reason="revoked_by_saga")

    async def _set_timers(
        self, instance: Instance, decision: Decision[Any], attempt: Attempt
    ) -> tuple[dict[str, str], list[str]]:
        timers = instance.timers
        renewed = {timer.name for timer in decision.arm}
        gone = set(timers) if decision.end else {*decision.cancel, *renewed} & set(timers)
        if gone:
            ids = [timers[name]["message_id"] for name in sorted(gone)]
            await self._store.withdraw(ids, reason="timer_cancelled")
            for name in gone:
                del timers[name]
        armed: dict[str, str] = {}
        for timer in () if decision.end else decision.arm:
            generation = instance.version + 1
            timed_out = TimedOut(
                saga_id=instance.id, key=instance.key, name=timer.name, generation=generation
            )
            message_id = await self._store.address(
                Addressed(
                    handler=self._saga.name,
                    message=timed_out,
                    key=instance.key,
                    correlation_id=attempt.correlation_id,
                    causation_id=attempt.message_id or None,
                    due_at=timer.at,
                )
            )
            at = timer.at.isoformat()
            timers[timer.name] = {"generation": generation, "message_id": message_id, "at": at}
            armed[timer.name] = at
        return armed, sorted(gone - renewed)

    async def _flush(self) -> None:
        """Store what has moved since the last time."""
        moved = [one for one in self._open.values() if one.transitions]
        if moved:
            transitions = [line for one in moved for line in one.transitions]
            await self._store.save([one.change() for one in moved], transitions)
            for one in moved:
                one.flushed()


def _of_another_life(instance: Instance, message: Message) -> str | None:
    """Why an addressed message is not for this life of the instance; None: it is."""
    match message:
        case TimedOut(saga_id=saga_id, name=name, generation=generation):
            armed = instance.timers.get(name)
            if saga_id != instance.id or armed is None or armed["generation"] != generation:
                return "stale_timer"
        case DeliveryReport(saga_id=int(saga_id)) if saga_id != instance.id:
            return "earlier_life"
        case _:
            pass
    return None


def _act_of(message: Message) -> Mapping[str, str] | None:
    """Who acts, and why, where a person does."""
    match message:
        case SkipStep(step=step, why=why, actor=actor):
            return {"actor": actor, "why": why, "step": step}
        case Compensate(why=why, actor=actor):
            return {"actor": actor, "why": why}
        case _:
            return None


def topic_told(message: Message | None) -> str:
    """What the timeline calls a message that came in; None: a person re-armed a timer."""
    match message:
        case None:
            return "person:re-arm"
        case SkipStep():
            return "person:skip"
        case Compensate():
            return "person:compensate"
        case TimedOut():
            return f"timer:{message.name}"
        case DeliveryReport():
            return f"report:{message.topic_of}:{message.report}"
        case _:
            return type(message).declaration.topic
