"""What the visibility saga leaves behind: its notes, the portal's last word, keys of messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from handlers.commands import AlertClose, AlertOpen, VisibilityRaise, VisibilityReadBack
from outbox import Report
from sagas.visibility import describe, react
from tests.sagas.test_visibility import (
    CHANGED,
    MENTOR,
    NOW,
    PENDING,
    RAISE,
    READ,
    SUBJECT,
    TABLE,
    ahead,
    changed,
    in_sync,
    report,
    said,
    timer,
    watching,
)

if TYPE_CHECKING:
    from outbox import Message
    from sagas.visibility import Visibility

TOLD: dict[str, tuple[str, str | None]] = {
    "the first change is watched": ("sync_pending", None),
    "a newer change is watched, and its day is the first's": ("sync_pending", None),
    "the same change is ignored": ("not_newer", None),
    "an older change is ignored": ("not_newer", None),
    "applied confirms": ("confirmed", "applied, hidden"),
    "a duplicate confirms and closes the alert": ("confirmed", "duplicate, hidden"),
    "a newer version than watched confirms too": ("confirmed", "applied, hidden"),
    "an older one does not": ("older_version", None),
    "stale is not confirmed": ("stale", "stale"),
    "an older stale says nothing": ("older_version", None),
    "accepted is not confirmed": ("accepted", "accepted"),
    "an older acceptance is ignored": ("older_version", None),
    "ahead raises and alerts": ("portal_ahead", "ahead at version 9"),
    "a conflict is named": ("portal_ahead", None),
    "what our newest version has passed is not raised": ("older_version", None),
    "the first failure alerts": ("first_failure", "portal_5xx"),
    "one alert is enough": ("alert_open", None),
    "given up alerts": ("given_up", "portal_refused:body_invalid"),
    "a retired endpoint has an alert of its own": ("given_up", "endpoint_retired"),
    "an unknown mentor is a matter of data": ("given_up", "unknown_mentor"),
    "without a channel there is nothing to watch": ("no_channel", None),
    "read back and found": ("confirmed", "confirmed, hidden"),
    "an older version read back proves nothing": ("not_yet", "confirmed"),
    "not yet there": ("not_yet", "not_yet"),
    "who is not listed is not visible": ("confirmed_absent", "absent"),
    "absent while an older version was hidden is not confirmed": ("not_yet", "absent"),
    "absent and wanted visible is not confirmed": ("not_yet", "absent"),
    "read back ahead raises": ("portal_ahead", "ahead at version 9"),
    "a read that failed is asked again by its handler": ("will_be_asked_again", None),
    "a read given up is asked again by the saga": ("not_yet", "portal_5xx"),
    "a retired endpoint is told by the read back too": ("given_up", "endpoint_retired"),
    "and once": ("given_up", "endpoint_retired"),
    "a read without a channel ends the watch": ("mentor_gone", None),
    "a minute unconfirmed alerts": ("unconfirmed", None),
    "unless one is open": ("alert_open", None),
    "the read back is asked for": ("asked_portal", None),
    "a day unconfirmed is critical": ("escalated", None),
    "also where nobody had been told": ("escalated", None),
    "what reconciliation sees ahead is raised and alerted": ("portal_ahead", "ahead at version 9"),
    "the next one is raised too": ("portal_ahead", None),
    "unless our newest has passed it": ("older_version", None),
    "raised: the new version follows": ("raised", None),
    "held: a person looks": ("raised_today", None),
    "moved on before anything was watched": ("moved_on", None),
    "moved on to a version that is watched": ("moved_on", None),
    "nobody left to raise": ("mentor_gone", None),
    "seen in sync confirms": ("seen_in_sync", None),
    "and closes what nobody awaits any more": ("seen_in_sync", None),
    "but no alert of another kind": ("seen_in_sync", None),
    "an older version in sync proves nothing": ("older_version", None),
    "a timer of no name is ignored": ("late_or_doubled", None),
}
"""For each row of the table: the note in the timeline, and the portal's last word afterwards."""


