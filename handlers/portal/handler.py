"""Keeps the portal's picture of each mentor equal to ours."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, assert_never

from handlers.alerts import announce_credentials
from handlers.commands import VisibilityChanged, VisibilityChangedV1
from handlers.portal import queries
from handlers.portal.answers import (
    Accepted,
    Ahead,
    Answer,
    Applied,
    Conflict,
    Credentials,
    Duplicate,
    OurFault,
    Retired,
    Stale,
    Throttled,
    Unclear,
    UnknownMentor,
)
from handlers.portal.port import Healthy, WantedVisibility
from outbox import (
    Dead,
    Done,
    Effect,
    Handler,
    Ladder,
    Order,
    Redriven,
    RetryPolicy,
    Settled,
    Superseded,
    Suppressed,
    Withdrawn,
)
from outbox.errors import (
    CredentialsRejected,
    DestinationHeld,
    PermanentFailure,
    TransientFailure,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from psycopg import AsyncConnection

    from handlers.portal.answers import Refused
    from handlers.portal.port import VisibilityPort
    from handlers.portal.wire import SetAnswer
    from outbox import Attempt, Outcome

CALL_TIMEOUT: Final = timedelta(seconds=20)
"""Above the client's own 15 s, so that a call ends by its own clock."""

RETRY_LADDER: Final = RetryPolicy(
    attempts_max=None,
    backoff=Ladder((5, 30, 120, 300, 900, 1800, 3600)),
    jitter=0.2,
)
"""At once, then 5 s, 30 s, 2 min, 5 min, 15 min, 30 min, then hourly, for as long as it takes."""

_NO_CHANNEL: Final = "none"
UNKNOWN: Final = "unknown_mentor"
"""Why a delivery about somebody the portal does not have is given up."""


@dataclass(frozen=True, slots=True)
class PortalHandler:
    """Sends a mentor's whole wanted state to the portal of his organisation (SYN-4 to SYN-7).

    Idempotence: the receiver compares versions: a repeat is a `duplicate`, an overtaken call is
    `stale`; both change nothing there. The state is read when the attempt begins, not when the
    message was published, and an attempt is the one in flight for its mentor (`Order.NEWEST`).
    Failures: what may have been applied is repeated for ever on the ladder; 429 and 503 with
    `Retry-After` hold the portal for everybody; rejected credentials open its circuit (SYN-11);
    what the receiver refuses for our fault is given up. A version the portal should not know
    (`ahead`, or a conflict) ends the delivery with that fact, and the visibility saga decides.

    `ports` maps an organisation's visibility channel to the way its portal is reached.
    """

    ports: Mapping[str, VisibilityPort]
    concurrency: int = 4

    def handler(self) -> Handler:
        """Return the declaration the engine registers."""
        return Handler(
            name="portal",
            messages=(VisibilityChanged, VisibilityChangedV1),
            effect=Effect.IDEMPOTENT,
            call=self.call,
            timeout=CALL_TIMEOUT,
            concurrency=self.concurrency,
            batch_max=self.concurrency * 4,  # more would be read long before it is sent
            order=Order.NEWEST,
            retry=RETRY_LADDER,
            breaker=None,  # SYN-5 says when it is asked again; and its portals are several
            prepare=self.prepare,
            record=self.record,
            check=self.check,
            destination_changed=announce_credentials,
        )

    async def prepare(
        self, conn: AsyncConnection[Any], items: Sequence[tuple[VisibilityChangedV1, Attempt]]
    ) -> Mapping[int, object]:
        """Read the wanted state of the batch; settle what has no portal to go to."""
        return await wanted_states(conn, self.ports, items)

    async def call(self, message: VisibilityChangedV1, attempt: Attempt) -> Outcome:
        """Post the state once and read the answer. Raises what `settlement` raises."""
        del message
        row: queries.WantedRow = attempt.prepared
        wanted = row.wanted()
        return settlement(await self.ports[row.channel].set(wanted), wanted)

    async def record(self, conn: AsyncConnection[Any], settled: Sequence[Settled]) -> None:
        """Keep what the attempts told in `portal_sync_state`, and whom the portal does not know."""
        learnt = [told(each) for each in settled if _was_tried(each)]
        await queries.record_told(conn, learnt)
        unknown = {one.mentor_id: one.at for one in learnt if one.code == UNKNOWN}
        await queries.note_unknown(conn, unknown)

    async def check(self) -> None:
        """Ask each portal who we are. Raises CredentialsRejected or TransientFailure."""
        await check_ports(self.ports)


