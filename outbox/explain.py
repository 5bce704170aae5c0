"""Why one delivery is where it is: the one reason that keeps it, and its trace.

No ordering key and no receipt's content is told: either may carry what belongs to a person (P12).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from outbox import inspection
from outbox.expiry import REFUSED
from outbox.handler import Order

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


class Reason(NamedTuple):
    """The one thing that keeps a delivery: a word, and a sentence for people."""

    state: str
    sentence: str


class Known(NamedTuple):
    """What this program knows of a delivery's handler and message."""

    handler: bool
    order: Order
    version: bool
    blocks: bool
    """Whether a dead letter keeps what follows it in its key."""

    @classmethod
    def of(cls, app: App, row: Mapping[str, Any]) -> Known:
        """What `app` knows of `row`."""
        handler = app.handlers.get(row["handler"])
        order = Order.KEYED if handler is None else handler.order
        readable = app.reader(row["topic"], row["version"]) is not None
        blocks = handler is not None and handler.blocks
        return cls(handler is not None, order, handler is None or readable, blocks)


async def explain(conn: Conn, app: App, delivery_id: int, *, now: Now = None) -> Explanation | None:
    """Explain one delivery; None when there never was one."""
    row = await inspection.waiting_delivery(conn, delivery_id, now=now)
    if row is not None:
        receipts = await inspection.receipts(conn, delivery_id, row["message_id"])
        reason = await _why_it_waits(conn, app, row, now=now)
        return Explanation(delivery_id, *reason, row, _shown(receipts))
    letter = await inspection.dead_letter(conn, delivery_id)
    if letter is not None:
        receipts = await inspection.receipts(conn, delivery_id, letter["message_id"])
        return Explanation(delivery_id, "dead", _dead_sentence(letter), letter, _shown(receipts))
    receipts = await inspection.receipts(conn, delivery_id)
    if receipts:
        last = receipts[-1]
        why = f" ({last['reason']})" if last["reason"] else ""
        sentence = f"settled as {last['outcome']}{why} at {_instant(last['settled_at'])}"
        return Explanation(delivery_id, last["outcome"], sentence, {}, _shown(receipts))
    return None


async def explain_message(
    conn: Conn, app: App, message_id: int, *, now: Now = None
) -> list[Explanation] | None:
    """Explain every delivery of a message; None when there is no such message.

    One without a route has a single explanation, under delivery id 0.
    """
    found = await inspection.deliveries_of_message(conn, message_id)
    if found is None:
        return None
    if found["parked_at"] is not None:
        routed = any(topic == found["topic"] for topic, _, _ in app.routes())
        cure = (
            "this program has a handler for it: the next relay of it delivers it"
            if routed
            else "no handler of this program takes it either; is the topic misspelt?"
        )
        since = _instant(found["parked_at"])
        sentence = f"no handler is routed for {found['topic']}; parked since {since}; {cure}"
        return [Explanation(0, "unrouted", sentence, found, [])]
    explained = [await explain(conn, app, one, now=now) for one in found["delivery_ids"]]
    return [one for one in explained if one is not None]


async def _why_it_waits(conn: Conn, app: App, row: Mapping[str, Any], *, now: Now) -> Reason:
    """The reason, and of one that waits for another delivery, that one's reason too."""
    reason = waiting_reason(row, Known.of(app, row))
    ahead = ahead_of(row, Known.of(app, row).order)
    if reason.state != BEHIND or ahead is None:
        return reason
    first = await inspection.waiting_delivery(conn, ahead, now=now)
    if first is None:  # settled while we looked
        return reason
    state, sentence = waiting_reason(first, Known.of(app, first))
    return Reason(BEHIND, f"{reason.sentence}; that one: {state} - {sentence}")


BEHIND = "behind"


def waiting_reason(row: Mapping[str, Any], known: Known) -> Reason:
    """What keeps a delivery that still waits. Pure; `row` is `explain_delivery`'s.

    The first reason that holds is the one told: its own state, its destination's, then its turn.
    """
    now: datetime = row["now"]
    return (
        _own_reason(row, now)
        or _destination_reason(row, now)
        or _reader_reason(row, known)
        or _lease_reason(row)
        or _turn_reason(row, known, now)
    )


def ahead_of(row: Mapping[str, Any], order: Order) -> int | None:
    """The delivery of the same key that must go first, if any."""
    found: int | None = None
    match order:
        case Order.KEYED:
            found = row["head_id"]
        case Order.NEWEST:
            found = row["taken_id"]
        case Order.NONE:
            pass
    return found


