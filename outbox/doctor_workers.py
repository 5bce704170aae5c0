"""Checks of relays that hand over, of the workers they hand over to, and of the tickets between."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outbox.findings import error, note, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outbox.findings import Facts, Finding


def check_workers(facts: Facts) -> Iterator[Finding]:
    """Handlers without a worker, tickets nobody reads, workers of two versions, a broker away."""
    for relay in facts.live:
        if relay.trouble is not None:
            yield error(
                "broker",
                f"relay {relay.id} cannot hand over: {relay.trouble}",
                "what it claims goes back at once; nothing is lost, and nothing is delivered by it",
                "look at the broker, and at BROKER_URL of that relay; it goes on by itself",
            )
    inline = {name for relay in facts.live if not relay.hands_over for name in relay.handlers}
    taken = {one.handler for one in facts.workers if one.alive}
    for name in sorted(facts.served - inline - taken):
        yield error(
            "workers",
            f"every relay of {name!r} hands over to workers, and no live worker takes it",
            "nothing is claimed for it, so nothing is delivered",
            "start `outbox worker`, or a relay with --transport inline",
        )
    for lying in facts.tickets:
        if not lying.taken:
            yield warning(
                "tickets",
                f"{lying.deliveries} deliveries of {lying.handler!r} are under tickets in queue "
                f"{lying.queue}, which no live worker reads",
                f"they wait until {lying.until:%Y-%m-%d %H:%M:%S} at the latest; then a relay "
                "takes them back",
                "start `outbox worker` of the version that read it, or wait",
            )
    for name in sorted(taken):
        queues = {one.queue for one in facts.workers if one.alive and one.handler == name}
        if len(queues) > 1:
            yield note(
                "workers",
                f"live workers of {name!r} read {len(queues)} queues: their versions differ in "
                "the messages they read",
                "right during a deploy; afterwards one was forgotten",
                "stop the older ones",
            )
