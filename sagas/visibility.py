"""The visibility saga: from a changed visibility to the portal's confirmation of it.

One instance per mentor, from the first unconfirmed change until the portal confirms the newest one.
The pause, the renewal or the forced sync itself has committed before (PAU-2, SYN-3); this saga only
watches that the portal follows, and tells people when it does not. Alerts about a mentor's way to
the portal are opened here and nowhere else, so an open one has an open instance that will close it.
What finds no instance and starts none is dropped.

| message                                   | what follows                                       |
|-------------------------------------------|----------------------------------------------------|
| visibility.changed, newer version         | watch it; `confirm` in 60 s; the first unconfirmed |
|                                           | one also `escalate` in 24 h                        |
| visibility.changed, not newer             | ignored: late or doubled                           |
| portal done: applied, duplicate (newest)  | confirmed: alerts closed, instance ends            |
| portal done: accepted, stale (newest)     | `read_back` in 15 min; that is not confirmed       |
| portal done: ahead                        | as visibility.ahead                                |
| portal: first failure                     | alert ALR-1, if none is open                       |
| portal: dead                              | alert by its reason: endpoint retired, data, ALR-1 |
| portal: suppressed (no channel, gone)     | instance ends, alerts closed                       |
| read back done: confirmed (newest)        | confirmed: alerts closed, instance ends            |
| read back done: absent, hidden is newest  | confirmed: who is not listed is not visible        |
| read back done: ahead                     | as visibility.ahead                                |
| read back: suppressed (no channel, gone)  | instance ends, alerts closed                       |
| read back: dead, endpoint retired         | its alert; `read_back` again in 15 min             |
| read back done: anything else, or dead    | `read_back` again in 15 min                        |
| visibility.ahead, not below our newest    | raise our version above the portal's, alert        |
| visibility.ahead, below our newest        | ignored: our newest has passed it                  |
| raise done: raised                        | the new version is on its way here                 |
| raise done: held                          | alert critical: a person looks                     |
| raise: suppressed (moved on)              | ends, unless a version of ours is unconfirmed      |
| raise: suppressed (no channel, gone)      | instance ends, alerts closed                       |
| visibility.in_sync (newest)               | confirmed: alerts closed, instance ends            |
| timer confirm                             | alert ALR-1, if none is open: hold, breaker, pause |
| timer read_back                           | visibility.read_back                               |
| timer escalate                            | alert critical (ALR-3); visibility.read_back;      |
|                                           | again in 24 h                                      |

A renewal, a pause or a reactivation that races with a pending one is a newer version and nothing
else (PAU-9, PAU-10): whatever the portal then says of an older one confirms nothing.

Rules: SYN-3, SYN-7, SYN-13, SYN-16, ALR-1, ALR-3, PAU-5. The portal's answers:
docs/portal-contract.md.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID  # noqa: TC003 - pydantic reads it

from handlers.commands import (
    AlertClose,
    AlertOpen,
    AlertOpenV1,
    VisibilityAhead,
    VisibilityChanged,
    VisibilityChangedV1,
    VisibilityInSync,
    VisibilityRaise,
    VisibilityReadBack,
)
from outbox import Decision, DeliveryReport, Publication, Report, Saga, SagaState, TimedOut, Timer

if TYPE_CHECKING:
    from outbox import Message

CONFIRM_AFTER: Final = timedelta(seconds=60)
"""How long a change may stay unconfirmed, for whatever reason, before people are told."""

READ_BACK_AFTER: Final = timedelta(minutes=15)
"""The portal's allowance for publishing what it has accepted (SYN-15)."""

ESCALATE_AFTER: Final = timedelta(hours=24)

SYNC_PENDING: Final = "dynamics_sync_pending"
_AHEAD: Final = "portal_ahead"
_RETIRED: Final = "endpoint_retired"
_DATA: Final = "data_quality"

ALERTS: Final = (SYNC_PENDING, _AHEAD, _RETIRED, _DATA)
"""The types of alert that this saga alone opens about a mentor."""

