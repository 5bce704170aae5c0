"""The visibility saga: its table row by row, and any order of messages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.commands import (
    AlertClose,
    AlertOpen,
    VisibilityAhead,
    VisibilityChanged,
    VisibilityChangedV1,
    VisibilityInSync,
    VisibilityRaise,
    VisibilityReadBack,
)
from outbox import DeliveryReport, Report, TimedOut
from sagas.visibility import ALERTS, VISIBILITY, Visibility, describe, react

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outbox import Decision, Message

NOW = datetime(2026, 3, 2, 0, 5, 3, tzinfo=UTC)
MENTOR = UUID("9c4a3a51-4b7e-49be-8f24-5d6a77f3c0aa")
SUBJECT = f"mentor:{MENTOR}"
CHANGED, READ, RAISE = "visibility.changed", "visibility.read_back", "visibility.raise"
PENDING = "dynamics_sync_pending"

Facts: TypeAlias = tuple[str, ...]


def watching(version: int = 7, *alerts: str) -> Visibility:
    since = NOW if version else None
    return Visibility(mentor_id=MENTOR, version=version, alerts=alerts, since=since)


def changed(version: int) -> VisibilityChanged:
    return VisibilityChanged(mentor_id=MENTOR, version=version)


def ahead(returned: int, cause: str = "ahead") -> VisibilityAhead:
    return VisibilityAhead(mentor_id=MENTOR, returned_version=returned, cause=cause)


def in_sync(version: int, *alerts: str) -> VisibilityInSync:
    return VisibilityInSync(mentor_id=MENTOR, version=version, alerts=alerts)


def timer(name: str) -> TimedOut:
    return TimedOut(saga_id=1, key=SUBJECT, name=name, generation=1)


def report(
    topic: str, kind: Report = Report.DONE, *, reason: str | None = None, **receipt: Any
) -> DeliveryReport:
    return DeliveryReport(
        key=SUBJECT,
        topic_of=topic,
        version_of=1,
        handler={CHANGED: "portal", READ: "portal_read", RAISE: "mentor_state"}[topic],
        delivery_id=1,
        report=kind,
        reason=reason,
        attempt=1,
        receipt=receipt,
        payload={},
    )


def said(decision: Decision[Visibility]) -> Facts:
    """What leaves with a decision, in words: publications, timers, cancellations, the end."""
    words = [_word(publication.message) for publication in decision.publish]
    words += [f"arm {each.name} {(each.at - NOW).total_seconds():.0f}" for each in decision.arm]
    words += [f"cancel {name}" for name in decision.cancel]
    words += ["end"] if decision.end else []
    return tuple(words or ([] if decision.ignored else ["moved"]))


def _word(message: Message) -> str:
    match message:
        case AlertOpen():
            return f"open {message.type} {message.severity}"
        case AlertClose():
            return f"close {message.type}"
        case VisibilityRaise():
            return f"raise {message.returned_version} {message.reason}"
        case VisibilityReadBack():
            return f"ask {message.version}"
        case _:
            return type(message).__name__


WATCH = ("arm confirm 60", "arm escalate 86400", "cancel read_back")
AGAIN = ("arm confirm 60", "cancel read_back")

TABLE: Sequence[tuple[str, Visibility, Message, Facts]] = (
    ("the first change is watched", watching(0), changed(1), WATCH),
    (
        "a newer change is watched, and its day is the first's",
        watching(7, PENDING),
        changed(8),
        AGAIN,
    ),
    ("the same change is ignored", watching(7), changed(7), ()),
    ("an older change is ignored", watching(7), changed(6), ()),
    ("applied confirms", watching(7), report(CHANGED, answer="applied", version=7), ("end",)),
    (
        "a duplicate confirms and closes the alert",
        watching(7, PENDING),
        report(CHANGED, answer="duplicate", version=7),
        (f"close {PENDING}", "end"),
    ),
    (
        "a newer version than watched confirms too",
        watching(7),
        report(CHANGED, answer="applied", version=8),
        ("end",),
    ),
    ("an older one does not", watching(8), report(CHANGED, answer="applied", version=7), ()),
    (
        "stale is not confirmed",
        watching(7),
        report(CHANGED, answer="stale", version=7),
        ("arm read_back 900",),
    ),
    ("an older stale says nothing", watching(8), report(CHANGED, answer="stale", version=7), ()),
    (
        "accepted is not confirmed",
        watching(7),
        report(CHANGED, answer="accepted", version=7),
        ("arm read_back 900",),
    ),
    (
        "an older acceptance is ignored",
        watching(8),
        report(CHANGED, answer="accepted", version=7),
        (),
    ),
    (
        "ahead raises and alerts",
        watching(7),
        report(CHANGED, answer="ahead", version=9, returned_version=9),
        ("open portal_ahead warning", "raise 9 ahead"),
    ),
    (
        "a conflict is named",
        watching(7, "portal_ahead"),
        report(CHANGED, answer="ahead", cause="conflict", version=7, returned_version=7),
        ("raise 7 conflict",),
    ),
    (
        "what our newest version has passed is not raised",
        watching(10),
        report(CHANGED, answer="ahead", version=9, returned_version=9),
        (),
    ),
    (
        "the first failure alerts",
        watching(7),
        report(CHANGED, Report.FIRST_FAILURE, reason="portal_5xx"),
        (f"open {PENDING} warning",),
    ),
    (
        "one alert is enough",
        watching(7, PENDING),
        report(CHANGED, Report.FIRST_FAILURE, reason="portal_5xx"),
        (),
    ),
    (
        "given up alerts",
        watching(7),
        report(CHANGED, Report.DEAD, reason="portal_refused:body_invalid"),
        (f"open {PENDING} warning",),
    ),
    (
        "a retired endpoint has an alert of its own",
        watching(7, PENDING),
        report(CHANGED, Report.DEAD, reason="endpoint_retired"),
        ("open endpoint_retired warning",),
    ),
    (
        "an unknown mentor is a matter of data",
        watching(7),
        report(CHANGED, Report.DEAD, reason="unknown_mentor"),
        ("open data_quality warning",),
    ),
    (
        "without a channel there is nothing to watch",
        watching(7, PENDING),
        report(CHANGED, Report.SUPPRESSED, reason="no_channel"),
        (f"close {PENDING}", "end"),
    ),
    (
        "read back and found",
        watching(7, PENDING),
        report(READ, answer="confirmed", version=7),
        (f"close {PENDING}", "end"),
    ),
    (
        "an older version read back proves nothing",
        watching(8),
        report(READ, answer="confirmed", version=7),
        ("arm read_back 900",),
    ),
    (
        "not yet there",
        watching(7),
        report(READ, answer="not_yet", version=6),
        ("arm read_back 900",),
    ),
    (
        "who is not listed is not visible",
        watching(7, PENDING),
        report(READ, answer="absent", wanted_visible=False, wanted_version=7),
        (f"close {PENDING}", "end"),
    ),
    (
        "absent while an older version was hidden is not confirmed",
        watching(8, PENDING),
        report(READ, answer="absent", wanted_visible=False, wanted_version=7),
        ("arm read_back 900",),
    ),
    (
        "absent and wanted visible is not confirmed",
        watching(7),
        report(READ, answer="absent", wanted_visible=True, wanted_version=7),
        ("arm read_back 900",),
    ),
    (
        "read back ahead raises",
        watching(7),
        report(READ, answer="ahead", version=9, returned_version=9),
        ("open portal_ahead warning", "raise 9 ahead"),
    ),
    (
        "a read that failed is asked again by its handler",
        watching(7),
        report(READ, Report.FIRST_FAILURE),
        (),
    ),
    (
        "a read given up is asked again by the saga",
        watching(7),
        report(READ, Report.DEAD, reason="portal_5xx"),
        ("arm read_back 900",),
    ),
    (
        "a retired endpoint is told by the read back too",
        watching(7, PENDING),
        report(READ, Report.DEAD, reason="endpoint_retired"),
        ("open endpoint_retired warning", "arm read_back 900"),
    ),
    (
        "and once",
        watching(7, "endpoint_retired"),
        report(READ, Report.DEAD, reason="endpoint_retired"),
        ("arm read_back 900",),
    ),
    (
        "a read without a channel ends the watch",
        watching(7),
        report(READ, Report.SUPPRESSED, reason="mentor_gone"),
        ("end",),
    ),
    ("a minute unconfirmed alerts", watching(7), timer("confirm"), (f"open {PENDING} warning",)),
    ("unless one is open", watching(7, PENDING), timer("confirm"), ()),
    ("the read back is asked for", watching(7), timer("read_back"), ("ask 7",)),
    (
        "a day unconfirmed is critical",
        watching(7, PENDING),
        timer("escalate"),
        (f"open {PENDING} critical", "ask 7", "arm escalate 86400"),
    ),
    (
        "also where nobody had been told",
        watching(7),
        timer("escalate"),
        (f"open {PENDING} critical", "ask 7", "arm escalate 86400"),
    ),
    (
        "what reconciliation sees ahead is raised and alerted",
        watching(0),
        ahead(9),
        ("open portal_ahead warning", "raise 9 ahead"),
    ),
    (
        "the next one is raised too",
        watching(7, "portal_ahead"),
        ahead(7, "conflict"),
        ("raise 7 conflict",),
    ),
    ("unless our newest has passed it", watching(10), ahead(9), ()),
    (
        "raised: the new version follows",
        watching(7, "portal_ahead"),
        report(RAISE, answer="raised"),
        ("moved",),
    ),
    (
        "held: a person looks",
        watching(7, "portal_ahead"),
        report(RAISE, answer="held", cause="raised_today", version=7),
        ("open portal_ahead critical",),
    ),
    (
        "moved on before anything was watched",
        watching(0, "portal_ahead"),
        report(RAISE, Report.SUPPRESSED, reason="moved_on"),
        ("close portal_ahead", "end"),
    ),
    (
        "moved on to a version that is watched",
        watching(7, "portal_ahead"),
        report(RAISE, Report.SUPPRESSED, reason="moved_on"),
        (),
    ),
    (
        "nobody left to raise",
        watching(7, "portal_ahead"),
        report(RAISE, Report.SUPPRESSED, reason="mentor_gone"),
        ("close portal_ahead", "end"),
    ),
    (
        "seen in sync confirms",
        watching(7, PENDING),
        in_sync(7, PENDING),
        (f"close {PENDING}", "end"),
    ),
    (
        "and closes what nobody awaits any more",
        watching(0),
        in_sync(7, "endpoint_retired", PENDING),
        ("close endpoint_retired", f"close {PENDING}", "end"),
    ),
    ("but no alert of another kind", watching(0), in_sync(7, "invalid_policy"), ("end",)),
    ("an older version in sync proves nothing", watching(8), in_sync(7, PENDING), ()),
    ("a timer of no name is ignored", watching(7), timer("elsewhere"), ()),
)


@pytest.mark.parametrize(
    ("state", "message", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_the_table(state: Visibility, message: Message, expected: Facts) -> None:
    """SYN-3, SYN-7, SYN-13, SYN-16, ALR-1, ALR-3: the table of the module, row by row."""
    decision = react(state, message, now=NOW)

    assert said(decision) == expected
    assert decision.ignored == (not expected)
    assert decision.state.version == max(
        state.version, message.version if isinstance(message, VisibilityChanged) else 0
    )


def test_a_change_starts_an_instance_of_its_mentor() -> None:
    for message in (changed(4), ahead(9), in_sync(4)):
        assert VISIBILITY.starts[type(message)](message) == watching(0)
        assert VISIBILITY.key_of(message) == SUBJECT


def test_what_yesterdays_database_published_is_read_and_todays_says_why() -> None:
    """PAU-10: version 1 of the message tells no reason; version 2 does, and the story keeps it."""
    old = VisibilityChangedV1(mentor_id=MENTOR, version=4)
    new = VisibilityChanged(mentor_id=MENTOR, version=5, reason="paused_manual")

    first = react(VISIBILITY.starts[VisibilityChangedV1](old), old, now=NOW)
    second = react(first.state, new, now=NOW)

    assert (first.state.version, first.state.reason) == (4, None)
    assert (second.state.version, second.state.reason) == (5, "paused_manual")


def test_what_yesterdays_program_stored_is_read() -> None:
    """A state of version 1 knows neither since when nor the portal's word."""
    stored = f'{{"mentor_id": "{MENTOR}", "version": 7, "alerts": ["{PENDING}"]}}'

    state = VISIBILITY.read(stored, 1)

    assert state == Visibility(mentor_id=MENTOR, version=7, alerts=(PENDING,))
    assert VISIBILITY.read(stored, 2).reason is None
    assert "arm escalate 86400" in said(react(state, changed(8), now=NOW))


