"""The self-audit: a running relay proves, look by look, that nothing waits in silence (P11).

Nothing due and unblocked may be older than `due_age_max`; what stays blocked beyond `blocked_max`
is told. A look takes the front of two indexes, so it costs the same beside a million waiting rows.
A relay answers for the handlers it runs, for messages nobody is routed to, and for deliveries whose
handler neither its program nor any live relay knows. It tells, too, of handlers of its program that
it was told to leave and no live relay runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import structlog

from outbox import inspection, queries_audit
from outbox.explain import explain
from outbox.handler import Order

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from outbox.app import App
    from outbox.handler import Handler
    from outbox.inspection import UnroutedTopic
    from outbox.queries import Conn
    from outbox.queries_audit import Front

log = structlog.get_logger("outbox")

KEYS_MAX = 2_000
"""How many ordering keys of one handler a look judges; the next look goes on from there."""

UNKNOWN_WINDOW = 500
"""How far from the front of each index a look for old unknowns goes."""

AGAIN_AFTER = timedelta(minutes=1)
"""How long the same trouble is not logged again."""


class Trouble(NamedTuple):
    """Something that waits too long. `kind` decides whether the relay's probe fails.

    `overdue`: due, unblocked and older than `due_age_max`. `unrouted`: parked for as long.
    `orphaned`: nobody there knows its handler. `blocked`: kept by `reason` beyond `blocked_max`, or
    run by no relay for `due_age_max`; that is told, and fails no probe. `subject` is a handler's
    name or a topic.
    """

    kind: str
    subject: str
    since: datetime
    delivery_id: int | None = None
    reason: str | None = None

    @property
    def fails(self) -> bool:
        """Whether a relay with this trouble is not ready."""
        return self.kind != BLOCKED


OVERDUE, BLOCKED, UNROUTED, ORPHANED = "overdue", "blocked", "unrouted", "orphaned"
KINDS: tuple[str, ...] = (OVERDUE, BLOCKED, UNROUTED, ORPHANED)
NO_RELAY = "no relay"
_EVENTS = {
    OVERDUE: "delivery.overdue",
    BLOCKED: "delivery.blocked",
    UNROUTED: "message.unrouted",
    ORPHANED: "delivery.orphaned",
}


@dataclass(slots=True)
class SelfAudit:
    """Looks for what waits too long, on behalf of the handlers `mine` of one relay."""

    app: App
    mine: Collection[str]
    keys_max: int = KEYS_MAX
    oldest_due: dict[str, datetime] = field(default_factory=dict)
    """Of each handler, since when its longest waiting due delivery is due."""
    troubles: tuple[Trouble, ...] = ()
    """What the last look found. Trouble with a due date is told when two looks in a row saw it."""
    parked: Sequence[UnroutedTopic] = ()
    """Topics with messages nobody is routed to."""
    _now: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    _seen: frozenset[tuple[str, str]] = frozenset()
    _logged: dict[tuple[str, str], datetime] = field(default_factory=dict)
    _after: dict[str, str] = field(default_factory=dict)
    _round: dict[str, list[Trouble]] = field(default_factory=dict)
    _round_before: dict[str, list[Trouble]] = field(default_factory=dict)

    async def look(self, conn: Conn) -> tuple[Trouble, ...]:
        """Look once and log what is new; the troubles that stand.

        A long transaction's messages are old at once when it commits: what only this look saw is
        not told yet.
        """
        found = await self.find(conn)
        self.troubles = tuple(one for one in found if (one.kind, one.subject) in self._seen)
        self._seen = frozenset((one.kind, one.subject) for one in found)
        self._tell(self.troubles)
        return self.troubles

    async def find(self, conn: Conn) -> list[Trouble]:
        """Look once; everything that waits too long now."""
        fronts = await queries_audit.fronts(
            conn, grace=self.app.due_age_max, window=UNKNOWN_WINDOW, now=self.app.clock.sql_now()
        )
        found: list[Trouble] = []
        for front in fronts:
            found += await self._judge(conn, front)
        self.oldest_due = {
            front.handler: front.front_since
            for front in fronts
            if front.handler in self.mine and front.front_since is not None
        }
        self.parked = await inspection.unrouted(conn)
        self._now = fronts[0].now if fronts else self.app.clock.now()
        found += [
            Trouble(UNROUTED, one.topic, one.since)
            for one in self.parked
            if self._now - one.since > self.app.due_age_max
        ]
        return found

    @property
    def failing(self) -> Sequence[Trouble]:
        """The troubles for which this relay is not ready."""
        return [one for one in self.troubles if one.fails]

    async def _judge(self, conn: Conn, front: Front) -> list[Trouble]:
        handler = self.app.handlers.get(front.handler)
        old = _older(front.front_since, front.now, self.app.due_age_max)
        if front.handler not in self.mine or handler is None:
            ours = front.application in {None, self.app.name}
            unserved = ours and old and not front.relay_alive
            return list(_unserved(front, known=handler is not None)) if unserved else []
        troubles: list[Trouble] = []
        if _older(front.unknown_since, front.now, self.app.blocked_max):
            since = _at(front.unknown_since)
            troubles.append(Trouble(BLOCKED, front.handler, since, front.unknown_id, "unknown"))
        if not old:
            for kept in (self._after, self._round, self._round_before):
                kept.pop(front.handler, None)
            return troubles
        if closed := front.closed_by:
            if _older(front.front_since, front.now, self.app.blocked_max):
                since = _at(front.front_since)
                troubles.append(Trouble(BLOCKED, front.handler, since, front.front_id, closed))
            return troubles
        if handler.order is Order.NONE or not front.front_keyed:
            since = _at(front.front_since)
            return [*troubles, Trouble(OVERDUE, front.handler, since, front.front_id)]
        walked = await self._walk_keys(conn, front, handler)
        return [*troubles, *walked]

    async def _walk_keys(self, conn: Conn, front: Front, handler: Handler) -> list[Trouble]:
        """Judge the first of the next keys; what this round and the one before found stands."""
        name, after = front.handler, self._after.get(front.handler, "")
        keys = await queries_audit.keys(
            conn, handler=name, after=after, window=self.keys_max,
            headed=handler.order is Order.KEYED, blocks=handler.blocks,
            grace=self.app.due_age_max, now=self.app.clock.sql_now(),
        )  # fmt: skip
        found: list[Trouble] = []
        if _older(keys.free_since, front.now, self.app.due_age_max):
            found.append(Trouble(OVERDUE, name, _at(keys.free_since), keys.free_id))
        if _older(keys.waiting_since, front.now, self.app.blocked_max):
            assert keys.waiting_id is not None, "it waits since then"
            explained = await explain(conn, self.app, keys.waiting_id, now=self.app.clock.sql_now())
            reason = None if explained is None else explained.state
            found.append(Trouble(BLOCKED, name, _at(keys.waiting_since), keys.waiting_id, reason))
        so_far = self._round.pop(name, []) if after else []
        this_round = [*found, *so_far]
        told = [*this_round, *self._round_before.get(name, [])]
        if keys.seen_to is None:  # the round is over
            self._round_before[name] = this_round
            self._after.pop(name, None)
        else:
            self._round[name] = this_round
            self._after[name] = keys.seen_to
        return list({(one.kind, one.subject): one for one in reversed(told)}.values())

    def _tell(self, standing: Iterable[Trouble]) -> None:
        now = self._now
        there = {(one.kind, one.subject): one for one in standing}
        for key, one in there.items():
            last = self._logged.get(key)
            if last is not None and now - last < AGAIN_AFTER:
                continue
            self._logged[key] = now
            facts = {"topic" if one.kind == UNROUTED else "handler": one.subject}
            log.error(
                _EVENTS[one.kind], **facts, delivery_id=one.delivery_id, reason=one.reason,
                since=one.since.isoformat(), age_seconds=int((now - one.since).total_seconds()),
            )  # fmt: skip
        for key in [key for key in self._logged if key not in there]:
            del self._logged[key]
            log.info("trouble.ended", kind=key[0], subject=key[1])


def _unserved(front: Front, *, known: bool) -> Iterator[Trouble]:
    """What is old and run by no live relay; `known`: our program has the handler."""
    facts = front.handler, _at(front.front_since), front.front_id
    if not known:
        yield Trouble(ORPHANED, *facts)
    elif not front.closed_by:
        yield Trouble(BLOCKED, *facts, NO_RELAY)


def _older(since: datetime | None, now: datetime, age_max: timedelta) -> bool:
    return since is not None and now - since > age_max


def _at(since: datetime | None) -> datetime:
    assert since is not None, "it is older than something"
    return since