_CONFIRMED: Final = frozenset({"applied", "duplicate", "confirmed"})
_NOT_YET: Final = frozenset({"accepted", "stale"})
_DEAD_ALERTS: Final = {_RETIRED: _RETIRED, "unknown_mentor": _DATA}
_WATCHED: Final = frozenset(Report) - {Report.UNKNOWN, Report.SUPERSEDED}
_RAISE_WATCHED: Final = frozenset({Report.DONE, Report.SUPPRESSED})


class Visibility(SagaState):
    """What is known of a mentor's way to the portal; `alerts`: the types this instance opened.

    `since` is when the first version that is still unconfirmed was seen; `reason` is why the newest
    one was made, and `portal` the last word from there: short codes both.
    """

    mentor_id: UUID
    version: int
    alerts: tuple[str, ...] = ()
    since: datetime | None = None
    portal: str | None = None
    reason: str | None = None


def react(  # noqa: PLR0911 - one per kind of message
    state: Visibility, message: Message, *, now: datetime
) -> Decision[Visibility]:
    """Decide the next step for one mentor; correlation is the mentor's id. Pure."""
    match message:
        case VisibilityChangedV1():
            return _changed(state, message, now)
        case VisibilityAhead(returned_version=returned, cause=cause):
            return _raise(state, returned, cause)
        case VisibilityInSync():
            return _seen(state, message)
        case DeliveryReport(topic_of=VisibilityChanged.declaration.topic):
            return _sent(state, message, now)
        case DeliveryReport(topic_of=VisibilityReadBack.declaration.topic):
            return _read_back(state, message, now)
        case DeliveryReport(topic_of=VisibilityRaise.declaration.topic):
            return _raised(state, message)
        case TimedOut(name="confirm"):
            return _alert(state, SYNC_PENDING, note="unconfirmed")
        case TimedOut(name="escalate"):
            return _escalate(state, now)
        case TimedOut(name="read_back"):
            return Decision(state, publish=(_asking(state),), note="asked_portal")
        case _:
            return Decision.ignore(state)


def _changed(
    state: Visibility, message: VisibilityChangedV1, now: datetime
) -> Decision[Visibility]:
    if message.version <= state.version:
        return Decision.ignore(state, "not_newer")
    reason = message.reason if isinstance(message, VisibilityChanged) else None
    told = {"version": message.version, "since": state.since or now, "reason": reason}
    watched = state.model_copy(update=told)
    timers = [Timer("confirm", now + CONFIRM_AFTER)]
    if (
        state.since is None
    ):  # a day counts from the first: versions that follow do not start it anew
        timers.append(Timer("escalate", now + ESCALATE_AFTER))
    return Decision(watched, arm=tuple(timers), cancel=("read_back",), note="sync_pending")


def _sent(state: Visibility, report: DeliveryReport, now: datetime) -> Decision[Visibility]:
    match report.report:
        case Report.DONE:
            return _answered(state, report.receipt, now)
        case Report.FIRST_FAILURE:
            return _alert(state, SYNC_PENDING, note="first_failure", portal=report.reason)
        case Report.DEAD:
            return _alert(state, _alert_for(report.reason), note="given_up", portal=report.reason)
        case Report.SUPPRESSED:
            return _end(state, note=report.reason or "suppressed")
        case _:
            return Decision.ignore(state)


def _answered(state: Visibility, receipt: dict[str, Any], now: datetime) -> Decision[Visibility]:
    answer, version = str(receipt.get("answer")), receipt.get("version") or 0
    if answer == "ahead":
        return _ahead(state, receipt)
    if version < state.version:
        return Decision.ignore(state, "older_version")
    if answer in _CONFIRMED:
        return _end(state, note="confirmed", portal=_shown(receipt))
    if answer in _NOT_YET:
        return _ask_later(state, now, note=answer, portal=answer)
    return Decision.ignore(state, answer)


