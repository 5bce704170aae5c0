"""Ending attempts: outcome, receipt, application's record and sagas' reports in one commit.

Every settling statement is fenced by the lease token (P3): what is no longer ours is neither
written nor recorded nor reported.
"""

from __future__ import annotations

import json
import time
import traceback
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

from outbox import queries
from outbox.crash_points import CrashPoint, reach
from outbox.destination import Destination
from outbox.doubt import apply_policy
from outbox.errors import OutboxError
from outbox.handler import Settled, receipt_of
from outbox.meter import Meter
from outbox.outcome import (
    AnyOutcome,
    Dead,
    Done,
    Retry,
    Suppressed,
    Unknown,
    outcome_name,
    outcome_reason,
)
from outbox.saga.reports import report_deliveries
from outbox.telling import readable, settled_as

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from outbox.app import App
    from outbox.clock import Clock
    from outbox.handler import Attempt, Handler
    from outbox.message import Message
    from outbox.queries import Claimed, Conn, Now, Overtaken

log = structlog.get_logger("outbox")

DONE, LEASE_LOST = "done", "lease_lost"


class Ended(NamedTuple):
    """An attempt that has come to its end, not yet settled; `called`: the handler was."""

    claimed: Claimed
    token: UUID
    message: Message
    attempt: Attempt
    outcome: Done | Suppressed | Retry | Dead | Unknown
    error: BaseException | None = None
    duration_ms: int = 0
    called: bool = False


class LeaseLost(OutboxError):
    """Another worker holds the delivery now; this transaction must not commit."""


class Settlement:
    """Settles attempts of one handler on behalf of one relay."""

    def __init__(self, app: App, handler: Handler, *, relay: str, clock: Clock) -> None:
        self._app, self._handler, self._relay, self._clock = app, handler, relay, clock
        self.destination = Destination(handler, clock)
        self.meter = Meter()
        """Where it is counted; a relay has one for all its lanes."""

    async def settle(
        self, conn: Conn, ended: Sequence[Ended], *, free: Sequence[str] = ()
    ) -> set[int]:
        """Settle all of `ended` in one transaction; the ids that were still ours.

        `free` are the keys whose runs are over with it.
        """
        if not ended:
            return set()
        if not free and self._plainly_done(ended):
            reach(CrashPoint.BEFORE_SETTLE_COMMIT, self._handler.name)
            held = await self.settle_inside(conn, ended)  # one statement is a transaction
        else:
            async with conn.transaction():
                held = await self.settle_inside(conn, ended, free=free)
                reach(CrashPoint.BEFORE_SETTLE_COMMIT, self._handler.name)
        reach(CrashPoint.AFTER_SETTLE, self._handler.name)
        return held

    async def settle_inside(
        self,
        conn: Conn,
        ended: Sequence[Ended],
        *,
        free: Sequence[str] = (),
        locked: bool = False,
    ) -> set[int]:
        """The same inside the caller's transaction (a DATABASE handler's own).

        `locked`: its row locks, and no leases, are what makes them ours.
        """
        now, began = self._clock.sql_now(), time.perf_counter()
        if done := _simply_done(ended):
            held = await (queries.settle_held if locked else queries.settle_done)(
                conn, ids=[one.claimed.id for one in ended], token=ended[0].token,
                handler=self._handler.name, relay=self._relay, now=now,
            )  # fmt: skip
        else:
            held = await self._settle_each(conn, ended, now, locked=locked)
        if len(held) < len(ended):
            reach(CrashPoint.LEASE_LOST, self._handler.name)
        if free:
            await queries.release_keys(
                conn, handler=self._handler.name, token=ended[0].token, keys=free
            )
        await self.destination.hear(conn, ended, held, done=done)
        unknown = {} if done else await self._doubt(conn, ended, held)
        if self.is_heard:
            settled = [
                unknown.get(one.claimed.id) or self._settled(one)
                for one in ended
                if one.claimed.id in held
            ]
            await self._record(conn, settled)
        self._log(ended, held)
        counts = {DONE: len(held)} if done else _count(ended, held)
        counts[LEASE_LOST] = len(ended) - len(held)
        self.meter.settle(self._handler.name, counts, time.perf_counter() - began)
        return held

    async def _settle_each(
        self, conn: Conn, ended: Sequence[Ended], now: Now, *, locked: bool
    ) -> set[int]:
        held: set[int] = set()
        common: dict[str, Any] = {
            "now": now, "relay": self._relay, "handler": self._handler.name, "locked": locked,
        }  # fmt: skip
        for statement, rows in _rows_by_statement(ended).items():
            held |= await queries.settle(conn, statement, rows, **common)
        return held

    def _plainly_done(self, ended: Sequence[Ended]) -> bool:
        """Whether settling is one statement: done, and nobody wants to hear of it."""
        return not self.is_heard and _simply_done(ended)

    @cached_property
    def is_heard(self) -> bool:
        """Whether a `record` or a saga is told how the handler's deliveries end."""
        return self._app.is_heard(self._handler)

    async def settle_unknown_expired(self, conn: Conn, lost: Sequence[Claimed]) -> None:
        """Record what `expire_begun` has just marked unknown, after what the policy says of it."""
        outcome = Unknown("lease_lost_after_begin")
        self.meter.ended(self._handler.name, outcome_name(outcome), len(lost))
        unknown = self._settled_rows(lost, outcome)
        await self._record(conn, await apply_policy(conn, self._app, self._handler, unknown))

    async def settle_poisoned(self, conn: Conn, buried: Sequence[Claimed]) -> None:
        """Record what `bury_poisoned` has just given up."""
        outcome = Dead("poison")
        self.meter.ended(self._handler.name, outcome_name(outcome), len(buried))
        await self._record(conn, self._settled_rows(buried, outcome))

    async def settle_untried(
        self, conn: Conn, closed: Sequence[Overtaken], outcome: AnyOutcome
    ) -> None:
        """Record what was settled without being tried: overtaken, or withdrawn."""
        self.meter.ended(self._handler.name, outcome_name(outcome), len(closed))
        settled = [settled_as(self._app, row, self._handler.name, outcome) for row in closed]
        await self._record(conn, settled)

    async def _doubt(
        self, conn: Conn, ended: Sequence[Ended], held: set[int]
    ) -> dict[int, Settled]:
        """Do what the policy says of what has just become unknown; what to tell of each."""
        unknown = [
            self._settled(one)
            for one in ended
            if isinstance(one.outcome, Unknown) and one.claimed.id in held
        ]
        decided = await apply_policy(conn, self._app, self._handler, unknown)
        return {one.delivery_id: one for one in decided}

    async def _record(self, conn: Conn, settled: Sequence[Settled]) -> None:
        if settled and self._handler.record is not None:
            await self._handler.record(conn, settled)
        await report_deliveries(conn, self._app, settled)

    def _settled(self, one: Ended) -> Settled:
        settled = self._settled_row(one.claimed, one.message, one.outcome)
        return replace(settled, attempt=one.attempt.number, prepared=one.attempt.prepared)

    def _settled_rows(self, rows: Sequence[Claimed], outcome: AnyOutcome) -> list[Settled]:
        return [self._settled_row(row, readable(self._app, row), outcome) for row in rows]

    def _settled_row(self, row: Claimed, message: Message, outcome: AnyOutcome) -> Settled:
        return Settled(
            delivery_id=row.id, message_id=row.message_id, handler=self._handler.name,
            topic=row.topic, key=row.message_key, sequence=row.sequence,
            correlation_id=row.correlation_id, attempt=row.attempts + 1, message=message,
            outcome=outcome, at=self._clock.now(), final=not isinstance(outcome, Retry | Unknown),
        )  # fmt: skip

    def _log(self, ended: Sequence[Ended], held: set[int]) -> None:
        """One line for all that went well, one for each that did not."""
        well = 0
        for one in ended:
            if one.claimed.id in held and isinstance(one.outcome, Done | Suppressed):
                well += 1
            else:
                self._log_one(one, held=one.claimed.id in held)
        if well:
            log.info(
                "batch.settled", handler=self._handler.name, settled=well,
                first_id=ended[0].claimed.id, last_id=ended[-1].claimed.id,
                duration_ms_max=max(one.duration_ms for one in ended),
            )  # fmt: skip

    def _log_one(self, one: Ended, *, held: bool) -> None:
        facts = {
            "handler": self._handler.name, "delivery_id": one.claimed.id,
            "attempt": one.attempt.number, "duration_ms": one.duration_ms,
            "correlation_id": one.attempt.correlation_id,
        }  # fmt: skip
        if not held:
            log.warning("delivery.lease_lost", **facts)
            return
        log.warning(
            "delivery.settled", outcome=outcome_name(one.outcome),
            reason=outcome_reason(one.outcome),
            error_type=None if one.error is None else type(one.error).__name__,
            frame=frame_of(one.error), **facts,
        )  # fmt: skip