@pytest.mark.parametrize(
    ("name", "state", "message"), [row[:3] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_the_timeline_says_what_happened(name: str, state: Visibility, message: Message) -> None:
    """The saga's story is read by people who ask why a mentor is still shown (P11)."""
    decision = react(state, message, now=NOW)

    assert (decision.note, decision.state.portal) == TOLD[name]


def test_the_portals_answer_says_what_it_shows() -> None:
    for visible, word in ((True, "visible"), (False, "hidden")):
        answer = report(CHANGED, answer="applied", version=7, visible=visible)

        assert react(watching(7), answer, now=NOW).state.portal == f"applied, {word}"


def test_a_word_of_the_portal_stays_until_there_is_another() -> None:
    known = watching(7).model_copy(update={"portal": "stale"})

    assert react(known, timer("confirm"), now=NOW).state.portal == "stale"
    assert react(known, in_sync(7), now=NOW).state.portal == "stale"
    failed = report(CHANGED, Report.FIRST_FAILURE, reason="portal_5xx")
    assert react(known, failed, now=NOW).state.portal == "portal_5xx"


def test_a_read_back_that_says_nothing_leaves_no_word() -> None:
    assert react(watching(7), report(READ), now=NOW).state.portal is None


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (report(CHANGED, answer="applied"), ()),
        (report(READ, answer="confirmed"), ("arm read_back 900",)),
        (report(READ, answer="absent", wanted_visible=False), ("arm read_back 900",)),
        (report(CHANGED, answer="ahead"), ()),
    ],
)
def test_an_answer_without_a_version_confirms_nothing(
    message: Message, expected: tuple[str, ...]
) -> None:
    """SYN-7: not even of the very first version."""
    assert said(react(watching(1), message, now=NOW)) == expected


@pytest.mark.parametrize(
    ("message", "note"),
    [
        (report(CHANGED, answer="surprise", version=7), "surprise"),
        (report(CHANGED, Report.SUPPRESSED), "suppressed"),
        (report(READ, Report.SUPPRESSED), "suppressed"),
        (report(RAISE, Report.SUPPRESSED), "suppressed"),
        (report(RAISE, Report.FIRST_FAILURE, reason="deadlock"), "deadlock"),
        (report(RAISE, Report.FIRST_FAILURE), "late_or_doubled"),
    ],
)
def test_what_comes_without_a_reason_has_a_word_all_the_same(message: Message, note: str) -> None:
    assert react(watching(7), message, now=NOW).note == note


def test_a_held_raise_leaves_its_alert_with_the_instance() -> None:
    """Else nobody would close it."""
    held = report(RAISE, answer="held", cause="raised_today", version=7)

    assert react(watching(7, PENDING), held, now=NOW).state.alerts == (PENDING, "portal_ahead")


def test_each_message_says_whom_it_is_about_and_keeps_his_order() -> None:
    """P5: what is asked of the portal about one mentor is asked in order."""
    opening = react(watching(7), timer("confirm"), now=NOW).publish[0]
    closing = react(watching(7, PENDING), in_sync(7), now=NOW).publish[0]
    asking = react(watching(7), timer("read_back"), now=NOW).publish[0]
    raising = react(watching(7, "portal_ahead"), ahead(9), now=NOW).publish[0]

    for publication in (opening, closing, asking, raising):
        told: Any = publication.message
        assert told.mentor_id == MENTOR
        assert publication.correlation_id == SUBJECT
    assert asking.key == raising.key == SUBJECT


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (
            AlertOpen(
                type=PENDING,
                organisation_id=None,
                mentor_id=MENTOR,
                subject="s",
                severity="warning",
            ),
            f"tell people, {PENDING} (warning)",
        ),
        (
            AlertClose(type=PENDING, organisation_id=None, mentor_id=MENTOR, subject="s"),
            f"{PENDING} is over",
        ),
        (VisibilityReadBack(mentor_id=MENTOR, version=7), "does the portal hold version 7?"),
        (
            VisibilityRaise(mentor_id=MENTOR, returned_version=9, reason="conflict"),
            "go above the portal's version 9 (conflict)",
        ),
        (changed(4), "a message"),
    ],
)
def test_what_is_said_is_told_in_words(message: Message, words: str) -> None:
    assert describe(message) == words
