"""What was measured, as JSON for programs, as a table for people, as a page for the repository."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HERE = Path(__file__).parent
LATEST = HERE / "results" / "latest.json"
PAGE = HERE / "RESULTS.md"

_TOLD = {
    "prf1": (
        "The nightly run for mentors who are all due, each with one device: claims, groups, inbox "
        "rows, pushes. FCM is an emulator in its own process that answers after 300 ms. Ten "
        "sends at a time are the floor: pushes x 0.3 s / 10."
    ),
    "drain": (
        "No-op handlers, one relay process, everything committed durably. *default* is the "
        "handler's declaration untouched, *wide* claims 500 at once. *sql alone* is two statements "
        "per batch of 1,000 on the same tables (claim by update; delete and receipt), without an "
        "engine: the ratios are to it."
    ),
    "publish": (
        "One client; a transaction that inserts one row, bare and with one message, in turns."
    ),
    "publish_many": "One client; one statement and one commit per call.",
}


def write(document: Mapping[str, Any], *, page: bool) -> None:
    """Keep the run as `results/latest.json`, and as `RESULTS.md` where it was a whole one."""
    LATEST.parent.mkdir(exist_ok=True)
    LATEST.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    if page:
        PAGE.write_text("\n".join(markdown(json.loads(LATEST.read_text("utf-8")))) + "\n", "utf-8")


def show(figures: Sequence[Mapping[str, Any]]) -> None:
    """Print the table."""
    table = Table("scenario", "figure", "median", "lowest", "highest", "unit")
    for figure in figures:
        values = [told(figure[name]) for name in ("median", "lowest", "highest")]
        table.add_row(figure["scenario"], figure["name"], *values, figure["unit"])
    Console(width=120, highlight=False).print(table)


def markdown(document: Mapping[str, Any]) -> Iterator[str]:
    """The page, line by line."""
    machine, server = document["machine"], document["server"]
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    whose = "embedded server" if server["embedded"] else "server of DATABASE_URL"
    settings = ", ".join(
        f"{name} {value}"
        for name, value in server.items()
        if name not in {"embedded", "server_version"}
    )
    yield "# Results"
    yield ""
    yield "Written by `./run bench` from `results/latest.json`; not edited by hand. Compare ratios,"
    yield "not absolute figures, with another machine's."
    yield ""
    yield f"- {document['measured_at']}, {document['runs']} runs of each figure"
    yield (
        f"- {machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"{machine['system']} {machine['architecture']}; server and client share it, "
        f"load {machine['load_before']} before the run"
    )
    yield f"- PostgreSQL {server['server_version']} ({whose}): {settings}"
    yield f"- {versions}"
    for scenario, text in _TOLD.items():
        figures = [one for one in document["figures"] if one["scenario"] == scenario]
        if not figures:
            continue
        yield ""
        yield f"## {scenario}"
        yield ""
        yield text
        yield ""
        yield "| figure | median | lowest | highest | unit |"
        yield "|---|--:|--:|--:|---|"
        for one in figures:
            values = [told(one[name]) for name in ("median", "lowest", "highest")]
            yield f"| {one['name']} | {' | '.join(values)} | {one['unit']} |"
        yield ""
        yield "Measured: " + _terms(figures)


def told(value: float) -> str:
    """A value with as many digits as it deserves."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"  # noqa: PLR2004 - three digits


def _terms(figures: Sequence[Mapping[str, Any]]) -> str:
    shared = dict(figures[0]["terms"])
    for one in figures:
        if one["unit"] != "ratio":
            shared = {
                name: value for name, value in shared.items() if one["terms"].get(name) == value
            }
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in shared.items()) + "."
