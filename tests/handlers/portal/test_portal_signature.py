"""Signatures: known vectors, several secrets, and every way a header can be wrong."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.portal.signature import (
    InvalidSecret,
    SignatureRefused,
    Signer,
    SigningSecret,
    parse_secrets,
    visibility_webhook_id,
)
from outbox.clock import VirtualClock

NOW = datetime(2026, 3, 2, 0, 5, 4, tzinfo=UTC)
# The worked example of the Standard Webhooks specification.
SPEC_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105
SPEC_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
SPEC_TIMESTAMP = 1614265330
SPEC_BODY = b'{"test": 2432232314}'
SPEC_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

OLD = SigningSecret(b"o" * 32)
NEW = SigningSecret(b"n" * 32)
MENTOR = UUID("9c4a3a51-4b7e-49be-8f24-5d6a77f3c0aa")


def test_the_specifications_example_is_signed_as_printed() -> None:
    secret = SigningSecret.parse(SPEC_SECRET)

    assert secret.sign(SPEC_ID, SPEC_TIMESTAMP, SPEC_BODY) == SPEC_SIGNATURE


def test_headers_carry_the_attempts_own_second_and_are_accepted() -> None:
    clock = VirtualClock(NOW)
    signer = Signer((OLD,), clock)
    webhook_id = visibility_webhook_id(MENTOR, 7)

    first = signer.headers(webhook_id, b"{}")
    clock.advance(timedelta(seconds=30))
    second = signer.headers(webhook_id, b"{}")

    assert first["webhook-id"] == second["webhook-id"] == f"vis_{MENTOR.hex}_7"
    assert int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) == 30
    assert first["webhook-signature"] != second["webhook-signature"]
    assert signer.verify(first, b"{}") == webhook_id


@pytest.mark.parametrize(
    ("sender", "receiver"),
    [((OLD,), (OLD, NEW)), ((OLD, NEW), (NEW,)), ((NEW, OLD), (OLD,)), ((NEW,), (OLD, NEW))],
)
def test_a_rotation_never_breaks_the_signature(
    sender: tuple[SigningSecret, ...], receiver: tuple[SigningSecret, ...]
) -> None:
    """One side always knows a secret of the other, whoever rotates first."""
    clock = VirtualClock(NOW)

    headers = Signer(sender, clock).headers("vis_a_1", b"body")

    assert Signer(receiver, clock).verify(headers, b"body") == "vis_a_1"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"webhook-id": ""}, "id_missing"),
        ({"webhook-id": "vis_a_2"}, "signature_mismatch"),
        ({"webhook-timestamp": ""}, "timestamp_malformed"),
        ({"webhook-timestamp": "soon"}, "timestamp_malformed"),
        ({"webhook-timestamp": "-1"}, "timestamp_malformed"),
        ({"webhook-timestamp": "9" * 40}, "timestamp_malformed"),
        ({"webhook-timestamp": "0"}, "timestamp_out_of_tolerance"),
        ({"webhook-signature": ""}, "signature_missing"),
        ({"webhook-signature": "v1a,abc"}, "signature_missing"),
        ({"webhook-signature": "v1,"}, "signature_mismatch"),
        ({"webhook-signature": "v1,%%%"}, "signature_mismatch"),
        ({"webhook-signature": "v1,é"}, "signature_mismatch"),
        ({"webhook-signature": "g0hM9SsE"}, "signature_missing"),
    ],
)
def test_a_wrong_header_is_refused_with_its_reason(change: dict[str, str], reason: str) -> None:
    signer = Signer((OLD,), VirtualClock(NOW))
    headers = signer.headers("vis_a_1", b"body") | change

    with pytest.raises(SignatureRefused) as refused:
        signer.verify(headers, b"body")

    assert refused.value.reason == reason


def test_another_body_or_another_secret_is_refused() -> None:
    clock = VirtualClock(NOW)
    headers = Signer((OLD,), clock).headers("vis_a_1", b"body")

    for signer, body in [(Signer((OLD,), clock), b"Body"), (Signer((NEW,), clock), b"body")]:
        with pytest.raises(SignatureRefused, match="signature_mismatch"):
            signer.verify(headers, body)


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_timestamp_beyond_five_minutes_is_refused(minutes: int) -> None:
    sender, receiver = VirtualClock(NOW), VirtualClock(NOW + timedelta(minutes=minutes))
    headers = Signer((OLD,), sender).headers("vis_a_1", b"body")

    with pytest.raises(SignatureRefused, match="timestamp_out_of_tolerance"):
        Signer((OLD,), receiver).verify(headers, b"body")


@given(
    st.dictionaries(
        st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), st.text()
    ),
    st.binary(max_size=64),
)
def test_whatever_arrives_is_refused_and_never_breaks(headers: dict[str, str], body: bytes) -> None:
    """Only `SignatureRefused` may come out: anything else would answer 500."""
    with pytest.raises(SignatureRefused):
        Signer((OLD,), VirtualClock(NOW)).verify(headers, body)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        "whsec_",
        "whsec_%%%",
        "whsec_" + base64.b64encode(b"k" * 23).decode(),
        "whsec_" + base64.b64encode(b"k" * 65).decode(),
    ],
)
def test_an_unusable_secret_is_named_by_position_and_never_quoted(text: str) -> None:
    with pytest.raises(InvalidSecret) as invalid:
        SigningSecret.parse(text, position=2)

    assert "number 2" in str(invalid.value)
    assert invalid.value.__cause__ is None
    if text:
        assert text not in str(invalid.value).replace("whsec_ followed", "")


def test_a_list_of_secrets_keeps_its_order_and_hides_its_keys() -> None:
    texts = ["whsec_" + base64.b64encode(key * 32).decode() for key in (b"a", b"b")]

    secrets = parse_secrets(f" {texts[0]} , {texts[1]},")

    assert [secret.key for secret in secrets] == [b"a" * 32, b"b" * 32]
    assert "aaaa" not in repr(secrets)
    assert parse_secrets("") == ()
