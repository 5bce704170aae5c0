"""A message as the database will hold it, checked in full before any SQL."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError

from outbox.errors import KeyInvalid, NaiveDatetime, PayloadInvalid, PayloadTooLarge, PublishError
from outbox.message import Message

if TYPE_CHECKING:
    from collections.abc import Iterator

PAYLOAD_BYTES_MAX = 262_144
"""The largest payload, in bytes of JSON. Larger things are stored elsewhere and named by key."""

KEY_CHARS_MAX = 400
"""The longest ordering or dedup key: an index entry must hold it."""


def encode(message: Message) -> str:
    """The payload of `message` as JSON. Raises a `PublishError` where jsonb could not hold it."""
    if not isinstance(message, Message):
        msg = f"publish takes an instance of a Message class, this is a {type(message).__name__}"
        raise PublishError(msg)
    for field, value in _datetimes(message, type(message).__name__):
        if value.tzinfo is None:
            raise NaiveDatetime(field)
    try:
        text = message.model_dump_json()
    except PydanticSerializationError as error:
        raise PayloadInvalid(
            message.declaration.topic, "it holds text that is not valid UTF-8"
        ) from error
    size_bytes = len(text.encode())
    if size_bytes > PAYLOAD_BYTES_MAX:
        raise PayloadTooLarge(
            topic=message.declaration.topic, size_bytes=size_bytes, bytes_max=PAYLOAD_BYTES_MAX
        )
    if "NaN" in text or "Infinity" in text:
        json.loads(
            text, parse_constant=lambda name: _refuse_constant(message.declaration.topic, name)
        )
    if "\\u0000" in text and _holds_nul(json.loads(text)):
        raise PayloadInvalid(
            message.declaration.topic, "it holds a NUL character, which PostgreSQL cannot store"
        )
    return text


def check_key(field: str, value: str | None) -> None:
    """Raise `KeyInvalid` unless `value` can serve as an ordering or dedup key."""
    if value is None:
        return
    if not isinstance(value, str):
        raise KeyInvalid(field, f"is a {type(value).__name__}")
    if not value:
        raise KeyInvalid(field, "is empty")
    if "\0" in value:
        raise KeyInvalid(field, "holds a NUL character")
    if len(value) > KEY_CHARS_MAX:
        raise KeyInvalid(field, f"has {len(value)} characters, the most is {KEY_CHARS_MAX}")


def check_due_at(due_at: datetime | None) -> None:
    """Raise `NaiveDatetime` unless `due_at` names an instant."""
    if due_at is not None and due_at.tzinfo is None:
        raise NaiveDatetime("due_at")


def _datetimes(value: Any, path: str) -> Iterator[tuple[str, datetime]]:
    if isinstance(value, datetime):
        yield path, value
    elif isinstance(value, BaseModel):
        for name, inner in value.__dict__.items():
            if not isinstance(inner, str | int | float | None):
                yield from _datetimes(inner, f"{path}.{name}")
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _datetimes(inner, f"{path}[{name!r}]")
    elif isinstance(value, list | tuple | set | frozenset):
        for place, inner in enumerate(value):
            yield from _datetimes(inner, f"{path}[{place}]")


def _refuse_constant(topic: str, name: str) -> NoReturn:
    raise PayloadInvalid(topic, f"it holds {name}, which is not JSON")


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_holds_nul(name) or _holds_nul(inner) for name, inner in value.items())
    return isinstance(value, list) and any(_holds_nul(inner) for inner in value)
