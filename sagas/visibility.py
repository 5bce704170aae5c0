"""The visibility saga: from a changed visibility to the portal's confirmation of it.

One instance per mentor, from the first unconfirmed change until the portal confirms the newest one.
The pause, the renewal or the forced sync itself has committed before (PAU-2, SYN-3); this saga only
watches that the portal follows, and tells people when it does not. What finds no instance and
starts none is dropped.

| message                                   | what follows                                       |
|-------------------------------------------|----------------------------------------------------|
| visibility.changed, newer version         | watch it; `confirm` in 60 s, `escalate` in 24 h    |
| visibility.changed, not newer             | ignored: late or doubled                           |
| portal done: applied, duplicate (newest)  | confirmed: alert closed, instance ends             |
| portal done: accepted (newest)            | `read_back` in 15 min; accepted is not confirmed   |
| portal done: ahead                        | raise our version above the portal's, alert        |
| portal: first failure                     | alert ALR-1, if none is open                       |
| portal: dead                              | alert by its reason                                |
| portal: suppressed (no channel, gone)     | instance ends, alert closed                        |
| read back done: confirmed (newest)        | confirmed: alert closed, instance ends             |
| read back done: absent, wanted hidden     | confirmed: who is not listed is not visible        |
| read back done: anything else, or dead    | `read_back` again in 15 min                        |
| timer confirm                             | alert ALR-1, if none is open: hold, breaker, pause |
| timer read_back                           | visibility.read_back                               |
| timer escalate                            | alert critical (ALR-3); again in 24 h              |

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
    VisibilityChanged,
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
_CONFIRMED: Final = frozenset({"applied", "duplicate", "confirmed"})
_DEAD_ALERTS: Final = {"endpoint_retired": "endpoint_retired", "unknown_mentor": "data_quality"}
_WATCHED: Final = frozenset(Report) - {Report.UNKNOWN, Report.SUPERSEDED}


class Visibility(SagaState):
    """What is known of a mentor's way to the portal; `alerts`: the types this instance opened."""

    mentor_id: UUID
    version: int
    alerts: tuple[str, ...] = ()


def react(  # noqa: PLR0911 - one per kind of message
    state: Visibility, message: Message, *, now: datetime
) -> Decision[Visibility]:
    """Decide the next step for one mentor; correlation is the mentor's id. Pure."""
    match message:
        case VisibilityChanged():
            return _changed(state, message, now)
        case DeliveryReport(topic_of=VisibilityChanged.declaration.topic):
            return _sent(state, message, now)
        case DeliveryReport(topic_of=VisibilityReadBack.declaration.topic):
            return _read_back(state, message, now)
        case TimedOut(name="confirm"):
            return _alert(state, SYNC_PENDING, note="unconfirmed")
        case TimedOut(name="escalate"):
            return _escalate(state, now)
        case TimedOut(name="read_back"):
            ask = VisibilityReadBack(mentor_id=state.mentor_id, version=state.version)
            return Decision(state, publish=(_addressed(state, ask),), note="asked_portal")
        case _:
            return Decision.ignore(state)


def _changed(state: Visibility, message: VisibilityChanged, now: datetime) -> Decision[Visibility]:
    if message.version <= state.version:
        return Decision.ignore(state, "not_newer")
    watched = state.model_copy(update={"version": message.version})
    timers = (Timer("confirm", now + CONFIRM_AFTER), Timer("escalate", now + ESCALATE_AFTER))
    return Decision(watched, arm=timers, cancel=("read_back",), note="sync_pending")


def _sent(state: Visibility, report: DeliveryReport, now: datetime) -> Decision[Visibility]:
    match report.report:
        case Report.DONE:
            return _answered(state, report.receipt, now)
        case Report.FIRST_FAILURE:
            return _alert(state, SYNC_PENDING, note="first_failure")
        case Report.DEAD:
            return _alert(state, _alert_for(report.reason), note="given_up")
        case Report.SUPPRESSED:
            return _end(state, note=report.reason or "suppressed")
        case _:
            return Decision.ignore(state)


