"""Mentors on one side, a portal on the other, and a lab between: what P10 is tried in.

The saga, the reading of the portal's answers, the bounds of a raise and reconciliation's verdicts
are the application's own; mentors, portal and dashboard are a few dictionaries.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from handlers.alerts import AlertHandler
from handlers.commands import (
    AlertClose,
    AlertOpen,
    VisibilityAhead,
    VisibilityChanged,
    VisibilityInSync,
)
from handlers.emulators.portal_bodies import error_body
from handlers.emulators.portal_store import PortalStore
from handlers.mentor_state import Hold, MentorStateHandler, Raise, decide
from handlers.mentor_state.raising import Standing
from handlers.portal import PortalHandler, ReadBackHandler, Reason
from handlers.portal.answers import HttpReply, Sent, read_answer, set_answer
from handlers.portal.handler import settlement
from handlers.portal.port import WantedVisibility
from handlers.portal.queries import WantedRow
from handlers.portal.read_back import comparison
from outbox import App, Done, Suppressed
from outbox.testing import Lab
from sagas.queries_reconcile import OurState
from sagas.verdicts import RAISE, RESEND, PortalRow, Verdict, verdict
from sagas.visibility import ALERTS, VISIBILITY

if TYPE_CHECKING:
    from datetime import date, datetime

    from handlers.commands import VisibilityRaise, VisibilityReadBack
    from handlers.emulators.portal_store import Row
    from outbox import Attempt, Message, Outcome

MENTORS: Final = (UUID(int=1), UUID(int=2))
AGREED: Final = {Verdict.IN_SYNC, Verdict.LAGGING}


def refusal(status: int, code: str = "scripted", **headers: Any) -> HttpReply:
    """An answer of the contract that brings no state."""
    return HttpReply(status, error_body(code), "application/json", **headers)


HTML: Final = HttpReply(200, b"<html>", "text/html")

FAULTS: Final[dict[str, tuple[HttpReply, bool]]] = {
    "queued": (HttpReply(202), True),
    "queued_and_lost": (HttpReply(202), False),
    "unknown_mentor": (refusal(404, "unknown_mentor"), False),
    "not_found_of_a_proxy": (HttpReply(404, b"", "text/plain"), False),
    "our_fault_400": (refusal(400), False),
    "our_fault_413": (refusal(413), False),
    "our_fault_415": (refusal(415), False),
    "our_fault_422": (refusal(422), False),
    "credentials_401": (refusal(401), False),
    "credentials_403": (refusal(403), False),
    "retired": (refusal(410), False),
    "throttled_429": (refusal(429, retry_after="90"), False),
    "throttled_503": (refusal(503, retry_after="5"), False),
    "broken": (refusal(503), False),
    "lost_after_it_was_applied": (refusal(504), True),
    "page": (HTML, False),
    "page_after_it_was_applied": (HTML, True),
    "redirect": (HttpReply(302, location="/login"), False),
    "cut_off": (HttpReply(200, None, "application/json"), True),
}
"""What a request may meet besides the truth, and whether it is carried out all the same.

The rows of the answer table that bring a state (applied, duplicate, stale, ahead, conflict) are the
portal's own truth."""


@dataclass(slots=True)
class Mentor:
    """One of ours, as the database's functions keep him."""

    id: UUID
    version: int = 0
    paused: bool = False
    lapsed: bool = False
    changed_at: datetime | None = None
    raised_on: date | None = None

    @property
    def visible(self) -> bool:
        return not self.paused and not self.lapsed


def application() -> App:
    """The sync part of the application, with the declarations it runs with."""
    app = App("portal")
    for each in (
        PortalHandler({}).handler(),
        ReadBackHandler({}).handler(),
        AlertHandler().handler(),
        MentorStateHandler().handler(),
    ):
        app.add(each)
    app.add_saga(VISIBILITY)
    return app


