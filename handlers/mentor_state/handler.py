"""Raises a mentor's visibility version above the portal's, within bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, assert_never

from handlers.commands import VisibilityRaise
from handlers.mentor_state import queries
from handlers.mentor_state.raising import Hold, MovedOn, Raise, Standing, decide
from outbox import Done, Effect, Handler, Suppressed

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from outbox import Attempt, Outcome

_REASON = "reconcile"


@dataclass(frozen=True, slots=True)
class MentorStateHandler:
    """Carries out `VisibilityRaise` under the mentor's row lock.

    Repeats are harmless: once raised, our version has passed the returned one. What may not be
    raised is answered as `held`: the saga that asked then alerts, and a human decides.
    """

    def handler(self) -> Handler:
        """Return the declaration the engine registers."""
        return Handler(
            name="mentor_state",
            messages=(VisibilityRaise,),
            effect=Effect.DATABASE,
            call=self.call,
        )

    async def call(
        self, message: VisibilityRaise, attempt: Attempt, conn: AsyncConnection[Any]
    ) -> Outcome:
        """Raise, or say why not."""
        row = await queries.lock_standing(conn, message.mentor_id, now=attempt.now)
        if row is None:
            return Suppressed("mentor_gone")
        standing = Standing(row.version, row.raised_on, row.today)
        match decide(standing, returned=message.returned_version):
            case MovedOn():
                return Suppressed("moved_on")
            case Hold(reason):
                return Done({"answer": "held", "cause": reason, "version": row.version})
            case Raise(at_least):
                return await self._raise(message, attempt, conn, row, at_least)
            case decision:
                assert_never(decision)

    async def _raise(
        self,
        message: VisibilityRaise,
        attempt: Attempt,
        conn: AsyncConnection[Any],
        row: queries.StandingRow,
        at_least: int,
    ) -> Outcome:
        version = await queries.bump_visibility(
            conn, message.mentor_id, at_least=at_least, reason=_REASON, now=attempt.now
        )
        if version is None:
            return Suppressed("no_channel")
        await queries.mark_raised(conn, message.mentor_id, today=row.today)
        return Done({"answer": "raised", "version": version})
