"""The six kinds of handle a caller may publish through, made alike for one test of all."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from sqlalchemy import create_engine, pool, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from outbox import apublish, apublish_many, publish, publish_many
from outbox.dsn import sqlalchemy_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from outbox import Message, Publication, PublishReceipt

SYNC = ("psycopg Connection", "SQLAlchemy Connection", "SQLAlchemy Session")
ASYNC = ("psycopg AsyncConnection", "SQLAlchemy AsyncConnection", "SQLAlchemy AsyncSession")
KINDS = SYNC + ASYNC


@dataclass
class Door:
    """A handle inside an open transaction of the caller's."""

    handle: Any
    run: Callable[[str], Awaitable[Any]]
    commit: Callable[[], Awaitable[None]]
    rollback: Callable[[], Awaitable[None]]

    async def publish(self, message: Message, **terms: Any) -> PublishReceipt:
        """Publish with the call that fits the handle."""
        found = publish_of(self.handle)(self.handle, message, **terms)
        receipt: PublishReceipt = await found if hasattr(found, "__await__") else found
        return receipt

    async def change(self) -> None:
        """The caller's own change, which the message must share the fate of."""
        await self.run("insert into effect (delivery_id, note) values (0, 'mine')")

    async def survives(self) -> bool:
        """Whether the caller's transaction still takes statements."""
        await self.run("select 1")
        return True


def publish_of(handle: object) -> Callable[..., Any]:
    """`publish` or `apublish`, by the handle's kind."""
    return apublish if "Async" in type(handle).__name__ else publish


async def many_of(door: Door, publications: list[Publication]) -> list[PublishReceipt]:
    """Publish all with the call that fits the door's handle."""
    if "Async" in type(door.handle).__name__:
        return await apublish_many(door.handle, publications)
    return publish_many(door.handle, publications)


@asynccontextmanager
async def opened(kind: str, dsn: str) -> AsyncIterator[Door]:
    """A door of `kind` with a transaction open, as the caller's own statement would leave it."""
    if kind.startswith("psycopg"):
        async with _psycopg(kind, dsn) as door:
            yield door
    elif "Async" in kind:
        async with _sqlalchemy_async(kind, dsn) as door:
            yield door
    else:
        engine = create_engine(sqlalchemy_url(dsn), poolclass=pool.NullPool)
        with Session(engine) if "Session" in kind else engine.connect() as handle:
            yield _awaitable(handle, lambda statement: handle.execute(text(statement)))
        engine.dispose()


@asynccontextmanager
async def _psycopg(kind: str, dsn: str) -> AsyncIterator[Door]:
    if "Async" in kind:
        async with await psycopg.AsyncConnection.connect(dsn) as conn:
            yield Door(conn, conn.execute, conn.commit, conn.rollback)
            await conn.rollback()
        return
    with psycopg.connect(dsn) as connection:
        yield _awaitable(connection, connection.execute)
        connection.rollback()


@asynccontextmanager
async def _sqlalchemy_async(kind: str, dsn: str) -> AsyncIterator[Door]:
    engine = create_async_engine(sqlalchemy_url(dsn), poolclass=pool.NullPool)
    async with AsyncSession(engine) if "Session" in kind else engine.connect() as handle:

        async def run(statement: str) -> Any:
            return await handle.execute(text(statement))

        yield Door(handle, run, handle.commit, handle.rollback)
    await engine.dispose()


def _awaitable(handle: Any, execute: Callable[[str], Any]) -> Door:
    async def run(statement: str) -> Any:
        return execute(statement)

    async def commit() -> None:
        handle.commit()

    async def rollback() -> None:
        handle.rollback()

    return Door(handle, run, commit, rollback)
