"""The trace a message belongs to, carried in its headers as W3C `traceparent`."""

from __future__ import annotations

from contextvars import ContextVar

_traceparent: ContextVar[str | None] = ContextVar("outbox_traceparent", default=None)


def current_headers() -> dict[str, str]:
    """Headers for a message published now: the `traceparent` in force, or none."""
    traceparent = _traceparent.get()
    return {} if traceparent is None else {"traceparent": traceparent}


def continue_trace(traceparent: str | None) -> None:
    """Make `traceparent` (W3C form) the one that messages published from here on carry."""
    _traceparent.set(traceparent)
