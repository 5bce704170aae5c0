"""FCM HTTP v1 on the loopback: validates what FCM validates and misbehaves by address.

| address begins with | what happens                                                        |
|---------------------|---------------------------------------------------------------------|
| `ok-`, anything else| 200, delivered                                                      |
| `unreg-`            | 404 UNREGISTERED                                                    |
| `badtok-`           | 400, the violation names the address                                |
| `mismatch-`         | 403 SENDER_ID_MISMATCH                                              |
| `quota-`            | 429 QUOTA_EXCEEDED, with `Retry-After` if `quota_retry_after` is set|
| `down-`             | 503 UNAVAILABLE                                                     |
| `int-`              | 500 INTERNAL                                                        |
| `apns-`             | 401 THIRD_PARTY_AUTH_ERROR                                          |
| `html-`             | 502 with a page; nothing is delivered                               |
| `flaky2-`           | 503, 503, then delivered; counted per address                       |
| `slow-`             | sleeps `slow_seconds`, then delivers, whether or not the caller waits|
| `drop-`             | delivers, then closes the socket without an answer                  |

A delivery is what a device would have got: `deliveries` is the truth to compare a log against.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

from handlers.emulators.fcm_rules import TARGETS, PayloadTooBig, Violation, judged
from handlers.emulators.google_token import TokenEndpoint, generate_key, service_account
from handlers.emulators.server import LoopbackServer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from types import TracebackType

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

__all__ = ["FcmDelivery", "FcmEmulator", "Outage", "generate_key", "service_account"]

REQUEST_BYTES_MAX = 64 * 1024
_FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
_BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
_HTML = "<html><title>Error 502 (Server Error)!!1</title><p>Please try again.</html>"

_REFUSALS = {
    "unreg-": (404, "NOT_FOUND", "UNREGISTERED", "Requested entity was not found."),
    "mismatch-": (403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH", "SenderId mismatch"),
    "down-": (503, "UNAVAILABLE", "UNAVAILABLE", "The service is currently unavailable."),
    "int-": (500, "INTERNAL", "INTERNAL", "Internal error encountered."),
    "apns-": (401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR", "Auth error from APNS."),
}


@dataclass(frozen=True, slots=True)
class FcmDelivery:
    """One message that reached a device; `payload` is its `message`, in lowerCamelCase."""

    address: str
    payload: Mapping[str, Any]
    at: datetime
    message_id: str
    tag: str | None


@dataclass(frozen=True, slots=True)
class Outage:
    """What every valid send is answered while it lasts.

    `html` answers a page without FCM's own body; `delivers` reaches the device all the same, the
    case in which a repeat would be a duplicate.
    """

    status: int = 503
    retry_after: str | None = None
    html: bool = False
    delivers: bool = False


@dataclass(slots=True)
class _Traffic:
    deliveries: list[FcmDelivery] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    in_flight_max: int = 0


class FcmEmulator:
    """FCM and its token endpoint on one loopback port; a context manager.

    `public_key` is the service account's; without it no grant is accepted. `latency_seconds` is
    slept through `sleep` before each answer, `slow_seconds` for a `slow-` address. `wall` (aware
    UTC) dates deliveries and judges assertions and tokens.
    """

    def __init__(  # noqa: PLR0913 - each is a knob of the misbehaviour, all optional
        self,
        *,
        public_key: RSAPublicKey | None = None,
        port: int = 0,
        project_id: str = "outbox-demo",
        latency_seconds: float = 0.0,
        slow_seconds: float = 30.0,
        token_expires_in: int | str = 3599,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.tokens = TokenEndpoint(public_key, wall, expires_in=token_expires_in)
        self.project_id = project_id
        self.latency_seconds = latency_seconds
        self.slow_seconds = slow_seconds
        self.quota_retry_after: str | None = None
        self.outage: Outage | None = None
        self._sleep, self._wall = sleep, wall
        self._traffic = _Traffic()
        self._server = LoopbackServer(self.app(), port=port)

    def app(self) -> web.Application:
        """The application, for those who serve it themselves."""
        app = web.Application(client_max_size=REQUEST_BYTES_MAX)
        app.router.add_post("/token", self.tokens.answer)
        app.router.add_post("/v1/projects/{project}/messages:send", self._send)
        return app

    async def __aenter__(self) -> Self:
        """Listen."""
        await self._server.__aenter__()
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop listening; what it recorded stays readable."""
        await self._server.__aexit__(error_type, error, traceback)

    @property
    def base_url(self) -> str:
        """What `FCM_BASE_URL` is set to."""
        return self._server.base_url

    @property
    def token_url(self) -> str:
        """What the service account's `token_uri` is set to."""
        return f"{self.base_url}/token"

    @property
    def deliveries(self) -> tuple[FcmDelivery, ...]:
        """Everything that reached a device, in order."""
        return tuple(self._traffic.deliveries)

    @property
    def deliveries_by_tag(self) -> dict[str, list[FcmDelivery]]:
        """Deliveries per notification tag; those without a tag are left out."""
        by_tag: defaultdict[str, list[FcmDelivery]] = defaultdict(list)
        for delivery in self._traffic.deliveries:
            if delivery.tag is not None:
                by_tag[delivery.tag].append(delivery)
        return dict(by_tag)

    @property
    def in_flight_max(self) -> int:
        """The most sends that were open at the same moment."""
        return self._traffic.in_flight_max

    @property
    def sends(self) -> int:
        """How many valid sends there were (validations not counted), whatever the answer."""
        return self._traffic.calls.total()

    def calls_of(self, address: str) -> int:
        """How often `address` was sent to, whatever the answer."""
        return self._traffic.calls[address]

    async def _send(self, request: web.Request) -> web.StreamResponse:
        traffic = self._traffic
        traffic.in_flight += 1
        traffic.in_flight_max = max(traffic.in_flight_max, traffic.in_flight)
        try:
            if self.latency_seconds:
                await self._sleep(self.latency_seconds)
            return await self._answer(request)
        finally:
            traffic.in_flight -= 1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        content = self._admitted(request, await request.read())
        if isinstance(content, web.Response):
            return content
        message: Mapping[str, Any] = content["message"]
        validate_only = bool(content.get("validateOnly"))
        if self.outage is not None:
            if self.outage.delivers and not validate_only:
                self._deliver(_address(message), message)
            return _outage(self.outage)
        if validate_only:
            return self._accepted("fake_message_id")
        return await self._behave(request, message)

    def _admitted(self, request: web.Request, body: bytes) -> Mapping[str, Any] | web.Response:
        """The normalised request, or the answer that refuses it."""
        if not self.tokens.accepts(request.headers.get("Authorization", "")):
            text = "Request had invalid authentication credentials."
            return _error(401, "UNAUTHENTICATED", text)
        if request.match_info["project"] != self.project_id:
            text = "Permission 'cloudmessaging.messages.create' denied on resource."
            return _error(403, "PERMISSION_DENIED", text)
        try:
            found, normal = judged(json.loads(body))
        except ValueError:
            return _error(400, "INVALID_ARGUMENT", "Invalid JSON payload received.")
        except PayloadTooBig:
            return _error(400, "INVALID_ARGUMENT", "Message is too big")
        return _invalid(found) if found else normal

    async def _behave(self, request: web.Request, message: Mapping[str, Any]) -> web.StreamResponse:
        address = _address(message)
        self._traffic.calls[address] += 1
        prefix = address.partition("-")[0] + "-"
        refusal = self._refusal(prefix, address, message)
        if refusal is not None:
            return refusal
        if prefix == "slow-":
            await self._sleep(self.slow_seconds)
        message_id = self._deliver(address, message)
        if prefix == "drop-" and request.transport is not None:
            request.transport.close()
        return self._accepted(message_id)

    def _refusal(
        self, prefix: str, address: str, message: Mapping[str, Any]
    ) -> web.Response | None:
        if prefix == "flaky2-" and self._traffic.calls[address] <= _FLAKY_FAILURES:
            prefix = "down-"
        if prefix in _REFUSALS:
            status, canonical, code, text = _REFUSALS[prefix]
            return _error(status, canonical, text, code=code)
        if prefix == "badtok-":
            text = "The registration token is not a valid FCM registration token"
            kind = "fid" if "fid" in message else "token"
            return _invalid([Violation(f"message.{kind}", text)], text=text)
        if prefix == "quota-":
            return _quota(self.quota_retry_after)
        if prefix == "html-":
            return web.Response(status=502, text=_HTML, content_type="text/html")
        return None

    def _deliver(self, address: str, message: Mapping[str, Any]) -> str:
        number = len(self._traffic.deliveries) + 1
        message_id = f"0:{number:016d}"
        tag = message.get("android", {}).get("notification", {}).get("tag")
        self._traffic.deliveries.append(
            FcmDelivery(address, message, self._wall(), message_id, tag)
        )
        return message_id

    def _accepted(self, message_id: str) -> web.Response:
        return web.json_response({"name": f"projects/{self.project_id}/messages/{message_id}"})


