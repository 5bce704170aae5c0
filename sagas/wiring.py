"""What the application's commands are given: the engine's `App` and the parts only they use."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol

import psycopg
from psycopg import AsyncConnection

import schema.migrations
from outbox import App, Relay
from outbox.dsn import where
from outbox.errors import DatabaseUnreachable
from outbox.health import check_credentials
from outbox.readiness import check_history, check_revision, connect
from sagas import queries_access
from sagas.availability import tell_availability
from sagas.jobs import Parts
from sagas.nightly import Wiring

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager
    from datetime import timedelta

    from pydantic import SecretStr

    from sagas.break_glass import Hands
    from sagas.reconcile import Listing
    from sagas.run import Organisation

SYNC_HANDLERS: Final = ("portal", "portal_read", "mentor_state", "visibility", "alerts")
PUSH_HANDLERS: Final = ("in_app", "fcm", "alerts")


class ByHand(Protocol):
    """Opens a way to a portal with credentials of the moment."""

    def opened(
        self, channel: str, credentials: Mapping[str, str]
    ) -> AbstractAsyncContextManager[Hands]:
        """A way to the portal of `channel`. Raises KeyError where it has no address."""
        ...


class Application(App):
    """The engine's application, the portal's listing and the way to a portal by hand."""

    read_portal: Callable[[Organisation], Awaitable[Listing]]
    by_hand: ByHand
    hook_secret: Callable[[], SecretStr | None]
    records_kept_for: timedelta


@asynccontextmanager
async def open_checked(dsn: str) -> AsyncIterator[AsyncConnection[Any]]:
    """A connection to a migrated database; what is done in it commits at the end."""
    async with await connect(dsn) as conn:
        await check_revision(conn)
        await conn.commit()
        await check_history(schema.migrations, dsn)
        yield conn


def job_parts(
    app: Application,
    dsn: str,
    progress: Callable[[str, Mapping[str, Any]], None],
    *,
    stop: asyncio.Event | None = None,
) -> Parts:
    """What the scheduled jobs are given, over the database at `dsn`."""

    async def read(organisation: Organisation) -> Listing:
        async with app.lifespan():
            return await app.read_portal(organisation)

    return Parts(night_wiring(app, dsn, progress, stop=stop), read)


def night_wiring(
    app: Application,
    dsn: str,
    progress: Callable[[str, Mapping[str, Any]], None],
    *,
    stop: asyncio.Event | None = None,
) -> Wiring:
    """What a nightly run or a sweep is given, over the database at `dsn`.

    Once `stop` is set a drain ends with what it has in hand; relays deliver the rest.
    """

    async def drain(handlers: tuple[str, ...]) -> int:
        relay = Relay(app, dsn, only=handlers)
        async with relay.opened():
            return await relay.drain(stop, overlapping=True)

    async def check() -> Mapping[str, str]:
        return await check_and_record(app, dsn)

    @asynccontextmanager
    async def opened() -> AsyncIterator[AsyncConnection[Any]]:
        try:
            async with await AsyncConnection.connect(dsn) as conn:
                yield conn
        except psycopg.errors.ConnectionTimeout as error:
            raise DatabaseUnreachable(where(dsn), "it did not answer in time") from error

    return Wiring(
        connect=opened,
        drain=drain,
        clock=app.clock.now,
        sync_handlers=SYNC_HANDLERS,
        push_handlers=PUSH_HANDLERS,
        check_credentials=check,
        progress=progress,
        records_kept_for=app.records_kept_for,
    )


async def check_and_record(app: Application, dsn: str) -> Mapping[str, str]:
    """Check every integration's credentials and keep what was found (CRD-1)."""
    checks = await check_credentials(app, dsn)
    async with await connect(dsn) as conn:
        for one in checks:
            await queries_access.insert_credential_check(
                conn,
                integration=one.handler,
                checked_at=app.clock.now(),
                outcome=one.outcome,
                reason=one.reason,
                hint=one.hint,
            )
        await tell_availability(conn, {one.handler: one.reason for one in checks})
    return {one.handler: one.outcome for one in checks}
