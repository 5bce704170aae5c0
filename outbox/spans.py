"""Spans of publishing statements, attempts and batches. Needs the extra `telemetry`.

They name topics, handlers, ids and codes: no payload, key or error text (P12).
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry import trace as otel
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from outbox.outcome import Done, Suppressed, outcome_name, outcome_reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.trace import Span, Tracer

    from outbox.outcome import AnyOutcome
    from outbox.queries import Claimed


@dataclass(frozen=True, slots=True)
class Spans:
    """Makes the engine's spans with one tracer."""

    tracer: Tracer

    @contextmanager
    def publishing(self, topic: str, count: int) -> Iterator[None]:
        """A span around one statement that publishes `count` messages, `topic` the first's."""
        attributes: dict[str, Any] = {
            **_about("publish", topic), "messaging.batch.message_count": count,
        }  # fmt: skip
        with self._current(f"publish {topic}", otel.SpanKind.PRODUCER, attributes):
            yield

    def attempt(self, row: Claimed, handler: str) -> AttemptSpan:
        """The span of one attempt, begun and current."""
        return AttemptSpan(self.tracer, row, handler)

    @contextmanager
    def batch(self, rows: Sequence[Claimed], handler: str) -> Iterator[None]:
        """A span around a batch taken at once, linked to everyone who published."""
        published = (_context_of(row.traceparent) for row in rows if row.traceparent is not None)
        links = [otel.Link(otel.get_current_span(one).get_span_context()) for one in published]
        topic = rows[0].topic
        attributes: dict[str, Any] = {
            **_about("process", topic), "outbox.handler": handler,
            "messaging.batch.message_count": len(rows),
        }  # fmt: skip
        with self._current(f"process {topic}", otel.SpanKind.CONSUMER, attributes, links):
            yield

    @contextmanager
    def _current(
        self,
        name: str,
        kind: otel.SpanKind,
        attributes: dict[str, Any],
        links: Sequence[otel.Link] = (),
    ) -> Iterator[None]:
        with self.tracer.start_as_current_span(
            name, kind=kind, attributes=attributes, links=links,
            record_exception=False, set_status_on_exception=False,
        ) as span:  # fmt: skip
            try:
                yield
            except Exception as error:
                _failed(span, type(error).__name__)
                raise


def find_spans() -> Spans | None:
    """What makes spans; None where the program has set no provider that keeps any."""
    provider = otel.get_tracer_provider()
    if isinstance(provider, (otel.ProxyTracerProvider, otel.NoOpTracerProvider)):
        return None
    return Spans(otel.get_tracer("outbox"))


def current_traceparent() -> str | None:
    """That of the current span, if there is one."""
    now = otel.get_current_span().get_span_context()
    if not now.is_valid:
        return None
    return f"00-{now.trace_id:032x}-{now.span_id:016x}-{now.trace_flags:02x}"


class AttemptSpan:
    """The span of one attempt, current until it is ended; its parent is who published."""

    def __init__(self, tracer: Tracer, row: Claimed, handler: str) -> None:
        self._span = tracer.start_span(
            f"process {row.topic}",
            context=_context_of(row.traceparent),
            kind=otel.SpanKind.CONSUMER,
            attributes={
                **_about("process", row.topic), "messaging.message.id": str(row.message_id),
                "outbox.handler": handler, "outbox.delivery_id": row.id,
                "outbox.attempt": row.attempts + 1,
            },
        )  # fmt: skip
        self._token = otel_context.attach(otel.set_span_in_context(self._span))

    def end(self, outcome: AnyOutcome | None, error: BaseException | None = None) -> None:
        """End it as the attempt ended; None when the attempt was broken off."""
        otel_context.detach(self._token)
        if outcome is None:
            _failed(self._span, "broken_off")
        else:
            self._span.set_attribute("outbox.outcome", outcome_name(outcome))
            if reason := outcome_reason(outcome):
                self._span.set_attribute("outbox.reason", reason)
            if not isinstance(outcome, Done | Suppressed):
                _failed(
                    self._span, outcome_name(outcome) if error is None else type(error).__name__
                )
        self._span.end()


def _about(operation: str, topic: str) -> dict[str, str]:
    return {
        "messaging.system": "outbox",
        "messaging.operation.type": "send" if operation == "publish" else operation,
        "messaging.operation.name": operation,
        "messaging.destination.name": topic,
    }


def _context_of(traceparent: str | None) -> Any:
    """The context a message was published in; an empty one where it carries none."""
    carrier = {} if traceparent is None else {"traceparent": traceparent}
    return TraceContextTextMapPropagator().extract(carrier, context=otel_context.Context())


def _failed(span: Span, kind: str) -> None:
    """Mark a span by a type or a code: a foreign error's text quotes values."""
    span.set_attribute("error.type", kind)
    span.set_status(otel.StatusCode.ERROR)
