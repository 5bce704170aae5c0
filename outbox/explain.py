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


def waiting_reason(  # noqa: C901, PLR0911 - one line per reason, the first that holds
    row: Mapping[str, Any], *, handler_known: bool
) -> tuple[str, str]:
    """State and sentence for a delivery that still waits. Pure; `row` is `explain_delivery`'s."""
    now: datetime = row["now"]
    if row["unknown_at"] is not None:
        return (
            "unknown",
            (
                f"its call may have happened ({row['last_reason']}); "
                f"held since {_instant(row['unknown_at'])} until somebody decides"
            ),
        )
    if row["leased"] and row["lease_until"] > now:
        return (
            "leased",
            f"being tried by relay {row['leased_by']} until {_instant(row['lease_until'])}",
        )
    if row["paused_at"] is not None:
        return (
            "paused",
            f"handler {row['handler']} was paused by {row['paused_by']}: {row['paused_why']}",
        )
    if row["circuit_opened_at"] is not None:
        return (
            "circuit open",
            (
                f"the credentials were rejected ({row['circuit_reason']}); "
                "a check that passes closes it"
            ),
        )
    if row["held_until"] is not None and row["held_until"] > now:
        return (
            "held",
            (
                f"the destination asked everybody to wait until {_instant(row['held_until'])} "
                f"({row['held_reason']})"
            ),
        )
    if not handler_known:
        return "no handler", f"this program has no handler {row['handler']!r}; was it renamed?"
    if row["leased"] and row["begun_at"] is not None:
        return (
            "lease expired",
            "its call began and its lease ran out; the next look marks it unknown",
        )
    if row["leased"]:
        return "lease expired", "it was taken and not settled; the next look claims it alone"
    if row["due_at"] is not None and row["due_at"] > now:
        after = (
            f" after attempt {row['attempts']} ({row['last_reason']})" if row["attempts"] else ""
        )
        return "due later", f"due at {_instant(row['due_at'])}{after}"
    if row["head_id"] is not None:
        return "behind", f"delivery {row['head_id']} of the same key goes first"
    if not row["relay_alive"]:
        return (
            "no relay",
            f"no relay has been seen for {row['handler']} in the last minute; start `outbox relay`",
        )
    return "due", "due now; a relay will claim it"


def _instant(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S %Z").strip()
