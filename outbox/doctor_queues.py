"""Checks of what waits: relays, routes, unknown, dead, paused, too old."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outbox.findings import error, note, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outbox.findings import Facts, Finding


def check_relays(facts: Facts) -> Iterator[Finding]:
    """Handlers with deliveries that nobody runs; names nobody knows; versions side by side."""
    for one in facts.depths:
        waiting = one.pending + one.leased + one.unknown
        if not waiting or one.handler in facts.served:
            continue
        if one.handler not in facts.handlers:
            yield error(
                "handlers",
                f"{waiting} deliveries wait for handler {one.handler!r}, which neither this "
                "program nor "
                "a live relay has",
                "they wait for ever; a renamed handler leaves its deliveries behind",
                "run a program with that name until they are done, or rename the handler back",
            )
        else:
            yield error(
                "relays",
                f"{waiting} deliveries wait for handler {one.handler!r} and no live relay runs it",
                "nothing is delivered",
                "start `outbox relay`, without --only or with it",
            )
    if (
        facts.depths
        and not any(one.pending + one.leased for one in facts.depths)
        and not facts.live
    ):
        yield warning(
            "relays",
            "no relay has been seen in the last minute",
            "what is published next is not delivered",
            "start `outbox relay`",
        )
    versions = sorted({one.version or "before this was told" for one in facts.live})
    if len(versions) > 1:
        yield note(
            "relays",
            f"relays of several versions are alive: {', '.join(versions)}",
            "right during a deploy; afterwards one was forgotten",
            "stop the older ones",
        )


def check_routes(facts: Facts) -> Iterator[Finding]:
    """Routes to handlers nobody has, and messages nobody is routed to."""
    lost = [
        one for one in facts.routes
        if one.added_at is not None
        and one.handler not in facts.handlers and one.handler not in facts.served
    ]  # fmt: skip
    for name in sorted({one.handler for one in lost}):
        topics = ", ".join(sorted(one.topic for one in lost if one.handler == name))
        yield warning(
            "routes",
            f"topics are routed to {name!r}, which nobody has: {topics}",
            "every message published there makes a delivery that waits for ever",
            "`outbox route drop` if the handler is gone for good; else start a program with it",
        )
    for topic in facts.unrouted:
        yield warning(
            "routes",
            f"{topic.parked} messages of {topic.topic} are parked without a route",
            "nobody takes them; they are kept",
            "correct the topic, or release the handler for it",
        )


def check_waiting(facts: Facts) -> Iterator[Finding]:
    """Unknown, dead, paused, overdue and blocked deliveries."""
    for one in facts.depths:
        if one.unknown:
            yield warning(
                "unknown",
                f"{one.unknown} calls of {one.handler!r} may have happened",
                "they are held until somebody decides",
                "`outbox explain ID`; then say how it was",
            )
        if one.dead:
            yield warning(
                "dead",
                f"{one.dead} deliveries of {one.handler!r} were given up",
                "nobody tries them again by itself",
                "`outbox dead groups`; mend the cause, then `outbox redrive`",
            )
    for state in facts.destinations:
        if state.paused_at is not None:
            yield note(
                "paused",
                f"{state.handler!r} was paused by {state.paused_by} at "
                f"{state.paused_at:%Y-%m-%d %H:%M}",
                f"nothing is claimed for it: {state.paused_why}",
                f"`outbox resume {state.handler}`",
            )
        if state.circuit_opened_at is not None:
            yield warning(
                "credentials",
                f"the credentials of {state.handler!r} were rejected ({state.circuit_reason})",
                "nothing is claimed for it until its check passes",
                "`outbox health`; renew them",
            )
        if state.breaker_opened_at is not None:
            yield warning(
                "breaker",
                f"the destination of {state.handler!r} keeps failing ({state.breaker_reason})",
                "its calls are left alone but for one probe at a time",
                "mend the receiver; the breaker closes by itself when a probe ends well",
            )
    for trouble in facts.troubles:
        about = f" ({trouble.reason})" if trouble.reason else ""
        yield warning(
            trouble.kind,
            f"delivery {trouble.delivery_id} of {trouble.subject!r} is {trouble.kind}{about} "
            "since "
            f"{trouble.since:%Y-%m-%d %H:%M:%S}",
            "it waits longer than the application allows",
            f"`outbox explain {trouble.delivery_id}`",
        )
