"""The emulator's judgement: the discovery document, and the rules its prose adds."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import pytest

from handlers.emulators.fcm_rules import (
    PAYLOAD_BYTES_MAX,
    PayloadTooBig,
    normalised,
    schema_document,
    trimmed,
    violations,
)

TAG = "q1Zr0m3n8sQd6f5Ywq2bX7c9LkTtPp0A"
EXAMPLES = {
    "mentor_30": """{"message": {
      "token": "fcm-registration-token",
      "notification": {"title": "Sertifikatet ditt utløper snart", "body": "Trykk for å fornye."},
      "data": {"schema": "1", "kind": "cert_expiry_reminder", "tier": "30",
               "notification_id": "0b6f3a52-6f0e-4b1e-9b0a-3a5f2b1c9d10"},
      "android": {"priority": "NORMAL", "ttl": "259200s",
                  "notification": {"tag": "TAG", "channel_id": "certificates"}},
      "apns": {"headers": {"apns-collapse-id": "TAG", "apns-priority": "5",
                           "apns-expiration": "1795601104"},
               "payload": {"aps": {"sound": "default", "thread-id": "certificates"}}},
      "webpush": {"headers": {"TTL": "259200", "Urgency": "low", "Topic": "TAG"},
                  "notification": {"tag": "TAG"}},
      "fcm_options": {"analytics_label": "cert_expiry_30"}}}""",
    "digest": """{"message": {
      "token": "fcm-registration-token",
      "notification": {"title": "Sertifikater som utløper", "body": "3 likepersoner (1 haster)."},
      "data": {"schema": "1", "kind": "coordinator_digest", "count": "3", "count_30": "1"},
      "android": {"priority": "high", "ttl": "86400s", "notification": {"tag": "TAG"}},
      "apns": {"headers": {"apns-collapse-id": "TAG", "apns-priority": "10",
                           "apns-expiration": "1795428304"},
               "payload": {"aps": {"sound": "default"}}}}}""",
    "probe": '{"validate_only": true, "message": {"topic": "healthcheck", "data": {"probe": "1"}}}',
}


def _message(**changes: Any) -> dict[str, Any]:
    return {"message": {"token": "ok-1", "notification": {"title": "t"}, **changes}}


def test_the_stored_schema_is_the_discovery_documents() -> None:
    """A newer package with other request fields must be noticed, not drifted away from."""
    documents = resources.files("googleapiclient.discovery_cache.documents")
    document = json.loads((documents / "fcm.v1.json").read_text(encoding="utf-8"))

    assert trimmed(document) == schema_document()


@pytest.mark.parametrize("name", EXAMPLES)
def test_documented_bodies_are_accepted(name: str) -> None:
    assert violations(json.loads(EXAMPLES[name].replace("TAG", TAG))) == []


def test_both_spellings_of_a_field_mean_the_same() -> None:
    snake: dict[str, Any] = {
        "validate_only": True,
        "message": {"fid": "x", "fcm_options": {"analytics_label": "a"}},
    }
    camel: dict[str, Any] = {
        "validateOnly": True,
        "message": {"fid": "x", "fcmOptions": {"analyticsLabel": "a"}},
    }

    assert normalised(snake) == normalised(camel) == camel


def test_keys_of_maps_are_nobodys_field_names() -> None:
    body = _message(data={"notification_id": "1"})

    assert normalised(body)["message"]["data"] == {"notification_id": "1"}  # type: ignore[index,call-overload]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (_message(colour="red"), "message"),
        ({"message": {"token": "x"}, "dry": True}, ""),
        (_message(android={"notification": {"tags": "x"}}), "message.android.notification"),
        (_message(data={"count": 3}), "message.data[0].value"),
        (_message(data={"a": "1", "b": True}), "message.data[1].value"),
        (_message(notification="text"), "message.notification"),
        (_message(android={"priority": "URGENT"}), "message.android.priority"),
        (_message(android={"ttl": "3600"}), "message.android.ttl"),
        (_message(android={"ttl": "2419201s"}), "message.android.ttl"),
        (_message(android={"directBootOk": "yes"}), "message.android.directBootOk"),
        (_message(android={"notification": {"bodyLocArgs": "x"}}),
         "message.android.notification.bodyLocArgs"),
        (_message(android={"notification": {"notificationCount": "3"}}),
         "message.android.notification.notificationCount"),
        ({"message": {"notification": {"title": "t"}}}, "message"),
        ({"validateOnly": True}, "message"),
        (_message(fid="y"), "message"),
        ({"message": {"token": ""}}, "message.token"),
        ({"message": {"topic": "/topics/x"}}, "message.topic"),
        (_message(data={"from": "x"}), "message.data"),
        (_message(data={"message_type": "x"}), "message.data"),
        (_message(data={"google.x": "x"}), "message.data"),
        (_message(data={"gcm.notification.x": "x"}), "message.data"),
        (_message(android={"data": {"from": "x"}}), "message.android.data"),
        (_message(android={}, androidV2={}), "message.android_v2"),
        (_message(apns={"headers": {"apns-priority": "7"}}), "message.apns.headers"),
        (_message(apns={"headers": {"apns-expiration": "soon"}}), "message.apns.headers"),
        (_message(apns={"headers": {"apns-collapse-id": "x" * 65}}), "message.apns.headers"),
        ({"message": {"token": "x", "apns": {"headers": {"apns-priority": "10"}}}},
         "message.apns.headers"),
        (_message(webpush={"headers": {"Topic": "x" * 33}}), "message.webpush.headers"),
        (_message(webpush={"headers": {"TTL": "1 day"}}), "message.webpush.headers"),
        (_message(webpush={"headers": {"Urgency": "now"}}), "message.webpush.headers"),
        (_message(webpush={"fcmOptions": {"link": "http://example.org"}}),
         "message.webpush.fcm_options.link"),
        (_message(fcmOptions={"analyticsLabel": "a b"}), "message.fcm_options.analytics_label"),
        ([], ""),
    ],
)  # fmt: skip
def test_what_fcm_would_refuse_is_named(body: Any, field: str) -> None:
    assert [violation.field for violation in violations(body)] == [field]


def test_data_only_messages_may_go_to_apple_devices_calmly() -> None:
    """Priority 10 without an alert is refused, 5 is not, and an alert in the payload is one."""
    calm: dict[str, Any] = {
        "token": "x",
        "data": {"a": "1"},
        "apns": {"headers": {"apns-priority": "5"}},
    }
    shown: dict[str, Any] = {"token": "x", "apns": {"headers": {"apns-priority": "10"},
                                    "payload": {"aps": {"alert": {"title": "t"}}}}}  # fmt: skip

    assert violations({"message": calm}) == violations({"message": shown}) == []


def test_the_payload_limit_counts_keys_and_values_and_names_no_field() -> None:
    fits: dict[str, Any] = {"token": "x", "data": {"k": "v" * (PAYLOAD_BYTES_MAX - 1)}}
    assert violations({"message": fits}) == []

    with pytest.raises(PayloadTooBig):
        violations({"message": {"token": "x", "data": {"k": "v" * PAYLOAD_BYTES_MAX}}})
    with pytest.raises(PayloadTooBig):
        violations({"message": {"topic": "x", "data": {"k": "v" * 2048}}})
