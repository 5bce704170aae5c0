"""The commands about what needs a person: dead letters, redrives, unknown outcomes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from outbox import queries_letters, queries_unknown, redrive, unknown
from outbox.cli.frame import (
    AsJson,
    current_app,
    dead_letters,
    engine,
    open_connection,
    out,
    print_json,
    print_table,
    unknowns,
)
from outbox.errors import ConfigurationError, OutboxError
from outbox.queries_letters import Selection
from outbox.unknown import Resolution  # noqa: TC001 - typer reads the annotation

if TYPE_CHECKING:
    from outbox.redrive import Redrive

Actor = Annotated[str, typer.Option("--actor", help="Who acts; kept in the audit.")]
Why = Annotated[str | None, typer.Option("--why", help="Kept in the audit; name nobody.")]
Handler = Annotated[str | None, typer.Option("--handler", help="Of one handler.")]
Group = Annotated[str | None, typer.Option("--group", "--failure-group", help="Of one group.")]
Since = Annotated[
    str | None, typer.Option("--since", help="Died since: 90m, 12h, 7d, or an instant with zone.")
]
Delivery = Annotated[list[int] | None, typer.Option("--delivery", help="One delivery; repeatable.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only count.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=10_000)]

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


@dead_letters.command(name="list")
def dead_list(  # noqa: PLR0913, PLR0917 - the options of one command
    context: typer.Context,
    group: Group = None,
    handler: Handler = None,
    since: Since = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """Dead letters, the latest first."""
    chosen = Selection(failure_group=group, handler=handler, since=_instant(context, since))

    async def find() -> list[dict[str, Any]]:
        async with open_connection() as conn:
            return await queries_letters.list_dead(conn, chosen, limit=limit)

    rows = asyncio.run(find())
    if as_json:
        print_json(rows)
        return
    table = Table("delivery", "handler", "topic", "group", "attempts", "reason", "error", "died")
    for row in rows:
        state = " (withdrawn)" if row["withdrawn_at"] else ""
        table.add_row(
            str(row["delivery_id"]), row["handler"], row["topic"], row["failure_group"],
            str(row["attempts"]), row["reason"] + state, _error(row), _second(row["died_at"]),
        )  # fmt: skip
    print_table(table, "no dead letters" + (" of these" if chosen != Selection() else ""))


@dead_letters.command(name="groups")
def dead_groups(handler: Handler = None, limit: Limit = 100, as_json: AsJson = False) -> None:
    """Dead letters by the way they failed, the biggest group first."""

    async def find() -> list[queries_letters.FailureGroup]:
        async with open_connection() as conn:
            return await queries_letters.list_groups(conn, handler=handler, limit=limit)

    groups = asyncio.run(find())
    if as_json:
        print_json(groups)
        return
    table = Table(
        "group", "letters", "handler", "reason", "error", "frame", "first", "last", "e.g."
    )
    for one in groups:
        table.add_row(
            one.failure_group, str(one.letters), one.handler, one.reason,
            _error({"error_type": one.error_type, "sqlstate": one.sqlstate}), one.frame or "-",
            _second(one.first_seen), _second(one.last_seen), str(one.sample_delivery_id),
        )  # fmt: skip
    print_table(table, "no dead letters" if handler is None else f"no dead letters of {handler}")


@dead_letters.command(name="dismiss")
def dead_dismiss(  # noqa: PLR0913, PLR0917 - the options of one command
    context: typer.Context,
    actor: Actor,
    why: Annotated[str, typer.Option("--why", help="Kept in the audit; name nobody.")],
    delivery: Delivery = None,
    group: Group = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Close dead letters for good; messages and receipts stay."""
    if (delivery is None) == (group is None):
        given = "neither" if delivery is None else "both"
        raise ConfigurationError(
            f"{given} of --delivery ID (repeatable) and --group ID was given; give one of them"
        )
    chosen = Selection(delivery_ids=_ids(delivery), failure_group=group)
    app = current_app(context)

    async def act() -> Redrive:
        async with open_connection() as conn:
            return await redrive.dismiss(conn, app, chosen, actor=actor, why=why, dry_run=dry_run)

    done = asyncio.run(act())
    _refuse_nothing(done, chosen)
    if as_json:
        print_json(done)
        return
    would = "would be " if dry_run else ""
    out().print(f"{done.found} dead letters {would}dismissed{_strangers(done)}")


