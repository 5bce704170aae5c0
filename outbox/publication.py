"""What is published and on which terms, made into what the database takes, every value checked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from outbox.payload import (
    PRIORITY_MAX,
    SEQUENCE_MAX,
    check_due_at,
    check_key,
    check_number,
    encode,
)
from outbox.tracing import current_headers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime, timedelta

    from outbox.message import Message

BATCH_ROWS_MAX = 1_000
BATCH_CHARS_MAX = 4_194_304
"""The most messages, and the most payload, in one statement: what a server must hold at once."""


class Publication(NamedTuple):
    """One message and its terms, for `publish_many`. The fields are those of `publish`."""

    message: Message
    key: str | None = None
    sequence: int | None = None
    dedup_key: str | None = None
    due_at: datetime | None = None
    priority: int = 0
    correlation_id: str | None = None


_DEFAULTS = tuple(Publication._field_defaults.values())


def message_params(  # noqa: PLR0913 - the terms of `publish`
    message: Message,
    *,
    key: str | None = None,
    sequence: int | None = None,
    dedup_key: str | None = None,
    due_at: datetime | None = None,
    priority: int = 0,
    correlation_id: str | None = None,
    now: datetime | None = None,
) -> dict[str, Any]:
    """What `publish_message` takes, as text. Raises a `PublishError`."""
    payload = encode(message)
    check_terms(key, sequence, dedup_key, due_at, priority, correlation_id)
    declaration = message.declaration
    return {
        "topic": declaration.topic,
        "payload": payload,
        "key": key,
        "dedup_key": dedup_key,
        "due_at": None if due_at is None else due_at.isoformat(),
        "sequence": None if sequence is None else str(sequence),
        "correlation_id": correlation_id,
        "version": str(declaration.version),
        "headers": current_headers(),
        "priority": str(priority),
        "dedup_window": None if dedup_key is None else _interval(declaration.dedup_window),
        "now": now,
    }


def batches_of(
    publications: Sequence[Publication], now: datetime | None = None
) -> list[dict[str, Any]]:
    """What `publish_messages` takes, in batches of bounded size. Raises a `PublishError`."""
    payloads = [encode(publication.message) for publication in publications]
    terms = [_terms_of(publication) for publication in publications]
    headers = current_headers()
    return [
        _batch(publications[begin:end], payloads[begin:end], terms[begin:end])
        | {"headers": headers, "now": now}
        for begin, end in _bounds(payloads)
    ]


def check_terms(  # noqa: PLR0913, PLR0917 - the terms of `publish`
    key: str | None,
    sequence: int | None,
    dedup_key: str | None,
    due_at: datetime | None,
    priority: int,
    correlation_id: str | None,
) -> None:
    """Raise a `PublishError` for the first term that the database would refuse or change."""
    if key is not None:
        check_key("key", key)
    if dedup_key is not None:
        check_key("dedup_key", dedup_key)
    if correlation_id is not None:
        check_key("correlation_id", correlation_id)
    if due_at is not None:
        check_due_at(due_at)
    if sequence is not None:
        check_number("sequence", sequence, SEQUENCE_MAX)
    if priority or type(priority) is not int:
        check_number("priority", priority, PRIORITY_MAX)


def _batch(
    publications: Sequence[Publication],
    payloads: Sequence[str],
    terms: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    kinds: dict[type[Message], int] = {}  # by class, since a declaration hashes itself in Python
    for publication, term in zip(publications, terms, strict=True):
        kind = kinds.setdefault(type(publication.message), len(kinds) + 1)
        if kind > 1:
            term["kind"] = kind
    declarations = [message_class.declaration for message_class in kinds]
    differ = any(terms)
    keyed = differ and any("dedup_key" in term for term in terms)
    return {
        "topics": [declaration.topic for declaration in declarations],
        "versions": [declaration.version for declaration in declarations],
        "dedup_windows": [one.dedup_window for one in declarations] if keyed else None,
        "payloads": "[" + ",".join(payloads) + "]",
        "terms": json.dumps(terms) if differ else None,
    }


def _terms_of(publication: Publication) -> dict[str, Any]:
    """The terms that are not the default, checked."""
    if publication[1:] == _DEFAULTS and type(publication.priority) is int:
        return {}
    key, sequence, dedup_key = publication.key, publication.sequence, publication.dedup_key
    due_at, priority = publication.due_at, publication.priority
    correlation_id = publication.correlation_id
    check_terms(key, sequence, dedup_key, due_at, priority, correlation_id)
    terms: dict[str, Any] = {}
    if key is not None:
        terms["key"] = key
    if sequence is not None:
        terms["sequence"] = sequence
    if dedup_key is not None:
        terms["dedup_key"] = dedup_key
    if due_at is not None:
        terms["due_at"] = due_at.isoformat()
    if priority:
        terms["priority"] = priority
    if correlation_id is not None:
        terms["correlation_id"] = correlation_id
    return terms


def _bounds(payloads: Sequence[str]) -> Iterator[tuple[int, int]]:
    begin = chars = 0
    for place, payload in enumerate(payloads):
        chars += len(payload)
        if place > begin and (place - begin == BATCH_ROWS_MAX or chars > BATCH_CHARS_MAX):
            yield begin, place
            begin, chars = place, len(payload)
    if payloads:
        yield begin, len(payloads)


def _interval(window: timedelta | None) -> str | None:
    """A length of time as PostgreSQL reads it; days stay days."""
    if window is None:
        return None
    return f"{window.days} days {window.seconds}.{window.microseconds:06} seconds"
