"""Spans lead from the publisher to the handler; without a provider they cost nothing."""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from opentelemetry import trace as otel
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from outbox import Attempt, Done, Effect, Outcome, Publication, apublish, publish, publish_many
from outbox.tracing import continue_trace, current_headers
from tests.outbox.shop import OrderPlaced, StockChanged, mailer, nothing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from tests.outbox.conftest import Opened, Rows


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """A provider for this test alone: OpenTelemetry lets a process set one only once."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(otel, "_TRACER_PROVIDER", provider)
    yield exporter
    provider.shutdown()


def named(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


async def test_from_publisher_to_handler_and_on_to_what_it_publishes(
    database: str, opened: Opened, spans: InMemorySpanExporter
) -> None:
    async def restock(message: OrderPlaced, attempt: Attempt, conn: Any) -> Outcome:
        del message, attempt
        await apublish(conn, StockChanged(shelf="a", count=1))
        return Done()

    box = await opened(
        mailer(restock, effect=Effect.DATABASE),
        mailer(nothing, name="shelf", messages=(StockChanged,)),
    )
    with psycopg.connect(database) as conn:
        publish(conn, OrderPlaced(order_id=1))
    await box.drain()
    found = named(spans)
    way = [
        found[name]
        for name in (
            "publish order.placed", "process order.placed", "publish stock.changed",
            "process stock.changed",
        )
    ]  # fmt: skip
    attributes = way[1].attributes or {}

    assert [span.kind for span in way] == [SpanKind.PRODUCER, SpanKind.CONSUMER] * 2
    assert len({span.context.trace_id for span in way if span.context}) == 1
    for parent, child in pairwise(way):
        assert child.parent is not None
        assert parent.context is not None
        assert child.parent.span_id == parent.context.span_id
    assert attributes["outbox.handler"] == "mailer"
    assert attributes["outbox.outcome"] == "done"
    assert attributes["outbox.attempt"] == 1


async def test_each_attempt_has_its_span_and_no_span_tells_what_is_personal(
    database: str, opened: Opened, spans: InMemorySpanExporter
) -> None:
    """P12: topics, handlers, ids and codes; no payload, key or text of an error."""

    async def call(message: Any, attempt: Attempt) -> Outcome:
        if attempt.number == 1:
            raise ValueError("text-marker", message)
        return Done({"ticket": "receipt-marker"})

    box = await opened(mailer(call))
    with psycopg.connect(database) as conn:
        publish(conn, OrderPlaced(order_id=1, note="payload-marker"), key="key-marker")
        with pytest.raises(psycopg.errors.DivisionByZero), conn.transaction():
            conn.execute("select 1 / 0")
    await box.drain()
    box.advance(box.app.handlers["mailer"].lease)
    await box.drain()
    attempts = [one for one in spans.get_finished_spans() if one.kind is SpanKind.CONSUMER]
    told = "".join(span.to_json() for span in spans.get_finished_spans())

    assert [(one.attributes or {})["outbox.outcome"] for one in attempts] == ["retry", "done"]
    assert (attempts[0].attributes or {})["error.type"] == "ValueError"
    assert attempts[0].status.status_code is StatusCode.ERROR
    assert attempts[0].events == ()
    assert "marker" not in told


async def test_a_batch_taken_at_once_is_one_span_linked_to_every_publisher(
    database: str, opened: Opened, spans: InMemorySpanExporter
) -> None:
    async def all_at_once(
        items: Sequence[tuple[OrderPlaced, Attempt]], conn: Any
    ) -> Mapping[int, Outcome]:
        del conn
        return {attempt.delivery_id: Done() for _, attempt in items}

    async def alone(message: Any, attempt: Attempt, conn: Any) -> Outcome:
        del conn
        return await nothing(message, attempt)

    box = await opened(mailer(alone, effect=Effect.DATABASE, call_many=all_at_once))
    with psycopg.connect(database) as conn:
        publish_many(conn, [Publication(message=OrderPlaced(order_id=n)) for n in range(2)])
        publish(conn, OrderPlaced(order_id=3))
    await box.drain()
    published = [one for one in spans.get_finished_spans() if one.kind is SpanKind.PRODUCER]
    (batch,) = [one for one in spans.get_finished_spans() if one.kind is SpanKind.CONSUMER]

    assert (batch.attributes or {})["messaging.batch.message_count"] == 3
    assert [(one.attributes or {})["messaging.batch.message_count"] for one in published] == [2, 1]
    assert [link.context.span_id for link in batch.links] == [
        one.context.span_id for one in (published[0], published[0], published[1]) if one.context
    ]


async def test_without_a_provider_a_trace_is_handed_on_and_nothing_is_spent_on_spans(
    database: str, opened: Opened, rows: Rows
) -> None:
    """Counted and not timed: calls into OpenTelemetry while deliveries are drained are none."""
    traceparent = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"

    async def forward(message: OrderPlaced, attempt: Attempt, conn: Any) -> Outcome:
        del message, attempt, conn
        headers.append(current_headers())
        return Done()

    headers: list[str] = []
    box = await opened(mailer(forward, effect=Effect.DATABASE))
    continue_trace(traceparent)
    with psycopg.connect(database) as conn:
        publish(conn, OrderPlaced(order_id=1))
    continue_trace(None)
    await box.drain()
    for number in range(100):
        await box.publish(OrderPlaced(order_id=number))
    calls = 0

    def count(frame: Any, event: str, _: Any) -> None:
        nonlocal calls
        calls += event == "call" and "opentelemetry" in frame.f_code.co_filename

    quiet = await opened(mailer(name="quiet"))
    rows("update outbox.delivery set handler = 'quiet'")
    sys.setprofile(count)
    try:
        tried = await quiet.drain()
    finally:
        sys.setprofile(None)

    assert traceparent in headers[0]
    assert tried == 100
    assert calls == 0
