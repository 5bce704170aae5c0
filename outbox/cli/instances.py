"""The commands about saga instances: look at them, and what a person may do to one."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from outbox.cli.frame import (
    FAILED,
    AsJson,
    current_app,
    open_connection,
    out,
    print_json,
    print_table,
    sagas,
)
from outbox.errors import OutboxError, UsageError
from outbox.saga import persons, queries, stored
from outbox.saga.declaration import Timer
from outbox.saga.postgres import PostgresStore
from outbox.saga.story import lines_of, tell_story

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from outbox.saga.declaration import Saga

Actor = Annotated[str, typer.Option("--actor", help="Who does it; kept in the timeline.")]
Why = Annotated[str, typer.Option("--why", help="Kept in the timeline.")]


@sagas.command(name="list")
def saga_list(
    name: Annotated[str | None, typer.Option("--name", help="Only instances of this saga.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000)] = 50,
    as_json: AsJson = False,
) -> None:
    """Saga instances, the ones changed last first."""

    async def find() -> list[dict[str, Any]]:
        async with open_connection() as conn:
            return await queries.list_sagas(conn, name=name, limit=limit)

    rows = asyncio.run(find())
    if as_json:
        print_json(rows)
        return
    table = Table("id", "saga", "key", "version", "changed", "stands")
    for row in rows:
        ended = f"ended {row['ended_at']:%Y-%m-%d %H:%M:%S}" if row["ended_at"] else "open"
        table.add_row(
            str(row["id"]),
            row["name"],
            row["key"],
            str(row["version"]),
            f"{row['changed_at']:%Y-%m-%d %H:%M:%S}",
            f"waits for a person: {row['parked_why']}" if row["parked_why"] else ended,
        )
    print_table(table, "no instances" if name is None else f"no instances of {name}")


@sagas.command(name="show")
def saga_show(context: typer.Context, saga_id: int, as_json: AsJson = False) -> None:
    """One instance with its timeline: what came, what changed, what went out and came of it."""

    async def find() -> dict[str, Any] | None:
        async with open_connection() as conn:
            return await tell_story(conn, current_app(context), saga_id)

    story = asyncio.run(find())
    if story is None:
        raise OutboxError(f"there is no saga {saga_id}; `outbox saga list` shows what there is")
    if as_json:
        print_json(story)
        return
    for line in lines_of(story):
        out().print(line, markup=False, soft_wrap=True)


@sagas.command(name="lint")
def saga_lint(
    context: typer.Context,
    sample: Annotated[
        int, typer.Option("--sample", min=1, help="Instances of each saga and state version.")
    ] = 200,
    as_json: AsJson = False,
) -> None:
    """Run this program over a sample of stored instances; exit 1 if it cannot follow one."""

    async def run() -> tuple[int, list[stored.Finding]]:
        async with open_connection() as conn:
            return await stored.lint(conn, current_app(context).sagas, per_version_max=sample)

    looked, findings = asyncio.run(run())
    if as_json:
        print_json({"looked_at": looked, "findings": findings})
    else:
        for one in findings:
            where = f"{one.saga} {one.saga_id} (state version {one.state_version})"
            out().print(f"{where}: {one.problem}", markup=False, soft_wrap=True)
        out().print(f"{looked} instances looked at, {len(findings)} findings")
    if findings:
        raise typer.Exit(FAILED)


@sagas.command(name="re-arm")
def saga_rearm(  # noqa: PLR0913, PLR0917 - the options of one command
    context: typer.Context,
    saga_id: int,
    timer: str,
    at: Annotated[str, typer.Option("--at", help="ISO 8601 with a zone: 2026-03-01T08:00:00Z.")],
    actor: Actor,
    why: Why = "by hand",
) -> None:
    """Let a timer of an instance come due at another time, armed or not."""
    instant = _instant(at)

    async def act(store: PostgresStore, saga: Saga[Any], key: str) -> str:
        now = current_app(context).clock.now()
        await persons.rearm(
            store, saga, key, timer=Timer(timer, instant), actor=actor, why=why, now=now,
            saga_id=saga_id,
        )  # fmt: skip
        return f"timer {timer} comes due at {instant:%Y-%m-%d %H:%M:%S %Z}"

    _act(context, saga_id, act)


@sagas.command(name="skip")
def saga_skip(context: typer.Context, saga_id: int, step: str, why: Why, actor: Actor) -> None:
    """Let an instance go on without the step it stands at."""

    async def act(store: PostgresStore, saga: Saga[Any], key: str) -> str:
        now = current_app(context).clock.now()
        return await persons.skip_step(
            store, saga, key, step=step, why=why, actor=actor, now=now, saga_id=saga_id
        )

    _act(context, saga_id, act)


@sagas.command(name="compensate")
def saga_compensate(context: typer.Context, saga_id: int, why: Why, actor: Actor) -> None:
    """Let an instance undo what it has done; one that is parked tries its undo again."""

    async def act(store: PostgresStore, saga: Saga[Any], key: str) -> str:
        now = current_app(context).clock.now()
        return await persons.compensate(
            store, saga, key, why=why, actor=actor, now=now, saga_id=saga_id
        )

    _act(context, saga_id, act)


def _act(
    context: typer.Context,
    saga_id: int,
    act: Callable[[PostgresStore, Saga[Any], str], Awaitable[str]],
) -> None:
    app = current_app(context)

    async def run() -> str:
        async with open_connection() as conn:
            found = await queries.show_saga(conn, saga_id)
            if found is None:
                raise OutboxError(
                    f"there is no saga {saga_id}; `outbox saga list` shows what there is"
                )
            name, key = found[0]["name"], found[0]["key"]
            if name not in app.sagas:
                raise UsageError(f"this program has no saga {name!r}, of which {saga_id} is one")
            return await act(PostgresStore(conn, app), app.sagas[name], key)

    typer.echo(f"saga {saga_id}: {asyncio.run(run())}")


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise UsageError(f"--at is {text!r}; give ISO 8601 with a zone, as 2026-03-01T08:00:00Z")
    return instant
