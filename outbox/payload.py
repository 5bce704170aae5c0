"""A message as the database will hold it, checked in full before any SQL."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError

from outbox.errors import (
    KeyInvalid,
    NaiveDatetime,
    PayloadInvalid,
    PayloadTooLarge,
    PublishError,
    TermInvalid,
)
from outbox.message import Message

if TYPE_CHECKING:
    from collections.abc import Iterator

PAYLOAD_BYTES_MAX = 262_144
"""The largest payload, in bytes of JSON. Larger things are stored elsewhere and named by key."""

KEY_CHARS_MAX = 400
"""The longest ordering or dedup key: an index entry must hold it."""

PRIORITY_MAX = 100
SEQUENCE_MAX = 2**63 - 1

_CHARS_SURE_TO_FIT = PAYLOAD_BYTES_MAX // 4  # a character takes at most four bytes of UTF-8
_PLAIN = frozenset({str, int, bool, UUID, type(None)})


def encode(message: Message) -> str:
    """The payload of `message` as JSON. Raises a `PublishError` where jsonb could not hold it."""
    if Message not in type(message).__mro__:  # pydantic's `isinstance` is ten times slower
        msg = f"publish takes an instance of a Message class, this is a {type(message).__name__}"
        raise PublishError(msg)
    if not _PLAIN.issuperset(map(type, message.__dict__.values())):
        _check_value(message.declaration.topic, message, type(message).__name__)
    try:
        text = type(message).__pydantic_serializer__.to_json(message).decode()
    except PydanticSerializationError as error:
        raise PayloadInvalid(
            message.declaration.topic, "it holds text that is not valid UTF-8"
        ) from error
    if len(text) > _CHARS_SURE_TO_FIT and (size_bytes := len(text.encode())) > PAYLOAD_BYTES_MAX:
        raise PayloadTooLarge(
            topic=message.declaration.topic, size_bytes=size_bytes, bytes_max=PAYLOAD_BYTES_MAX
        )
    if "\\u0000" in text and _holds_nul(json.loads(text)):
        raise PayloadInvalid(
            message.declaration.topic, "it holds a NUL character, which PostgreSQL cannot store"
        )
    return text


def check_key(field: str, value: str) -> None:
    """Raise `KeyInvalid` unless `value` can serve as an ordering or dedup key."""
    if not isinstance(value, str):
        raise KeyInvalid(field, f"is a {type(value).__name__}")
    if not value:
        raise KeyInvalid(field, "is empty")
    if "\0" in value:
        raise KeyInvalid(field, "holds a NUL character")
    if not value.isascii() and any("\ud800" <= sign <= "\udfff" for sign in value):
        raise KeyInvalid(field, "holds a lone surrogate")
    if len(value) > KEY_CHARS_MAX:
        raise KeyInvalid(field, f"has {len(value)} characters, the most is {KEY_CHARS_MAX}")


def check_due_at(due_at: datetime) -> None:
    """Raise `NaiveDatetime` or `TermInvalid` unless `due_at` names an instant."""
    if not isinstance(due_at, datetime):
        raise TermInvalid("due_at", f"is a {type(due_at).__name__}; give an aware datetime")
    if due_at.tzinfo is None:
        raise NaiveDatetime("due_at")


def check_number(field: str, value: int, most: int) -> None:
    """Raise `TermInvalid` unless `value` is a whole number from -`most` to `most`."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TermInvalid(field, f"is a {type(value).__name__}; give a whole number")
    if abs(value) > most:
        raise TermInvalid(field, f"is {value}; it must lie between -{most} and {most}")


def _check_value(topic: str, value: Any, path: str) -> None:
    """Refuse what JSON would change in silence, as a nested model that writes NaN as null."""
    if type(value) in _PLAIN:
        return
    if isinstance(value, datetime) and value.tzinfo is None:
        raise NaiveDatetime(path)
    if isinstance(value, float) and not math.isfinite(value):
        raise PayloadInvalid(topic, f"{path} is {value}, which is not JSON; give a finite number")
    for step, inner in _inside(value):
        _check_value(topic, inner, path + step)


def _inside(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, BaseModel):
        for name, inner in value.__dict__.items():
            yield f".{name}", inner
    elif is_dataclass(value):
        for field in fields(value):
            yield f".{field.name}", getattr(value, field.name)
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield f"[{name!r}]", inner
    elif isinstance(value, list | tuple | set | frozenset | deque):
        for place, inner in enumerate(value):
            yield f"[{place}]", inner


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_holds_nul(name) or _holds_nul(inner) for name, inner in value.items())
    return isinstance(value, list) and any(_holds_nul(inner) for inner in value)
