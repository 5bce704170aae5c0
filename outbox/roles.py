"""Who may do what in the engine's schema: three group roles, granted by a script that a DBA runs.

Roles are the cluster's and not the database's, so no migration makes them. A table is for somebody
or for nobody, and says so here: a test fails for one that says nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, LiteralString, NamedTuple

from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

EVERYTHING: Final = "select, insert, update, delete"
SEEN: Final = "select"


class Grants(NamedTuple):
    """Privileges on one table, as SQL lists them; empty for none.

    A publisher may do what `outbox.publish` does in its transaction, and read nothing of others:
    column lists keep payloads, keys and deliveries from it. A relay works and does not migrate. A
    reader sees what `status`, `explain` and `doctor` show, and no payload.
    """

    publisher: LiteralString = ""
    relay: LiteralString = EVERYTHING
    reader: LiteralString = SEEN


_MESSAGE_FACTS: Final = (
    "select (id, topic, version, key, sequence, correlation_id, causation_id, created_at)"
)

TABLES: Final[Mapping[str, Grants]] = {
    "message": Grants("insert, select (id)", "select, insert, delete", _MESSAGE_FACTS),
    "delivery": Grants("insert"),
    "unrouted": Grants("insert"),
    "dedup": Grants("insert, select, update (message_id, expires_at)"),
    "route": Grants("select (topic, handler, ordered)"),
    "relay": Grants("select (asleep_until)"),
    "receipt": Grants(relay="select, insert, delete"),
    "lease": Grants(),
    "key_lease": Grants(),
    "newest": Grants(),
    "dead_letter": Grants(),
    "destination": Grants(),
    "destination_failure": Grants(),
    "worker": Grants(),
    "operation": Grants(),
    "redrive": Grants(),
    "question": Grants(),
    "saga": Grants(),
    "saga_transition": Grants(relay="select, insert, delete"),
    "revision": Grants(relay=SEEN),
    "compatibility": Grants(relay=SEEN),
}

PUBLISHER_SEQUENCES: Final = ("message_id_seq",)


def script(prefix: str) -> Iterator[str]:
    """The statements that make the roles `{prefix}_publisher`, `_relay` and `_reader`, in order.

    Safe to run again, and to be run after each migration; each run takes back what it does not
    give.
    """
    names = {part: sql.Identifier(f"{prefix}_{part}") for part in Grants._fields}
    for part, role in names.items():
        literal = sql.Literal(f"{prefix}_{part}")
        yield _text(
            "do $$ begin if to_regrole({literal}) is null then create role {role} nologin; "
            "end if; end $$",
            literal=literal,
            role=role,
        )
        yield _text("revoke all on all tables in schema outbox from {role}", role=role)
        yield _text("revoke all on all sequences in schema outbox from {role}", role=role)
        yield _text("grant usage on schema outbox to {role}", role=role)
    for table, grants in TABLES.items():
        for part, privileges in zip(Grants._fields, grants, strict=True):
            if privileges:
                yield _text(
                    f"grant {privileges} on {{table}} to {{role}}",
                    table=sql.Identifier("outbox", table),
                    role=names[part],
                )
    yield _text("grant usage on all sequences in schema outbox to {role}", role=names["relay"])
    for sequence in PUBLISHER_SEQUENCES:
        yield _text(
            "grant usage on {sequence} to {role}",
            sequence=sql.Identifier("outbox", sequence),
            role=names["publisher"],
        )


def _text(statement: LiteralString, **parts: sql.Composable) -> str:
    # the words are this module's own; names come quoted
    return sql.SQL(statement).format(**parts).as_string(None)
