"""Why one delivery is where it is: the one reason that keeps it, and its trace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from outbox import inspection

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from outbox.app import App
    from outbox.queries import Conn, Now


@dataclass(frozen=True, slots=True)
class Explanation:
    """`state` is a word, `reason` a sentence, `facts` what it rests on, `receipts` its trace."""

    delivery_id: int
    state: str
    reason: str
    facts: Mapping[str, Any]
    receipts: list[Mapping[str, Any]]


async def explain(conn: Conn, app: App, delivery_id: int, *, now: Now = None) -> Explanation | None:
    """Explain one delivery; None when there never was one."""
    row = await inspection.waiting_delivery(conn, delivery_id, now=now)
    if row is not None:
        receipts = await inspection.receipts(conn, delivery_id, row["message_id"])
        state, reason = waiting_reason(row, handler_known=row["handler"] in app.handlers)
        return Explanation(delivery_id, state, reason, row, receipts)
    letter = await inspection.dead_letter(conn, delivery_id)
    if letter is not None:
        receipts = await inspection.receipts(conn, delivery_id, letter["message_id"])
        reason = (
            f"given up after {letter['attempts']} attempts ({letter['reason']}); "
            f"`outbox retry --delivery {delivery_id}` gives it a new life"
        )
        return Explanation(delivery_id, "dead", reason, letter, receipts)
    receipts = await inspection.receipts(conn, delivery_id)
    if receipts:
        last = receipts[-1]
        why = f" ({last['reason']})" if last["reason"] else ""
        return Explanation(
            delivery_id,
            last["outcome"],
            f"settled as {last['outcome']}{why} at {_instant(last['settled_at'])}",
            {},
            receipts,
        )
    return None


def waiting_reason(row: Mapping[str, Any], *, handler_known: bool) -> tuple[str, str]:
    """State and sentence for a delivery that still waits. Pure; `row` is `explain_delivery`'s.

    The first reason that holds is the one told: its own state, its destination's, then its turn.
    """
    now: datetime = row["now"]
    if row["unknown_at"] is not None:
        since = _instant(row["unknown_at"])
        reason = f"its call may have happened ({row['last_reason']}); held since {since}"
        return "unknown", f"{reason} until somebody decides"
    if row["leased"] and row["lease_until"] > now:
        until = _instant(row["lease_until"])
        return "leased", f"being tried by relay {row['leased_by']} until {until}"
    return (
        _destination_reason(row, now)
        or _lease_reason(row, handler_known=handler_known)
        or _turn_reason(row, now)
    )


def _destination_reason(row: Mapping[str, Any], now: datetime) -> tuple[str, str] | None:
    """What keeps every delivery of the handler."""
    if row["paused_at"] is not None:
        who = f"handler {row['handler']} was paused by {row['paused_by']}"
        return "paused", f"{who}: {row['paused_why']}"
    if row["circuit_opened_at"] is not None:
        rejected = f"the credentials were rejected ({row['circuit_reason']})"
        return "circuit open", f"{rejected}; a check that passes closes it"
    if row["held_until"] is not None and row["held_until"] > now:
        asked = f"the destination asked everybody to wait until {_instant(row['held_until'])}"
        return "held", f"{asked} ({row['held_reason']})"
    return None


def _lease_reason(row: Mapping[str, Any], *, handler_known: bool) -> tuple[str, str] | None:
    """What an expired lease, or the lack of a handler, means for it."""
    if not handler_known:
        return "no handler", f"this program has no handler {row['handler']!r}; was it renamed?"
    if not row["leased"]:
        return None
    if row["begun_at"] is not None:
        what = "its call began and its lease ran out; the next look marks it unknown"
    else:
        what = "it was taken and not settled; the next look claims it alone"
    return "lease expired", what


def _turn_reason(row: Mapping[str, Any], now: datetime) -> tuple[str, str]:
    """Whose turn it is."""
    if row["due_at"] is not None and row["due_at"] > now:
        failed = f"attempt {row['attempts']} ({row['last_reason']})"
        after = f" after {failed}" if row["attempts"] else ""
        return "due later", f"due at {_instant(row['due_at'])}{after}"
    if row["head_id"] is not None:
        return "behind", f"delivery {row['head_id']} of the same key goes first"
    if not row["relay_alive"]:
        unseen = f"no relay has been seen for {row['handler']} in the last minute"
        return "no relay", f"{unseen}; start `outbox relay`"
    return "due", "due now; a relay will claim it"


def _instant(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S %Z").strip()
