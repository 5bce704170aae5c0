"""One push as FCM's HTTP v1 request body. Pure: the clock comes in as `now`.

The body is valid against the discovery document and says the same thing to Android, Apple and web
devices. One tag makes a repeat replace what is shown instead of stacking beside it (PUSH-6), and
every platform is told when to give up (PUSH-7): the defaults of 4 weeks and 30 days would deliver
"expires soon" after the renewal.
Sources: FCM HTTP v1 discovery document; FCM guides, "Collapsible messages", "Message priority".
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from pydantic_core import to_json

from outbox.errors import PermanentFailure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta
    from uuid import UUID

PAYLOAD_BYTES_MAX: Final = 3500
"""Ours; FCM's own limit is 4,096 and counts differently on each platform (PUSH-5)."""
TAG_CHARS: Final = 32
"""Fits an Android tag, an `apns-collapse-id` (64 bytes) and a web `Topic` (32 characters)."""

PROBE: Final = to_json(
    {"validateOnly": True, "message": {"topic": "healthcheck", "data": {"probe": "1"}}}
)
"""Checks credentials and project without a device: validated, never delivered."""


class AddressKind(StrEnum):
    """Which field of the request carries the address (PUSH-9)."""

    TOKEN = "token"  # noqa: S105 - a field's name
    FID = "fid"


class PushTooLarge(PermanentFailure):
    """The push passes our size limit; sending it again would not make it smaller."""

    def __init__(self, payload_bytes: int) -> None:
        super().__init__("push_too_large")
        self.payload_bytes = payload_bytes


@dataclass(frozen=True, slots=True)
class Device:
    """Where one push goes; the address stays out of every `repr`."""

    id: UUID
    address: str = field(repr=False)
    kind: AddressKind
    last_seen_at: datetime


@dataclass(frozen=True, slots=True)
class Push:
    """What one device is told. `data` values are strings; `tag` has at most 32 characters.

    `urgent` wakes the device at once; `label` names the kind in Google's delivery statistics;
    `link`, if it is an https address, is what a browser opens.
    """

    device: Device
    title: str
    body: str
    data: Mapping[str, str]
    tag: str
    ttl: timedelta
    urgent: bool
    channel: str
    label: str
    link: str | None = None


def encode(push: Push, *, now: datetime) -> bytes:
    """The request body of `push`, sent at `now` (aware): JSON in UTF-8. Raises PushTooLarge."""
    seconds = int(push.ttl.total_seconds())
    content: dict[str, Any] = {
        "notification": {"title": push.title, "body": push.body},
        "data": dict(push.data),
        "android": {
            "priority": "HIGH" if push.urgent else "NORMAL",
            "ttl": f"{seconds}s",
            "notification": {"tag": push.tag, "channelId": push.channel},
        },
        "apns": {
            "headers": {
                "apns-collapse-id": push.tag,
                "apns-priority": "10" if push.urgent else "5",
                "apns-expiration": str(int(now.timestamp()) + seconds),
            },
            "payload": {"aps": {"sound": "default", "thread-id": push.channel}},
        },
        "webpush": {
            "headers": {
                "TTL": str(seconds),
                "Urgency": "high" if push.urgent else "low",
                "Topic": push.tag,
            },
            "notification": {"tag": push.tag},
            **_opened(push.link),
        },
        "fcmOptions": {"analyticsLabel": push.label},
    }
    address = to_json({push.device.kind.value: push.device.address})
    text = to_json(content)  # made once: what is weighed is what is sent
    if len(text) > PAYLOAD_BYTES_MAX:
        raise PushTooLarge(len(text))
    return b'{"message":%b,%b}' % (address[:-1], text[1:])


def _opened(link: str | None) -> dict[str, Any]:
    """FCM takes https alone; a link of the app is for the app."""
    return {"fcmOptions": {"link": link}} if link and link.startswith("https://") else {}


def dedup_tag(idempotency_key: str) -> str:
    """The tag of everything sent under `idempotency_key`: 32 characters of base64url."""
    digest = hashlib.sha256(idempotency_key.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode()[:TAG_CHARS]


def address_hash(address: str) -> str:
    """What a log may say about an address: the first 8 hex digits of its SHA-256."""
    return hashlib.sha256(address.encode()).hexdigest()[:8]
