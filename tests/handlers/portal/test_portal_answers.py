"""The table of answers, row by row, and what lies outside of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.portal.answers import (
    RETRY_AFTER_DEFAULT,
    Absent,
    Accepted,
    Ahead,
    Answer,
    Applied,
    Conflict,
    Credentials,
    Duplicate,
    Found,
    HttpReply,
    OurFault,
    Retired,
    Sent,
    Stale,
    Throttled,
    Unchanged,
    Unclear,
    UnknownMentor,
    body_of,
    read_answer,
    refusal,
    set_answer,
    skew_of,
)
from handlers.portal.wire import SetAnswer

NOW = datetime(2026, 3, 2, 0, 5, 4, tzinfo=UTC)
MENTOR = UUID("9c4a3a51-4b7e-49be-8f24-5d6a77f3c0aa")
OTHER = UUID("00000000-0000-0000-0000-00000000000a")
SENT = Sent(MENTOR, version=7, visible=False, newest=7)
JSON = "application/json; charset=utf-8"


def stored(**change: object) -> bytes:
    body = {
        "mentor_id": str(MENTOR),
        "outcome": "applied",
        "version": 7,
        "visible": False,
        "published_version": 6,
        "published_visible": True,
        "stored_at": "2026-03-02T00:05:05Z",
    }
    return json.dumps(body | change).encode()


def error(code: str, **more: object) -> bytes:
    return json.dumps({"error": {"code": code, "message": "m", **more}}).encode()


def answer(status: int, body: bytes | None = b"", sent: Sent = SENT, **more: str) -> Answer:
    reply = HttpReply(status, body, **{"content_type": JSON, **more})  # type: ignore[arg-type]
    return set_answer(reply, sent, now=NOW)


def test_200_applied_and_duplicate_are_stored() -> None:
    """SYN-10."""
    assert isinstance(answer(200, stored()), Applied)
    assert isinstance(answer(200, stored(outcome="duplicate")), Duplicate)


def test_200_may_carry_fields_we_do_not_know() -> None:
    assert isinstance(answer(200, stored(region="emea")), Applied)


def test_200_stale_at_most_our_newest_is_overtaken() -> None:
    sent = Sent(MENTOR, version=5, visible=True, newest=7)

    late = answer(200, stored(outcome="stale"), sent)

    assert isinstance(late, Stale)
    assert late.returned == 7


def test_200_stale_above_our_newest_is_ahead() -> None:
    ahead = answer(200, stored(outcome="stale", version=40))

    assert isinstance(ahead, Ahead)
    assert ahead.returned == 40


def test_202_is_accepted_whatever_it_says() -> None:
    assert answer(202) == Accepted()
    assert answer(202, b"queued", content_type="text/plain") == Accepted()


def test_409_with_our_body_is_a_conflict() -> None:
    body = error("version_conflict", current={"version": 7, "visible": True})

    assert answer(409, body) == Conflict(current=7, visible=True)


def test_404_with_our_body_is_an_unknown_mentor() -> None:
    assert answer(404, error("unknown_mentor")) == UnknownMentor()


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_a_refused_request_is_our_fault_with_the_receivers_code(status: int) -> None:
    assert answer(status, error("body_invalid")) == OurFault("body_invalid")
    assert answer(status, b"<html>", content_type="text/html") == OurFault(f"http_{status}")


@pytest.mark.parametrize("status", [401, 403])
def test_401_and_403_are_credentials(status: int) -> None:
    assert answer(status, error("token_expired")) == Credentials("token_expired")
    assert answer(status, b"") == Credentials(f"http_{status}")


def test_a_foreign_error_code_is_never_kept() -> None:
    """Codes are stored and shown; only the contract's form of them is."""
    assert answer(401, error("Token of Kari expired!")) == Credentials("http_401")


def test_410_is_retired() -> None:
    assert answer(410) == Retired()


