"""Every push we can build is one that FCM accepts, says what it should, and names nobody."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import links
from handlers.emulators.fcm_rules import violations
from handlers.fcm.content import Group, Item, live, pushes
from handlers.fcm.encode import (
    PAYLOAD_BYTES_MAX,
    PROBE,
    AddressKind,
    Push,
    PushTooLarge,
    dedup_tag,
    encode,
)
from handlers.texts import Audience, Kind, item_text
from tests.handlers.fcm.wire import NOON, device, push

MENTOR = UUID("9c4a3a51-4b7e-49be-8f24-5d6a77f3c0aa")
COORDINATOR = UUID("11111111-2222-4333-8444-555555555555")
NOTIFICATION = UUID("0b6f3a52-6f0e-4b1e-9b0a-3a5f2b1c9d10")
RUN = UUID("6a0d9c1e-2f55-4d0c-8f3f-6b7a0f4b2a11")
ENROL = links.enrolment(certificate_type="peer_mentor", tier="30", notification_id=NOTIFICATION)


def _group(
    kind: Kind, *, recipient: UUID = COORDINATOR, language: str = "nb", again: bool = False
) -> Group:
    return Group(RUN, recipient, kind, RUN, "key-1", language, "queued", again)


def _item(kind: Kind, tier: str | None = None, **changes: Any) -> Item:
    given: dict[str, Any] = {
        "id": RUN,
        "mentor_id": MENTOR,
        "kind": kind,
        "tier": tier,
        "reason": None,
        "scenario_id": None,
        "prompt_id": None,
        "notification_id": NOTIFICATION,
        "deep_link": ENROL,
        "mentor_status": "active",
        "certificate_counts": True,
    }
    return Item(**{**given, **changes})


def decoded(one: Push) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(encode(one, now=NOON))
    return body


def _body(group: Group, items: list[Item]) -> dict[str, Any]:
    (one,) = pushes(group, items, [device("ok-1")])
    return decoded(one)


CASES: dict[str, tuple[Group, list[Item]]] = {
    "mentor_60": (
        _group(Kind.CERT_EXPIRY_REMINDER, recipient=MENTOR),
        [_item(Kind.CERT_EXPIRY_REMINDER, "60")],
    ),
    "mentor_30": (
        _group(Kind.CERT_EXPIRY_REMINDER, recipient=MENTOR),
        [_item(Kind.CERT_EXPIRY_REMINDER, "30")],
    ),
    "mentor_7": (
        _group(Kind.CERT_EXPIRY_REMINDER, recipient=MENTOR),
        [_item(Kind.CERT_EXPIRY_REMINDER, "7")],
    ),
    "mentor_lapsed": (
        _group(Kind.CERT_LAPSED, recipient=MENTOR),
        [_item(Kind.CERT_LAPSED, "lapsed")],
    ),
    "coordinator_14": (
        _group(Kind.CERT_EXPIRY_REMINDER),
        [_item(Kind.CERT_EXPIRY_REMINDER, "14")],
    ),
    "coordinator_lapsed": (_group(Kind.CERT_LAPSED), [_item(Kind.CERT_LAPSED, "lapsed")]),
    "digest": (
        _group(Kind.COORDINATOR_DIGEST),
        [
            _item(Kind.CERT_EXPIRY_REMINDER, tier, mentor_id=UUID(int=int(tier)))
            for tier in ("7", "14", "30")
        ],
    ),
    "digest_of_pauses": (
        _group(Kind.COORDINATOR_DIGEST),
        [_item(Kind.MENTOR_PAUSED, mentor_id=UUID(int=n)) for n in (1, 2)],
    ),
    "paused": (
        _group(Kind.MENTOR_PAUSED),
        [_item(Kind.MENTOR_PAUSED, reason="certificate_lapsed")],
    ),
    "reactivated": (_group(Kind.MENTOR_REACTIVATED), [_item(Kind.MENTOR_REACTIVATED)]),
    "prompt": (
        _group(Kind.SCENARIO_PROMPT, recipient=MENTOR),
        [_item(Kind.SCENARIO_PROMPT, scenario_id=RUN, prompt_id=NOTIFICATION)],
    ),
    "sync_alert": (_group(Kind.SYNC_ALERT), [_item(Kind.SYNC_ALERT)]),
}


@pytest.mark.parametrize("language", ["nb", "en", "fi"])
@pytest.mark.parametrize("case", CASES)
def test_every_kind_is_valid_against_the_discovery_document(case: str, language: str) -> None:
    """PUSH-1: by kind and tier; every value of `data` is a string."""
    group, items = CASES[case]
    for recipient in (group.recipient_id, MENTOR, COORDINATOR):
        for again in (False, True):
            told = _group(group.kind, recipient=recipient, language=language, again=again)
            body = _body(told, items)

            assert violations(body) == []
            data = body["message"]["data"]
            assert all(isinstance(value, str) for value in data.values())
            assert links.published(data["deep_link"])


def test_the_probe_is_valid() -> None:
    assert violations(json.loads(PROBE)) == []


def test_t4_1_a_paused_mentor_is_pushed_with_reason_and_link() -> None:
    """T4.1, PUSH-3: mentor_id, reason, notification_id and deep_link; high priority, one day."""
    link = links.coordinator_mentor(MENTOR, context=links.CONTEXT_PAUSE)
    item = _item(Kind.MENTOR_PAUSED, reason="certificate_lapsed", deep_link=link)

    message = _body(_group(Kind.MENTOR_PAUSED), [item])["message"]

    assert message["notification"] == {
        "title": "En likeperson er satt på pause",
        "body": "Sertifikatet er utløpt. Åpne appen for detaljer.",
    }
    assert message["data"] == {
        "schema": "1",
        "kind": "mentor_paused",
        "mentor_id": str(MENTOR),
        "reason": "certificate_lapsed",
        "notification_id": str(NOTIFICATION),
        "deep_link": link,
    }
    assert message["android"]["priority"] == "HIGH"
    assert message["android"]["ttl"] == "86400s"
    assert message["apns"]["headers"]["apns-priority"] == "10"


def test_t4_1_a_reactivated_mentor_is_pushed_likewise() -> None:
    """T4.1, PUSH-3."""
    item = _item(Kind.MENTOR_REACTIVATED, reason="certificate_renewed")

    message = _body(_group(Kind.MENTOR_REACTIVATED), [item])["message"]

    assert message["data"]["kind"] == "mentor_reactivated"
    assert message["data"]["reason"] == "certificate_renewed"
    assert message["notification"]["title"] == "En likeperson er aktiv igjen"


def test_a_mentors_reminder_carries_tier_and_enrolment() -> None:
    """T2.5: the push of a tier has that tier's words, link, lifetime and calm."""
    message = _body(*CASES["mentor_30"])["message"]

    assert message["notification"]["title"] == "Sertifikatet ditt utløper snart"
    assert message["data"]["tier"] == "30"
    assert message["data"]["deep_link"] == ENROL
    assert "mentor_id" not in message["data"]
    assert message["android"]["ttl"] == "259200s"
    assert message["android"]["priority"] == "NORMAL"
    assert message["apns"]["headers"]["apns-expiration"] == str(int(NOON.timestamp()) + 259_200)
    assert message["webpush"]["headers"]["Urgency"] == "low"
    assert message["fcmOptions"] == {"analyticsLabel": "cert_expiry_30"}


