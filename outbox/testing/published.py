"""What was published, asserted: by class, fields, key and count, with a failure one can read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import psycopg

from outbox.errors import UsageError
from outbox.handles import check_sync
from outbox.message import Message
from outbox.testing.queries import (
    count_topics,
    count_topics_sync,
    list_published,
    list_published_sync,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from outbox.handles import SyncHandle
    from outbox.queries import Conn
    from outbox.testing.queries import Rows

M = TypeVar("M", bound=Message)

SHOWN_MAX = 20
"""How many messages a failed assertion shows."""


class Any_(Enum):  # noqa: N801 - `Any` is taken, and so is the word
    """The key that every key is equal to; None means: without a key."""

    ANY = "any"


ANY = Any_.ANY


class Published(NamedTuple, Generic[M]):
    """A message as it was published."""

    id: int
    message: M
    key: str | None
    sequence: int | None
    correlation_id: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Wanted(Generic[M]):
    """Messages of one class, and which of them. Raises `UsageError` for a field it has not."""

    message_class: type[M]
    fields: Mapping[str, Any]
    key: str | Any_ | None

    def __post_init__(self) -> None:
        """A misspelt field would let every refutation pass."""
        known = self.message_class.model_fields
        if strange := sorted(set(self.fields) - set(known)):
            problem = (
                f"{self.message_class.__name__} has no field {', '.join(strange)}; "
                f"it has {', '.join(known) or 'none'}"
            )
            raise UsageError(problem)

    @property
    def topic(self) -> str:
        """The topic it is published to."""
        return self.message_class.declaration.topic

    @property
    def version(self) -> int:
        """The version this class is."""
        return self.message_class.declaration.version

    def read(self, rows: Rows) -> list[Published[M]]:
        """The messages of `rows`."""
        return [
            Published(id_, self.message_class.model_validate_json(payload), *rest)
            for id_, payload, *rest in rows
        ]

    def differs(self, one: Published[M]) -> list[str]:
        """In what `one` is not what is wanted."""
        found = [
            f"{name}={value!r}"
            for name in self.fields
            if (value := getattr(one.message, name)) != self.fields[name]
        ]
        if not isinstance(self.key, Any_) and one.key != self.key:
            found.append(f"key {one.key!r}")
        return found

    def __str__(self) -> str:
        terms = [f"{name}={value!r}" for name, value in self.fields.items()]
        if not isinstance(self.key, Any_):
            terms.append("no key" if self.key is None else f"key {self.key!r}")
        named = f"{self.message_class.__name__} ({self.topic!r} version {self.version})"
        return f"{named} with {', '.join(terms)}" if terms else named


def assert_published(
    where: str | SyncHandle,
    message_class: type[M],
    fields: Mapping[str, Any] | None = None,
    *,
    key: str | Any_ | None = ANY,
    count: int | None = None,
) -> list[Published[M]]:
    """Assert that messages of a class were published; those that match, oldest first.

    `where` is a DSN (what is committed) or what `publish` takes (what its transaction sees).
    `fields` must be equal; `key` None means without a key; `count` None means at least one. Raises
    `AssertionError`, or `UsageError` for a field that the class has not.
    """
    wanted = Wanted(message_class, fields or {}, key)
    rows, topics = _look(where, wanted)
    return _judged(wanted, rows, topics, count)


def refute_published(
    where: str | SyncHandle,
    message_class: type[Message],
    fields: Mapping[str, Any] | None = None,
    *,
    key: str | Any_ | None = ANY,
) -> None:
    """Assert that no such message was published; the terms are those of `assert_published`."""
    assert_published(where, message_class, fields, key=key, count=0)


async def published_on(conn: Conn, wanted: Wanted[M], count: int | None) -> list[Published[M]]:
    """What `assert_published` does, on an async connection."""
    rows = await list_published(conn, wanted.topic, wanted.version)
    return _judged(wanted, rows, await count_topics(conn), count)


def _look(where: str | SyncHandle, wanted: Wanted[Any]) -> tuple[Rows, Rows]:
    if isinstance(where, str):
        with psycopg.connect(where, autocommit=True) as conn:
            return _look(conn, wanted)
    check_sync(where)
    return list_published_sync(where, wanted.topic, wanted.version), count_topics_sync(where)


def _judged(wanted: Wanted[M], rows: Rows, topics: Rows, count: int | None) -> list[Published[M]]:
    all_ = wanted.read(rows)
    found = [one for one in all_ if not wanted.differs(one)]
    if len(found) == count or (count is None and found):
        return found
    raise AssertionError("\n".join(_told(wanted, all_, len(found), topics, count)))


def _told(
    wanted: Wanted[M], all_: list[Published[M]], matching: int, topics: Rows, count: int | None
) -> Iterator[str]:
    many = {None: "at least one", 0: "no"}.get(count, str(count))
    yield f"expected {many} {wanted}, found {matching}"
    if all_:
        yield f"published to {wanted.topic!r} (what is not as wanted stands behind it):"
    for one in all_[:SHOWN_MAX]:
        told = wanted.differs(one)
        shown = ", ".join(f"{name}={value!r}" for name, value in one.message.model_dump().items())
        yield f"  {one.id}: {shown or 'no fields'}" + (f"  <- {', '.join(told)}" if told else "")
    if len(all_) > SHOWN_MAX:
        yield f"  and {len(all_) - SHOWN_MAX} more"
    others = [
        f"{topic!r} version {version} ({messages})"
        for topic, version, messages in topics
        if (topic, version) != (wanted.topic, wanted.version)
    ]
    yield f"other topics: {', '.join(others) or 'none'}"