@pytest.mark.parametrize(
    ("status", "header", "wait"),
    [
        (429, "17", timedelta(seconds=17)),
        (429, "Mon, 02 Mar 2026 00:06:04 GMT", timedelta(seconds=60)),
        (429, "Sun, 01 Mar 2026 00:00:00 GMT", timedelta(0)),
        (429, "soon", RETRY_AFTER_DEFAULT),
        (503, "120", timedelta(seconds=120)),
    ],
)
def test_a_receiver_that_asks_for_rest_throttles(status: int, header: str, wait: timedelta) -> None:
    assert answer(status, retry_after=header) == Throttled(wait)


def test_429_without_a_time_waits_the_default_and_503_without_one_is_unclear() -> None:
    assert answer(429) == Throttled(RETRY_AFTER_DEFAULT)
    assert answer(503) == Unclear("http_503")


@pytest.mark.parametrize("status", [500, 501, 502, 504, 599])
def test_other_5xx_are_unclear(status: int) -> None:
    assert answer(status, b"<h1>oops", content_type="text/html") == Unclear(f"http_{status}")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_unclear(status: int) -> None:
    assert answer(status) == Unclear("redirect")


@pytest.mark.parametrize(
    ("body", "content_type", "reason"),
    [
        (b"<!doctype html>", "text/html", "html"),
        (b"  <html>sign in</html>", JSON, "html"),
        (b"", JSON, "body_not_ours"),
        (b"{}", JSON, "body_not_ours"),
        (b"null", JSON, "body_not_ours"),
        (stored(outcome="maybe"), JSON, "body_not_ours"),
        (stored(visible="false"), JSON, "body_not_ours"),
        (stored(version="7"), JSON, "body_not_ours"),
        (stored(version=-1), JSON, "body_not_ours"),
        (None, JSON, "body_too_large"),
        (stored(mentor_id=str(OTHER)), JSON, "answer_for_another_mentor"),
        (stored(version=8), JSON, "answer_contradicts_itself"),
        (stored(visible=True), JSON, "answer_contradicts_itself"),
        (stored(outcome="duplicate", visible=True), JSON, "answer_contradicts_itself"),
        (stored(outcome="stale", version=6), JSON, "answer_contradicts_itself"),
        (stored(outcome="stale", visible=True), JSON, "answer_contradicts_itself"),
    ],
)
def test_a_200_without_a_sound_body_is_unclear(
    body: bytes | None, content_type: str, reason: str
) -> None:
    """A login page, a proxy's page or another service's JSON never counts as stored."""
    assert answer(200, body, content_type=content_type) == Unclear(reason)


@pytest.mark.parametrize("status", [404, 409])
@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", error("not_found")])
def test_a_404_or_409_from_something_in_between_is_unclear(status: int, body: bytes) -> None:
    assert answer(status, body) == Unclear(f"http_{status}")


def test_a_202_with_a_page_is_unclear() -> None:
    assert answer(202, b"<html>") == Unclear("html")


@pytest.mark.parametrize("status", [100, 201, 204, 405, 408, 418, 425, 451])
def test_what_the_table_does_not_name_proves_nothing(status: int) -> None:
    assert answer(status) == Unclear(f"http_{status}")


@given(
    st.integers(100, 599),
    st.one_of(st.none(), st.binary(max_size=200)),
    st.text(max_size=20),
    st.one_of(st.none(), st.text(max_size=30)),
)
def test_nothing_but_our_own_body_ever_ends_a_delivery_well(
    status: int, body: bytes | None, content_type: str, header: str | None
) -> None:
    """Random bytes are never taken for stored, and nothing makes the table raise."""
    found = set_answer(HttpReply(status, body, content_type, header), SENT, now=NOW)

    assert not isinstance(found, Applied | Duplicate | Stale | Ahead | Conflict | UnknownMentor)


