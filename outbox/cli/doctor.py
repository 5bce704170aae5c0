"""The doctor: what goes wrong in production, why it matters and what to do."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from outbox.checkup import check_up
from outbox.cli.frame import FAILED, AsJson, current_app, engine, out, print_json, settings
from outbox.doctor import examine
from outbox.findings import Severity

if TYPE_CHECKING:
    from outbox.findings import Facts, Finding

_MIB = 1_048_576


@engine.command()
def doctor(context: typer.Context, as_json: AsJson = False) -> None:
    """Look for what goes wrong in production; exit 1 if something does."""
    loaded = settings()
    facts = asyncio.run(
        check_up(
            current_app(context), loaded.required_database_url(), listen_dsn=loaded.listen_url()
        )
    )
    findings = examine(facts)
    well = all(one.severity is Severity.NOTE for one in findings)
    if as_json:
        print_json({"ok": well, "findings": findings, **_seen(facts)})
    else:
        _print(findings, facts)
    if not well:
        raise typer.Exit(FAILED)


def _seen(facts: Facts) -> dict[str, Any]:
    """What was looked at, for whoever keeps the document."""
    server = facts.server
    return {
        "server": None if server is None else server.version,
        "database_bytes": None if server is None else server.database_bytes,
        "tables": [asdict(one) for one in facts.tables],
        "relays": [
            {"id": one.id, "version": one.version, "handlers": one.handlers} for one in facts.live
        ],
    }


def _print(findings: list[Finding], facts: Facts) -> None:
    for one in findings:
        out().print(f"{one.severity}: {one.what}")
        out().print(f"  why it matters: {one.why}")
        out().print(f"  what to do: {one.cure}")
    if not findings:
        out().print("nothing is wrong")
    if facts.server is not None:
        size = facts.server.database_bytes // _MIB
        largest = ", ".join(f"{one.name} {one.bytes // _MIB} MiB" for one in facts.tables[:4])
        tables = f"; outbox: {largest}" if largest else ""
        out().print(f"PostgreSQL {facts.server.version}, database {size} MiB{tables}")
