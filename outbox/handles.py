"""The caller's connection or session, looked at before any SQL is sent through it.

A handle is refused while the caller's transaction can still survive it (P1): wrong kind,
autocommit, failed, read-only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy.engine import Connection as SqlConnection
from sqlalchemy.ext.asyncio import AsyncConnection as SqlAsyncConnection
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, scoped_session

from outbox.errors import AutocommitHandle, HandleUnusable, TransactionFailed, TransactionReadOnly

if TYPE_CHECKING:
    from typing import TypeAlias

SyncHandle: TypeAlias = "Session | scoped_session[Any] | SqlConnection | psycopg.Connection[Any]"
AsyncHandle: TypeAlias = "AsyncSession | SqlAsyncConnection | psycopg.AsyncConnection[Any]"

SYNC_KINDS = "a SQLAlchemy Session or Connection, or a psycopg Connection"
ASYNC_KINDS = "a SQLAlchemy AsyncSession or AsyncConnection, or a psycopg AsyncConnection"

# tuples made once: a union of types in the call would be put together at each publish
_SYNC = (psycopg.Connection, Session, SqlConnection, scoped_session)
_ASYNC = (psycopg.AsyncConnection, AsyncSession, SqlAsyncConnection)
_PSYCOPG = (psycopg.Connection, psycopg.AsyncConnection)


def check_sync(handle: object) -> None:
    """Raise `HandleUnusable` unless `publish` can take `handle`."""
    if isinstance(handle, _SYNC):
        return
    if isinstance(handle, _ASYNC):
        raise HandleUnusable(
            f"an async handle ({type(handle).__name__})",
            "await apublish(...) instead of publish(...)",
        )
    raise HandleUnusable(f"a {type(handle).__name__}", f"give {SYNC_KINDS}")


def check_async(handle: object) -> None:
    """Raise `HandleUnusable` unless `apublish` can take `handle`."""
    if isinstance(handle, _ASYNC):
        return
    if isinstance(handle, _SYNC):
        raise HandleUnusable(
            f"a sync handle ({type(handle).__name__})", "call publish(...) instead of apublish(...)"
        )
    raise HandleUnusable(f"a {type(handle).__name__}", f"give {ASYNC_KINDS}")


def check_psycopg(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    """Raise where the transaction on a psycopg connection could not carry a message."""
    status = connection.pgconn.transaction_status
    if status == TransactionStatus.INERROR:
        raise TransactionFailed
    if connection.autocommit and status == TransactionStatus.IDLE:
        raise AutocommitHandle
    if connection.read_only:
        raise TransactionReadOnly


def check_sqlalchemy_session(session: Session) -> None:
    """Raise where a session has failed and waits for its rollback."""
    if not session.is_active:
        raise TransactionFailed


def check_sqlalchemy(connection: SqlConnection) -> None:
    """Raise where the transaction on a SQLAlchemy connection could not carry a message."""
    if connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
        # asked of the options, not of the server: no SQL before the checks are done
        raise AutocommitHandle
    transaction = connection.get_nested_transaction() or connection.get_transaction()
    if transaction is not None and not transaction.is_active:
        raise TransactionFailed
    driver = connection.connection.driver_connection
    if not isinstance(driver, _PSYCOPG):
        given = (
            f"a SQLAlchemy connection over {connection.dialect.name}+{connection.dialect.driver}"
        )
        raise HandleUnusable(given, "make the engine with postgresql+psycopg:// (psycopg 3)")
    check_psycopg(driver)