async def wanted_states(
    conn: AsyncConnection[Any],
    ports: Mapping[str, VisibilityPort],
    items: Sequence[tuple[Any, Attempt]],
) -> dict[int, object]:
    """Return per delivery the live state of its mentor, or the outcome that needs no call."""
    if not items:
        return {}
    mentors = [message.mentor_id for message, _ in items]
    rows = await queries.wanted_visibility(conn, mentors, now=items[0][1].now)
    prepared: dict[int, object] = {}
    for message, attempt in items:
        row = rows.get(message.mentor_id)
        if row is None:
            prepared[attempt.delivery_id] = Suppressed("mentor_gone")
        elif row.channel == _NO_CHANNEL:
            prepared[attempt.delivery_id] = Suppressed("no_channel")
        elif row.channel not in ports:
            prepared[attempt.delivery_id] = Dead("channel_not_configured")
        else:
            prepared[attempt.delivery_id] = row
    return prepared


def settlement(  # noqa: PLR0911  # one per row of the table
    answer: Answer, wanted: WantedVisibility
) -> Outcome:
    """Turn the portal's answer into an outcome.

    Raises CredentialsRejected, DestinationHeld and TransientFailure where the engine decides when
    to try again, PermanentFailure where nobody will.
    """
    match answer:
        case Applied(body, request_id):
            named = {} if request_id is None else {"request_id": request_id}
            return Done({**_stored("applied", body), **named})
        case Duplicate(body):
            return Done(_stored("duplicate", body))
        case Stale(returned, body):
            return Done({**_stored("stale", body), "returned_version": returned})
        case Ahead(returned, body):
            return Done({**_stored("ahead", body), "returned_version": returned})
        case Conflict(current, visible):
            return Done(
                {
                    "answer": "ahead",
                    "cause": "conflict",
                    "version": current,
                    "visible": visible,
                    "returned_version": current,
                }
            )
        case Accepted():
            return Done({"answer": "accepted", "version": wanted.version})
        case UnknownMentor():
            return Dead(UNKNOWN)
        case _:
            raise refused(answer)


def refused(answer: Refused) -> Exception:
    """Return the error that says how the engine goes on after a refusal."""
    match answer:
        case OurFault(code):
            return PermanentFailure(f"portal_refused:{code}")
        case Retired():
            return PermanentFailure("endpoint_retired")
        case Credentials():
            return CredentialsRejected("portal_credentials", hint=answer.hint)
        case Throttled(retry_after):
            return DestinationHeld("portal_throttled", retry_after)
        case Unclear(reason):
            return TransientFailure(f"portal_{reason}")
        case _:
            assert_never(answer)


def told(settled: Settled) -> queries.Told:
    """Read what one settled attempt learnt out of its outcome."""
    assert isinstance(settled.message, VisibilityChangedV1)
    mentor_id, at = settled.message.mentor_id, settled.at
    outcome = settled.outcome
    if not isinstance(outcome, Done):
        code = getattr(outcome, "reason", None)
        return queries.Told(mentor_id, at, attempts=settled.attempt, code=code)
    receipt: Mapping[str, Any] = outcome.receipt
    if "answer" not in receipt:  # a person said so, who has seen no answer
        return queries.Told(mentor_id, at, attempts=settled.attempt, code="resolved")
    return told_of(mentor_id, at, receipt, attempts=settled.attempt)


def told_of(
    mentor_id: UUID, at: datetime, receipt: Mapping[str, Any], *, attempts: int | None
) -> queries.Told:
    """Read what an answered call learnt out of the receipt that `settlement` made of it."""
    answer, version = receipt["answer"], receipt.get("version")
    acknowledged = answer in ("applied", "duplicate")
    return queries.Told(
        mentor_id,
        at,
        attempts=attempts,
        code=answer,
        accepted_version=version if answer == "accepted" else None,
        acked_version=version if acknowledged else None,
        acked_visible=receipt["visible"] if acknowledged else None,
        observed=answer != "accepted",
        observed_version=version if answer != "accepted" else None,
        observed_visible=receipt.get("visible"),
        observed_published=receipt.get("published_visible"),
        request_id=receipt.get("request_id"),
    )


async def check_ports(ports: Mapping[str, VisibilityPort]) -> None:
    """Ask each portal who we are; the first that does not know us decides."""
    for port in ports.values():
        health = await port.health()
        if isinstance(health, Healthy):
            continue
        if isinstance(health, Throttled):  # a check holds nobody: it only says "not now"
            raise TransientFailure("portal_throttled", health.retry_after)
        raise refused(health)


def _stored(answer: str, body: SetAnswer) -> dict[str, Any]:
    return {
        "answer": answer,
        "version": body.version,
        "visible": body.visible,
        "published_version": body.published_version,
        "published_visible": body.published_visible,
    }


def _was_tried(settled: Settled) -> bool:
    untried = Suppressed | Superseded | Withdrawn | Redriven
    return isinstance(settled.message, VisibilityChangedV1) and not isinstance(
        settled.outcome, untried
    )
