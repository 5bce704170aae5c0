"""The numbers of a relay or worker in Prometheus' form. Needs the extra `telemetry`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import generate_latest

from outbox.meter import SECONDS
from outbox.vitals import RelayVitals, WorkerVitals

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.metrics_core import Metric

    from outbox.meter import Meter
    from outbox.vitals import Vitals

STATES = ("open", "paused", "held", "circuit open", "breaker open")


def exposition(vitals: Vitals) -> bytes:
    """Everything the process knows of itself, as the text Prometheus scrapes."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector(vitals))
    return generate_latest(registry)


class Collector:
    """Reads the process's numbers when it is asked; nothing is kept twice."""

    def __init__(self, vitals: Vitals) -> None:
        self._vitals = vitals

    def collect(self) -> Iterator[Metric]:
        """The metric families, each in one go."""
        vitals = self._vitals
        kind = vitals.kind
        who = InfoMetricFamily(f"outbox_{kind}", f"The {kind} that answers.")
        who.add_metric([], {kind: vitals.name, "version": vitals.version})
        yield who
        yield _plain(f"outbox_{kind}_ready", "1 if /readyz says yes.", float(not vitals.problems()))
        yield _plain(
            "outbox_last_look_age_seconds",
            "Since the database was last seen; by a relay, and audited.",
            vitals.look_age_seconds(),
        )
        if isinstance(vitals, RelayVitals):
            yield from _delivering(vitals)
            yield from _waiting(vitals)
        if isinstance(vitals, WorkerVitals):
            yield _by_handler(
                "outbox_worker_connected",
                "1 while the handler's queue is being read.",
                [(name, float(reads)) for name, reads in vitals.connected().items()],
            )
        yield from _counted(vitals.meter)
        yield _by_handler(
            "outbox_in_flight",
            "Deliveries that take a slot of this process.",
            vitals.in_flight().items(),
        )


def _delivering(vitals: RelayVitals) -> Iterator[Metric]:
    """Whether a relay hears its bell, and can hand over where it does."""
    heard = float(vitals.listening() is True)
    yield _plain("outbox_relay_listening", "1 while the bell is heard.", heard)
    if vitals.hands_over:
        sends = float(vitals.trouble() is None)
        yield _plain("outbox_relay_broker_up", "1 while the broker takes tickets.", sends)


def _waiting(vitals: RelayVitals) -> Iterator[Metric]:
    yield _by_handler(
        "outbox_oldest_due_age_seconds",
        "Age of what is due longest and in nobody's hands; 0 when nothing is.",
        vitals.oldest_due_ages().items(),
    )
    depth = GaugeMetricFamily(
        "outbox_deliveries",
        "Deliveries by state, when last counted.",
        labels=["handler", "state"],
    )
    for one in vitals.depths:
        for state in ("pending", "leased", "unknown", "dead"):
            depth.add_metric([one.handler, state], getattr(one, state))
    yield depth
    yield _plain(
        "outbox_unrouted_messages", "Messages parked for want of a route.", vitals.unrouted
    )
    trouble = GaugeMetricFamily(
        "outbox_trouble_age_seconds",
        "What waits too long: overdue, blocked, orphaned, unrouted.",
        labels=["kind"],
    )
    for kind, age in vitals.trouble_ages().items():
        trouble.add_metric([kind], age)
    yield trouble
    destinations = GaugeMetricFamily(
        "outbox_destination",
        "1 for the state a destination is in.",
        labels=["handler", "state"],
    )
    for handler, found in vitals.destinations.items():
        for name in dict.fromkeys((*STATES, found)):
            destinations.add_metric([handler, name], float(name == found))
    yield destinations


def _counted(meter: Meter) -> Iterator[Metric]:
    attempts = CounterMetricFamily(
        "outbox_attempts", "Attempts settled, by outcome.", labels=["handler", "outcome"]
    )
    for (handler, outcome), count in sorted(meter.attempts.copy().items()):
        attempts.add_metric([handler, outcome], count)
    yield attempts
    claims = CounterMetricFamily(
        "outbox_claims", "Claims, by how much they got.", labels=["handler", "result"]
    )
    for (handler, result), count in sorted(meter.claims.copy().items()):
        claims.add_metric([handler, result], count)
    yield claims
    claimed = CounterMetricFamily("outbox_claimed", "Deliveries claimed.", labels=["handler"])
    for handler, count in sorted(meter.claimed.copy().items()):
        claimed.add_metric([handler], count)
    yield claimed
    settling = HistogramMetricFamily(
        "outbox_settle_seconds", "How long writing a batch's end took.", labels=["handler"]
    )
    for handler, histogram in sorted(meter.settling.copy().items()):
        so_far, buckets = 0, []
        for bound, count in zip((*map(str, SECONDS), "+Inf"), histogram.counts, strict=True):
            so_far += count
            buckets.append((bound, so_far))
        settling.add_metric([handler], buckets, histogram.total)
    yield settling


def _plain(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(name, words, value=value)


def _by_handler(name: str, words: str, values: Iterable[tuple[str, float]]) -> Metric:
    family = GaugeMetricFamily(name, words, labels=["handler"])
    for handler, value in values:
        family.add_metric([handler], value)
    return family
