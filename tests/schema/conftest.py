"""A small world on a migrated database: one organisation, its people, and who they act as."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
YESTERDAY, TODAY, NEXT_YEAR = date(2026, 3, 1), date(2026, 3, 2), date(2027, 3, 2)


@dataclass
class World:
    """Rows made in a few words; every statement commits, and the clock stands at `NOON`."""

    dsn: str
    conn: psycopg.Connection[tuple[Any, ...]]
    organisation: UUID

    def mentor(self, *expiries: date, organisation: UUID | None = None, **columns: object) -> UUID:
        """A mentor with one required certificate of a type of its own per expiry."""
        mentor = uuid4()
        names = ", ".join(["id", "organisation_id", *columns])
        marks = ", ".join(["%s"] * (2 + len(columns)))
        self.do(
            f"insert into public.peer_mentors ({names}) values ({marks})",
            mentor,
            organisation or self.organisation,
            *columns.values(),
        )
        for number, expiry in enumerate(expiries):
            self.certificate(mentor, expiry, kind=f"course_{number}")
        return mentor

    def certificate(self, mentor: UUID, expiry: date, *, kind: str = "course_0") -> UUID:
        """One more certificate of a mentor."""
        certificate = uuid4()
        self.do(
            "insert into public.certifications (id, mentor_id, certificate_type, expiry_date)"
            " values (%s, %s, %s, %s)",
            certificate,
            mentor,
            kind,
            expiry,
        )
        return certificate

    def chapter(self, *mentors: UUID) -> UUID:
        """A chapter with these mentors."""
        chapter = uuid4()
        self.do(
            "insert into public.chapters (id, organisation_id, name) values (%s, %s, 'x')",
            chapter,
            self.organisation,
        )
        for mentor in mentors:
            self.do(
                "insert into public.chapter_memberships (mentor_id, chapter_id) values (%s, %s)",
                mentor,
                chapter,
            )
        return chapter

    def person(self, role: str, chapter: UUID | None = None) -> UUID:
        """Somebody with one role."""
        person = uuid4()
        self.do(
            "insert into public.user_roles (user_id, organisation_id, chapter_id, role)"
            " values (%s, %s, %s, %s)",
            person,
            self.organisation,
            chapter,
            role,
        )
        return person

    def do(self, statement: str, *parameters: object) -> int:
        """Run one statement and return how many rows it touched."""
        return self.conn.execute(statement.encode(), parameters).rowcount

    def rows(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run one query and return its rows."""
        return self.conn.execute(statement.encode(), parameters).fetchall()

    def state(self, mentor: UUID) -> tuple[str, str, str | None, int]:
        """Status, suppression, pause source and visibility version of a mentor."""
        (row,) = self.rows(
            "select status, suppression_status, pause_source, visibility_version"
            " from public.peer_mentors where id = %s",
            mentor,
        )
        return row[0], row[1], row[2], row[3]

    def visible(self, mentor: UUID) -> bool:
        """Whether the public sees the mentor at `NOON`."""
        ((visible,),) = self.rows("select app.visible(%s, %s)", mentor, NOON)
        return bool(visible)

    def messages(self, mentor: UUID) -> list[int]:
        """The versions published for a mentor, in order, each checked against its own row."""
        found = self.rows(
            "select payload, sequence from outbox.message"
            " where topic = 'visibility.changed' and key = %s order by id",
            f"mentor:{mentor}",
        )
        for payload, sequence in found:
            assert payload.keys() == {"mentor_id", "version", "reason"}
            assert (payload["mentor_id"], sequence) == (str(mentor), None)
        return [payload["version"] for payload, _ in found]

    def reasons(self, mentor: UUID) -> list[str]:
        """Why, of each version published for a mentor."""
        found = self.rows(
            "select payload ->> 'reason' from outbox.message"
            " where topic = 'visibility.changed' and key = %s order by id",
            f"mentor:{mentor}",
        )
        return [reason for (reason,) in found]

    @contextmanager
    def acting_as(self, user: UUID | None, role: str = "authenticated") -> Iterator[World]:
        """The same world through the eyes of a client; nothing of it is kept."""
        with psycopg.connect(self.dsn) as conn:
            conn.execute(f"set local role {role}".encode())
            if user is not None:
                claims = json.dumps({"sub": str(user), "role": role})
                conn.execute("select set_config('request.jwt.claims', %s, true)", (claims,))
            yield World(self.dsn, conn, self.organisation)
            conn.rollback()


@pytest.fixture
def world(database: str) -> Iterator[World]:
    """An organisation with a portal, on a fresh migrated database."""
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("select set_config('app.now', %s, false)", (NOON.isoformat(),))
        organisation = uuid4()
        conn.execute(
            "insert into public.organisations (id, code, name, visibility_channel)"
            " values (%s, 'HLF', 'HLF', 'webhook')",
            (organisation,),
        )
        yield World(database, conn, organisation)