def _own_reason(row: Mapping[str, Any], now: datetime) -> Reason | None:
    """Somebody has it, or nobody can say how it went."""
    if row["unknown_at"] is not None:
        return _unknown_reason(row)
    if row["queue"] is not None:
        return _ticket_reason(row, now)
    if row["leased"] and row["lease_until"] > now:
        until = _instant(row["lease_until"])
        if row["begun_at"] is not None:
            tried = _holder_sentence(row, row["leased_by"], until, after="it is unknown")
            return Reason("begun", f"{tried}; its call began at {_instant(row['begun_at'])}")
        return Reason("leased", _holder_sentence(row, row["leased_by"], until))
    if not row["leased"] and row["noted_by"] is not None and row["noted_until"] > now:
        until = _instant(row["noted_until"])
        return Reason("leased", f"in a batch: {_holder_sentence(row, row['noted_by'], until)}")
    return None


def _holder_sentence(
    row: Mapping[str, Any], holder: str, until: str, *, after: str = "it is claimed alone"
) -> str:
    """Who tries it, as far as that is known; `after` tells what comes when nobody has settled it.

    A process that does not show itself may be alive: a drain, or one that is stopping.
    """
    if row["holder"] is not None:
        return f"being tried by {row['holder']} {holder} until {until}"
    if row["lone_claims"]:
        return f"being tried alone by process {holder} until {until}, for time {row['lone_claims']}"
    hidden = (
        "a name under which no live relay or worker shows itself: a drain, or it stops, or died"
    )
    return f"taken by {holder} until {until}, {hidden}; if it settles nothing by then, {after}"


def _ticket_reason(row: Mapping[str, Any], now: datetime) -> Reason:
    """In a queue, which somebody reads or nobody does. A ticket costs no attempt."""
    until = _instant(row["lease_until"])
    lying = f"relay {row['leased_by']} sent a ticket to {row['queue']}"
    over = row["lease_until"] <= now
    if row["taken"]:
        then = f"since {until} it is to be sent again" if over else f"sent again at {until}"
        return Reason("queued", f"{lying}; no worker has taken it; {then}")
    then = f"since {until} it is to be taken back" if over else f"taken back at {until}"
    return Reason(
        "no worker", f"{lying}, which no live worker reads; {then}; start `outbox worker`"
    )


def _unknown_reason(row: Mapping[str, Any]) -> Reason:
    """Why nobody can say how it went, and who is to find out."""
    since = _instant(row["unknown_at"])
    if str(row["last_reason"]).startswith(REFUSED):
        refused = f"the handler's `record` refuses its settlement ({row['last_reason']})"
        return Reason("unknown", f"{refused}; held since {since}: mend it, then {_resolve(row)}")
    happened = f"its call may have happened ({row['last_reason']})"
    if row["asked_at"] is not None:
        asked = f"the receiver was asked {row['asked']} times"
        told = f" ({row['last_answer']})" if row["last_answer"] else ""
        return Reason("probing", f"{happened}; {asked}{told}, again at {_instant(row['asked_at'])}")
    ended = f", and the receiver could not tell ({row['last_answer']})" if row["asked"] else ""
    return Reason(
        "unknown",
        f"{happened}{ended}; held since {since} until somebody decides: {_resolve(row)}",
    )


def _destination_reason(row: Mapping[str, Any], now: datetime) -> Reason | None:
    """What keeps every delivery of the handler, for longer than this one would wait anyway."""
    if row["paused_at"] is not None:
        who = f"handler {row['handler']} was paused by {row['paused_by']}"
        since = _instant(row["paused_at"])
        return Reason("paused", f"{who}: {row['paused_why']} (since {since})")
    if row["circuit_opened_at"] is not None:
        rejected = f"the credentials were rejected ({row['circuit_reason']})"
        since = _instant(row["circuit_opened_at"])
        return Reason("circuit open", f"{rejected} at {since}; a check that passes closes it")
    if row["breaker_opened_at"] is not None:
        probe_at = row["breaker_probe_at"]
        if row["due_at"] is None or row["due_at"] <= max(now, probe_at):
            return Reason("breaker open", breaker_sentence(row))
    until = row["held_until"]
    if until is not None and until > now and (row["due_at"] is None or until >= row["due_at"]):
        asked = f"the destination asked everybody to wait until {_instant(until)}"
        return Reason("held", f"{asked} ({row['held_reason']})")
    return None


def breaker_sentence(row: Mapping[str, Any]) -> str:
    """Since when a breaker is open, why, and when the destination is tried next."""
    since = f"its destination keeps failing ({row['breaker_reason']}), "
    since += f"left alone since {_instant(row['breaker_opened_at'])}"
    at = _instant(row["breaker_probe_at"])
    if row["breaker_probing"]:
        return f"{since}; a probe is under way, at the latest at {at} the next"
    return f"{since}; next probe at {at}"