def test_a_day_counts_from_the_first_unconfirmed_version() -> None:
    """ALR-3: a new version each hour, as reconciliation makes them, must not put it off."""
    first = react(watching(0), changed(1), now=NOW)
    hour = NOW + timedelta(hours=1)
    second = react(first.state, changed(2), now=hour)

    assert second.state.since == NOW
    assert [each.name for each in second.arm] == ["confirm"]
    ended = react(second.state, report(CHANGED, answer="applied", version=2), now=hour)
    assert ended.state.since is None


@given(st.deferred(lambda: messages))
def test_nothing_personal_is_told(message: Message) -> None:
    """P12: the timeline tells codes and versions, not whom they are about."""
    decision = react(watching(3, PENDING), message, now=NOW)

    told = [describe(each.message) for each in decision.publish]
    assert all(told)
    assert str(MENTOR) not in " ".join([*told, decision.note, str(decision.state.portal)])


def test_alerts_are_ordered_by_their_own_key_and_told_apart_by_type() -> None:
    """An alert's close must not overtake its open, which only a common key promises."""
    opening = react(watching(7), timer("confirm"), now=NOW).publish[0]
    closing = react(watching(7, PENDING), report(READ, answer="confirmed", version=7), now=NOW)

    assert opening.key == closing.publish[0].key == f"alert:{PENDING}:{SUBJECT}"
    assert opening.correlation_id == SUBJECT


