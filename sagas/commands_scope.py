"""`outbox scope`: the emergency switch, shown and turned."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from outbox.cli import AsJson, out, print_json, settings
from outbox.errors import ConfigurationError
from sagas import scope as switch
from sagas.commands import Actor, Refused, application
from sagas.commands_frame import NO_ORGANISATION, organisation_called
from sagas.coordinator import Forbidden
from sagas.wiring import open_checked

if TYPE_CHECKING:
    from collections.abc import Sequence

scope = typer.Typer(no_args_is_help=True, help="Whom coordinators may follow up, in an emergency.")

Code = Annotated[str, typer.Argument(metavar="ORG", help="Code of the organisation, e.g. HLF.")]
Why = Annotated[str, typer.Option("--why", help="Kept in the audit log.")]


@scope.command("show")
def show_command(context: typer.Context, as_json: AsJson = False) -> None:
    """Show where coordinators may follow up every mentor, until when, and why."""
    now = application(context).clock.now()

    async def look() -> Sequence[switch.Scope]:
        async with open_checked(settings().required_database_url()) as conn:
            return await switch.scopes(conn, now=now)

    found = asyncio.run(look())
    if as_json:
        print_json(found)
        return
    if not found:
        out().print(NO_ORGANISATION)
    for one in found:
        told = "own chapters"
        if one.wide:
            told = f"EVERY MENTOR until {one.expires_at:%Y-%m-%d %H:%M} UTC: {one.reason}"
        out().print(f"{one.organisation}: {told}", markup=False)


@scope.command("widen")
def widen_command(
    context: typer.Context,
    organisation: Code,
    actor: Actor,
    why: Why,
    hours: Annotated[
        float, typer.Option("--hours", min=0.01, max=168, help="When it ends by itself.")
    ] = 24,
) -> None:
    """Let coordinators follow up every mentor of their organisation, for so many hours."""
    now = application(context).clock.now()
    until = now + timedelta(hours=hours)
    _turn(organisation, actor, why, now, until)
    out().print(f"{organisation}: every mentor until {until.astimezone(UTC):%Y-%m-%d %H:%M} UTC")
    out().print(
        "  seen through `outbox serve` and whatever may write; in a read-only transaction (a GET "
        "through PostgREST) nothing could be written down, and the switch shows nothing"
    )


@scope.command("narrow")
def narrow_command(context: typer.Context, organisation: Code, actor: Actor, why: Why) -> None:
    """Let coordinators follow up the mentors of their own chapters again, and no others."""
    _turn(organisation, actor, why, application(context).clock.now(), None)
    out().print(f"{organisation}: own chapters")


def _turn(code: str, actor: Actor, why: str, now: datetime, until: datetime | None) -> None:
    async def act() -> None:
        async with organisation_called(code) as (conn, found):
            await switch.turn(
                conn,
                organisation_id=found.id,
                actor_id=actor,
                until=until,
                reason=why,
                now=now,
            )

    try:
        asyncio.run(act())
    except switch.SwitchRefused as error:
        raise ConfigurationError(str(error)) from error
    except Forbidden as error:
        raise Refused(str(error)) from error