def _reader_reason(row: Mapping[str, Any], known: Known) -> Reason | None:
    """Whether anybody there could take it."""
    handler = row["handler"]
    if not known.handler and not row["relay_alive"]:
        owner = row["application"]
        of_whom = "" if owner is None else f" of application {owner!r}"
        nobody = f"neither this program nor a live relay has a handler {handler!r}{of_whom}"
        advice = "was it renamed? registered under its old name too, it takes what waits"
        return Reason("no handler", f"{nobody}; {advice}")
    if not known.version:
        written = f"{row['topic']} version {row['version']}"
        return Reason("version unreadable", f"this program cannot read {written}; a newer one must")
    return None


def _lease_reason(row: Mapping[str, Any]) -> Reason | None:
    """What a lease that ran out means for it."""
    if row["begun_at"] is not None:
        return Reason(
            "lease expired", "its call began and its lease ran out; the next look marks it unknown"
        )
    if not row["leased"] and row["noted_by"] is None:
        return None
    alone = f"so far {row['lone_claims']} times" if row["lone_claims"] else "not yet"
    return Reason(
        "suspect", f"it was taken and not settled; it is to be claimed alone, and was {alone}"
    )


def _turn_reason(row: Mapping[str, Any], known: Known, now: datetime) -> Reason:
    """Whose turn it is."""
    if row["due_at"] is not None and row["due_at"] > now:
        failed = f"attempt {row['attempts']} ({row['last_reason']})"
        after = f" after {failed}" if row["attempts"] else _redriven(row)
        return Reason("due later", f"due at {_instant(row['due_at'])}{after}")
    if (blocked := _key_reason(row, known)) is not None:
        return blocked
    if not row["relay_alive"]:
        unseen = f"no relay has been seen for {row['handler']} in the last minute"
        return Reason("no relay", f"{unseen}; start `outbox relay`")
    if not row["inline_alive"] and not row["worker_alive"]:
        unread = f"no live worker reads {row['topic']} version {row['version']} for"
        return Reason(
            "no worker",
            f"every relay of {row['handler']} hands over to workers, and {unread} it; "
            "start `outbox worker`",
        )
    if known.order is Order.NEWEST and row["newest_id"] is not None:
        newer = f"delivery {row['newest_id']} of the same key has overtaken it"
        return Reason("overtaken", f"{newer}; the next claim settles it as superseded")
    return _due_reason(row)


def _due_reason(row: Mapping[str, Any]) -> Reason:
    """Nothing keeps it but the pace of the relays."""
    if row["throttled_by"] is not None:
        spent = f"relay {row['throttled_by']} has used up its rate for {row['handler']}"
        return Reason("rate empty", f"{spent}; it goes on as the rate allows")
    if not row["inline_alive"] and row["relay_trouble"] is not None:
        told = f"relays cannot hand it over: {row['relay_trouble']}"
        return Reason("broker away", f"{told}; it goes on by itself when the broker is back")
    return Reason("due", f"due now{_redriven(row)}; a relay will claim it")


def _redriven(row: Mapping[str, Any]) -> str:
    """By whom it was given the life whose first attempt is still to come."""
    is_untried = not row["attempts"] and row["redriven_by"] is not None
    return "" if not is_untried else f", redriven by {row['redriven_by']}"


def _key_reason(row: Mapping[str, Any], known: Known) -> Reason | None:
    """What of its key goes first."""
    if (ahead := ahead_of(row, known.order)) is not None:
        return Reason(BEHIND, f"delivery {ahead} of the same key goes first")
    if known.blocks and row["dead_id"] is not None:
        first = f"dead letter {row['dead_id']} of the same key blocks it"
        return Reason("blocked by a dead letter", f"{first} until it is redriven or dismissed")
    if row["key_until"] is not None and known.order is not Order.NONE:
        until = _instant(row["key_until"])
        return Reason(BEHIND, f"its key is in a relay's hands until {until} at the latest")
    return None


def _resolve(row: Mapping[str, Any]) -> str:
    return f"`outbox unknown resolve {row['id']} --as delivered|not-delivered`"


def _dead_sentence(letter: Mapping[str, Any]) -> str:
    """What became of a dead letter, and what may be done with it."""
    given_up = f"given up after {letter['attempts']} attempts ({letter['reason']})"
    if letter["withdrawn_at"] is not None:
        at = _instant(letter["withdrawn_at"])
        return f"{given_up}; its publisher took it back at {at}, so no redrive raises it"
    if letter["redrive_id"] is not None:
        canary = f"; its canary is delivery {letter['canary_id']}" if letter["canary_id"] else ""
        return f"{given_up}; operation {letter['redrive_id']} is to redrive it{canary}"
    alike = f"{letter['alike']} of failure group {letter['failure_group']}"
    return f"{given_up}, {alike}; `outbox redrive --delivery {letter['delivery_id']}` raises it"


def _shown(receipts: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Receipts without their content, which is the handler's."""
    return [{name: one[name] for name in one if name != "detail"} for one in receipts]


def _instant(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S %Z").strip()
