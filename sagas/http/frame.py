"""Around every request: an id, a bound on the body, who calls, one log line, and an end for faults.

The line is structured (LOG-1) and holds ids, codes and counts, no header and nothing that was given
(PII-1, PII-4, SEC-4). A fault of ours is told by type and frames alone and goes no further: the
server would log its text, which may quote values (P12).
"""

from __future__ import annotations

import re
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import structlog
from starlette.exceptions import HTTPException

from sagas.http.keys import KeysUnavailable
from sagas.http.problems import answer
from sagas.http.sentences import speak
from sagas.http.tokens import TokenRefused

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from sagas.http.tokens import Caller, Verifier

log = structlog.get_logger("sagas.http")

BODY_BYTES_MAX: Final = 64 * 1024
OPEN_PATHS: Final = frozenset({"/healthz", "/openapi.json", "/internal/hooks/visibility"})
"""What is answered without a token; the hook looks for its own secret."""
_GIVEN_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_RETRY_AFTER: Final = {"Retry-After": "5"}


class Frame:
    """The middleware around the application."""

    def __init__(self, app: ASGIApp, verifier: Verifier) -> None:
        self._app, self._verifier = app, verifier

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, send)
        try:
            await self._answer(exchange, scope, receive)
        except Exception as error:
            log.exception("http.failed", request_id=exchange.request_id)
            if exchange.status is not None:
                raise  # half an answer has left: only the connection can tell
            refusal = answer(
                exchange.request_id,
                HTTPStatus.INTERNAL_SERVER_ERROR,
                "fault",
                f"a fault of ours ({type(error).__name__}); it was logged under this request's id",
            )
            await refusal(scope, receive, exchange.send)
        finally:
            exchange.log()

    async def _answer(self, exchange: _Exchange, scope: Scope, receive: Receive) -> None:
        headers = _headers(scope["headers"])
        speak(headers.get("accept-language"))
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > BODY_BYTES_MAX:
            refusal = answer(
                exchange.request_id,
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                "body_too_large",
                f"a body has at most {BODY_BYTES_MAX} bytes",
            )
            await refusal(scope, receive, exchange.send)
            return
        try:
            caller = await self._caller(headers.get("authorization"))
        except KeysUnavailable:
            refusal = answer(
                exchange.request_id,
                HTTPStatus.SERVICE_UNAVAILABLE,
                "keys_unavailable",
                headers=_RETRY_AFTER,
            )
            await refusal(scope, receive, exchange.send)
            return
        except TokenRefused as error:
            await _unauthorised(exchange, error.code)(scope, receive, exchange.send)
            return
        if caller is None and scope["path"] not in OPEN_PATHS:
            await _unauthorised(exchange, "token_missing")(scope, receive, exchange.send)
            return
        exchange.known(caller)
        await self._app(scope, _bounded(receive), exchange.send)

    async def _caller(self, authorization: str | None) -> Caller | None:
        if authorization is None:
            return None
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise TokenRefused("token_missing")
        return await self._verifier.caller(token.strip())


class _Exchange:
    """One request and what became of it."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope, self._send = scope, send
        self._began = time.perf_counter()
        self.status: int | None = None
        given = _headers(scope["headers"]).get("x-request-id", "")
        self.request_id = given if _GIVEN_ID.fullmatch(given) else uuid4().hex
        self._state: dict[str, Any] = scope.setdefault("state", {})
        self._state["request_id"], self._state["caller"] = self.request_id, None
        structlog.contextvars.bind_contextvars(request_id=self.request_id)

    def known(self, caller: Caller | None) -> None:
        """Who calls."""
        self._state["caller"] = caller

    async def send(self, message: Message) -> None:
        """Pass a part of the answer on, with the request's id in its head."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            named = (b"x-request-id", self.request_id.encode())
            message = {**message, "headers": [*message.get("headers", ()), named]}
        await self._send(message)

    def log(self) -> None:
        """One line, by the route's form: a path may hold what somebody mistook for an id."""
        caller: Caller | None = self._state["caller"]
        route = self._scope.get("route")
        log.info(
            "http.answered",
            method=self._scope["method"],
            route=getattr(route, "path", None),
            status=self.status,
            duration_ms=round((time.perf_counter() - self._began) * 1000, 1),
            role=None if caller is None else caller.role.value,
            user_id=None if caller is None or caller.user_id is None else str(caller.user_id),
        )
        structlog.contextvars.unbind_contextvars("request_id")


def _unauthorised(exchange: _Exchange, code: str) -> ASGIApp:
    # RFC 6750: a request without any token is told the scheme alone
    scheme = "Bearer" if code == "token_missing" else 'Bearer error="invalid_token"'
    return answer(
        exchange.request_id,
        HTTPStatus.UNAUTHORIZED,
        code,
        "give a valid token as Authorization: Bearer",
        headers={"WWW-Authenticate": scheme},
    )


def _bounded(receive: Receive) -> Receive:
    """Read no more of a body than is allowed, whatever its length was said to be."""
    received = 0

    async def bounded() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > BODY_BYTES_MAX:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return message

    return bounded


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in raw}
