"""What the ends of attempts tell about a destination: hold it, open its circuit or its breaker.

It is said in the transaction that settles the attempts and stands in the destination's row, which
every claim of every process joins (P7). A call that ends well costs no statement.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog

from outbox import queries_cluster
from outbox.breaker import Tally
from outbox.errors import CredentialsRejected, DestinationHeld
from outbox.handler import DestinationChange
from outbox.outcome import Dead, Done, Retry, Unknown, outcome_reason
from outbox.retry import is_used_up

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from outbox.clock import Clock
    from outbox.handler import Handler
    from outbox.queries import Conn
    from outbox.settlement import Ended

log = structlog.get_logger("outbox")

CIRCUIT_PROBE_AFTER = timedelta(seconds=30)
"""How long a destination with rejected credentials is left alone between two checks."""

HOLD_MAX = timedelta(hours=1)
"""The longest hold at a time, whatever the receiver asks for."""


class Destination:
    """The destination of one handler, as one process hears of it. `probing`: its probe's token."""

    def __init__(self, handler: Handler, clock: Clock) -> None:
        self._handler, self._clock = handler, clock
        self._breaker = handler.breaks
        self._tally = None if self._breaker is None else Tally(self._breaker.window)
        self.probing: UUID | None = None

    async def hear(self, conn: Conn, ended: Sequence[Ended], held: set[int], *, done: bool) -> None:
        """Take in how attempts ended, those that were still ours; `done`: simply done, all."""
        if not done:
            await self._obey(conn, ended)
        if self._breaker is not None:
            if done:
                failed = []
                well = len(held)
            else:
                failed = [one for one in ended if one.claimed.id in held and _failed(one)]
                well = sum(_went_well(one) for one in ended)
            await self._judge(conn, failed, well)
            if self.probing is not None:
                await self._judge_probe(conn, ended, held, failed)

    async def credentials_accepted(self, conn: Conn) -> bool:
        """Close the credential circuit and say so; False when another process did."""
        async with conn.transaction():
            if not await queries_cluster.close_circuit(conn, handler=self._handler.name):
                return False
            await self._change(conn, "credentials_accepted", reason="check_passed")
        return True

    async def credentials_rejected(self, conn: Conn, error: CredentialsRejected) -> bool:
        """Open the credential circuit and say so; False when it was open already."""
        async with conn.transaction():
            return await self._open_circuit(conn, error)

    async def without_breaker(self, conn: Conn) -> None:
        """Close a breaker that another release opened, where this one declares none."""
        if self._breaker is not None:
            return
        async with conn.transaction():
            if await queries_cluster.forget_breaker(conn, handler=self._handler.name):
                await self._change(conn, "breaker_closed", reason="none_declared")

    async def _obey(self, conn: Conn, ended: Sequence[Ended]) -> None:
        for one in ended:
            match one.error:
                case DestinationHeld() as error:
                    await self._hold(conn, error.retry_after, error.reason)
                case CredentialsRejected() as error if self._handler.check is None:
                    # nobody could close its circuit: it waits a while and asks again
                    await self._hold(conn, CIRCUIT_PROBE_AFTER, error.reason)
                case CredentialsRejected() as error:
                    await self._open_circuit(conn, error)
                case _:
                    pass

    async def _hold(self, conn: Conn, wait: timedelta, reason: str) -> None:
        until = await queries_cluster.hold_destination(
            conn, handler=self._handler.name, wait=wait, reason=reason, now=self._clock.sql_now()
        )
        if until is not None:
            hint = f"it asked for {wait}; held for {HOLD_MAX}" if wait > HOLD_MAX else ""
            await self._change(conn, "held", reason=reason, hint=hint, until=until)

    async def _open_circuit(self, conn: Conn, error: CredentialsRejected) -> bool:
        opened = await queries_cluster.open_circuit(
            conn, handler=self._handler.name, reason=error.reason, probe_after=CIRCUIT_PROBE_AFTER,
            now=self._clock.sql_now(),
        )  # fmt: skip
        if opened:
            await self._change(conn, "credentials_rejected", reason=error.reason, hint=error.hint)
        return opened

    async def _judge(self, conn: Conn, failed: Sequence[Ended], well: int) -> None:
        """Count; where something failed, say so, and open the breaker if that is enough."""
        assert self._breaker is not None, "asked only where there is one"
        assert self._tally is not None, "as above"
        self._tally.count(well=well, failed=len(failed), at=self._clock.now())
        if not failed:
            return
        reason = outcome_reason(failed[-1].outcome) or "failed"
        until = await queries_cluster.note_failures(
            conn, handler=self._handler.name, ids=[one.claimed.id for one in failed],
            failing=self._tally.failing(self._breaker.share), reason=reason,
            breaker=self._breaker, now=self._clock.sql_now(),
        )  # fmt: skip
        if until is not None:
            await self._change(conn, "breaker_opened", reason=reason, until=until)

    async def _judge_probe(
        self, conn: Conn, ended: Sequence[Ended], held: set[int], failed: Sequence[Ended]
    ) -> None:
        """Close the breaker if the probe ended well, else leave it open."""
        assert self._breaker is not None, "asked only where there is one"
        mine = [one for one in ended if one.token == self.probing and one.claimed.id in held]
        if not mine:
            return
        token, self.probing = self.probing, None
        common: dict[str, Any] = {
            "handler": self._handler.name, "token": token, "now": self._clock.sql_now(),
        }  # fmt: skip
        if not any(_went_well(one) for one in mine):
            await queries_cluster.keep_breaker_open(
                conn, failed=bool(failed), breaker=self._breaker, **common
            )
        elif await queries_cluster.close_breaker(conn, pace=self._handler.concurrency, **common):
            await self._change(conn, "breaker_closed", reason="probe_passed")

    async def _change(
        self, conn: Conn, kind: str, *, reason: str, hint: str = "", until: datetime | None = None
    ) -> None:
        change = DestinationChange(self._handler.name, kind, reason, hint, until, self._clock.now())
        log.warning(
            "destination.changed",
            handler=change.handler,
            kind=kind,
            reason=reason,
            hint=hint or None,
        )
        if self._handler.destination_changed is not None:
            await self._handler.destination_changed(conn, change)


def _failed(one: Ended) -> bool:
    """Whether the destination failed this call: neither a refusal nor a wait it asked for."""
    if not one.called or one.error is None:
        return False
    match one.outcome:
        case Retry(spent=spent):
            return spent
        case Dead(reason=reason):
            return is_used_up(reason)
        case outcome:
            return isinstance(outcome, Unknown)


def _went_well(one: Ended) -> bool:
    """Whether the destination answered as it should: done, or a refusal of this one message."""
    if not one.called:
        return False
    if isinstance(one.outcome, Dead):
        return not is_used_up(one.outcome.reason)
    return isinstance(one.outcome, Done)