versions = st.integers(1, 6)
answers = st.sampled_from(
    [
        "applied",
        "duplicate",
        "stale",
        "ahead",
        "accepted",
        "confirmed",
        "not_yet",
        "absent",
        "held",
        "raised",
        None,
    ]
)
reasons = st.sampled_from(
    [None, "endpoint_retired", "unknown_mentor", "portal_5xx", "no_channel", "moved_on"]
)


@st.composite
def reports(draw: st.DrawFn) -> DeliveryReport:
    """A report as the handlers write them, and some that they never would."""
    receipt = {
        "answer": draw(answers),
        "version": draw(st.none() | versions),
        "returned_version": draw(st.none() | versions),
        "wanted_visible": draw(st.booleans()),
        "wanted_version": draw(versions),
        "visible": draw(st.booleans()),
        "cause": draw(st.sampled_from(["conflict", "raised_today", "too_far_ahead"])),
    }
    kept = {name: value for name, value in receipt.items() if draw(st.booleans())}
    kind = draw(st.sampled_from(Report))
    return report(draw(st.sampled_from([CHANGED, READ, RAISE])), kind, reason=draw(reasons), **kept)


timers = st.sampled_from(["confirm", "read_back", "escalate"]).map(timer)
alerts = st.lists(st.sampled_from([*ALERTS, "invalid_policy"]), unique=True)
messages: st.SearchStrategy[Message] = st.one_of(
    versions.map(changed),
    st.builds(lambda version, types: in_sync(version, *types), versions, alerts),
    versions.map(ahead),
    reports(),
    timers,
)