LIFETIMES: dict[str, tuple[Kind, str | None, int]] = {
    "60": (Kind.CERT_EXPIRY_REMINDER, "60", 72),
    "30": (Kind.CERT_EXPIRY_REMINDER, "30", 72),
    "14": (Kind.CERT_EXPIRY_REMINDER, "14", 72),
    "7": (Kind.CERT_EXPIRY_REMINDER, "7", 24),
    "lapsed": (Kind.CERT_LAPSED, "lapsed", 24),
    "paused": (Kind.MENTOR_PAUSED, None, 24),
    "reactivated": (Kind.MENTOR_REACTIVATED, None, 24),
    "prompt": (Kind.SCENARIO_PROMPT, None, 24),
    "sync": (Kind.SYNC_ALERT, None, 24),
}


@pytest.mark.parametrize("case", LIFETIMES)
def test_what_was_not_delivered_in_time_is_dropped(case: str) -> None:
    """PUSH-7: per kind and tier, and the same on every platform."""
    kind, tier, hours = LIFETIMES[case]
    message = _body(_group(kind), [_item(kind, tier)])["message"]

    assert message["android"]["ttl"] == f"{hours * 3600}s"
    assert message["webpush"]["headers"]["TTL"] == str(hours * 3600)
    expiration = int(message["apns"]["headers"]["apns-expiration"])
    assert expiration == int(NOON.timestamp()) + hours * 3600