def _read_back(  # noqa: PLR0911 - one per row of the table
    state: Visibility, report: DeliveryReport, now: datetime
) -> Decision[Visibility]:
    receipt = report.receipt
    answer, version = receipt.get("answer"), receipt.get("version") or 0
    match report.report:
        case Report.FIRST_FAILURE:
            return Decision.ignore(state, "will_be_asked_again")
        case Report.SUPPRESSED:
            return _end(state, note=report.reason or "suppressed")
        case Report.DEAD if report.reason == _RETIRED:
            later = _ask_later(state, now, note="given_up", portal=report.reason)
            return _joined(_alert(later.state, _RETIRED, note="given_up"), later)
        case _ if answer == "ahead":
            return _ahead(state, receipt)
        case _ if answer in _CONFIRMED and version >= state.version:
            return _end(state, note="confirmed", portal=_shown(receipt))
        case _ if answer == "absent" and _absence_confirms(state, receipt):
            return _end(state, note="confirmed_absent", portal="absent")
        case _:
            told = report.reason or answer
            return _ask_later(state, now, note="not_yet", portal=told and str(told))


def _absence_confirms(state: Visibility, receipt: dict[str, Any]) -> bool:
    """Who is not listed is not visible; but is hidden still what we want?"""
    newest = (receipt.get("wanted_version") or 0) >= state.version
    return newest and receipt.get("wanted_visible") is False


def _seen(state: Visibility, message: VisibilityInSync) -> Decision[Visibility]:
    if message.version < state.version:
        return Decision.ignore(state, "older_version")
    known = dict.fromkeys((*state.alerts, *(each for each in message.alerts if each in ALERTS)))
    return _end(state.model_copy(update={"alerts": tuple(known)}), note="seen_in_sync")


def _ahead(state: Visibility, receipt: dict[str, Any]) -> Decision[Visibility]:
    returned = int(receipt.get("returned_version") or 0)
    return _raise(state, returned, str(receipt.get("cause") or "ahead"))


def _raise(state: Visibility, returned: int, cause: str) -> Decision[Visibility]:
    if returned < state.version:
        return Decision.ignore(state, "older_version")
    command = VisibilityRaise(mentor_id=state.mentor_id, returned_version=returned, reason=cause)
    alert = _alert(state, _AHEAD, note="portal_ahead", portal=f"{cause} at version {returned}")
    asked = Decision(alert.state, publish=(_addressed(state, command),), note="portal_ahead")
    return _joined(alert, asked)


def _raised(state: Visibility, report: DeliveryReport) -> Decision[Visibility]:
    answer = report.receipt.get("answer")
    match report.report:
        case Report.DONE if answer == "held":
            held = state.model_copy(update={"alerts": _with(state, _AHEAD)})
            cause = str(report.receipt.get("cause"))
            alert = _opening(state, _AHEAD, severity="critical")
            return Decision(held, publish=(alert,), note=cause)
        case Report.DONE:
            return Decision(state, note="raised")
        case Report.SUPPRESSED if report.reason != "moved_on" or state.since is None:
            return _end(state, note=report.reason or "suppressed")
        case _:
            return Decision.ignore(state, report.reason or "late_or_doubled")


def _ask_later(
    state: Visibility, now: datetime, *, note: str, portal: str | None
) -> Decision[Visibility]:
    told = state.model_copy(update={"portal": portal})
    return Decision(told, arm=(Timer("read_back", now + READ_BACK_AFTER),), note=note)


def _alert(
    state: Visibility, kind: str, *, note: str, portal: str | None = None
) -> Decision[Visibility]:
    if kind in state.alerts:
        return Decision.ignore(state, "alert_open")
    told = {"alerts": _with(state, kind), "portal": portal or state.portal}
    return Decision(state.model_copy(update=told), publish=(_opening(state, kind),), note=note)


