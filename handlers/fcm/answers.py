"""What one answer of FCM means for one address: a pure table, no client, no clock of its own.

| answer                                                   | outcome                              |
|----------------------------------------------------------|--------------------------------------|
| 200 with a message name                                  | `Accepted`                           |
| UNREGISTERED, SENDER_ID_MISMATCH; 400 about the address  | `BadAddress`: forget it              |
| 400 about anything else, other 4xx                       | `BadPayload`: ours; keep the address |
| 401; 403 without SENDER_ID_MISMATCH                      | `AuthRejected`                       |
| THIRD_PARTY_AUTH_ERROR (older: APNS_AUTH_ERROR)          | `PlatformAuth`: the project's keys   |
| QUOTA_EXCEEDED, 429                                      | `Throttled`                          |
| UNAVAILABLE, INTERNAL, other 5xx                         | `Transient`                          |
| 502, 504; whatever lacks FCM's own body                  | `Ambiguous`: may have been delivered |

The decisive word is `errorCode` in the FcmError detail, then `error.status`, then the HTTP code.
Without FCM's own body nothing but 401, 403 and 429 is believed: those refuse by definition, while
a page in front of a 404 says nothing about the device.
Sources: FCM HTTP v1 reference, "ErrorCode"; FCM guide, "Error codes".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from outbox.retry_after import parse_retry_after

if TYPE_CHECKING:
    from datetime import datetime

THROTTLE_DEFAULT: Final = timedelta(seconds=60)
"""FCM's own advice where a 429 names no time."""

_FCM_ERROR: Final = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
_BAD_REQUEST: Final = "type.googleapis.com/google.rpc.BadRequest"
_ADDRESS_FIELDS: Final = frozenset({"message.token", "message.fid"})
_ADDRESS_WORDS: Final = "not a valid FCM registration token"
_FIELD: Final = re.compile(r"[A-Za-z0-9_.\[\]]{1,100}")
_SUCCESSES: Final = range(200, 300)
_SERVER_FAULTS: Final = range(500, 600)
_GATEWAY: Final = frozenset({502, 504})
_REFUSED_WITHOUT_BODY: Final = frozenset({401, 403, 429})
_UNSPECIFIED: Final = "UNSPECIFIED_ERROR"
_OF_HTTP: Final[Mapping[int, str]] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    429: "RESOURCE_EXHAUSTED",
}


@dataclass(frozen=True, slots=True)
class Accepted:
    """FCM took it; that is not yet proof of display."""

    message_id: str


@dataclass(frozen=True, slots=True)
class BadAddress:
    """Nothing will ever arrive at this address."""

    reason: str


@dataclass(frozen=True, slots=True)
class BadPayload:
    """Our request is wrong, not the address; `field` is what FCM names, if it names one."""

    field: str | None


@dataclass(frozen=True, slots=True)
class AuthRejected:
    """FCM does not accept who we are; `refresh` if a new access token may help (401)."""

    status: int
    refresh: bool


@dataclass(frozen=True, slots=True)
class PlatformAuth:
    """The project's own APNs or web-push keys are wrong: a human has to put them right."""


@dataclass(frozen=True, slots=True)
class Throttled:
    """The project, or this device, is over its rate: everybody waits."""

    retry_after: timedelta


@dataclass(frozen=True, slots=True)
class Transient:
    """It was not delivered and may be later."""

    reason: str
    retry_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """It may have been delivered, and nobody can tell."""

    reason: str


SendResult: TypeAlias = (
    Accepted
    | BadAddress
    | BadPayload
    | AuthRejected
    | PlatformAuth
    | Throttled
    | Transient
    | Ambiguous
)


