"""What a person is told where a request is not done, in the language the request asks for.

A problem's `code` is for programs and its `detail` for those who write them; its `message` is a
sentence of the catalogue, which an app shows as it stands.
"""

from contextvars import ContextVar
from http import HTTPStatus
from typing import Final

from handlers.texts import Argument, Language, TextMissing, key_of, negotiate, say

_ASKED_FOR: ContextVar[Language] = ContextVar("asked_for", default=Language.NB)

OWN: Final = frozenset(
    {
        "certificate_lapsed",
        "inactive",
        "no_channel",
        "nothing_to_retry",
        "own_certificate_pause",
        "state_differs",
    }
)
"""The codes with a sentence of their own; every other is told by its status."""

_BY_STATUS: Final = {
    HTTPStatus.BAD_REQUEST: "invalid_request",
    HTTPStatus.UNAUTHORIZED: "not_signed_in",
    HTTPStatus.FORBIDDEN: "forbidden",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "not_found",
    HTTPStatus.CONFLICT: "conflict",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too_large",
    HTTPStatus.UNPROCESSABLE_ENTITY: "invalid_request",
    HTTPStatus.SERVICE_UNAVAILABLE: "unavailable",
}


def speak(accept_language: str | None) -> None:
    """From here on this request is answered in the best language for its header."""
    _ASKED_FOR.set(negotiate(accept_language))


def spoken() -> Language:
    """The language of this request's answers: bokmål unless it asks for another."""
    return _ASKED_FOR.get()


def told(key: str, **arguments: Argument) -> str:
    """A sentence of the catalogue in the language of this request."""
    return say(key, spoken(), **arguments)


def told_of(family: str, code: str, part: str = "") -> str:
    """The sentence for a stored code; that for `other` where the catalogue does not know it yet.

    A newer release may have stored the code: the list it stands in is shown all the same.
    """
    try:
        return told(key_of(family, code) + part)
    except TextMissing:
        return told(key_of(family, "other") + part)


def message(status: HTTPStatus, code: str) -> str:
    """The sentence for a refusal, and what to do about it where that is known."""
    key = key_of("error", code if code in OWN else _BY_STATUS.get(status, "unexpected"))
    sentence = say(key, spoken())
    try:
        return f"{sentence} {say(f'{key}.action', spoken())}"
    except TextMissing:
        return sentence
