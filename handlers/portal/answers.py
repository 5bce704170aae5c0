"""What an HTTP answer of the portal means (SYN-10): a pure table, no client, no clock.

| answer to a set request                | meaning                                           |
|----------------------------------------|---------------------------------------------------|
| 200 `applied`, `duplicate`             | `Applied`, `Duplicate`: the state is stored there |
| 200 `stale`, at most our newest        | `Stale`: overtaken, nothing to do                 |
| 200 `stale`, above our newest          | `Ahead`: the portal knows a version we never made |
| 202                                    | `Accepted`: queued there, read back later         |
| 409 `version_conflict`                 | `Conflict`: same version, other content           |
| 404 `unknown_mentor`                   | `UnknownMentor`                                   |
| 400, 413, 415, 422                     | `OurFault`: repeating it cannot help              |
| 401, 403                               | `Credentials`                                     |
| 410                                    | `Retired`                                         |
| 429; 503 with `Retry-After`            | `Throttled`                                       |
| anything else, or without our own body | `Unclear`: it may or may not have been applied    |

An answer the table does not name proves nothing, so it is `Unclear` and never an end: a 404 or a
409 without the contract's error body comes from something in between, not from the receiver.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError

from handlers.portal.wire import (
    ErrorAnswer,
    ErrorDetail,
    SetAnswer,
    SetOutcome,
    StoredVisibility,
)
from outbox.retry_after import parse_retry_after

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

BODY_BYTES_MAX: Final = 64 * 1024
RETRY_AFTER_DEFAULT: Final = timedelta(seconds=60)
SKEW_WARNED: Final = timedelta(seconds=120)
"""Signatures are refused from 300 s; below 120 s nobody need act."""

_OUR_FAULTS: Final = frozenset({400, 413, 415, 422})
_OK: Final = 200
_ACCEPTED: Final = 202
_NOT_MODIFIED: Final = 304
_UNKNOWN_MENTOR: Final = "unknown_mentor"
_VERSION_CONFLICT: Final = "version_conflict"

_Body = TypeVar("_Body", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class HttpReply:
    """One HTTP answer, read to its end or cut off; `body` is None when it passed 64 kB.

    `date` is the receiver's clock (aware, whole seconds), `request_id` its name for the request.
    """

    status: int
    body: bytes | None = b""
    content_type: str = ""
    retry_after: str | None = None
    etag: str | None = None
    location: str | None = None
    date: datetime | None = None
    request_id: str | None = None

    @property
    def is_html(self) -> bool:
        """Whether a page came back: the sign of a proxy, a login form or a gateway."""
        return "html" in self.content_type.lower() or (self.body or b"").lstrip()[:1] == b"<"


@dataclass(frozen=True, slots=True)
class Sent:
    """What was asked for; `newest` is our newest version of that mentor, at least `version`."""

    mentor_id: UUID
    version: int
    visible: bool
    newest: int


@dataclass(frozen=True, slots=True)
class Applied:
    """The receiver stored our state; `body` tells what it publishes.

    `request_id` is its name for the call, for their support.
    """

    body: SetAnswer
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Duplicate:
    """An earlier attempt had worked; as good as `Applied`."""

    body: SetAnswer


@dataclass(frozen=True, slots=True)
class Stale:
    """The receiver holds a newer version of ours: this one was overtaken."""

    returned: int
    body: SetAnswer


@dataclass(frozen=True, slots=True)
class Ahead:
    """The receiver holds a version above our newest: our database went back in time."""

    returned: int
    body: SetAnswer


@dataclass(frozen=True, slots=True)
class Accepted:
    """Queued at the receiver; proves nothing until read back."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """The receiver holds this version number with other content."""

    current: int
    visible: bool


@dataclass(frozen=True, slots=True)
class UnknownMentor:
    """The receiver has no such mentor."""


@dataclass(frozen=True, slots=True)
class OurFault:
    """The request itself is refused; `code` is the receiver's, or `http_<status>`."""

    code: str


@dataclass(frozen=True, slots=True)
class Credentials:
    """Token, signature or rights are refused; `code` is the receiver's, or `http_<status>`.

    `skew_seconds` is how far the receiver's clock is ahead of ours, where that may be the cause.
    """

    code: str
    skew_seconds: int | None = None

    @property
    def hint(self) -> str:
        """One line for the alert's readers: the code, and how far the clocks differ."""
        if self.skew_seconds is None:
            return self.code
        where = "ahead of" if self.skew_seconds > 0 else "behind"
        return (
            f"{self.code}; the receiver's clock is {abs(self.skew_seconds)} s {where} ours, "
            "set the clock first"
        )


@dataclass(frozen=True, slots=True)
class Retired:
    """The endpoint is gone for good."""


@dataclass(frozen=True, slots=True)
class Throttled:
    """Nobody may send before `retry_after` has passed."""

    retry_after: timedelta