def _answered(state: Visibility, receipt: dict[str, Any], now: datetime) -> Decision[Visibility]:
    answer, version = receipt.get("answer"), receipt.get("version") or 0
    if answer == "ahead":
        return _raise(state, receipt)
    if version < state.version:
        return Decision.ignore(state, "older_version")
    if answer in _CONFIRMED:
        return _end(state, note="confirmed")
    if answer == "accepted":
        return Decision(state, arm=(Timer("read_back", now + READ_BACK_AFTER),), note="accepted")
    return Decision.ignore(state, str(answer))


def _read_back(state: Visibility, report: DeliveryReport, now: datetime) -> Decision[Visibility]:
    if report.report is Report.FIRST_FAILURE:
        return Decision.ignore(state, "will_be_asked_again")
    answer = report.receipt.get("answer")
    if answer == "ahead":
        return _raise(state, report.receipt)
    if answer in _CONFIRMED and (report.receipt.get("version") or 0) >= state.version:
        return _end(state, note="confirmed")
    if answer == "absent" and report.receipt.get("wanted_visible") is False:
        return _end(state, note="confirmed_absent")  # who is not listed is not visible
    if report.report is Report.SUPPRESSED:
        return _end(state, note=report.reason or "suppressed")
    return Decision(state, arm=(Timer("read_back", now + READ_BACK_AFTER),), note="not_yet")


def _raise(state: Visibility, receipt: dict[str, Any]) -> Decision[Visibility]:
    returned = int(receipt.get("returned_version") or 0)
    if returned < state.version:
        return Decision.ignore(state, "older_version")
    command = VisibilityRaise(
        mentor_id=state.mentor_id,
        returned_version=returned,
        reason=str(receipt.get("cause") or "ahead"),
    )
    decision = _alert(state, "portal_ahead", note="portal_ahead")
    return Decision(
        decision.state, publish=(*decision.publish, _addressed(state, command)), note="portal_ahead"
    )


def _alert(state: Visibility, kind: str, *, note: str) -> Decision[Visibility]:
    if kind in state.alerts:
        return Decision.ignore(state, "alert_open")
    opened = state.model_copy(update={"alerts": (*state.alerts, kind)})
    return Decision(opened, publish=(_opening(state, kind),), note=note)


def _escalate(state: Visibility, now: datetime) -> Decision[Visibility]:
    escalated = state.model_copy(
        update={"alerts": tuple(dict.fromkeys((*state.alerts, SYNC_PENDING)))}
    )
    return Decision(
        escalated,
        publish=(_opening(state, SYNC_PENDING, severity="critical"),),
        arm=(Timer("escalate", now + ESCALATE_AFTER),),
        note="escalated",
    )


def _end(state: Visibility, *, note: str) -> Decision[Visibility]:
    closings = tuple(
        _alert_message(
            state,
            kind,
            AlertClose(
                type=kind, organisation_id=None, mentor_id=state.mentor_id, subject=_subject(state)
            ),
        )
        for kind in state.alerts
    )
    closed = state.model_copy(update={"alerts": ()})
    return Decision(closed, publish=closings, end=True, note=note)


def _opening(state: Visibility, kind: str, severity: str = "warning") -> Publication:
    alert = AlertOpen(
        type=kind,
        organisation_id=None,
        mentor_id=state.mentor_id,
        subject=_subject(state),
        severity=severity,
    )
    return _alert_message(state, kind, alert)


def _alert_message(state: Visibility, kind: str, message: Message) -> Publication:
    return Publication(
        message=message, key=f"alert:{kind}:{_subject(state)}", correlation_id=_subject(state)
    )


def _addressed(state: Visibility, message: Message) -> Publication:
    return Publication(message=message, key=_subject(state), correlation_id=_subject(state))


def _subject(state: Visibility) -> str:
    return f"mentor:{state.mentor_id}"


def _alert_for(reason: str | None) -> str:
    return _DEAD_ALERTS.get(reason or "", SYNC_PENDING)


VISIBILITY: Final = Saga(
    name="visibility",
    state=Visibility,
    react=react,
    correlate=lambda message: f"mentor:{message.mentor_id}",
    starts={VisibilityChanged: lambda message: Visibility(mentor_id=message.mentor_id, version=0)},
    watches={
        VisibilityChanged.declaration.topic: _WATCHED,
        VisibilityReadBack.declaration.topic: _WATCHED,
    },
    timers=frozenset({"confirm", "read_back", "escalate"}),
)