@engine.command(name="redrive")
def redrive_command(  # noqa: PLR0913, PLR0917 - the options of one command
    context: typer.Context,
    actor: Actor,
    delivery: Delivery = None,
    group: Group = None,
    handler: Handler = None,
    since: Since = None,
    every: Annotated[bool, typer.Option("--all", help="Every dead letter.")] = False,
    why: Why = None,
    dry_run: DryRun = False,
    canary: Annotated[
        bool, typer.Option("--canary", help="One goes first; the rest when it was done.")
    ] = False,
    pace: Annotated[
        str | None, typer.Option("--pace", help="So many fall due each second, e.g. 20/s.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Give dead letters a new life. Mend the cause first; --dry-run counts."""
    if [bool(delivery), group is not None, handler is not None, every].count(True) != 1:
        raise ConfigurationError("give one of --delivery ID, --group ID, --handler H or --all")
    if since is not None and handler is None:
        raise ConfigurationError(
            f"--since is {since!r} and goes with --handler H alone; give that too"
        )
    chosen = Selection(
        delivery_ids=_ids(delivery), failure_group=group, handler=handler,
        since=_instant(context, since),
    )  # fmt: skip
    app, each_second = current_app(context), _per_second(pace)

    async def act() -> Redrive:
        async with open_connection() as conn:
            return await redrive.redrive(
                conn, app, chosen, actor=actor, why=why, canary=canary, pace=each_second,
                dry_run=dry_run,
            )  # fmt: skip

    done = asyncio.run(act())
    _refuse_nothing(done, chosen)
    if as_json:
        print_json(done)
        return
    for line in redrive_lines(done, canary=canary):
        out().print(line)


def redrive_lines(done: Redrive, *, canary: bool) -> list[str]:
    """What a redrive has begun, in sentences."""
    lines = [
        f"{one.handler}: {one.ready} ready, {one.withdrawn} withdrawn (refused), "
        f"{one.under_redrive} under another redrive"
        for one in done.counts
    ]
    if done.dry_run or done.operation_id is None:
        return [*lines, f"{done.found} {'would be ' * done.dry_run}redriven{_strangers(done)}"]
    rest = done.found - len(done.raised)
    lines.append(f"operation {done.operation_id}: {len(done.raised)} of {done.found} redriven now")
    if canary and done.raised:
        lines.append(
            f"delivery {done.raised[0]} is the canary; relays redrive the other {rest} when it was "
            "done, and none of them if it dies"
        )
    elif rest:
        lines.append(f"relays carry on with the other {rest}")
    return [*lines[:-1], lines[-1] + _strangers(done)]


@unknowns.command(name="list")
def unknown_list(handler: Handler = None, limit: Limit = 100, as_json: AsJson = False) -> None:
    """Deliveries held because nobody knows whether their call happened, the oldest first."""

    async def find() -> list[dict[str, Any]]:
        async with open_connection() as conn:
            return await queries_unknown.list_unknown(conn, handler=handler, limit=limit)

    rows = asyncio.run(find())
    if as_json:
        print_json(rows)
        return
    table = Table("delivery", "handler", "topic", "since", "reason", "attempts", "asked")
    for row in rows:
        asked = "-" if row["asked"] is None else f"{row['asked']} ({row['last_answer'] or 'open'})"
        table.add_row(
            str(row["delivery_id"]), row["handler"], row["topic"], _second(row["unknown_at"]),
            row["reason"], str(row["attempts"] + 1), asked,
        )  # fmt: skip
    print_table(
        table, "no unknown outcomes" if handler is None else f"no unknown outcomes of {handler}"
    )


@unknowns.command(name="resolve")
def unknown_resolve(  # noqa: PLR0913, PLR0917 - the options of one command
    context: typer.Context,
    delivery_ids: list[int],
    resolution: Annotated[Resolution, typer.Option("--as", help="What was found out.")],
    actor: Actor,
    why: Why = None,
    as_json: AsJson = False,
) -> None:
    """Settle unknowns: delivered ends them, not-delivered makes them due again."""
    app = current_app(context)

    async def act() -> set[int]:
        async with open_connection() as conn:
            return await unknown.resolve(conn, app, delivery_ids, resolution, actor=actor, why=why)

    resolved = asyncio.run(act())
    missing = sorted(set(delivery_ids) - resolved)
    if as_json:
        print_json({"resolved": sorted(resolved), "not_held": missing, "as": resolution.value})
    else:
        out().print(f"{len(resolved)} resolved as {resolution.value}")
    if missing:
        names = ", ".join(map(str, missing))
        raise OutboxError(f"not held as unknown (any more): {names}; see `outbox explain ID`")


def _refuse_nothing(done: Redrive, chosen: Selection) -> None:
    """Raise where what was named is no dead letter (any more), or no group that has one."""
    if done.counts:
        return
    if chosen.delivery_ids is not None:
        names = ", ".join(map(str, chosen.delivery_ids))
        raise OutboxError(f"no dead letter (any more): {names}; see `outbox explain ID`")
    if chosen.failure_group is not None:
        raise OutboxError(
            f"failure group {chosen.failure_group!r} has no dead letters; see `outbox dead groups`"
        )


def _ids(given: list[int] | None) -> tuple[int, ...] | None:
    return tuple(given) if given else None


def _instant(context: typer.Context, since: str | None) -> datetime | None:
    """An instant, or that long before now."""
    if since is None:
        return None
    try:
        if since[:-1].isdecimal() and since[-1] in _UNITS:
            now = current_app(context).clock.now()
            return now - timedelta(**{_UNITS[since[-1]]: int(since[:-1])})
        instant = datetime.fromisoformat(since)
    except (ValueError, OverflowError):  # no instant, or before there were any
        instant = datetime.min  # noqa: DTZ901 - refused below
    if instant.tzinfo is None:
        raise ConfigurationError(
            f"--since {since!r} is neither like 90m, 12h or 7d nor an instant with a zone, "
            "e.g. 2026-03-02T00:05:00Z"
        )
    return instant.astimezone(UTC)


def _per_second(pace: str | None) -> int | None:
    if pace is None:
        return None
    number = pace.removesuffix("/s")
    if not number.isdecimal() or int(number) < 1:
        raise ConfigurationError(f"--pace {pace!r} is not like 20/s, a whole number from 1")
    return int(number)


def _error(row: dict[str, Any]) -> str:
    state = f" {row['sqlstate']}" if row["sqlstate"] else ""
    return f"{row['error_type'] or '-'}{state}"


def _second(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"


def _strangers(done: Redrive) -> str:
    if not done.strangers:
        return ""
    return f"; left alone, for this application does not have them: {', '.join(done.strangers)}"
