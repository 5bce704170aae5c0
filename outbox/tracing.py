"""The trace a message belongs to, carried in its headers as W3C `traceparent`; spans where wanted.

Spans are made only where OpenTelemetry's API is installed (extra `telemetry`) and the program has
set a provider. Without one the `traceparent` of a message is still handed on to what its handler
publishes.
"""

from __future__ import annotations

import json
from contextlib import nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING

from outbox.message import Message

try:
    from outbox import spans
except ModuleNotFoundError:  # the extra is not installed
    spans = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from outbox.spans import Spans

_traceparent: ContextVar[str | None] = ContextVar("outbox_traceparent", default=None)
_NO_SPAN: AbstractContextManager[None] = nullcontext()


def current_headers() -> str:
    """Headers for a message published now, as JSON: the `traceparent` in force, or none."""
    traceparent = None if spans is None else spans.current_traceparent()
    traceparent = traceparent or _traceparent.get()
    return "{}" if traceparent is None else json.dumps({"traceparent": traceparent})


def continue_trace(traceparent: str | None) -> None:
    """Make `traceparent` (W3C form) the one that messages published from here on carry."""
    _traceparent.set(traceparent)


def find_spans() -> Spans | None:
    """What makes spans; None without the API, or without a provider that keeps any."""
    return None if spans is None else spans.find_spans()


def publishing(message: Message, count: int = 1) -> AbstractContextManager[None]:
    """A span around one statement that publishes `count` messages, `message` being the first.

    None around what is no message: it is refused inside.
    """
    found = find_spans()
    if found is None or not isinstance(message, Message):
        return _NO_SPAN
    return found.publishing(message.declaration.topic, count)
