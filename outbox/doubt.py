"""What a handler's policy says about deliveries that have just become unknown."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from outbox import queries, queries_unknown
from outbox.handler import UnknownPolicy
from outbox.outcome import Retry, outcome_reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from outbox.app import App
    from outbox.handler import Handler, Settled
    from outbox.queries import Conn

log = structlog.get_logger("outbox")


async def apply_policy(
    conn: Conn, app: App, handler: Handler, unknown: Sequence[Settled]
) -> list[Settled]:
    """Do what the policy says, in the transaction that made them unknown; what to tell of each.

    What is sent once more is told as a retry: it is not held, and nobody need act.
    """
    if not unknown:
        return []
    policies = await _policies(conn, handler, unknown)
    again = [one.delivery_id for one in unknown if _of(policies, one) is UnknownPolicy.RESEND_ONCE]
    asked = [one.delivery_id for one in unknown if _of(policies, one) is UnknownPolicy.PROBE]
    resent: set[int] = set()
    if again:
        resent = await queries.resend_unknown(conn, ids=again, now=app.clock.sql_now())
    if asked and handler.probe is not None:
        await queries_unknown.note_questions(
            conn, asked, wait=handler.probe.backoff.after(1), now=app.clock.sql_now()
        )
    return [
        replace(one, outcome=Retry(timedelta(0), outcome_reason(one.outcome) or "unknown"))
        if one.delivery_id in resent
        else one
        for one in unknown
    ]


async def _policies(
    conn: Conn, handler: Handler, unknown: Sequence[Settled]
) -> UnknownPolicy | Mapping[int, UnknownPolicy]:
    """The policy of each; where the handler cannot say, all are held."""
    if isinstance(handler.unknown, UnknownPolicy):
        return handler.unknown
    try:
        async with conn.transaction():
            return await handler.unknown(conn, unknown)
    except Exception as error:  # noqa: BLE001 - what became unknown must be kept, whatever it raises
        log.error(  # noqa: TRY400 - a foreign error's text quotes values
            "handler.unknown_policy_failed", handler=handler.name, error_type=type(error).__name__
        )
        return UnknownPolicy.HOLD


def _of(policies: UnknownPolicy | Mapping[int, UnknownPolicy], one: Settled) -> UnknownPolicy:
    if isinstance(policies, UnknownPolicy):
        return policies
    return policies.get(one.delivery_id, UnknownPolicy.HOLD)
