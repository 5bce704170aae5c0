"""Runs the lapse sweep of an organisation when a certificate lapsed by a change (PAU-7).

The database asks for it in the transaction of the change. Only the newest request of an
organisation is worth a sweep, since each looks at everybody; one that finds nobody changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid5

from handlers.commands import SweepRequested
from outbox import Done, Effect, Handler, Ladder, Order, RetryPolicy, Suppressed
from sagas import auto_pause, queries
from sagas.run import RunContext

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from outbox import Attempt, Outcome

NAME: Final = "sweep"
TIMEOUT: Final = timedelta(minutes=2)
"""It waits for an organisation's nightly transaction, and pauses whoever has lapsed since."""

_RUNS: Final = UUID("0f0f4f0c-5e0b-4d64-8d5c-1f5e7e0a9c31")
"""Names the runs of this handler: the same message is the same run."""


@dataclass(frozen=True, slots=True)
class Sweeping:
    """Pauses who has lapsed and tells their coordinators, in its own transaction.

    What it cannot do now it tries again for as long as it takes; the sweep of the quarter hour and
    of the night do the same work beside it.
    """

    def handler(self) -> Handler:
        """Return the declaration the engine registers."""
        return Handler(
            name=NAME,
            messages=(SweepRequested,),
            effect=Effect.DATABASE,
            call=self.call,
            timeout=TIMEOUT,
            order=Order.NEWEST,
            retry=RetryPolicy(attempts_max=None, backoff=Ladder((5, 30, 120, 300, 900))),
        )

    async def call(
        self, message: SweepRequested, attempt: Attempt, conn: AsyncConnection[Any]
    ) -> Outcome:
        """Sweep the organisation."""
        organisations = {each.id: each for each in await queries.list_organisations(conn)}
        organisation = organisations.get(message.organisation_id)
        if organisation is None:
            return Suppressed("organisation_gone")
        run = RunContext(uuid5(_RUNS, str(attempt.message_id)), attempt.now)
        swept = await auto_pause.sweep(conn, organisation, run)
        return Done({"paused": swept.paused})
