"""Ending attempts: outcome, receipt, application's record and sagas' reports in one commit.

Every settling statement is fenced by the lease token (P3): what is no longer ours is neither
written nor recorded nor reported.
"""

from __future__ import annotations

import json
import traceback
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog

from outbox import queries
from outbox.errors import CredentialsRejected, DestinationHeld, OutboxError
from outbox.handler import DestinationChange, Settled, UnknownPolicy, receipt_of
from outbox.outcome import (
    AnyOutcome,
    Dead,
    Done,
    Retry,
    Superseded,
    Suppressed,
    Unknown,
    outcome_name,
    outcome_reason,
)
from outbox.saga.reports import report_deliveries

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from outbox.app import App
    from outbox.clock import Clock
    from outbox.handler import Attempt, Handler
    from outbox.message import Message
    from outbox.queries import Claimed, Conn, Overtaken

log = structlog.get_logger("outbox")

CIRCUIT_PROBE_AFTER = timedelta(seconds=30)
"""How long a destination with rejected credentials is left alone between two checks."""


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that has come to its end, not yet settled."""

    claimed: Claimed
    token: UUID
    message: Message
    attempt: Attempt
    outcome: Done | Suppressed | Retry | Dead | Unknown
    error: BaseException | None = None
    duration_ms: int = 0


class LeaseLost(OutboxError):
    """Another worker holds the delivery now; this transaction must not commit."""


class Settlement:
    """Settles attempts of one handler on behalf of one relay."""

    def __init__(self, app: App, handler: Handler, *, relay: str, clock: Clock) -> None:
        self._app, self._handler, self._relay, self._clock = app, handler, relay, clock

    async def settle(self, conn: Conn, ended: Sequence[Ended]) -> set[int]:
        """Settle all of `ended` in one transaction; the ids that were still ours."""
        if not ended:
            return set()
        async with conn.transaction():
            return await self.settle_inside(conn, ended)

    async def settle_inside(self, conn: Conn, ended: Sequence[Ended]) -> set[int]:
        """The same inside the caller's transaction (a DATABASE handler's own)."""
        held: set[int] = set()
        now = self._clock.sql_now()
        for statement, rows in _rows_by_statement(ended).items():
            common: dict[str, Any] = {
                "now": now,
                "relay": self._relay,
                "handler": self._handler.name,
            }
            held |= await queries.settle(conn, statement, rows, **common)
        await self._tell_destination(conn, ended)
        resent = await self._resend(conn, ended, held)
        settled = [self._settled(one) for one in ended if one.claimed.id in held - resent]
        await self._record(conn, settled)
        for one in ended:
            self._log(one, held=one.claimed.id in held)
        return held

    async def settle_unknown_expired(
        self, conn: Conn, lost: Sequence[Claimed], messages: Sequence[Message]
    ) -> None:
        """Record what `expire_begun` has just marked unknown."""
        outcome = Unknown("lease_lost_after_begin")
        await self._record(
            conn, [self._settled_row(c, m, outcome) for c, m in zip(lost, messages, strict=True)]
        )

    async def settle_poisoned(
        self, conn: Conn, buried: Sequence[Claimed], messages: Sequence[Message]
    ) -> None:
        """Record what `bury_poisoned` has just given up."""
        outcome = Dead("poison")
        await self._record(
            conn, [self._settled_row(c, m, outcome) for c, m in zip(buried, messages, strict=True)]
        )

    async def settle_superseded(
        self, conn: Conn, overtaken: Sequence[Overtaken], messages: Sequence[Message]
    ) -> None:
        """Record what `supersede_overtaken` has just settled."""
        settled = [
            Settled(
                delivery_id=o.id, message_id=o.message_id, handler=self._handler.name,
                topic=o.topic, key=o.message_key, sequence=o.sequence,
                correlation_id=o.correlation_id, attempt=o.attempts, message=m,
                outcome=Superseded(), at=self._clock.now(), final=True,
            )
            for o, m in zip(overtaken, messages, strict=True)
        ]  # fmt: skip
        await self._record(conn, settled)

    async def credentials_accepted(self, conn: Conn) -> bool:
        """Close the credential circuit and say so; False when another process did."""
        async with conn.transaction():
            if not await queries.close_circuit(conn, handler=self._handler.name):
                return False
            await self._change(
                conn, "credentials_accepted", reason="check_passed", hint="", until=None
            )
        return True

    async def credentials_rejected(self, conn: Conn, error: CredentialsRejected) -> bool:
        """Open the credential circuit and say so; False when it was open already."""
        async with conn.transaction():
            return await self._open_circuit(conn, error)

    async def _resend(self, conn: Conn, ended: Sequence[Ended], held: set[int]) -> set[int]:
        """Give what has just become unknown its one second try, if that is the handler's policy."""
        unknown = [one.claimed.id for one in ended if isinstance(one.outcome, Unknown)]
        ids = [one for one in unknown if one in held]
        if not ids or self._handler.unknown is not UnknownPolicy.RESEND_ONCE:
            return set()
        return await queries.resend_unknown(conn, ids=ids, now=self._clock.sql_now())

    async def _record(self, conn: Conn, settled: Sequence[Settled]) -> None:
        if settled and self._handler.record is not None:
            await self._handler.record(conn, settled)
        await report_deliveries(conn, self._app, settled, now=self._clock.sql_now())

    async def _tell_destination(self, conn: Conn, ended: Sequence[Ended]) -> None:
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
        until = await queries.hold_destination(
            conn, handler=self._handler.name, wait=wait, reason=reason, now=self._clock.sql_now()
        )
        if until is not None:
            await self._change(conn, "held", reason=reason, hint="", until=until)

    async def _open_circuit(self, conn: Conn, error: CredentialsRejected) -> bool:
        opened = await queries.open_circuit(
            conn, handler=self._handler.name, reason=error.reason, probe_after=CIRCUIT_PROBE_AFTER,
            now=self._clock.sql_now(),
        )  # fmt: skip
        if opened:
            await self._change(
                conn, "credentials_rejected", reason=error.reason, hint=error.hint, until=None
            )
        return opened

    async def _change(self, conn: Conn, kind: str, *, reason: str, hint: str, until: Any) -> None:
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

    def _settled(self, one: Ended) -> Settled:
        settled = self._settled_row(one.claimed, one.message, one.outcome)
        return replace(settled, attempt=one.attempt.number, prepared=one.attempt.prepared)

    def _settled_row(self, row: Claimed, message: Message, outcome: AnyOutcome) -> Settled:
        return Settled(
            delivery_id=row.id, message_id=row.message_id, handler=self._handler.name,
            topic=row.topic, key=row.message_key, sequence=row.sequence,
            correlation_id=row.correlation_id, attempt=row.attempts + 1, message=message,
            outcome=outcome, at=self._clock.now(), final=not isinstance(outcome, Retry | Unknown),
        )  # fmt: skip

    def _log(self, one: Ended, *, held: bool) -> None:
        facts = {
            "handler": self._handler.name, "delivery_id": one.claimed.id,
            "attempt": one.attempt.number, "duration_ms": one.duration_ms,
            "correlation_id": one.attempt.correlation_id,
        }  # fmt: skip
        if not held:
            log.warning("delivery.lease_lost", **facts)
        elif isinstance(one.outcome, Done | Suppressed):
            log.debug("delivery.settled", outcome=outcome_name(one.outcome), **facts)
        else:
            log.warning(
                "delivery.settled", outcome=outcome_name(one.outcome),
                reason=outcome_reason(one.outcome),
                error_type=None if one.error is None else type(one.error).__name__,
                frame=frame_of(one.error), **facts,
            )  # fmt: skip


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
