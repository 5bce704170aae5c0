"""What was just measured, as a table for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

THREE_DIGITS = 100


def show(scenarios: Mapping[str, Any]) -> None:
    """Print the table."""
    table = Table("scenario", "figure", "median", "lowest", "highest", "unit")
    for name, one in scenarios.items():
        for figure in one["figures"]:
            values = [told(figure[word]) for word in ("median", "lowest", "highest")]
            table.add_row(name, figure["name"], *values, figure["unit"])
            if not figure["values"]:
                table.add_row("", f"  [dim]{figure['terms']['why']}[/dim]")
    Console(width=140, highlight=False).print(table)


def told(value: float | None) -> str:
    """A value with as many digits as it deserves."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= THREE_DIGITS else f"{value:.2f}"
