"""The application's commands, beside the engine's: nightly work, retries, reconciliation, demo."""

from __future__ import annotations

import asyncio
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer
from rich.console import Console
from rich.table import Table

from handlers.texts import Language
from outbox.cli import AsJson, out, print_json, settings
from outbox.errors import ConfigurationError, OutboxError
from outbox.settings import load_settings
from sagas import coordinator, jobs, operator, queries, reconcile, reviews
from sagas.http.settings import ApiSettings
from sagas.nightly import nightly
from sagas.results import ALREADY_RUNNING, COMPLETED
from sagas.wiring import Application, job_parts, night_wiring, open_checked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sagas.reconcile import ReconciliationReport

commands = typer.Typer()

DRIFT_FOUND, LISTING_INCOMPLETE = 3, 4

Actor = Annotated[UUID, typer.Option("--actor", help="User id of the person who acts.")]


class Format(StrEnum):
    """How a report is written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    HTML = "html"


class Refused(OutboxError):
    """The command was understood and not carried out; nothing was changed."""


def application(context: typer.Context) -> Application:
    """The application this command belongs to."""
    app = context.find_root().obj
    assert isinstance(app, Application)
    return app


@contextmanager
def refusals_told() -> Iterator[None]:
    """Turn what the application refuses into a clear end of the command."""
    try:
        yield
    except (
        coordinator.Forbidden,
        coordinator.UnknownMentor,
        coordinator.NoChannel,
        operator.UnknownDelivery,
        reviews.UnknownReview,
        reviews.UnknownAlert,
        reviews.ClosesByItself,
    ) as error:
        raise Refused(str(error)) from error


@contextmanager
def progress_shown(title: str) -> Iterator[Callable[[str, Mapping[str, Any]], None]]:
    """Show each step on a terminal as it ends; elsewhere say nothing."""
    console = Console(file=sys.stderr)
    if not sys.stderr.isatty():
        yield lambda _stage, _facts: None
        return
    with console.status(title) as status:

        def show(stage: str, facts: Mapping[str, Any]) -> None:
            counts = ", ".join(f"{name} {value}" for name, value in facts.items() if value)
            console.print(f"  {stage}: {counts or 'nothing'}", highlight=False)
            status.update(f"{title}: after {stage}")

        yield show


@commands.command("nightly")
def nightly_command(
    context: typer.Context,
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="Instant with zone, e.g. 2026-03-02T00:05:00Z.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check credentials, pause the lapsed, sync, remind, push, check. Safe to run again."""
    instant = instant_of(as_of)
    app, dsn = application(context), settings().required_database_url()
    with progress_shown("nightly") as progress:
        report = asyncio.run(nightly(_checked_wiring(app, dsn, progress), as_of=instant))
    if as_json:
        print_json(report.as_json())
    else:
        for line in nightly_lines(report.as_json()):
            out().print(line)
    if report.outcome not in (COMPLETED, ALREADY_RUNNING):
        raise typer.Exit(1)


@commands.command("sweep")
def sweep_command(context: typer.Context, as_json: AsJson = False) -> None:
    """Pause every mentor whose required certificate has lapsed; safe to run again."""
    app, dsn = application(context), settings().required_database_url()

    async def act() -> jobs.JobRun:
        async with open_checked(dsn):
            pass
        with progress_shown("sweep") as progress:
            return await jobs.run("sweep", job_parts(app, dsn, progress))

    swept = asyncio.run(act())
    if as_json:
        print_json({"outcome": swept.outcome, **swept.summary, "failures": dict(swept.failures)})
    else:
        facts = ", ".join(f"{name} {count}" for name, count in swept.summary.items())
        out().print(facts or swept.outcome)
    if swept.failures:
        raise typer.Exit(1)


