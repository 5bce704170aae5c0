"""Publishing: a message joins the caller's open transaction and commits or vanishes with it (P1).

Everything that can be refused is refused before any SQL, so that the caller's transaction survives.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
import structlog
from sqlalchemy.engine import Connection as SqlConnection
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import scoped_session

from outbox import handles, queries
from outbox.errors import TransactionReadOnly
from outbox.payload import (
    PRIORITY_MAX,
    SEQUENCE_MAX,
    check_due_at,
    check_key,
    check_number,
    encode,
)
from outbox.tracing import current_headers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from outbox.handles import AsyncHandle, SyncHandle
    from outbox.message import Message

log = structlog.get_logger("outbox")


@dataclass(frozen=True, slots=True)
class PublishReceipt:
    """What became of a publish. `duplicate`: the dedup key was taken, `message_id` is the winner's.

    `deliveries` 0 on a message that is no duplicate: its topic has no route yet; it is parked and
    the relay sends it once a route exists.
    """

    message_id: int
    duplicate: bool
    deliveries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """One message and its terms, for `publish_many`. The fields are those of `publish`."""

    message: Message
    key: str | None = None
    sequence: int | None = None
    dedup_key: str | None = None
    due_at: datetime | None = None
    priority: int = 0
    correlation_id: str | None = None


def publish(  # noqa: PLR0913 - the fixed surface
    handle: SyncHandle,
    message: Message,
    *,
    key: str | None = None,
    sequence: int | None = None,
    dedup_key: str | None = None,
    due_at: datetime | None = None,
    priority: int = 0,
    correlation_id: str | None = None,
) -> PublishReceipt:
    """Publish `message` in the open transaction of `handle`; never commits.

    `key` orders deliveries of handlers that ask for it; `sequence` is a version counted under the
    lock of the row the key stands for. `dedup_key` publishes once per topic within the class's
    window. `due_at` (aware) delays it; `priority` (-100..100) is kept with the delivery, and claims
    do not look at it yet. Raises a `PublishError` before any SQL, leaving the caller's transaction
    as it was.
    """
    publication = Publication(
        message=message,
        key=key,
        sequence=sequence,
        dedup_key=dedup_key,
        due_at=due_at,
        priority=priority,
        correlation_id=correlation_id,
    )
    return publish_many(handle, [publication])[0]


async def apublish(  # noqa: PLR0913 - the fixed surface
    handle: AsyncHandle,
    message: Message,
    *,
    key: str | None = None,
    sequence: int | None = None,
    dedup_key: str | None = None,
    due_at: datetime | None = None,
    priority: int = 0,
    correlation_id: str | None = None,
) -> PublishReceipt:
    """`publish` for async handles."""
    publication = Publication(
        message=message,
        key=key,
        sequence=sequence,
        dedup_key=dedup_key,
        due_at=due_at,
        priority=priority,
        correlation_id=correlation_id,
    )
    return (await apublish_many(handle, [publication]))[0]


def publish_many(handle: SyncHandle, publications: Sequence[Publication]) -> list[PublishReceipt]:
    """Publish all in one statement; receipts come in the same order. As `publish` otherwise."""
    handles.check_sync(handle)
    rows = columns_of(publications)
    if isinstance(handle, psycopg.Connection):
        handles.check_psycopg(handle)
        found = queries.publish_sync(handle, rows) if publications else []
        return receipts_of(publications, found)
    if isinstance(handle, SqlConnection):
        connection = handle
    else:
        session = handle() if isinstance(handle, scoped_session) else handle
        handles.check_sqlalchemy_session(session)
        connection = session.connection()
    handles.check_sqlalchemy(connection)
    found = queries.publish_sqlalchemy(connection, rows) if publications else []
    return receipts_of(publications, found)


async def apublish_many(
    handle: AsyncHandle, publications: Sequence[Publication]
) -> list[PublishReceipt]:
    """`publish_many` for async handles."""
    handles.check_async(handle)
    rows = columns_of(publications)
    if isinstance(handle, psycopg.AsyncConnection):
        handles.check_psycopg(handle)
        found = await queries.publish_async(handle, rows) if publications else []
        return receipts_of(publications, found)
    if isinstance(handle, AsyncSession):
        handles.check_sqlalchemy_session(handle.sync_session)
        handle = await handle.connection()
    await handle.run_sync(handles.check_sqlalchemy)
    found = await handle.run_sync(queries.publish_sqlalchemy, rows) if publications else []
    return receipts_of(publications, found)


def columns_of(publications: Sequence[Publication]) -> dict[str, Any]:
    """What the SQL function takes, every value checked. Raises a `PublishError`."""
    headers = json.dumps(current_headers())
    columns: dict[str, list[Any]] = {name: [] for name in queries.PUBLISH_COLUMNS}
    for publication in publications:
        message = publication.message
        payload = encode(message)
        check_key("key", publication.key)
        check_key("dedup_key", publication.dedup_key)
        check_key("correlation_id", publication.correlation_id)
        check_due_at(publication.due_at)
        if publication.sequence is not None:
            check_number("sequence", publication.sequence, SEQUENCE_MAX)
        check_number("priority", publication.priority, PRIORITY_MAX)
        window: timedelta | None = (
            message.declaration.dedup_window if publication.dedup_key else None
        )
        values = (
            message.declaration.topic,
            payload,
            publication.key,
            publication.dedup_key,
            publication.due_at,
            publication.sequence,
            publication.correlation_id,
            message.declaration.version,
            headers,
            publication.priority,
            window,
        )
        for column, value in zip(columns.values(), values, strict=True):
            column.append(value)
    return columns


def receipts_of(
    publications: Sequence[Publication], found: Sequence[tuple[int | None, bool, int, str | None]]
) -> list[PublishReceipt]:
    """What the database answered. Raises `TransactionReadOnly` where it wrote nothing."""
    receipts: list[PublishReceipt] = []
    for message_id, duplicate, deliveries, _ in found:
        if message_id is None:
            raise TransactionReadOnly
        receipts.append(PublishReceipt(message_id, duplicate, deliveries))
    for publication, receipt in zip(publications, receipts, strict=True):
        if not receipt.deliveries and not receipt.duplicate:
            log.warning(
                "message.unrouted",
                topic=publication.message.declaration.topic,
                message_id=receipt.message_id,
                advice="no handler is routed for this topic; the message is parked until "
                "`outbox migrate` or a relay adds one",
            )
    return receipts
