"""`outbox duplicates` and `outbox devices`, and the page of a reconciliation."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated
from uuid import UUID  # noqa: TC003 - typer reads it

import typer
from rich.table import Table

from outbox.cli import AsJson, out, print_json, settings
from sagas import queries, queries_reconcile, reviews
from sagas.commands import Actor, application, refusals_told
from sagas.commands_frame import one_called
from sagas.devices import silent_devices
from sagas.run import zone_called
from sagas.wiring import open_checked

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo

    from sagas.devices import SilentDevice
    from sagas.queries_reviews import Review
    from sagas.reconcile import ReconciliationReport

duplicates = typer.Typer(no_args_is_help=True, help="What was told or done twice, and its review.")
devices = typer.Typer(no_args_is_help=True, help="Whom pushes will not reach for much longer.")


@duplicates.command("list")
def list_command(context: typer.Context, as_json: AsJson = False) -> None:
    """Show the duplicates nobody has reviewed yet, the first due first."""
    app = application(context)

    async def look() -> list[Review]:
        async with open_checked(settings().required_database_url()) as conn:
            return await reviews.list_open(conn, now=app.clock.now())

    found = asyncio.run(look())
    if as_json:
        print_json(found)
        return
    table = Table("alert", "organisation", "type", "what", "due", "")
    for each in found:
        due = "" if each.due_at is None else f"{each.due_at:%Y-%m-%d %H:%M}"
        late = "OVERDUE" if each.overdue else ""
        table.add_row(str(each.alert_id), each.organisation, each.type, each.subject, due, late)
    out().print(table if found else "no duplicates wait for a review")


@duplicates.command("close")
def close_command(
    context: typer.Context,
    alert_id: UUID,
    actor: Actor,
    note: Annotated[str, typer.Option("--note", help="What was found; name no people.")],
) -> None:
    """Close one with what was found; what happened twice stays where it is."""
    app = application(context)

    async def act() -> None:
        async with open_checked(settings().required_database_url()) as conn:
            await reviews.close(conn, alert_id, actor_id=actor, note=note, now=app.clock.now())

    with refusals_told():
        asyncio.run(act())
    out().print(f"{alert_id} is closed")


@devices.command("silent")
def silent_command(
    context: typer.Context,
    organisation: Annotated[
        str | None, typer.Option("--organisation", help="Code of one organisation; else all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show push addresses silent for 30 to 270 days, those that end first at the top."""
    app = application(context)

    async def look() -> list[SilentDevice]:
        async with open_checked(settings().required_database_url()) as conn:
            if organisation is not None:
                await one_called(conn, organisation)
            return await silent_devices(conn, now=app.clock.now(), code=organisation)

    found = asyncio.run(look())
    if as_json:
        print_json([device.model_dump(mode="json") for device in found])
        return
    if not found:
        out().print("no push address has been silent for 30 days or more")
        return
    table = Table("user", "organisation", "platform", "last seen", "days silent", "ends", "")
    for each in found:
        table.add_row(
            str(each.user_id),
            ", ".join(each.organisations),
            each.platform or "",
            f"{each.last_seen_at:%Y-%m-%d}",
            str(each.silent_days),
            f"{each.usable_until:%Y-%m-%d}",
            "NO OTHER DEVICE" if each.reached_by_no_other else "",
        )
    out().print(table)
    alone = len({each.user_id for each in found if each.reached_by_no_other})
    out().print(f"{len(found)} addresses; {alone} people have no device seen within 30 days")


def print_page(reports: Sequence[ReconciliationReport], language: str) -> None:
    """Print the reports as one HTML page, with the runs before them."""
    from sagas import report_page  # noqa: PLC0415 - brings a library of charts along

    async def earlier() -> dict[str, list[report_page.Run]]:
        found = {}
        async with open_checked(settings().required_database_url()) as conn:
            for one in await queries.list_organisations(conn):
                zones[one.code] = zone_called(one.timezone)
                if one.code in told:
                    runs = await queries_reconcile.drift_of_runs(
                        conn, one.id, limit=report_page.RUNS_MAX
                    )
                    found[one.code] = report_page.runs_of(runs)
        return found

    told = {report.organisation for report in reports}
    zones: dict[str, tzinfo] = {}
    runs = asyncio.run(earlier())
    typer.echo(report_page.page(reports, runs, language=language, zones=zones))