@given(st.lists(messages, max_size=40))
def test_any_order_is_decided(told: list[Message]) -> None:
    """P9: nothing raises; alerts close as often as they opened, by the instance that opened them.

    Reports and timers without an instance are dropped by the runner, as here.
    """
    state: Visibility | None = None
    opened: set[str] = set()
    for message in told:
        if state is None:
            if type(message) not in VISIBILITY.starts:
                continue
            state = VISIBILITY.starts[type(message)](message)
        decision = react(state, message, now=NOW)
        for publication in decision.publish:
            match publication.message:
                case AlertOpen(type=kind, severity=severity):
                    assert kind not in opened or severity == "critical"
                    opened.add(kind)
                case AlertClose(type=kind):
                    assert kind in opened or isinstance(message, VisibilityInSync)
                    opened.discard(kind)
                case _:
                    pass
        assert decision.state.version >= state.version
        assert set(decision.state.alerts) == opened
        assert {each.name for each in decision.arm} <= VISIBILITY.timers
        assert all(each.at > NOW for each in decision.arm)
        assert not (decision.ignored and (decision.publish or decision.arm or decision.end))
        assert not (decision.end and opened)
        state = None if decision.end else decision.state


def test_the_day_is_counted_again_after_each_escalation() -> None:
    """ALR-3: it stays critical, and is said again each day."""
    first = react(watching(7), timer("escalate"), now=NOW)
    later = NOW + timedelta(hours=24)
    second = react(first.state, timer("escalate"), now=later)

    assert second.arm[0].at == later + timedelta(hours=24)
    assert second.state.alerts == (PENDING,)