def _count(ended: Sequence[Ended], held: set[int]) -> dict[str, int]:
    """How many of those still ours ended how."""
    return Counter(outcome_name(one.outcome) for one in ended if one.claimed.id in held)


def _simply_done(ended: Sequence[Ended]) -> bool:
    """Whether every attempt was done, left no receipt of its own and raised nothing."""
    token = ended[0].token
    return all(
        type(one.outcome) is Done
        and not one.outcome.receipt
        and one.error is None
        and one.token == token
        for one in ended
    )


def facts_of(error: BaseException) -> dict[str, str | None]:
    """What may be logged of any error: type, SQLSTATE and frame, never its text."""
    return {
        "error_type": type(error).__name__,
        "sqlstate": getattr(error, "sqlstate", None),
        "frame": frame_of(error),
    }


def frame_of(error: BaseException | None) -> str | None:
    """`module:line function` of the innermost frame; never the text, which may quote values."""
    if error is None or error.__traceback__ is None:
        return None
    frame = traceback.extract_tb(error.__traceback__)[-1]
    module = frame.filename.replace("\\", "/").rsplit("/", 2)[-2:]
    return f"{'/'.join(module)}:{frame.lineno} {frame.name}"


def _rows_by_statement(ended: Sequence[Ended]) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {}
    for one in ended:
        row: dict[str, Any] = {"id": one.claimed.id, "token": one.token}
        reason = outcome_reason(one.outcome)
        match one.outcome:
            case Done() | Suppressed():
                receipt = receipt_of(one.outcome)
                detail = None if receipt is None else json.dumps(dict(receipt))
                row |= {"outcome": outcome_name(one.outcome), "reason": reason, "detail": detail}
                rows.setdefault("final", []).append(row)
            case Retry(after=after, spent=spent):
                row |= {"wait": after or timedelta(0), "reason": reason, "spent": spent}
                rows.setdefault("retry", []).append(row)
            case Dead():
                row |= {
                    "reason": reason or "dead",
                    "error_type": None if one.error is None else type(one.error).__name__,
                    "sqlstate": getattr(one.error, "sqlstate", None), "frame": frame_of(one.error),
                }  # fmt: skip
                rows.setdefault("dead", []).append(row)
            case Unknown():
                row |= {"reason": reason or "unknown"}
                rows.setdefault("unknown", []).append(row)
    return rows