def test_reading_one_mentor() -> None:
    item = {
        "mentor_id": str(MENTOR),
        "version": 7,
        "visible": False,
        "stored_at": "2026-03-02T00:05:05Z",
        "published_version": None,
        "published_visible": None,
        "published_at": None,
    }
    body = json.dumps(item).encode()

    found = read_answer(HttpReply(200, body, JSON, etag='"7"'), MENTOR, now=NOW)

    assert isinstance(found, Found)
    assert (found.item.version, found.item.published_visible, found.etag) == (7, None, '"7"')
    assert read_answer(HttpReply(200, body, JSON), OTHER, now=NOW) == Unclear(
        "answer_for_another_mentor"
    )
    assert read_answer(HttpReply(304), MENTOR, now=NOW) == Unchanged()
    assert read_answer(HttpReply(404, error("unknown_mentor"), JSON), MENTOR, now=NOW) == Absent()
    assert read_answer(HttpReply(404, b"<html>"), MENTOR, now=NOW) == Unclear("http_404")
    assert read_answer(HttpReply(503), MENTOR, now=NOW) == Unclear("http_503")


def test_what_is_stored_comes_along_whole() -> None:
    """What the portal publishes stands in the answer's body, whichever way it was stored."""
    for outcome, version in (("applied", 7), ("duplicate", 7), ("stale", 7), ("stale", 8)):
        body = stored(outcome=outcome, version=version)
        found: Any = set_answer(HttpReply(200, body, JSON), SENT, now=NOW)

        assert found.body == SetAnswer.model_validate_json(body)


def test_a_current_state_alone_is_no_conflict() -> None:
    """Only a 409 that says so is one."""
    current = {"version": 7, "visible": True}
    refused = HttpReply(422, error("body_invalid", current=current), JSON)
    other = HttpReply(409, error("something_else", current=current), JSON)

    assert set_answer(refused, SENT, now=NOW) == OurFault("body_invalid")
    assert set_answer(other, SENT, now=NOW) == Unclear("http_409")


def test_a_body_of_any_kind_is_read_or_refused() -> None:
    """As the listing and the health check read theirs."""
    good = HttpReply(200, stored(), JSON)
    date = HttpReply(429, b"", JSON, "Mon, 02 Mar 2026 00:06:04 GMT")

    assert body_of(SetAnswer, good, now=NOW) == SetAnswer.model_validate_json(stored())
    assert body_of(SetAnswer, HttpReply(200, b"[]", JSON), now=NOW) == Unclear("body_not_ours")
    assert body_of(SetAnswer, HttpReply(503), now=NOW) == Unclear("http_503")
    assert body_of(SetAnswer, date, now=NOW) == Throttled(timedelta(seconds=60))
    assert read_answer(date, MENTOR, now=NOW) == Throttled(timedelta(seconds=60))


@pytest.mark.parametrize(("status", "reason"), [(300, "redirect"), (399, "redirect")])
def test_the_edges_of_a_redirect(status: int, reason: str) -> None:
    assert refusal(HttpReply(status), now=NOW) == Unclear(reason)


@pytest.mark.parametrize(
    ("seconds", "skew"),
    [(None, None), (0, None), (120, None), (-120, None), (121, 121), (-121, -121)],
)
def test_a_refusal_says_how_far_the_clocks_are_apart(seconds: int | None, skew: int | None) -> None:
    """CRD-1: beyond two minutes the clocks may be why a signature or a token is refused."""
    date = None if seconds is None else NOW + timedelta(seconds=seconds)
    reply = HttpReply(401, date=date)

    assert refusal(reply, now=NOW) == Credentials("http_401", skew)
    assert skew_of(reply, now=NOW) == skew


@pytest.mark.parametrize(
    ("skew", "words"),
    [
        (None, "signature_invalid"),
        (
            121,
            "signature_invalid; the receiver's clock is 121 s ahead of ours, set the clock first",
        ),
        (-300, "signature_invalid; the receiver's clock is 300 s behind ours, set the clock first"),
    ],
)
def test_the_alert_is_told_of_the_clock_first(skew: int | None, words: str) -> None:
    assert Credentials("signature_invalid", skew).hint == words
