"""Checks of the server and the ways to it: settings, clock, bell, pooler, rights."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from outbox.findings import error, note, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outbox.findings import Facts, Finding

VERSION_MIN = 150_000
SKEW_MAX = timedelta(seconds=2)


def check_bell(facts: Facts) -> Iterator[Finding]:
    """Whether a ring is heard where relays listen."""
    bell = facts.bell
    if bell is None or (bell.heard and not bell.pooled):
        return
    if bell.pooled and not bell.own_address:
        yield warning(
            "pooler",
            "DATABASE_URL leads through a transaction pooler and DATABASE_LISTEN_URL is not set",
            "the bell is not heard there, so each delivery waits for the next poll (250 ms), "
            "and session "
            "options of the relay are refused",
            "set DATABASE_LISTEN_URL to a direct address",
        )
    elif not bell.heard:
        yield warning(
            "bell",
            "a ring through DATABASE_URL was not heard at the address for LISTEN",
            "each delivery waits for the next poll (250 ms)",
            "point DATABASE_LISTEN_URL directly at the primary server of the same database",
        )


def check_clock(facts: Facts) -> Iterator[Finding]:
    """This machine's clock beside the database's, and that of each live relay."""
    skews = {f"relay {one.id}": one.clock_skew for one in facts.live if one.clock_skew is not None}
    if facts.server is not None and facts.host_clock is not None:
        skews["this machine"] = facts.host_clock - facts.server.clock
    for who, skew in skews.items():
        if abs(skew) > SKEW_MAX:
            yield warning(
                "clock",
                f"the clock of {who} is {skew.total_seconds():+.1f} s off the database's",
                "leases and due dates follow the database; ages, tokens and signatures the machine",
                "set both clocks by NTP",
            )


def check_server(facts: Facts) -> Iterator[Finding]:
    """Version and settings on which promises stand."""
    server = facts.server
    if server is None:
        return
    if server.version_num < VERSION_MIN:
        yield error(
            "server",
            f"PostgreSQL {server.version} is older than 15",
            "statements of the engine need 15",
            "upgrade the server",
        )
    for name in ("fsync", "full_page_writes"):
        if not getattr(server, name):
            yield error(
                "server",
                f"{name} is off",
                "a crash of the machine loses or damages what was committed (P2)",
                f"set {name} = on",
            )
    if server.synchronous_commit == "off":
        yield warning(
            "server",
            "synchronous_commit is off for this database or role",
            "a crash forgets what publishers and settlements had committed a moment ago (P1, P4)",
            "set synchronous_commit = on for the roles that publish and relay",
        )
    if not server.autovacuum:
        yield error(
            "server",
            "autovacuum or track_counts is off",
            "delivered rows are never removed; claims slow down from day to day",
            "set autovacuum = on and track_counts = on",
        )
    if server.read_only:
        yield error(
            "server",
            "this is a standby, or its sessions are read-only by default",
            "nothing can be published or settled here",
            "point DATABASE_URL at the primary",
        )
    if server.default_isolation != "read committed":
        yield warning(
            "server",
            f"default_transaction_isolation is {server.default_isolation}",
            "behind a pooler, where a relay cannot choose, its claims see what others have settled "
            "since as still there, and fail; so do commands, and so may your own transactions",
            "set it to read committed for the roles that relay and operate",
        )


def check_sight(facts: Facts) -> Iterator[Finding]:
    """What this role was not allowed to see."""
    if facts.server is not None and not facts.server.sees_all_sessions:
        yield note(
            "sight",
            "this role does not see other roles' sessions",
            "an old snapshot may go unnoticed",
            "grant pg_read_all_stats to it",
        )
    for what in facts.unread:
        yield warning(
            "sight",
            f"{what} could not be read",
            "nothing was checked about it",
            "run the doctor with a role that may read schema outbox",
        )
