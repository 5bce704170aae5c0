"""Every row of the table of answers, and the answers that are no answer."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.fcm.answers import (
    Accepted,
    Ambiguous,
    AuthRejected,
    BadAddress,
    BadPayload,
    PlatformAuth,
    SendResult,
    Throttled,
    Transient,
    classify,
)

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
HTML = b"<html><title>Error</title></html>"


def _error(
    http: int,
    status: str | None,
    code: str | None = None,
    *,
    fields: tuple[str, ...] = (),
    text: str = "",
) -> tuple[int, bytes]:
    details: list[dict[str, Any]] = [{"@type": FCM_ERROR, "errorCode": code}] if code else []
    if fields:
        violations = [{"field": name, "description": "x"} for name in fields]
        details.append({"@type": BAD_REQUEST, "fieldViolations": violations})
    error: dict[str, Any] = {"code": http, "message": text, "status": status}
    if details:
        error["details"] = details
    return http, json.dumps({"error": error}).encode()


def _classify(answer: tuple[int, bytes], **headers: str) -> SendResult:
    status, body = answer
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return classify(status, named, body, now=NOW)


ROWS: list[tuple[tuple[int, bytes], SendResult]] = [
    ((200, b'{"name": "projects/p/messages/1"}'), Accepted("projects/p/messages/1")),
    (_error(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", fields=("message.token",)),
     BadAddress("malformed")),
    (_error(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", fields=("message.fid",)),
     BadAddress("malformed")),
    (_error(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT",
            text="The registration token is not a valid FCM registration token"),
     BadAddress("malformed")),
    (_error(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", fields=("message.data[0].value",)),
     BadPayload("message.data[0].value")),
    (_error(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT",
            fields=("message.token", "message.android.ttl")),
     BadPayload("message.android.ttl")),
    (_error(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT"), BadPayload(None)),
    (_error(400, "INVALID_ARGUMENT", text="Message is too big"), BadPayload(None)),
    (_error(401, "UNAUTHENTICATED"), AuthRejected(401, refresh=True)),
    (_error(401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR"), PlatformAuth()),
    (_error(401, "UNAUTHENTICATED", "APNS_AUTH_ERROR"), PlatformAuth()),
    (_error(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH"), BadAddress("sender_id_mismatch")),
    (_error(403, "PERMISSION_DENIED"), AuthRejected(403, refresh=False)),
    (_error(404, "NOT_FOUND", "UNREGISTERED"), BadAddress("unregistered")),
    (_error(404, "NOT_FOUND"), BadAddress("unregistered")),
    (_error(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"), Throttled(timedelta(seconds=60))),
    (_error(429, "RESOURCE_EXHAUSTED"), Throttled(timedelta(seconds=60))),
    (_error(500, "INTERNAL", "INTERNAL"), Transient("fcm_internal")),
    (_error(503, "UNAVAILABLE", "UNAVAILABLE"), Transient("fcm_unavailable")),
    (_error(500, None, "UNSPECIFIED_ERROR"), Transient("fcm_http_500")),
    (_error(500, "UNKNOWN", "UNSPECIFIED_ERROR"), Transient("fcm_http_500")),
    (_error(400, "INVALID_ARGUMENT", "UNSPECIFIED_ERROR"), BadPayload(None)),
    (_error(401, "UNAUTHENTICATED", "UNSPECIFIED_ERROR"), AuthRejected(401, refresh=True)),
    (_error(409, "ABORTED"), BadPayload(None)),
    (_error(502, "UNAVAILABLE", "UNAVAILABLE"), Ambiguous("http_502")),
    (_error(504, "DEADLINE_EXCEEDED"), Ambiguous("http_504")),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "expected"), ROWS)
def test_a_row_of_the_table(answer: tuple[int, bytes], expected: SendResult) -> None:
    assert _classify(answer) == expected


@pytest.mark.parametrize("status", [302, 400, 404, 500, 502, 503, 504])
@pytest.mark.parametrize("body", [HTML, b"", b"[]", b'{"error": "x"}', b'{"error": {}}', b"\xff"])
def test_without_fcms_own_body_nothing_is_known(status: int, body: bytes) -> None:
    """A page in front of a 404 must not cost an address, one in front of a 503 no second push."""
    assert isinstance(_classify((status, body)), Ambiguous)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, AuthRejected(401, refresh=True)),
        (403, AuthRejected(403, refresh=False)),
        (429, Throttled(timedelta(seconds=60))),
    ],
)
def test_what_refuses_by_definition_needs_no_body(status: int, expected: SendResult) -> None:
    assert _classify((status, HTML)) == expected


@pytest.mark.parametrize("body", [HTML, b"", b"{}", b'{"name": ""}', b'{"name": 3}'])
def test_a_success_that_names_no_message_is_ambiguous(body: bytes) -> None:
    assert _classify((200, body)) == Ambiguous("answer_unreadable")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("17", 17),
        (" 0 ", 0),
        ("Mon, 02 Mar 2026 12:01:30 GMT", 90),
        ("Mon, 02 Mar 2026 11:00:00 GMT", 0),
        ("99999999", 86_400),
        ("-5", 60),
        ("soon", 60),
        ("1.5", 60),
        ("", 60),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_garbage_is_ignored(header: str, seconds: int) -> None:
    answer = _error(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")

    assert _classify(answer, retry_after=header) == Throttled(timedelta(seconds=seconds))


def test_a_server_fault_carries_its_retry_after() -> None:
    answer = _classify(_error(503, "UNAVAILABLE", "UNAVAILABLE"), retry_after="7")

    assert answer == Transient("fcm_unavailable", timedelta(seconds=7))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["error", "details", "status", "message", "@type", "errorCode", "fieldViolations"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.integers(100, 599), json_values)
def test_no_body_makes_the_reader_stumble(status: int, content: Any) -> None:
    """Whatever a proxy answers is decided, and never as an acceptance it does not state."""
    result = _classify((status, json.dumps(content).encode()))

    assert not isinstance(result, Accepted)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((404, HTML), Ambiguous("http_404_without_body")),
        # what FCM does not specify is worth no more than its HTTP code
        (_error(500, "UNAVAILABLE", "UNSPECIFIED_ERROR"), Transient("fcm_http_500")),
        (_error(500, "UNAVAILABLE"), Transient("fcm_unavailable")),
        # a field that could quote what it is about is not kept
        (
            _error(
                400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", fields=("message.data[ola@nord.no]",)
            ),
            BadPayload(None),
        ),
        ((503, b'{"error": {"status": ["x"], "details": []}}'), Transient("fcm_http_503")),
        ((400, b'{"error": {"status": "INVALID_ARGUMENT", "message": 5}}'), BadPayload(None)),
    ],
)
def test_what_lies_between_the_rows(answer: tuple[int, bytes], expected: SendResult) -> None:
    """RTY-3."""
    assert _classify(answer) == expected


def test_a_fault_without_a_word_carries_its_retry_after_too() -> None:
    answer = _classify(_error(500, "UNKNOWN"), retry_after="7")

    assert answer == Transient("fcm_http_500", timedelta(seconds=7))