def test_a_digest_lives_a_day() -> None:
    """PUSH-7."""
    assert _body(*CASES["digest"])["message"]["android"]["ttl"] == "86400s"


def test_an_organisations_enrolment_page_goes_to_the_mentor_alone() -> None:
    """LNK-5: beside the app's own link, and as what a browser opens."""
    template = "https://kurs.example.org/{certificate_type}?nid={nid}"
    item = _item(Kind.CERT_EXPIRY_REMINDER, "30", certificate_type="peer_mentor")
    page = f"https://kurs.example.org/peer_mentor?nid={NOTIFICATION}"

    def told(recipient: UUID, *hosts: str) -> dict[str, Any]:
        group = replace(
            _group(Kind.CERT_EXPIRY_REMINDER, recipient=recipient), enrolment_template=template
        )
        (one,) = pushes(group, [item], [device("ok-1")], enrolment_hosts=hosts)
        body = decoded(one)
        assert violations(body) == []
        message: dict[str, Any] = body["message"]
        return message

    mentor = told(MENTOR, "kurs.example.org")
    assert mentor["data"]["enrolment_url"] == page
    assert mentor["webpush"]["fcmOptions"] == {"link": page}
    assert mentor["data"]["deep_link"] == ENROL
    fallen_back = told(MENTOR)
    assert fallen_back["data"]["enrolment_url"] == links.courses(NOTIFICATION)
    assert "fcmOptions" not in fallen_back["webpush"]
    assert "enrolment_url" not in told(COORDINATOR, "kurs.example.org")["data"]


def test_a_digest_counts_per_tier_and_lists_nobody() -> None:
    """PUSH-5: three mentors, one push, and not one of their ids in it."""
    body = _body(*CASES["digest"])
    message = body["message"]

    assert message["notification"]["body"] == (
        "3 likepersoner trenger oppfølging (1 haster): "
        "1 innen 7 dager, 1 innen 14 dager, 1 innen 30 dager."
    )
    assert message["data"] == {
        "schema": "1",
        "kind": "coordinator_digest",
        "count": "3",
        "count_30": "1",
        "count_14": "1",
        "count_7": "1",
        "count_lapsed": "0",
        "run_id": str(RUN),
        "deep_link": f"peermentor://app/v1/coordinator/certificates?ctx=cert_expiry&run={RUN}",
    }
    assert not [item for item in CASES["digest"][1] if str(item.mentor_id) in str(body)]


def test_a_scenario_prompt_says_nothing_of_the_contact() -> None:
    """PUSH-4: who, which scenario, which prompt, and where to go."""
    data = _body(*CASES["prompt"])["message"]["data"]

    assert set(data) == {
        "schema", "kind", "scenario_id", "peer_mentor_id", "prompt_id", "deep_link"
    }  # fmt: skip