_FLAKY_FAILURES = 2


def _address(message: Mapping[str, Any]) -> str:
    return str(next(message[name] for name in TARGETS if name in message))


def _error(
    status: int, canonical: str, text: str, *, code: str | None = None, details: Any = ()
) -> web.Response:
    listed = [*([{"@type": _FCM_ERROR, "errorCode": code}] if code else []), *details]
    error: dict[str, Any] = {"code": status, "message": text, "status": canonical}
    if listed:
        error["details"] = listed
    return web.json_response({"error": error}, status=status)


def _invalid(found: list[Violation], *, text: str | None = None) -> web.Response:
    fields = [{"field": each.field, "description": each.description} for each in found]
    details = [{"@type": _BAD_REQUEST, "fieldViolations": fields}]
    text = text or found[0].description
    return _error(400, "INVALID_ARGUMENT", text, code="INVALID_ARGUMENT", details=details)


def _quota(retry_after: str | None) -> web.Response:
    text = "Quota exceeded for quota metric 'Messages sent'."
    response = _error(429, "RESOURCE_EXHAUSTED", text, code="QUOTA_EXCEEDED")
    if retry_after is not None:
        response.headers["Retry-After"] = retry_after
    return response


def _outage(outage: Outage) -> web.Response:
    if outage.html:
        response = web.Response(status=outage.status, text=_HTML, content_type="text/html")
    elif outage.status == 429:  # noqa: PLR2004 - the one status with a word of its own
        response = _quota(None)
    else:
        status = outage.status
        canonical = "UNAVAILABLE" if status == 503 else "INTERNAL"  # noqa: PLR2004 - as above
        response = _error(status, canonical, "The service is unavailable.", code=canonical)
    if outage.retry_after is not None:
        response.headers["Retry-After"] = outage.retry_after
    return response
