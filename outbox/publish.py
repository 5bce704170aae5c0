"""Publishing: a message joins the caller's open transaction and commits or vanishes with it (P1).

Everything that can be refused is refused before any SQL, so that the caller's transaction survives.
"""

from __future__ import annotations

from contextlib import nullcontext
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
import structlog
from sqlalchemy.engine import Connection as SqlConnection
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import scoped_session

from outbox import handles, queries_publish
from outbox.collector import uncollected
from outbox.errors import PublishError, TransactionReadOnly
from outbox.publication import Publication, batches_of, message_params
from outbox.queries_publish import PUBLISH_MESSAGE, PUBLISH_MESSAGES
from outbox.tracing import publishing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from typing import LiteralString

    from outbox.handles import AsyncHandle, SyncHandle
    from outbox.message import Message

log = structlog.get_logger("outbox")


class PublishReceipt(NamedTuple):
    """What became of a publish. `duplicate`: the dedup key was taken, `message_id` is the winner's.

    `deliveries` 0 on a message that is no duplicate: its topic has no route yet; it is parked and
    the relay sends it once a route exists.
    """

    message_id: int
    duplicate: bool
    deliveries: int


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
    window. `due_at` (aware) delays it; a higher `priority` (-100..100) is claimed sooner, where no
    key decides. Raises a `PublishError` before any SQL, leaving the caller's transaction as it was.
    """
    handles.check_sync(handle)
    with publishing(message):
        params = message_params(
            message,
            key=key,
            sequence=sequence,
            dedup_key=dedup_key,
            due_at=due_at,
            priority=priority,
            correlation_id=correlation_id,
        )
        return receipt_of(message, _execute(handle, PUBLISH_MESSAGE, params))


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
    handles.check_async(handle)
    with publishing(message):
        params = message_params(
            message,
            key=key,
            sequence=sequence,
            dedup_key=dedup_key,
            due_at=due_at,
            priority=priority,
            correlation_id=correlation_id,
        )
        return receipt_of(message, await _aexecute(handle, PUBLISH_MESSAGE, params))


def publish_many(handle: SyncHandle, publications: Sequence[Publication]) -> list[PublishReceipt]:
    """Publish all, a thousand in one statement; receipts come in the same order.

    Ids are in the order of `publications`. Everything is checked before the first statement.
    Dedup keys are taken in that order too: two transactions that take the same ones in different
    orders wait for each other, and the server undoes one of them.
    """
    handles.check_sync(handle)
    with _publishing_many(publications):
        with uncollected():
            batches = batches_of(publications)
        found = [_execute(handle, PUBLISH_MESSAGES, params) for params in batches]
    return receipts_of(publications, found)


async def apublish_many(
    handle: AsyncHandle, publications: Sequence[Publication]
) -> list[PublishReceipt]:
    """`publish_many` for async handles."""
    handles.check_async(handle)
    with _publishing_many(publications):
        with uncollected():
            batches = batches_of(publications)
        found = [await _aexecute(handle, PUBLISH_MESSAGES, params) for params in batches]
    return receipts_of(publications, found)


def _publishing_many(publications: Sequence[Publication]) -> AbstractContextManager[None]:
    if not publications:
        return nullcontext()
    for one in publications:
        if not isinstance(one, Publication):
            msg = f"publish_many takes Publication(message=...) each, one is a {type(one).__name__}"
            raise PublishError(msg)
    return publishing(publications[0].message, len(publications))


def receipt_of(message: Message, found: tuple[Any, ...]) -> PublishReceipt:
    """What the database answered to one. Raises `TransactionReadOnly` where it wrote nothing."""
    message_id, duplicate, deliveries, _ = found
    if message_id is None:
        raise TransactionReadOnly
    if not deliveries and not duplicate:
        _warn_unrouted(message, message_id)
    return PublishReceipt(message_id, duplicate, deliveries)


def receipts_of(
    publications: Sequence[Publication], found: Sequence[tuple[Any, ...]]
) -> list[PublishReceipt]:
    """What the database answered to batches. Raises `TransactionReadOnly` as `receipt_of`."""
    receipts: list[PublishReceipt] = []
    all_routed = True
    with uncollected():
        for message_ids, duplicates, deliveries, _ in found:
            if message_ids is None:
                raise TransactionReadOnly
            receipts += map(PublishReceipt, message_ids, duplicates or repeat(False), deliveries)
            all_routed = all_routed and 0 not in deliveries
    if all_routed:
        return receipts
    for publication, receipt in zip(publications, receipts, strict=True):
        if not receipt.deliveries and not receipt.duplicate:
            _warn_unrouted(publication.message, receipt.message_id)
    return receipts


def _execute(
    handle: SyncHandle, statement: LiteralString, params: dict[str, Any]
) -> tuple[Any, ...]:
    """Run one statement on whatever `handle` is, once its transaction was looked at."""
    if isinstance(handle, psycopg.Connection):
        handles.check_psycopg(handle)
        return queries_publish.execute_sync(handle, statement, params)
    if isinstance(handle, SqlConnection):
        connection = handle
    else:
        session = handle() if isinstance(handle, scoped_session) else handle
        handles.check_sqlalchemy_session(session)
        connection = session.connection()
    handles.check_sqlalchemy(connection)
    return queries_publish.execute_sqlalchemy(connection, statement, params)


async def _aexecute(
    handle: AsyncHandle, statement: LiteralString, params: dict[str, Any]
) -> tuple[Any, ...]:
    if isinstance(handle, psycopg.AsyncConnection):
        handles.check_psycopg(handle)
        return await queries_publish.execute_async(handle, statement, params)
    if isinstance(handle, AsyncSession):
        handles.check_sqlalchemy_session(handle.sync_session)
        handle = await handle.connection()
    return await handle.run_sync(_checked_sqlalchemy, statement, params)


def _checked_sqlalchemy(
    connection: SqlConnection, statement: LiteralString, params: dict[str, Any]
) -> tuple[Any, ...]:
    handles.check_sqlalchemy(connection)
    return queries_publish.execute_sqlalchemy(connection, statement, params)


def _warn_unrouted(message: Message, message_id: int) -> None:
    log.warning(
        "message.unrouted",
        topic=message.declaration.topic,
        message_id=message_id,
        advice="no handler is routed for this topic; the message is parked until "
        "`outbox migrate` or a relay adds one",
    )
