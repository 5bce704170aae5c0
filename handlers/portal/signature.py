"""Standard Webhooks 1.0 signatures: made for what we send, verified for what reaches us.

The signed text is `id.timestamp.body`, the scheme is `v1` (HMAC-SHA256). Several secrets may be
active during a rotation: we sign with each of them and accept any of them. Our own lines rather
than the `standardwebhooks` package, because that one reads the wall clock, knows a single secret
and raises bare `ValueError` on a malformed header.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from outbox.clock import Clock

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"
TOLERANCE: Final = timedelta(minutes=5)

_PREFIX: Final = "whsec_"
_SCHEME: Final = "v1"
_KEY_BYTES_MIN: Final = 24
_KEY_BYTES_MAX: Final = 64


class InvalidSecret(ValueError):
    """A configured signing secret is not `whsec_` and base64 of 24 to 64 bytes. Never quotes it."""

    def __init__(self, position: int) -> None:
        super().__init__(
            f"webhook secret number {position} is not usable: expected {_PREFIX} followed by "
            f"base64 of {_KEY_BYTES_MIN} to {_KEY_BYTES_MAX} bytes"
        )
        self.position = position


class SignatureRefused(Exception):
    """What was received is not proved to come from a holder of a secret; `reason` is a code."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class SigningSecret:
    """One HMAC key; its bytes appear in no representation."""

    key: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: str, *, position: int = 1) -> Self:
        """Read `whsec_<base64>`. Raises `InvalidSecret`, naming only the position."""
        if not text.startswith(_PREFIX):
            raise InvalidSecret(position)
        try:
            key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            raise InvalidSecret(position) from None  # the cause would quote the secret
        if not _KEY_BYTES_MIN <= len(key) <= _KEY_BYTES_MAX:
            raise InvalidSecret(position)
        return cls(key)

    def sign(self, webhook_id: str, timestamp: int, body: bytes) -> str:
        """Return `v1,<base64>` over `id.timestamp.body`; `timestamp` is in unix seconds."""
        text = f"{webhook_id}.{timestamp}.".encode() + body
        digest = hmac.new(self.key, text, hashlib.sha256).digest()
        return f"{_SCHEME},{base64.b64encode(digest).decode()}"


def parse_secrets(text: str) -> tuple[SigningSecret, ...]:
    """Read a comma-separated list of secrets, the one to prefer first. Empty text gives none."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    return tuple(SigningSecret.parse(part, position=n) for n, part in enumerate(parts, start=1))


def visibility_webhook_id(mentor_id: UUID, version: int) -> str:
    """Return the id of one mentor's one version, the same on every attempt; contains no dot."""
    return f"vis_{mentor_id.hex}_{version}"


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs with every active secret and verifies against any; the time comes from `clock`."""

    secrets: Sequence[SigningSecret]
    clock: Clock

    def headers(self, webhook_id: str, body: bytes) -> dict[str, str]:
        """Return the three headers of one attempt; the timestamp is that attempt's own."""
        timestamp = int(self.clock.now().timestamp())
        signatures = (secret.sign(webhook_id, timestamp, body) for secret in self.secrets)
        return {
            ID_HEADER: webhook_id,
            TIMESTAMP_HEADER: str(timestamp),
            SIGNATURE_HEADER: " ".join(signatures),
        }

    def verify(self, headers: Mapping[str, str], body: bytes) -> str:
        """Return the webhook id of a request whose signature holds and is at most 5 min off.

        `headers` must be looked up without regard to case (httpx's and aiohttp's are), or be in
        lower case. Raises `SignatureRefused` and nothing else, whatever the headers contain.
        """
        webhook_id = headers.get(ID_HEADER, "")
        if not webhook_id:
            raise SignatureRefused("id_missing")
        timestamp = _seconds(headers.get(TIMESTAMP_HEADER, ""))
        if abs(self.clock.now().timestamp() - timestamp) > TOLERANCE.total_seconds():
            raise SignatureRefused("timestamp_out_of_tolerance")
        offered = [
            signature.encode()
            for signature in headers.get(SIGNATURE_HEADER, "").split(" ")
            if signature.startswith(f"{_SCHEME},")
        ]
        if not offered:
            raise SignatureRefused("signature_missing")
        for secret in self.secrets:
            expected = secret.sign(webhook_id, timestamp, body).encode()
            # Bytes, because compare_digest raises on text beyond ASCII.
            if any(hmac.compare_digest(expected, signature) for signature in offered):
                return webhook_id
        raise SignatureRefused("signature_mismatch")


def _seconds(text: str) -> int:
    """Read unix seconds: ASCII digits only, short enough for any date."""
    if not (text.isascii() and text.isdigit() and len(text) <= 12):  # noqa: PLR2004
        raise SignatureRefused("timestamp_malformed")
    return int(text)
