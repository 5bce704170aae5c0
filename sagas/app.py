"""Puts the application together: handlers, sagas, schema and commands become one `outbox.App`.

The one module of this package that knows the handlers' insides: ports meet their adapters here, by
constructor (ARC-4), and commands, jobs and tests get the same whole.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import schema.migrations
import schema.shim
from handlers.addresses import kept_private
from handlers.alerts import AlertHandler, announce_credentials
from handlers.by_hand import ByHand
from handlers.commands import PushRequested
from handlers.fcm import (
    FcmClient,
    PostgresPushStore,
    PushHandler,
    ServiceAccountGrant,
    parse_service_account,
    read_service_account,
)
from handlers.http import PostClient, ReopeningTransport, client_over
from handlers.in_app import InAppHandler
from handlers.mentor_state import MentorStateHandler
from handlers.portal import PortalHandler, ReadBackHandler
from handlers.ports import visibility_ports
from handlers.settings import ApplicationSettings, Newest
from handlers.token_provider import TokenProvider
from handlers.vault import Vault
from outbox.clock import SystemClock
from outbox.errors import ConfigurationError, CredentialsRejected, SchemaError
from outbox.settings import load_settings
from sagas import dispatches as _dispatches  # noqa: F401 - it adds its command
from sagas import doctor
from sagas.commands import commands
from sagas.commands_alerts import alerts
from sagas.commands_emergency import break_glass_command
from sagas.commands_jobs import job_commands
from sagas.commands_policy import policy
from sagas.commands_prompts import prompt_commands
from sagas.commands_reports import devices, duplicates
from sagas.commands_scope import scope
from sagas.http.settings import ApiSettings
from sagas.reconcile import Listing
from sagas.status_notices import StatusNotices
from sagas.sweeping import Sweeping
from sagas.verdicts import PortalRow
from sagas.visibility import VISIBILITY
from sagas.wiring import Application

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping

    import httpx
    from pydantic import SecretStr

    from handlers.portal import VisibilityPort
    from outbox.clock import Clock
    from sagas.run import Organisation

GOOGLE_TOKEN_URL: Final = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
_TIMEOUT: Final = timedelta(seconds=15)

commands.add_typer(policy, name="policy")
commands.command("break-glass")(break_glass_command)
commands.add_typer(job_commands, name="jobs")
commands.add_typer(prompt_commands, name="prompts")
commands.add_typer(alerts, name="alerts")
commands.add_typer(duplicates, name="duplicates")
commands.add_typer(devices, name="devices")
commands.add_typer(scope, name="scope")


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


def build_app(
    settings: ApplicationSettings,
    *,
    clock: Clock | None = None,
    reread: Callable[[], ApplicationSettings] | None = None,
) -> Application:
    """The application over `settings`; `clock` is the one clock of everything it does.

    What is not configured is told when it is first needed, never at import. `reread` reads the
    settings again where the `.env` file changed, for secrets that are replaced without a restart.
    """
    clock = clock or SystemClock()
    vault = None
    if settings.vault_database_url is not None:
        vault = Vault(settings.vault_database_url, now=clock.now)
    newest = Newest(settings, reread, vault=vault)
    transports = [ReopeningTransport(connections_max=2), ReopeningTransport(connections_max=8)]
    token_http, portal_http = (client_over(transport, timeout=_TIMEOUT) for transport in transports)
    pushes = PostClient(timeout=_TIMEOUT, connections_max=settings.fcm_concurrency + 2)

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        try:
            yield
        finally:
            for transport in transports:
                await transport.aclose()
            await pushes.aclose()

    app = Application(
        "peer-mentor certification",
        lifespan=lifespan,
        histories=(History(),),
        commands=commands,
        clock=clock,
        settings=(ApplicationSettings, ApiSettings),
        doctor=doctor.examine,
    )
    ports = visibility_ports(newest, portal_http, clock)
    push = _push_handler(newest, pushes, token_http, clock).handler(
        PushRequested,
        floor=settings.fcm_retry_floor_seconds,
        concurrency=settings.fcm_concurrency,
    )
    app.add(InAppHandler().handler())
    app.add(replace(push, destination_changed=announce_credentials))
    app.add(PortalHandler(ports).handler())
    app.add(ReadBackHandler(ports).handler())
    app.add(AlertHandler().handler())
    app.add(MentorStateHandler().handler())
    app.add(StatusNotices().handler())
    app.add(Sweeping().handler())
    app.add_saga(VISIBILITY)
    app.read_portal = _reader(ports)
    app.by_hand = ByHand(newest, clock)
    app.hook_secret = _hook_secret(vault)
    app.records_kept_for = timedelta(days=settings.job_records_keep_days)
    return app


def _hook_secret(vault: Vault | None) -> Callable[[], SecretStr | None]:
    def held() -> SecretStr | None:
        return None if vault is None else vault.secrets().get("db_webhook_secret")

    return held


def _reader(
    ports: Mapping[str, VisibilityPort],
) -> Callable[[Organisation], Awaitable[Listing]]:
    async def read(organisation: Organisation) -> Listing:
        channel = organisation.visibility_channel
        if channel not in ports:
            raise ConfigurationError(
                f"organisation {organisation.code} has the visibility channel {channel!r}, and no "
                f"address is set for it ({', '.join(sorted(ports))} has one)"
            )
        listing = await ports[channel].listing()
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


def _push_handler(
    newest: Newest, pushes: PostClient, token_http: httpx.AsyncClient, clock: Clock
) -> PushHandler:
    def load() -> Mapping[str, str]:
        settings = newest()
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
        token_http,
        _token_url(account),
        ServiceAccountGrant(load),
        monotonic=time.monotonic,
        wall=clock.now,
    )
    client = FcmClient(
        pushes,
        tokens,
        base_url=newest().fcm_base_url,
        project_id=account.get("project_id", "not-configured"),
        now=clock.now,
    )
    hosts = newest().allowed_enrolment_hosts()
    return PushHandler(client, PostgresPushStore(), clock.now, hosts)


def _token_url(account: Mapping[str, str]) -> str:
    """Where the account says; what may not be called is refused at the first exchange."""
    try:
        return kept_private(account.get("token_uri")) or GOOGLE_TOKEN_URL
    except (ValueError, TypeError, AttributeError):
        return GOOGLE_TOKEN_URL


def __getattr__(name: str) -> Any:
    """`app`, made when it is asked for, so that wrong settings are told and not a traceback."""
    if name != "app":
        raise AttributeError(name)

    def read() -> ApplicationSettings:
        found: ApplicationSettings = load_settings(ApplicationSettings)
        return found

    made = build_app(read(), reread=read)
    globals()["app"] = made
    return made
