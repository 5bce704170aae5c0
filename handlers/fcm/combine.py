"""One recipient, several devices: what the answers of all of them mean together. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

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
)
from outbox.errors import CredentialsRejected, DestinationHeld, TransientFailure
from outbox.outcome import Dead, Done, Suppressed, Unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

NO_TOKEN: Final = "no_token"  # noqa: S105 - an outcome's name
"""The recipient has no usable address (PUSH-10)."""

PAYLOAD_REFUSED: Final = "payload_refused"
"""FCM refuses what we sent; `:` and the field follow, where FCM names one."""
PLATFORM_CREDENTIALS: Final = "platform_credentials"
"""The project's own keys for Apple or the web are wrong."""

Verdict: TypeAlias = (
    Done | Suppressed | Dead | Unknown | TransientFailure | DestinationHeld | CredentialsRejected
)


def combine(answers: Sequence[SendResult]) -> Verdict:
    """Decide one recipient's outcome: an outcome, or the failure to raise.

    Accepted anywhere is done. Otherwise ambiguous anywhere is unknown, since a repeat might double
    that one. Otherwise whatever may still work is tried again, and only then it is given up.
    """
    if not answers:
        return Suppressed(NO_TOKEN)
    accepted = [each for each in answers if isinstance(each, Accepted)]
    if accepted:
        ids = [each.message_id for each in accepted]
        return Done({"devices": len(answers), "accepted": len(ids), "message_ids": list(ids)})
    for each in answers:
        if isinstance(each, Ambiguous):
            return Unknown(each.reason)
    for each in answers:
        if isinstance(each, (Throttled, AuthRejected)):
            return held(each)
    waiting = [each for each in answers if isinstance(each, Transient)]
    if waiting:
        waits = [each.retry_after for each in waiting if each.retry_after is not None]
        return TransientFailure(waiting[0].reason, max(waits, default=None))
    return Dead(_refusal(answers))


def held(answer: Throttled | AuthRejected) -> DestinationHeld | CredentialsRejected:
    """What stops every send of the project, not this one alone."""
    if isinstance(answer, Throttled):
        return DestinationHeld("fcm_throttled", answer.retry_after)
    return CredentialsRejected("fcm_rejected_credentials", f"HTTP {answer.status}")


def _refusal(answers: Sequence[SendResult]) -> str:
    """The reason that most needs a human: our payload, then the project's keys, then addresses."""
    for each in answers:
        if isinstance(each, BadPayload):
            return f"{PAYLOAD_REFUSED}:{_as_code(each.field)}" if each.field else PAYLOAD_REFUSED
    if any(isinstance(each, PlatformAuth) for each in answers):
        return PLATFORM_CREDENTIALS
    reasons = [each.reason for each in answers if isinstance(each, BadAddress)]
    return f"address_{reasons[0]}"


def _as_code(field: str) -> str:
    """`message.data[0].value` as a reason may hold it."""
    return field.replace("[", ".").replace("]", "")
