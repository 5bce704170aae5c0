"""What goes wrong in production, one pure check each: what is found, why it matters, what to do.

The facts are gathered by `outbox.checkup`; a check only decides about them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from outbox.doctor_queues import check_relays, check_routes, check_waiting
from outbox.doctor_schema import (
    check_bloat,
    check_indexes,
    check_migrations,
    check_sequences,
    check_snapshots,
    check_tables,
)
from outbox.doctor_server import check_bell, check_clock, check_server, check_sight
from outbox.doctor_workers import check_workers
from outbox.findings import Facts, Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHECKS: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    check_migrations, check_tables, check_indexes, check_server, check_relays, check_workers,
    check_routes, check_bell, check_clock, check_bloat, check_snapshots, check_waiting,
    check_sequences, check_sight, lambda facts: iter(facts.own),
)  # fmt: skip


def examine(facts: Facts) -> list[Finding]:
    """Every finding, the worst first."""
    order = list(Severity)
    found = [finding for check in CHECKS for finding in check(facts)]
    return sorted(found, key=lambda one: order.index(one.severity))