def test_a_tag_is_the_same_for_the_same_key_and_fits_every_platform() -> None:
    """PUSH-6: a repeat replaces what is shown."""
    tag = dedup_tag("reminder:1")
    message = decoded(push(tag=tag))["message"]

    assert tag == dedup_tag("reminder:1") != dedup_tag("reminder:2")
    assert re.fullmatch(r"[A-Za-z0-9_-]{32}", tag)
    assert message["android"]["notification"]["tag"] == tag
    assert message["apns"]["headers"]["apns-collapse-id"] == tag
    assert message["webpush"]["headers"]["Topic"] == tag
    assert message["webpush"]["notification"]["tag"] == tag


def test_the_address_kind_chooses_the_field() -> None:
    """PUSH-9."""
    token = decoded(push(device=device("a")))["message"]
    fid = decoded(push(device=device("a", kind=AddressKind.FID)))["message"]

    assert (token["token"], fid["fid"]) == ("a", "a")
    assert "fid" not in token
    assert "token" not in fid


@given(st.integers(0, 5000))
def test_nothing_above_our_size_limit_is_built(length: int) -> None:
    """PUSH-5: 3,500 bytes of UTF-8, so FCM's own limit is never met."""
    large = push(body="ø" * length)
    if length > 1600:
        with pytest.raises(PushTooLarge) as caught:
            encode(large, now=NOON)
        assert caught.value.payload_bytes > PAYLOAD_BYTES_MAX
    elif length < 1000:
        assert violations(json.loads(encode(large, now=NOON))) == []


def test_a_deliberate_repeat_says_so() -> None:
    """DED-12, in both languages and in one place."""
    item = _item(Kind.CERT_LAPSED, "lapsed")
    body = _body(_group(Kind.CERT_LAPSED, again=True, language="en"), [item])

    assert body["message"]["notification"]["body"].endswith("This message may reach you twice.")


def test_a_manual_pause_does_not_blame_the_certificate() -> None:
    text = item_text(
        Kind.MENTOR_PAUSED,
        audience=Audience.COORDINATOR,
        tier=None,
        reason="holiday",
        language="nb",
    )

    assert "Sertifikat" not in text.body


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"mentor_status": "paused"}, True),
        ({"mentor_status": "inactive"}, False),
        ({"certificate_counts": False}, False),
    ],
)
def test_a_reminder_lives_as_long_as_its_certificate(
    changes: dict[str, Any],
    expected: bool,  # noqa: FBT001 - a column of the table above
) -> None:
    """DSP-8."""
    assert live(_item(Kind.CERT_EXPIRY_REMINDER, "30", **changes)) is expected


@pytest.mark.parametrize(
    ("kind", "status", "expected"),
    [
        (Kind.MENTOR_PAUSED, "paused", True),
        (Kind.MENTOR_PAUSED, "active", False),
        (Kind.MENTOR_REACTIVATED, "active", True),
        (Kind.MENTOR_REACTIVATED, "paused", False),
        (Kind.SCENARIO_PROMPT, "paused", True),
        (Kind.SCENARIO_PROMPT, "inactive", False),
        (Kind.SYNC_ALERT, "active", True),
    ],
)
def test_a_notice_of_a_status_lives_as_long_as_the_status(
    kind: Kind,
    status: str,
    expected: bool,  # noqa: FBT001 - a column of the table above
) -> None:
    assert live(_item(kind, mentor_status=status)) is expected


def test_an_unpublished_link_falls_back_to_the_root() -> None:
    """LNK-4, T2.15: a tap always opens something."""
    item = _item(Kind.MENTOR_PAUSED, deep_link="https://elsewhere.example/")

    data = _body(_group(Kind.MENTOR_PAUSED), [item])["message"]["data"]

    assert data["deep_link"] == links.courses(NOTIFICATION)


def test_two_devices_get_the_same_push() -> None:
    group, items = CASES["digest"]
    first, second = pushes(group, items, [device("ok-1"), device("ok-2")])

    assert (first.tag, first.data, first.ttl) == (second.tag, second.data, second.ttl)
    assert first.ttl == timedelta(hours=24)
    assert "ok-1" not in repr(first)
