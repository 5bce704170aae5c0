"""The runner: lock, decide, write state, timeline, timers and messages in one commit (P9).

A saga is reached through deliveries like any other DATABASE handler, so its writes commit with the
settlement of the delivery or not at all.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

from outbox.consume import VERSION_WAIT
from outbox.handler import Attempt, Effect, Handler, Order
from outbox.outcome import Done, Outcome, Retry, Suppressed
from outbox.publish import apublish_many
from outbox.saga import queries
from outbox.saga.declaration import Decision, DeliveryReport, Saga, SagaState, TimedOut
from outbox.saga.reports import publish_to_handler

if TYPE_CHECKING:
    from outbox.app import App
    from outbox.message import Message
    from outbox.queries import Conn, Now
    from outbox.saga.queries import StoredSaga

S = TypeVar("S", bound=SagaState)


def saga_handler(saga: Saga[S], app: App) -> Handler:
    """The handler through which `saga` receives its messages, timers and reports."""

    async def call(message: Message, attempt: Attempt, conn: Conn) -> Outcome:
        return await run_saga(saga, message, attempt, conn, now=app.clock.sql_now())

    return Handler(
        name=saga.name,
        messages=saga.messages,
        effect=Effect.DATABASE,
        call=call,
        order=Order.KEYED,
        batch_max=100,
    )


async def run_saga(
    saga: Saga[S], message: Message, attempt: Attempt, conn: Conn, *, now: Now
) -> Outcome:
    """Bring `message` to its instance; what finds none, or comes late, is decided, not raised."""
    addressed = isinstance(message, TimedOut | DeliveryReport)
    key = message.key if isinstance(message, TimedOut | DeliveryReport) else saga.correlate(message)
    stored = await queries.lock_saga(conn, name=saga.name, key=key)
    if stored is None:
        if addressed or type(message) not in saga.starts:
            return Suppressed("no_instance")
        initial = saga.starts[type(message)](message)
        await queries.start_saga(
            conn,
            name=saga.name,
            key=key,
            state=initial.model_dump_json(),
            state_version=saga.state_version,
            now=now,
        )
        stored = await queries.lock_saga(conn, name=saga.name, key=key)
        assert stored is not None, "an instance was started, here or by a racing starter"
    if isinstance(message, TimedOut) and not _is_armed(stored, message):
        return Suppressed("stale_timer")
    if stored.state_version > saga.state_version:  # a newer relay will take it
        return Retry(VERSION_WAIT, "state_newer", spent=False)
    state = saga.read(stored.state, stored.state_version)
    decision = saga.react(state, message, now=attempt.now)
    if decision.ignored:
        return Done({"decision": "ignored", "why": decision.note, "saga_id": stored.id})
    await _commit(saga, stored, state, decision, message, attempt, conn, now)
    return Done({"decision": decision.note or "moved", "saga_id": stored.id})


def _is_armed(stored: StoredSaga, message: TimedOut) -> bool:
    armed = stored.timers.get(message.name)
    return (
        stored.id == message.saga_id
        and armed is not None
        and armed["generation"] == message.generation
    )


async def _commit(  # noqa: PLR0913, PLR0917 - one transition, all of it named
    saga: Saga[S],
    stored: StoredSaga,
    state: S,
    decision: Decision[S],
    message: Message,
    attempt: Attempt,
    conn: Conn,
    now: Now,
) -> None:
    timers, armed, cancelled = await _set_timers(
        saga, stored, decision, message, attempt, conn, now
    )
    receipts = await apublish_many(conn, decision.publish)
    if decision.withdraw:
        ids = await queries.list_published(conn, saga_id=stored.id, topics=decision.withdraw)
        await queries.withdraw_deliveries(
            conn, message_ids=ids, reason="withdrawn_by_saga", now=now
        )
    await queries.store_saga(
        conn, stored, state=decision.state.model_dump_json(), state_version=saga.state_version,
        timers=timers, ended=decision.end, now=now,
    )  # fmt: skip
    before, after = (
        json.loads(state.model_dump_json()),
        json.loads(decision.state.model_dump_json()),
    )
    change = {
        name: [before.get(name), value]
        for name, value in after.items()
        if before.get(name) != value
    }
    await queries.append_transition(
        conn, saga_id=stored.id, version=stored.version + 1, message_id=attempt.message_id,
        topic=_described(message), change={"note": decision.note, "fields": change},
        published=[r.message_id for r in receipts], armed=armed, cancelled=cancelled, now=now,
    )  # fmt: skip


async def _set_timers(  # noqa: PLR0913, PLR0917 - one transition, all of it named
    saga: Saga[S],
    stored: StoredSaga,
    decision: Decision[S],
    message: Message,
    attempt: Attempt,
    conn: Conn,
    now: Now,
) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    timers = dict(stored.timers)
    if isinstance(message, TimedOut):
        timers.pop(message.name, None)  # it has fired
    renewed = {timer.name for timer in decision.arm}
    gone = set(timers) if decision.end else {*decision.cancel, *renewed} & set(timers)
    if gone:
        ids = [timers[name]["message_id"] for name in sorted(gone)]
        await queries.withdraw_deliveries(conn, message_ids=ids, reason="timer_cancelled", now=now)
        for name in gone:
            del timers[name]
    armed: dict[str, str] = {}
    for timer in decision.arm:
        generation = stored.version + 1
        timed_out = TimedOut(
            saga_id=stored.id, key=stored.key, name=timer.name, generation=generation
        )
        message_id = await publish_to_handler(
            conn, saga.name, timed_out, key=attempt.key, correlation_id=attempt.correlation_id,
            causation_id=attempt.message_id, now=now, due_at=timer.at,
        )  # fmt: skip
        timers[timer.name] = {
            "generation": generation,
            "message_id": message_id,
            "at": timer.at.isoformat(),
        }
        armed[timer.name] = timer.at.isoformat()
    return timers, armed, sorted(gone - renewed)


def _described(message: Message) -> str:
    match message:
        case TimedOut():
            return f"timer:{message.name}"
        case DeliveryReport():
            return f"report:{message.topic_of}:{message.report}"
        case _:
            return type(message).declaration.topic