@commands.command("retry")
def retry_command(  # noqa: PLR0913, PLR0917 - the options of one command
    context: typer.Context,
    actor: Actor,
    delivery: Annotated[int | None, typer.Option("--delivery", help="One delivery.")] = None,
    mentor: Annotated[UUID | None, typer.Option("--mentor", help="A mentor's sync.")] = None,
    failure_group: Annotated[
        str | None, typer.Option("--failure-group", help="Dead letters that failed alike.")
    ] = None,
    all_dead: Annotated[bool, typer.Option("--all-dead", help="Every dead letter.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    as_json: AsJson = False,
) -> None:
    """Try again now what waits or was given up; rights are checked and the act is audited."""
    given = [delivery is not None, mentor is not None, failure_group is not None, all_dead]
    if given.count(True) != 1:
        raise ConfigurationError(
            "give one of --delivery ID, --mentor ID, --failure-group ID or --all-dead"
        )
    app = application(context)

    async def act() -> dict[str, Any]:
        async with open_checked(settings().required_database_url()) as conn:
            now = app.clock.now()
            if mentor is not None:
                if dry_run:
                    raise ConfigurationError("--dry-run does not go with --mentor")
                done = await coordinator.retry_sync(
                    conn, app=app, mentor_id=mentor, actor_id=actor, now=now
                )
                return {"made_due": done.made_due, "redriven": done.redriven, "dry_run": False,
                        "repeated": done.repeated}  # fmt: skip
            if delivery is not None:
                found = await operator.retry_delivery(
                    conn, app=app, delivery_id=delivery, actor_id=actor, now=now, dry_run=dry_run
                )
            else:
                found = await operator.retry_dead(
                    conn, app=app, actor_id=actor, now=now, dry_run=dry_run,
                    failure_group=failure_group,
                )  # fmt: skip
            return {"made_due": found.made_due, "redriven": found.redriven, "dry_run": dry_run}

    with refusals_told():
        result = asyncio.run(act())
    if as_json:
        print_json(result)
        return
    would = "would be " if result["dry_run"] else ""
    again = " (already asked for within the last minute)" if result.get("repeated") else ""
    out().print(
        f"{result['made_due']} waiting {would}made due, "
        f"{result['redriven']} dead {would}redriven{again}"
    )


@commands.command("force-sync")
def force_sync_command(
    context: typer.Context, mentor_id: UUID, actor: Actor, as_json: AsJson = False
) -> None:
    """Send a mentor's visibility again under a new version, also when nothing is pending."""
    app = application(context)

    async def act() -> coordinator.Forced:
        async with open_checked(settings().required_database_url()) as conn:
            return await coordinator.force_sync(
                conn, mentor_id=mentor_id, actor_id=actor, now=app.clock.now()
            )

    with refusals_told():
        forced = asyncio.run(act())
    if as_json:
        print_json(forced)
    else:
        out().print(f"version {forced.version} of {mentor_id} is on its way to the portal")


@commands.command("reconcile")
def reconcile_command(  # noqa: PLR0913, PLR0917 - the options of one command
    context: typer.Context,
    organisation: Annotated[
        str | None, typer.Option("--organisation", help="Code; else all with a portal.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Compare, repair nothing.")] = False,
    form: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.TABLE,
    language: Annotated[Language, typer.Option("--language", help="Of the page.")] = Language.NB,
    as_json: AsJson = False,
) -> None:
    """Compare the portal with ours; exit 0 no drift, 3 drift found, 4 listing incomplete."""
    app = application(context)
    reports = asyncio.run(
        reconcile_all(app, settings().required_database_url(), organisation, dry_run=dry_run)
    )
    match Format.JSON if as_json else form:
        case Format.JSON:
            print_json([report.model_dump(mode="json") for report in reports])
        case Format.CSV:
            for place, report in enumerate(reports):
                for row in islice(reconcile.csv_rows(report), bool(place), None):  # one header
                    typer.echo(row, nl=False)  # it ends itself
        case Format.HTML:
            from sagas.commands_reports import print_page  # noqa: PLC0415 - it stands on this one

            print_page(reports, language)
        case Format.TABLE:
            for report in reports:
                print_report(report)
    if not all(report.complete for report in reports):
        raise typer.Exit(LISTING_INCOMPLETE)
    if any(report.drift for report in reports):
        raise typer.Exit(DRIFT_FOUND)


async def reconcile_all(
    app: Application, dsn: str, code: str | None, *, dry_run: bool
) -> list[ReconciliationReport]:
    """Reconcile every organisation with a portal, or the one with `code`."""
    reports = []
    async with app.lifespan(), open_checked(dsn) as conn:
        organisations = await queries.list_organisations(conn)
        await conn.commit()
        chosen = [one for one in organisations if code in (None, one.code)]
        if not chosen:
            known = ", ".join(sorted(one.code for one in organisations))
            if not known:
                raise ConfigurationError("the database has no organisation to compare")
            raise ConfigurationError(f"no organisation has the code {code!r}; there are {known}")
        with_portal = [one for one in chosen if one.visibility_channel != "none"]
        if not with_portal:
            raise ConfigurationError("no organisation chosen has a visibility channel to compare")
        for one in with_portal:
            listing = await app.read_portal(one)
            async with conn.transaction():
                report = await reconcile.reconcile(
                    conn, listing, one, app.clock.now(), dry_run=dry_run
                )
            reports.append(report)
    return reports


def print_report(report: ReconciliationReport) -> None:
    """Print one report for a person: totals, then what differs, danger first."""
    state = "complete" if report.complete else "INCOMPLETE: the portal's listing broke off"
    totals = ", ".join(f"{name} {count}" for name, count in sorted(report.totals.items()))
    out().print(f"{report.organisation}: {state}; {totals or 'no mentors'}")
    if report.items:
        table = Table("mentor", "verdict", "ours", "portal", "public page", "action")
        for item in report.items:
            table.add_row(
                str(item.mentor_id),
                item.verdict,
                side(item.our_version, item.our_visible),
                side(item.portal_version, item.portal_visible),
                _shown(item.published_visible),
                item.action,
            )
        out().print(table)
    out().print(
        f"{report.repaired} re-sent; {len(report.duplicates)} duplicates; "
        f"{report.unknown_pushes} pushes unknown, {report.failed_pushes} failed; "
        f"{report.open_alerts} alerts open"
    )


def nightly_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """A nightly report in sentences."""
    yield f"nightly {report['outcome']}"
    checks = ", ".join(f"{name} {outcome}" for name, outcome in report["credentials"].items())
    yield f"credentials: {checks or 'not checked'}"
    yield "sweep: " + ", ".join(f"{name} {count}" for name, count in report["sweep"].items())
    for code, counts in report["reminders"].items():
        yield f"reminders {code}: " + ", ".join(f"{n} {count}" for n, count in counts.items())
    pushes = report["pushes"]
    yield (
        f"pushes: {pushes['successCount']} delivered, {pushes['failureCount']} failed or unknown, "
        f"{pushes['skippedCount']} skipped"
    )
    for stage, error in report["failures"].items():
        yield f"FAILED {stage}: {error}"


@commands.command("serve")
def serve_command(
    context: typer.Context,
    host: Annotated[str, typer.Option("--host", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535)] = 8000,
) -> None:
    """Answer people and jobs over HTTP: docs/http.md; SIGTERM finishes what is under way."""
    from sagas.http.server import serve  # noqa: PLC0415 - brings a web framework along

    app, dsn = application(context), settings().required_database_url()
    serve(app, load_settings(ApiSettings), dsn, host=host, port=port)


@commands.command("demo")
def demo_command(
    mentors: Annotated[int, typer.Option("--mentors", min=20, max=5000)] = 200,
    as_json: AsJson = False,
) -> None:
    """The whole story on a server of its own: remind, pause, break the portal, heal, reconcile."""
    from sagas.demo import run_demo  # noqa: PLC0415 - brings servers and emulators along

    raise typer.Exit(run_demo(mentors=mentors, as_json=as_json))


@commands.command("emulate")
def emulate_command(
    fcm_port: Annotated[int, typer.Option("--fcm-port", min=0, max=65535)] = 8901,
    portal_port: Annotated[int, typer.Option("--portal-port", min=0, max=65535)] = 8902,
    dataverse_port: Annotated[int, typer.Option("--dataverse-port", min=0, max=65535)] = 8903,
) -> None:
    """Serve FCM, the portal and Dataverse on loopback; print the settings to use them."""
    from sagas.emulate import serve_emulators  # noqa: PLC0415 - as above

    asyncio.run(serve_emulators(fcm_port, portal_port, dataverse_port))


def _checked_wiring(
    app: Application, dsn: str, progress: Callable[[str, Mapping[str, Any]], None]
) -> Any:
    async def look() -> None:
        async with open_checked(dsn):
            pass

    asyncio.run(look())
    return night_wiring(app, dsn, progress)


def instant_of(text: str | None) -> datetime | None:
    """The instant of `--as-of`; None for none. Raises `ConfigurationError`."""
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(
            f"--as-of {text!r} is no instant; write it like 2026-03-02T00:05:00Z"
        ) from None
    if instant.tzinfo is None:
        raise ConfigurationError(f"--as-of {text!r} has no zone; write it like {text}Z")
    return instant.astimezone(UTC)


def side(version: int | None, visible: bool | None) -> str:
    """One side of a comparison in a few words."""
    return "absent" if version is None else f"v{version} {_shown(visible)}"


def _shown(visible: bool | None) -> str:
    return {True: "visible", False: "hidden", None: "-"}[visible]
