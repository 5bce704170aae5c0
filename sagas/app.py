"""Puts the application together: handlers, sagas, schema and commands become one `outbox.App`.

The one module of this package that knows the handlers' insides.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import schema.migrations
import schema.shim
from handlers.alerts import AlertHandler, announce_credentials
from handlers.commands import PushRequested
from handlers.fcm import (
    FcmClient,
    PostgresPushStore,
    PushHandler,
    ServiceAccountGrant,
    parse_service_account,
    read_service_account,
)
from handlers.http import ReopeningTransport, client_over
from handlers.in_app import InAppHandler
from handlers.mentor_state import MentorStateHandler
from handlers.portal import (
    AuthMode,
    EntraGrant,
    PortalAuth,
    PortalClient,
    PortalHandler,
    ReadBackHandler,
)
from handlers.settings import ApplicationSettings
from handlers.token_provider import TokenProvider
from outbox.clock import SystemClock
from outbox.errors import CredentialsRejected, SchemaError
from outbox.settings import load_settings
from sagas.commands import commands
from sagas.reconcile import Listing
from sagas.verdicts import PortalRow
from sagas.visibility import VISIBILITY
from sagas.wiring import Application

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping

    import httpx

    from handlers.portal import VisibilityPort
    from outbox.clock import Clock
    from sagas.run import Organisation

GOOGLE_TOKEN_URL: Final = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
WEBHOOK: Final = "webhook"
_TIMEOUT: Final = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class History:
    """The application's schema history, as the engine's command line asks for it."""

    version_table_schema: str = "app"
    version_table: str = "outbox_application_version"

    def upgrade(self, dsn: str, revision: str = "head") -> None:
        """Bring the tables to `revision`; a plain server gets the platform's roles first."""
        schema.migrations.upgrade(dsn, revision)

    def downgrade(self, dsn: str, revision: str) -> None:
        """Take the application's tables down to `revision`."""
        with newer_schema_told():
            schema.migrations.downgrade(dsn, revision)

    def current(self, dsn: str) -> str | None:
        """The revision the database is at."""
        return schema.migrations.current(dsn)

    def sql(self, revision: str = "head") -> str:
        """The SQL of the way up."""
        return schema.migrations.sql(revision)

    def known(self) -> list[str]:
        """Every revision this code knows, the newest first."""
        return schema.migrations.known()


@contextmanager
def newer_schema_told() -> Iterator[None]:
    """Turn the floor's refusal into one the command line tells."""
    try:
        yield
    except schema.migrations.SchemaNewerThanCode as error:
        raise SchemaError(str(error)) from error


class NotConfigured:
    """Stands for a portal whose address nobody gave: every call says so and spends no attempt."""

    def __getattr__(self, _: str) -> Any:
        """Any method of the port."""

        async def refuse(*_args: object, **_terms: object) -> Any:
            raise CredentialsRejected("portal_not_configured", "set HLF_PORTAL_BASE_URL")

        return refuse


def build_app(settings: ApplicationSettings, *, clock: Clock | None = None) -> Application:
    """The application over `settings`; `clock` is the one clock of everything it does.

    What is not configured is told when it is first needed, never at import.
    """
    clock = clock or SystemClock()
    transports = [ReopeningTransport(connections_max=16), ReopeningTransport(connections_max=8)]
    fcm_http, portal_http = (client_over(transport, timeout=_TIMEOUT) for transport in transports)

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        try:
            yield
        finally:
            for transport in transports:
                await transport.aclose()

    app = Application(
        "peer-mentor certification",
        lifespan=lifespan,
        histories=(History(),),
        commands=commands,
        clock=clock,
        settings=(ApplicationSettings,),
    )
    ports: Mapping[str, VisibilityPort] = {WEBHOOK: portal_port(settings, portal_http, clock)}
    push = _push_handler(settings, fcm_http, clock).handler(
        PushRequested, floor=settings.fcm_retry_floor_seconds
    )
    app.add(InAppHandler().handler())
    app.add(replace(push, destination_changed=announce_credentials))
    app.add(PortalHandler(ports).handler())
    app.add(ReadBackHandler(ports).handler())
    app.add(AlertHandler().handler())
    app.add(MentorStateHandler().handler())
    app.add_saga(VISIBILITY)
    app.read_portal = _reader(ports)
    return app


def _reader(
    ports: Mapping[str, VisibilityPort],
) -> Callable[[Organisation], Awaitable[Listing]]:
    async def read(organisation: Organisation) -> Listing:
        listing = await ports[organisation.visibility_channel].listing()
        rows = tuple(
            PortalRow(
                mentor_id=item.mentor_id,
                version=item.version,
                visible=item.visible,
                published_version=item.published_version,
                published_visible=item.published_visible,
                published_at=item.published_at,
            )
            for item in listing.items
        )
        return Listing(complete=listing.complete, rows=rows, snapshot_at=listing.snapshot_at)

    return read


def portal_port(
    settings: ApplicationSettings, http: httpx.AsyncClient, clock: Clock
) -> VisibilityPort:
    """The webhook adapter over `http`, or one that says what is not configured."""
    if not settings.hlf_portal_base_url:
        return NotConfigured()
    grant = EntraGrant(
        settings.hlf_portal_client_id,
        settings.hlf_portal_client_secret.get_secret_value,
        settings.hlf_portal_scope,
    )
    tokens = TokenProvider(
        http,
        settings.hlf_portal_token_url or "",
        grant,
        monotonic=time.monotonic,
        wall=clock.now,
    )
    auth = PortalAuth(
        settings.portal_auth_mode,
        None if settings.portal_auth_mode is AuthMode.HMAC else tokens,
        settings.webhook_secrets,
    )
    return PortalClient(http, settings.hlf_portal_base_url, auth, clock=clock)


def _push_handler(
    settings: ApplicationSettings, http: httpx.AsyncClient, clock: Clock
) -> PushHandler:
    def load() -> Mapping[str, str]:
        if settings.fcm_service_account_json is not None:
            return parse_service_account(settings.fcm_service_account_json.get_secret_value())
        if settings.fcm_service_account_file is None:
            raise CredentialsRejected(
                "fcm_not_configured", "set FCM_SERVICE_ACCOUNT_FILE or FCM_SERVICE_ACCOUNT_JSON"
            )
        return read_service_account(settings.fcm_service_account_file)

    try:
        account = load()
    except (CredentialsRejected, OSError, ValueError):
        account = {}  # said at the first exchange, which reads it again
    tokens = TokenProvider(
        http,
        account.get("token_uri", GOOGLE_TOKEN_URL),
        ServiceAccountGrant(load),
        monotonic=time.monotonic,
        wall=clock.now,
    )
    client = FcmClient(
        http,
        tokens,
        base_url=settings.fcm_base_url,
        project_id=account.get("project_id", "not-configured"),
        now=clock.now,
    )
    return PushHandler(client, PostgresPushStore(), clock.now)


def __getattr__(name: str) -> Any:
    """`app`, made when it is asked for, so that wrong settings are told and not a traceback."""
    if name != "app":
        raise AttributeError(name)
    made = build_app(load_settings(ApplicationSettings))
    globals()["app"] = made
    return made
