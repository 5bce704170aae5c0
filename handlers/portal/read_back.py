"""Reads one mentor back from the portal: accepted is not applied, applied is not published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from handlers.alerts import announce_credentials
from handlers.commands import VisibilityReadBack
from handlers.portal import queries
from handlers.portal.answers import Absent, Found, Unchanged
from handlers.portal.handler import CALL_TIMEOUT, check_ports, refused, wanted_states
from outbox import Done, Effect, Handler, Ladder, RetryPolicy, Settled
from outbox.errors import TransientFailure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from psycopg import AsyncConnection

    from handlers.portal.answers import ReadAnswer
    from handlers.portal.port import VisibilityPort
    from handlers.portal.wire import StoredVisibility
    from outbox import Attempt, Outcome

READ_RETRIES: Final = RetryPolicy(attempts_max=8, backoff=Ladder((5, 30, 120, 300, 900)))
"""Under 40 minutes in all; the saga asks again as long as it needs to know."""


@dataclass(frozen=True, slots=True)
class ReadBackHandler:
    """Asks the portal what it holds of one mentor and compares it with what we want now.

    Idempotence: it only reads. The receipt's `answer` is `confirmed` (our version and content are
    stored), `not_yet` (an older version is), `absent`, or `ahead` (a version we never made, or ours
    with other content; `returned_version` tells which).
    """

    ports: Mapping[str, VisibilityPort]
    concurrency: int = 2

    def handler(self) -> Handler:
        """Return the declaration the engine registers."""
        return Handler(
            name="portal_read",
            messages=(VisibilityReadBack,),
            effect=Effect.IDEMPOTENT,
            call=self.call,
            timeout=CALL_TIMEOUT,
            concurrency=self.concurrency,
            batch_max=self.concurrency * 4,
            retry=READ_RETRIES,
            breaker=None,  # as the portal's own handler: one of several portals may be away
            prepare=self.prepare,
            record=self.record,
            check=self.check,
            destination_changed=announce_credentials,
        )

    async def prepare(
        self, conn: AsyncConnection[Any], items: Sequence[tuple[VisibilityReadBack, Attempt]]
    ) -> Mapping[int, object]:
        """Read the wanted state of the batch; settle what has no portal to ask."""
        return await wanted_states(conn, self.ports, items)

    async def call(self, message: VisibilityReadBack, attempt: Attempt) -> Outcome:
        """Read one mentor. Raises what a refused or unclear answer stands for."""
        row: queries.WantedRow = attempt.prepared
        answer = await self.ports[row.channel].read(message.mentor_id)
        return Done(comparison(answer, row, asked=message.version))

    async def record(self, conn: AsyncConnection[Any], settled: Sequence[Settled]) -> None:
        """Keep what was seen in `portal_sync_state`, and that it confirms a version."""
        await queries.record_told(conn, [seen for each in settled for seen in _seen(each)])

    async def check(self) -> None:
        """Ask each portal who we are. Raises CredentialsRejected or TransientFailure."""
        await check_ports(self.ports)


def comparison(answer: ReadAnswer, row: queries.WantedRow, *, asked: int) -> dict[str, Any]:
    """Compare what the portal holds with what is wanted; `asked` is the version to confirm.

    Raises what `refused` makes of an answer that brings no state.
    """
    match answer:
        case Found(item):
            facts = _facts(item)
            if item.version > row.version:
                return {"answer": "ahead", "returned_version": item.version, **facts}
            if item.version == row.version and item.visible != row.visible:
                cause = {"cause": "conflict", "returned_version": item.version}
                return {"answer": "ahead", **cause, **facts}
            return {"answer": "confirmed" if item.version >= asked else "not_yet", **facts}
        case Absent():
            wanted = {"wanted_version": row.version, "wanted_visible": row.visible}
            return {"answer": "absent", **wanted}
        case Unchanged():  # only a conditional read may be answered so, and this one is not
            raise TransientFailure("portal_unasked_304")
        case _:
            raise refused(answer)


def _facts(item: StoredVisibility) -> dict[str, Any]:
    return {
        "version": item.version,
        "visible": item.visible,
        "published_version": item.published_version,
        "published_visible": item.published_visible,
    }


def _seen(settled: Settled) -> list[queries.Told]:
    if not isinstance(settled.outcome, Done) or "answer" not in settled.outcome.receipt:
        return []  # nothing was seen, or only by a person
    assert isinstance(settled.message, VisibilityReadBack)
    receipt: Mapping[str, Any] = settled.outcome.receipt
    confirmed = receipt["answer"] == "confirmed"
    return [
        queries.Told(
            settled.message.mentor_id,
            settled.at,
            acked_version=receipt["version"] if confirmed else None,
            acked_visible=receipt["visible"] if confirmed else None,
            observed=True,
            observed_version=receipt.get("version"),
            observed_visible=receipt.get("visible"),
            observed_published=receipt.get("published_visible"),
        )
    ]
