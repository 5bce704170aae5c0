"""Checks of the engine's tables: migrations, indexes, sequences, dead rows and who keeps them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from outbox.findings import error, note, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outbox.findings import Facts, Finding

OPEN_FOR_MAX = timedelta(minutes=5)
SLOT_AGE_MAX = 1_000_000
DEAD_ROWS_MAX = 50_000
DEAD_SHARE_MAX = 2.0
SEQUENCE_SHARE_MAX = 0.8


def check_migrations(facts: Facts) -> Iterator[Finding]:
    """Behind, newer than the code, or applied by half."""
    for one in facts.histories:
        if one.found is None:
            yield error(
                "migrations",
                f"the history {one.name} was never applied",
                "nothing can be published or delivered",
                "run `outbox migrate`",
            )
        elif one.found not in one.known and one.suits:
            yield note(
                "migrations",
                f"the history {one.name} is at {one.found}, newer than this program",
                "its tables say that this program may run on them",
                "right during a deploy; afterwards run the newer program here too",
            )
        elif one.found not in one.known:
            yield error(
                "migrations",
                f"the history {one.name} is at {one.found}, which this program does not know",
                "a newer program migrated it; this one may misread its tables",
                "run the newer program",
            )
        elif one.found != one.known[0]:
            behind = list(one.known).index(one.found)
            yield error(
                "migrations",
                f"the history {one.name} is at {one.found}, {behind} behind {one.known[0]}",
                "a relay of this program refuses to run on it",
                "run `outbox migrate`",
            )


def check_tables(facts: Facts) -> Iterator[Finding]:
    """Tables that the revisions made and that are gone: a migration by half, or by hand."""
    there = {one.name for one in facts.tables}
    if missing := sorted(set(facts.tables_expected) - there):
        yield error(
            "tables",
            f"missing in schema outbox: {', '.join(missing)}",
            "the revision is noted, its tables are not there: a migration ended half way or "
            "somebody "
            "dropped them",
            "restore them from a backup, or `outbox migrate --down base` and up again",
        )


def check_indexes(facts: Facts) -> Iterator[Finding]:
    """Missing, invalid, or other than the revisions made them."""
    there = {one.name: one for one in facts.indexes}
    gone = set(facts.tables_expected) - {one.name for one in facts.tables}
    for name, (table, columns) in sorted(facts.expected.items()):
        if table in gone:
            continue
        index = there.get(name)
        if index is None:
            yield error(
                "indexes",
                f"index {name} on outbox.{table} is missing",
                "statements that need it read the table whole, or a rule is no longer kept",
                "make it again as `outbox migrate --sql` prints it, with `concurrently`",
            )
        elif columns is not None and f"({columns})" not in index.definition.lower().replace(
            '"', ""
        ):
            yield warning(
                "indexes",
                f"index {name} is not on ({columns})",
                "the statements that name it were planned for those columns",
                "drop it and make it again as `outbox migrate --sql` prints it",
            )
    for index in facts.indexes:
        if not index.valid:
            yield error(
                "indexes",
                f"index {index.name} on {index.table_name} is invalid",
                "a concurrent build failed: every write pays for it and no read may use it",
                f"`reindex index concurrently outbox.{index.name}`",
            )


def check_sequences(facts: Facts) -> Iterator[Finding]:
    """Ids that run out, or that are taken already."""
    for one in facts.sequences:
        if one.last_value > SEQUENCE_SHARE_MAX * one.max_value:
            yield warning(
                "sequences",
                f"{one.name} is at {one.last_value} of {one.max_value}",
                "when it ends, nothing can be published",
                "raise its maximum",
            )
        if one.table_max is not None and one.table_max > one.last_value:
            yield error(
                "sequences",
                f"{one.name} is at {one.last_value}, its table at {one.table_max}",
                "the next publish fails on an id that is taken; a restore left it behind",
                f"`select setval('outbox.{one.name}', {one.table_max})`",
            )


def check_bloat(facts: Facts) -> Iterator[Finding]:
    """Dead rows that nobody removes."""
    for one in facts.tables:
        if one.vacuum_off:
            yield error(
                "bloat",
                f"autovacuum is switched off for outbox.{one.name}",
                "its dead rows are never removed",
                f"`alter table outbox.{one.name} reset (autovacuum_enabled)`",
            )
        if one.dead_rows > max(DEAD_ROWS_MAX, DEAD_SHARE_MAX * one.live_rows):
            last = "never" if one.vacuumed_at is None else f"{one.vacuumed_at:%Y-%m-%d %H:%M}"
            yield warning(
                "bloat",
                f"outbox.{one.name} has {one.dead_rows} dead rows beside {one.live_rows} live "
                "ones, "
                f"{one.bytes // 1_048_576} MiB, last vacuumed {last}",
                "claims walk over them",
                "see who holds old snapshots (below, if anybody does); then "
                f"`vacuum outbox.{one.name}`",
            )


def check_snapshots(facts: Facts) -> Iterator[Finding]:
    """Who keeps dead rows from being removed."""
    for one in facts.snapshots:
        if one.kind == "slot":
            if (one.age or 0) > SLOT_AGE_MAX:
                yield warning(
                    "snapshots",
                    f"replication slot {one.name} ({one.state}) holds {one.age} transactions",
                    "no dead row younger than that can be removed, in any table",
                    "let its reader catch up, or `select pg_drop_replication_slot(...)`",
                )
            continue
        if one.open_for is None or one.open_for <= OPEN_FOR_MAX:
            continue
        minutes = int(one.open_for.total_seconds() // 60)
        if one.kind == "prepared":
            yield warning(
                "snapshots",
                f"a prepared transaction is {minutes} minutes old",
                "it holds its locks and every dead row since, even over a restart",
                "`commit prepared` or `rollback prepared` it (see pg_prepared_xacts)",
            )
        else:
            yield warning(
                "snapshots",
                f"session {one.name} ({one.state}) has had a transaction open for {minutes} "
                "minutes",
                "dead rows since then cannot be removed, and messages it published are not seen",
                f"end it: `select pg_terminate_backend({one.name})`; set "
                "idle_in_transaction_session_timeout",
            )
