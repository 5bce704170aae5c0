"""Telling sagas how deliveries ended, in the commit that ended them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from outbox.handler import receipt_of
from outbox.message import Message
from outbox.outcome import (
    AnyOutcome,
    Dead,
    Done,
    Retry,
    Superseded,
    Suppressed,
    Unknown,
    outcome_reason,
)
from outbox.saga.messages import DeliveryReport, Report
from outbox.saga.store import Addressed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from outbox.app import App
    from outbox.handler import Settled
    from outbox.queries import Conn
    from outbox.saga.declaration import Saga
    from outbox.saga.store import Origin, SagaStore

log = structlog.get_logger("outbox")


class UnreadableMessage(Message, topic="outbox.unreadable"):
    """Stands for a message whose payload its own class refuses."""


async def report_deliveries(conn: Conn, app: App, settled: Sequence[Settled]) -> None:
    """Publish a report to each saga that watches a topic, in the settling transaction."""
    if app.sagas and any(app.watchers(one.topic) for one in settled):
        from outbox.saga.postgres import PostgresStore  # noqa: PLC0415 - it builds on this module

        await tell_sagas(PostgresStore(conn, app), app.sagas, settled)


async def tell_sagas(
    store: SagaStore, sagas: Mapping[str, Saga[Any]], settled: Sequence[Settled]
) -> None:
    """Address a report on each settlement to the instance it concerns, of every saga that asks."""
    wanted = [
        (one, saga, kind)
        for one in settled
        if (kind := report_of(one.outcome, one.attempt)) is not None
        and not isinstance(one.message, UnreadableMessage)
        for saga in sagas.values()
        # that it took the message itself is no news to it
        if kind in saga.watches.get(one.topic, ()) and one.handler != saga.name
    ]
    if not wanted:
        return
    origins = await store.origins(sorted({one.message_id for one, _, _ in wanted}))
    for one, saga, kind in wanted:
        origin = origins.get(one.message_id)
        if origin is not None and origin.name != saga.name:
            origin = None
        key = _key(saga, one, origin)
        if key == "":
            continue  # it concerns no instance
        report = DeliveryReport(
            key=key, topic_of=one.topic, version_of=type(one.message).declaration.version,
            handler=one.handler, delivery_id=one.delivery_id, report=kind,
            reason=outcome_reason(one.outcome), attempt=one.attempt,
            receipt=dict(receipt_of(one.outcome) or {}),
            payload=one.message.model_dump(mode="json"),
            saga_id=None if origin is None else origin.saga_id,
        )  # fmt: skip
        await store.address(
            Addressed(
                handler=saga.name,
                message=report,
                key=key or one.key,
                correlation_id=one.correlation_id,
                causation_id=one.message_id,
            )
        )


def _key(saga: Saga[Any], one: Settled, origin: Origin | None) -> str | None:
    """Whom a report is for: "" nobody, None where `correlate` broke (its dead letter tells)."""
    if origin is not None:
        return origin.key
    try:
        return saga.key_of(one.message) or ""
    except Exception as error:  # noqa: BLE001 - it must not break another handler's settlement
        log.error(  # noqa: TRY400 - a foreign error's text quotes values
            "saga.correlation_failed",
            saga=saga.name,
            topic=one.topic,
            message_id=one.message_id,
            error_type=type(error).__name__,
        )
        return None


def report_of(  # noqa: PLR0911 - one line per outcome
    outcome: AnyOutcome, attempt: int
) -> Report | None:
    """The report that an outcome is; None where there is nothing to tell."""
    match outcome:
        case Done():
            return Report.DONE
        case Suppressed():
            return Report.SUPPRESSED
        case Superseded():
            return Report.SUPERSEDED
        case Dead():
            return Report.DEAD
        case Unknown():
            return Report.UNKNOWN
        case Retry(spent=True) if attempt == 1:
            return Report.FIRST_FAILURE
        case _:
            return None