@dataclass(frozen=True, slots=True)
class Unclear:
    """The request may or may not have been applied; `reason` is a short code of ours."""

    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """The receiver holds this state of the mentor; `etag` makes the next read conditional."""

    item: StoredVisibility
    etag: str | None


@dataclass(frozen=True, slots=True)
class Absent:
    """The receiver holds nothing about the mentor."""


@dataclass(frozen=True, slots=True)
class Unchanged:
    """Nothing changed since the etag that was sent along."""


Refused: TypeAlias = OurFault | Credentials | Retired | Throttled | Unclear
Answer: TypeAlias = (
    Applied | Duplicate | Stale | Ahead | Accepted | Conflict | UnknownMentor | Refused
)
ReadAnswer: TypeAlias = Found | Absent | Unchanged | Refused


def set_answer(reply: HttpReply, sent: Sent, *, now: datetime) -> Answer:
    """Read the answer to a set request. `now` only resolves a `Retry-After` given as a date."""
    if reply.status == _OK:
        return _stored(reply, sent)
    if reply.status == _ACCEPTED:
        return Unclear("html") if reply.is_html else Accepted()
    error = _error(reply)
    if error is not None:
        if reply.status == 409 and error.code == _VERSION_CONFLICT and error.current:  # noqa: PLR2004
            return Conflict(error.current.version, error.current.visible)
        if reply.status == 404 and error.code == _UNKNOWN_MENTOR:  # noqa: PLR2004
            return UnknownMentor()
    return refusal(reply, now=now)


def read_answer(reply: HttpReply, mentor_id: UUID, *, now: datetime) -> ReadAnswer:
    """Read the answer to a request for one mentor's state."""
    if reply.status == _OK:
        item = _parsed(StoredVisibility, reply)
        if isinstance(item, Unclear):
            return item
        if item.mentor_id != mentor_id:
            return Unclear("answer_for_another_mentor")
        return Found(item, reply.etag)
    if reply.status == _NOT_MODIFIED:
        return Unchanged()
    error = _error(reply)
    if reply.status == 404 and error is not None and error.code == _UNKNOWN_MENTOR:  # noqa: PLR2004
        return Absent()
    return refusal(reply, now=now)


def body_of(model: type[_Body], reply: HttpReply, *, now: datetime) -> _Body | Refused:
    """Read a 200 with a body of `model`, or say why there is none."""
    return _parsed(model, reply) if reply.status == _OK else refusal(reply, now=now)


def refusal(reply: HttpReply, *, now: datetime) -> Refused:
    """Read an answer that brings no state."""
    status = reply.status
    if status in (401, 403):
        return Credentials(_code(reply), skew_of(reply, now=now))
    if status in _OUR_FAULTS:
        return OurFault(_code(reply))
    if status == 410:  # noqa: PLR2004
        return Retired()
    wait = parse_retry_after(reply.retry_after, now=now)
    if status == 429 or (status == 503 and wait is not None):  # noqa: PLR2004
        return Throttled(RETRY_AFTER_DEFAULT if wait is None else wait)
    if 300 <= status < 400:  # noqa: PLR2004
        return Unclear("redirect")
    return Unclear(f"http_{status}")


def skew_of(reply: HttpReply, *, now: datetime) -> int | None:
    """Seconds the receiver's clock is ahead of `now`; None while it may be the way there."""
    if reply.date is None:
        return None
    skew = reply.date - now
    return round(skew.total_seconds()) if abs(skew) > SKEW_WARNED else None


def _stored(reply: HttpReply, sent: Sent) -> Answer:  # noqa: PLR0911  # one per row
    """Read a 200 to a set request and hold it against what was sent."""
    body = _parsed(SetAnswer, reply)
    if isinstance(body, Unclear):
        return body
    if body.mentor_id != sent.mentor_id:
        return Unclear("answer_for_another_mentor")
    agrees = body.version == sent.version and body.visible == sent.visible
    match body.outcome:
        case SetOutcome.APPLIED if agrees:
            return Applied(body)
        case SetOutcome.DUPLICATE if agrees:
            return Duplicate(body)
        case SetOutcome.STALE if body.version > sent.newest:
            return Ahead(body.version, body)
        case SetOutcome.STALE if agrees or body.version > sent.version:
            return Stale(body.version, body)
        case _:  # the receiver contradicts itself: loud, and repeated until it does not
            return Unclear("answer_contradicts_itself")


def _parsed(model: type[_Body], reply: HttpReply) -> _Body | Unclear:
    if reply.body is None:
        return Unclear("body_too_large")
    if reply.is_html:
        return Unclear("html")
    try:
        return model.model_validate_json(reply.body)
    except ValidationError:
        return Unclear("body_not_ours")  # pydantic's text would quote the body


def _error(reply: HttpReply) -> ErrorDetail | None:
    parsed = _parsed(ErrorAnswer, reply)
    return None if isinstance(parsed, Unclear) else parsed.error


def _code(reply: HttpReply) -> str:
    error = _error(reply)
    return error.code if error else f"http_{reply.status}"