@dataclass
class PortalWorld:
    """Everything that a lab's handlers act upon; every mentor is known to both sides at first.

    `fault` is what each call to the portal meets, until it is None.
    """

    lab: Lab = field(default_factory=lambda: Lab.in_memory(application()))
    mentors: dict[UUID, Mentor] = field(default_factory=lambda: {m: Mentor(m) for m in MENTORS})
    store: PortalStore = field(default_factory=PortalStore)
    alerts: dict[tuple[UUID, str], str] = field(default_factory=dict)
    opened: list[tuple[UUID, str, str]] = field(default_factory=list)
    said: list[Message] = field(default_factory=list)
    unseen: set[UUID] = field(default_factory=set)
    fault: str | None = None

    def __post_init__(self) -> None:
        for name, answer in (
            ("portal", self._set),
            ("portal_read", self._read),
            ("alerts", self._alert),
            ("mentor_state", self._raise),
        ):
            self.lab.always(name, answer)
        for mentor in self.mentors.values():
            mentor.version, mentor.changed_at = 1, self.lab.now
            self.store.put(mentor.id, version=1, visible=True, now=self.lab.now)

    # What happens to mentors and to the portal.

    async def change(self, mentor_id: UUID, what: str) -> None:
        """A person or the night changes a mentor; what changes nothing counts no version."""
        mentor = self.mentors[mentor_id]
        before = (mentor.paused, mentor.lapsed)
        match what:
            case "lapse" | "renew":
                mentor.lapsed = what == "lapse"
            case "pause" | "reactivate":
                mentor.paused = what == "pause"
            case _:
                await self.count_up(mentor)
                return
        if before != (mentor.paused, mentor.lapsed):
            await self.count_up(mentor)

    async def count_up(self, mentor: Mentor, *, at_least: int = 0) -> None:
        """Count a version and publish it, as `private.announce` does."""
        mentor.version = max(mentor.version, at_least) + 1
        mentor.changed_at = self.lab.now
        changed = VisibilityChanged(mentor_id=mentor.id, version=mentor.version)
        await self.say(changed)

    async def say(self, message: Any) -> None:
        """Publish about a mentor, and remember it for those who say things twice."""
        self.said.append(message)
        await self.lab.publish(message, key=f"mentor:{message.mentor_id}")

    def edit_portal(self, mentor_id: UUID, *, ahead_by: int, visible: bool) -> None:
        """Somebody changes the portal behind our back; 0 is a conflict."""
        version = self.mentors[mentor_id].version + ahead_by
        self.store.put(mentor_id, version=version, visible=visible, now=self.lab.now)
        self.unseen.add(mentor_id)

    def forget(self, mentor_id: UUID) -> None:
        """The portal loses a mentor."""
        self.store.remove(mentor_id)
        self.unseen.add(mentor_id)

    async def reconcile(self) -> None:
        """What `sagas.reconcile` does about each verdict, over a complete listing."""
        for mentor in self.mentors.values():
            row = self.row(mentor)
            mine = OurState(mentor.id, mentor.version, mentor.visible, mentor.changed_at, False)
            lag = self.lab.now - mentor.changed_at if mentor.changed_at else timedelta.max
            found = verdict(mine, row, lag=lag)
            if found in RESEND:
                await self.count_up(mentor)
            elif found in RAISE:
                assert row is not None
                await self.say(
                    VisibilityAhead(
                        mentor_id=mentor.id, returned_version=row.version, cause=found.value
                    )
                )
            elif found in AGREED or found is Verdict.IN_SYNC_ABSENT:
                await self._tell_agreed(mentor)
            if found is not Verdict.PENDING:
                self.unseen.discard(mentor.id)

    async def _tell_agreed(self, mentor: Mentor) -> None:
        open_types = tuple(kind for kind in ALERTS if (mentor.id, kind) in self.alerts)
        if open_types or await self.is_watched(mentor.id):
            message = VisibilityInSync(
                mentor_id=mentor.id, version=mentor.version, alerts=open_types
            )
            await self.say(message)

    # What can be seen.

    def row(self, mentor: Mentor) -> PortalRow | None:
        found = self.store.row(mentor.id, self.lab.now)
        if found is None:
            return None
        stored = found.stored
        return PortalRow(mentor.id, stored.version, stored.visible, stored.version, stored.visible)

    def agrees(self, mentor: Mentor) -> bool:
        """Whether the portal's state of a mentor equals ours; absent is not visible."""
        row = self.row(mentor)
        if row is None:
            return not mentor.visible
        return (row.version, row.visible) == (mentor.version, mentor.visible)

    def open_alerts(self, mentor_id: UUID) -> set[tuple[str, str]]:
        return {(kind, how) for (whose, kind), how in self.alerts.items() if whose == mentor_id}

    async def is_watched(self, mentor_id: UUID) -> bool:
        lives = await self.lab.lives("visibility", f"mentor:{mentor_id}")
        return any(not life.ended for life in lives)

    # What the handlers do.

    def _set(self, message: VisibilityChanged, _: Attempt) -> Outcome:
        mentor, now = self.mentors[message.mentor_id], self.lab.now
        wanted = WantedVisibility(
            mentor.id, "HLF", mentor.version, mentor.visible, Reason.RECONCILE, now, now
        )
        reply, applied = FAULTS[self.fault] if self.fault else (None, True)
        if applied:
            found, row = self.store.compare_and_set(
                mentor.id, version=mentor.version, visible=mentor.visible, now=now
            )
            reply = reply or _truth(found.value, row)
        assert reply is not None
        sent = Sent(mentor.id, mentor.version, mentor.visible, newest=mentor.version)
        return settlement(set_answer(reply, sent, now=now), wanted)

    def _read(self, message: VisibilityReadBack, _: Attempt) -> Outcome:
        mentor, now = self.mentors[message.mentor_id], self.lab.now
        row = WantedRow(
            mentor.id, "HLF", "webhook", mentor.version, mentor.visible, "reconcile", now, now
        )
        held = self.store.row(mentor.id, now)
        if self.fault:
            reply = FAULTS[self.fault][0]
        elif held is None:
            reply = refusal(404, "unknown_mentor")
        else:
            reply = HttpReply(200, json.dumps(_body(held)).encode(), "application/json")
        answer = read_answer(reply, mentor.id, now=now)
        return Done(comparison(answer, row, asked=message.version))

    def _alert(self, message: AlertOpen | AlertClose, _: Attempt) -> Outcome:
        assert message.mentor_id is not None
        which = (message.mentor_id, message.type)
        if isinstance(message, AlertClose):
            closed = self.alerts.pop(which, None)
            return Done({}) if closed else Suppressed("not_open")
        if self.alerts.get(which) in {message.severity, "critical"}:
            return Suppressed("already_open")
        self.opened.append((*which, message.severity))
        self.alerts[which] = message.severity
        return Done({})

    async def _raise(self, message: VisibilityRaise, _: Attempt) -> Outcome:
        mentor, today = self.mentors[message.mentor_id], self.lab.now.date()
        standing = Standing(mentor.version, mentor.raised_on, today)
        match decide(standing, returned=message.returned_version):
            case Raise(at_least):
                mentor.raised_on = today
                await self.count_up(mentor, at_least=at_least)
                return Done({"answer": "raised", "version": mentor.version})
            case Hold(reason):
                return Done({"answer": "held", "cause": reason, "version": mentor.version})
            case _:
                return Suppressed("moved_on")


def _truth(found: str, row: Row) -> HttpReply:
    """The contract's answer to a request that was compared and set."""
    if found == "conflict":
        current = {"version": row.stored.version, "visible": row.stored.visible}
        error = {"code": "version_conflict", "message": "", "current": current}
        return HttpReply(409, json.dumps({"error": error}).encode(), "application/json")
    body = {"outcome": found, **_body(row)}
    return HttpReply(200, json.dumps(body).encode(), "application/json")


def _body(row: Row) -> dict[str, Any]:
    return {
        "mentor_id": str(row.mentor_id),
        "version": row.stored.version,
        "visible": row.stored.visible,
        "stored_at": row.stored.stored_at.isoformat(),
    }