def _joined(alert: Decision[Visibility], rest: Decision[Visibility]) -> Decision[Visibility]:
    """Both, whether or not the alert was open before."""
    return Decision(
        alert.state, publish=(*alert.publish, *rest.publish), arm=rest.arm, note=rest.note
    )


def _escalate(state: Visibility, now: datetime) -> Decision[Visibility]:
    return Decision(
        state.model_copy(update={"alerts": _with(state, SYNC_PENDING)}),
        publish=(_opening(state, SYNC_PENDING, severity="critical"), _asking(state)),
        arm=(Timer("escalate", now + ESCALATE_AFTER),),
        note="escalated",
    )


def _end(state: Visibility, *, note: str, portal: str | None = None) -> Decision[Visibility]:
    closings = tuple(_closing(state, kind) for kind in state.alerts)
    told = {"alerts": (), "since": None, "portal": portal or state.portal}
    return Decision(state.model_copy(update=told), publish=closings, end=True, note=note)


def _with(state: Visibility, kind: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*state.alerts, kind)))


def _opening(state: Visibility, kind: str, severity: str = "warning") -> Publication:
    alert = AlertOpen(
        type=kind,
        organisation_id=None,
        mentor_id=state.mentor_id,
        subject=_subject(state),
        severity=severity,
    )
    return _alert_message(state, kind, alert)


def _closing(state: Visibility, kind: str) -> Publication:
    subject = _subject(state)
    alert = AlertClose(type=kind, organisation_id=None, mentor_id=state.mentor_id, subject=subject)
    return _alert_message(state, kind, alert)


def _alert_message(state: Visibility, kind: str, message: Message) -> Publication:
    return Publication(
        message=message, key=f"alert:{kind}:{_subject(state)}", correlation_id=_subject(state)
    )


def _asking(state: Visibility) -> Publication:
    ask = VisibilityReadBack(mentor_id=state.mentor_id, version=state.version)
    return _addressed(state, ask)


def _addressed(state: Visibility, message: Message) -> Publication:
    return Publication(message=message, key=_subject(state), correlation_id=_subject(state))


def _subject(state: Visibility) -> str:
    return f"mentor:{state.mentor_id}"


def _alert_for(reason: str | None) -> str:
    return _DEAD_ALERTS.get(reason or "", SYNC_PENDING)


def _shown(receipt: dict[str, Any]) -> str:
    """The portal's answer in words for the timeline."""
    return f"{receipt.get('answer')}, {'visible' if receipt.get('visible') else 'hidden'}"


def describe(message: Message) -> str:
    """What the saga says, in words for the timeline; no id of a person."""
    match message:
        case AlertOpenV1(type=kind, severity=severity):
            return f"tell people, {kind} ({severity})"
        case AlertClose(type=kind):
            return f"{kind} is over"
        case VisibilityReadBack(version=version):
            return f"does the portal hold version {version}?"
        case VisibilityRaise(returned_version=returned, reason=reason):
            return f"go above the portal's version {returned} ({reason})"
        case _:
            return "a message"


def _unwatched(message: VisibilityChangedV1 | VisibilityAhead | VisibilityInSync) -> Visibility:
    return Visibility(mentor_id=message.mentor_id, version=0)


VISIBILITY: Final = Saga(
    name="visibility",
    state=Visibility,
    react=react,
    correlate=lambda message: f"mentor:{message.mentor_id}",
    starts={
        VisibilityChanged: _unwatched,
        VisibilityChangedV1: _unwatched,
        VisibilityAhead: _unwatched,
        VisibilityInSync: _unwatched,
    },
    watches={
        VisibilityChanged.declaration.topic: _WATCHED,
        VisibilityReadBack.declaration.topic: _WATCHED,
        VisibilityRaise.declaration.topic: _RAISE_WATCHED,
    },
    timers=frozenset({"confirm", "read_back", "escalate"}),
    state_version=3,
    upcasters={
        1: lambda values: {**values, "since": None, "portal": None},
        2: lambda values: {**values, "reason": None},
    },
    describe=describe,
)
