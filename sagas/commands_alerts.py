"""`outbox alerts`: what is alerted and open, and closing what only a person can."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID  # noqa: TC003 - typer reads it

import typer
from rich.markup import escape
from rich.table import Table

from outbox.cli import AsJson, out, print_json, settings
from sagas import queries_reviews, reviews
from sagas.commands import Actor, application, refusals_told
from sagas.commands_frame import one_called
from sagas.wiring import open_checked

if TYPE_CHECKING:
    from sagas.queries_reviews import OpenAlert

alerts = typer.Typer(no_args_is_help=True, help="What is alerted, and what people must close.")


@alerts.command("list")
def list_command(
    organisation: Annotated[
        str | None,
        typer.Option("--organisation", help="Code of one; else all, and the operators'."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Show at most.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Show every open alert, the most severe first, and what closes it."""

    async def look() -> list[OpenAlert]:
        async with open_checked(settings().required_database_url()) as conn:
            chosen = None if organisation is None else (await one_called(conn, organisation)).id
            return await queries_reviews.alerts_open(conn, limit=limit, organisation_id=chosen)

    found = asyncio.run(look())
    if as_json:
        print_json({"open": found[0].of if found else 0, "alerts": [*map(_document, found)]})
        return
    if not found:
        out().print("no alert is open")
        return
    table = Table("alert", "severity", "organisation", "type", "about", "open since", "closes")
    table.columns[0].no_wrap = True  # it is copied into the next command
    for each in found:
        by_a_person = reviews.closed_by_a_person(each.type, each.subject)
        table.add_row(
            str(each.alert_id),
            each.severity,
            each.organisation or "all",
            each.type,
            escape(each.subject + (f" ({each.hint})" if each.hint else "")),
            f"{each.opened_at:%Y-%m-%d %H:%M}",
            "by a person" if by_a_person else "by itself",
        )
    out().print(table)
    if found[0].of > len(found):
        out().print(f"the first {len(found)} of {found[0].of}; --limit shows more")


@alerts.command("close")
def close_command(
    context: typer.Context,
    alert_id: UUID,
    actor: Actor,
    note: Annotated[str, typer.Option("--note", help="What was done about it; name no people.")],
) -> None:
    """Close an alert whose cause a person has mended; the others close by themselves."""
    app = application(context)

    async def act() -> None:
        async with open_checked(settings().required_database_url()) as conn:
            await reviews.close_alert(
                conn, alert_id, actor_id=actor, note=note, now=app.clock.now()
            )

    with refusals_told():
        asyncio.run(act())
    out().print(f"{alert_id} is closed")


def _document(each: OpenAlert) -> dict[str, Any]:
    by_a_person = reviews.closed_by_a_person(each.type, each.subject)
    shown = {name: value for name, value in asdict(each).items() if name != "of"}
    return {**shown, "closed_by_a_person": by_a_person}