_FIXED: Final[Mapping[str, SendResult]] = {
    "UNREGISTERED": BadAddress("unregistered"),
    "NOT_FOUND": BadAddress("unregistered"),
    "SENDER_ID_MISMATCH": BadAddress("sender_id_mismatch"),
    "THIRD_PARTY_AUTH_ERROR": PlatformAuth(),
    "APNS_AUTH_ERROR": PlatformAuth(),
    "UNAUTHENTICATED": AuthRejected(401, refresh=True),
    "PERMISSION_DENIED": AuthRejected(403, refresh=False),
}
_THROTTLING: Final = frozenset({"QUOTA_EXCEEDED", "RESOURCE_EXHAUSTED"})
_TRANSIENT: Final[Mapping[str, str]] = {
    "UNAVAILABLE": "fcm_unavailable",
    "INTERNAL": "fcm_internal",
}


@dataclass(frozen=True, slots=True)
class _Error:
    """FCM's own error body, read with care: any part may be missing."""

    code: str | None
    status: str | None
    text: str
    fields: tuple[str, ...]


def classify(status: int, headers: Mapping[str, str], body: bytes, *, now: datetime) -> SendResult:
    """Decide what the answer to one send means.

    `headers` are looked up in lower case; `now` (aware) turns a Retry-After date into a wait.
    """
    content = _json_object(body)
    if status in _SUCCESSES:
        name = content.get("name")
        return Accepted(name) if isinstance(name, str) and name else Ambiguous("answer_unreadable")
    if status in _GATEWAY:
        return Ambiguous(f"http_{status}")
    error = _own_error(content)
    if error is None:
        if status not in _REFUSED_WITHOUT_BODY:
            return Ambiguous(f"http_{status}_without_body")
        error = _Error(None, None, "", ())
    wait = parse_retry_after(headers.get("retry-after"), now=now)
    return _of_error(status, error, wait)


def _of_error(status: int, error: _Error, wait: timedelta | None) -> SendResult:
    word = error.code or error.status or _OF_HTTP.get(status, "")
    if word in _FIXED:
        return _FIXED[word]
    if word in _THROTTLING:
        return Throttled(THROTTLE_DEFAULT if wait is None else wait)
    if word in _TRANSIENT:
        return Transient(_TRANSIENT[word], wait)
    if word == "INVALID_ARGUMENT":
        return _of_argument(error)
    return Transient(f"fcm_http_{status}", wait) if status in _SERVER_FAULTS else BadPayload(None)


def _of_argument(error: _Error) -> BadAddress | BadPayload:
    """One wrong payload must not wipe every address, so any other field named speaks for it."""
    others = [name for name in error.fields if name not in _ADDRESS_FIELDS]
    if others:
        return BadPayload(others[0] if _FIELD.fullmatch(others[0]) else None)
    if error.fields or _ADDRESS_WORDS in error.text:
        return BadAddress("malformed")
    return BadPayload(None)


def _own_error(content: Mapping[str, Any]) -> _Error | None:
    """The google.rpc.Status in `content`; None if this is not FCM speaking."""
    error = content.get("error")
    if not isinstance(error, Mapping):
        return None
    status, text, details = error.get("status"), error.get("message"), error.get("details")
    if not isinstance(status, str) and not isinstance(details, list):
        return None
    parts = [part for part in details if isinstance(part, Mapping)] if details else []
    codes = [part.get("errorCode") for part in parts if part.get("@type") == _FCM_ERROR]
    code = next((each for each in codes if isinstance(each, str) and each != _UNSPECIFIED), None)
    unspecified = _UNSPECIFIED in codes and code is None
    return _Error(
        code=code,
        status=status if isinstance(status, str) and not unspecified else None,
        text=text if isinstance(text, str) else "",
        fields=_violated(parts),
    )


def _violated(parts: list[Mapping[str, Any]]) -> tuple[str, ...]:
    listed = [part.get("fieldViolations") for part in parts if part.get("@type") == _BAD_REQUEST]
    violations = [each for found in listed if isinstance(found, list) for each in found]
    names = [each.get("field") for each in violations if isinstance(each, Mapping)]
    return tuple(name for name in names if isinstance(name, str))


def _json_object(body: bytes) -> Mapping[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
