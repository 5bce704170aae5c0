"""The one way we build HTTP clients: bounded, silent about secrets, honest about what was sent.

The clients speak through aiohttp, which sends several times as many requests per second as httpx's
own transport. `http_client` has all of httpx's interface; `PostClient` is for the one call that is
made by the thousand and leaves httpx's objects out of it.

aiohttp's adapter reports a connection that broke *after* the request had left as a failed *connect*
(`aiohttp.ServerDisconnectedError` and a reset are `ClientConnectionError`s, and that maps to
`httpx.ConnectTimeout`). For a push that difference is everything: what never left may be sent
again, what may have arrived may not. `_sent_aware` puts it right for both.

Nothing here logs a header, and httpx hides `Authorization` in the `repr` of its headers. aiohttp
does not: the `repr` of its `ClientResponseError` quotes them. So its errors end here and are not
chained; ours name the class alone.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Protocol

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Mapping
    from datetime import timedelta

_NEVER_LEFT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_KEPT_ALIVE_SECONDS = 15.0


def http_client(*, timeout: timedelta, connections_max: int) -> httpx.AsyncClient:
    """A client for one destination: no redirects, no proxies from the environment, no cookies.

    `timeout` bounds each of: the wait for a free connection, connecting, and every read. Raises
    `httpx.ConnectError` or `httpx.ConnectTimeout` only if no byte of the request can have left;
    `httpx.ReadTimeout`, `httpx.ReadError` or `httpx.RemoteProtocolError` if it may have arrived.
    """
    return client_over(SentAwareTransport(connections_max=connections_max), timeout=timeout)


def client_over(transport: httpx.AsyncBaseTransport, *, timeout: timedelta) -> httpx.AsyncClient:
    """The same over a transport of the caller's, who closes it."""
    return httpx.AsyncClient(
        transport=transport,
        timeout=timeout.total_seconds(),
        trust_env=False,
        follow_redirects=False,
    )


def tls_context() -> ssl.SSLContext:
    """The certificates every client trusts, read once per process: that takes 25 ms each time."""
    return _tls_context(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@cache
def _tls_context(_file: str | None, _folder: str | None) -> ssl.SSLContext:
    # httpx looks the two variables up itself
    return httpx.create_ssl_context()


class Answer(Protocol):
    """What came back: `headers` are looked up in any case, `content` is read to its end."""

    @property
    def status_code(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers."""
        ...

    @property
    def content(self) -> bytes:
        """The body."""
        ...


class Poster(Protocol):
    """Whatever posts bytes to an address: `PostClient` or a client of httpx."""

    async def post(self, url: str, *, content: bytes, headers: Mapping[str, str]) -> Answer:
        """Post once; errors as `http_client` promises."""
        ...


@dataclass(frozen=True, slots=True)
class Posted:
    """The answer to one post."""

    status_code: int
    headers: Mapping[str, str]
    content: bytes


class PostClient:
    """Posts bytes and reads the answer, without httpx's request and response objects in between.

    Errors are those of httpx, as `http_client` promises them; no redirects, proxies or cookies.
    `timeout` bounds a post as a whole and half of it the way to a connection, so that what cannot
    have left ends as such. Connections are opened when needed; after `aclose` the next post opens
    new ones.
    """

    def __init__(self, *, timeout: timedelta, connections_max: int) -> None:
        seconds = timeout.total_seconds()
        self._timeout = aiohttp.ClientTimeout(total=seconds, connect=seconds / 2)
        self._connections_max = connections_max
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, *, content: bytes, headers: Mapping[str, str]) -> Posted:
        """Post `content` once. Raises `httpx.TransportError` by what can have left."""
        if self._session is None:
            self._session = _session(self._connections_max, tls_context())
        try:
            async with self._session.post(
                url, data=content, headers=headers, timeout=self._timeout, allow_redirects=False
            ) as response:
                return Posted(response.status, response.headers, await response.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _sent_aware(error) from None

    async def aclose(self) -> None:
        """Close every connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


class ReopeningTransport(httpx.AsyncBaseTransport):
    """Connections that are opened when needed and may be closed between two uses.

    A program that enters its lifespan several times (each drain of a nightly run does) keeps its
    clients and gives back their connections in between.
    """

    def __init__(self, *, connections_max: int) -> None:
        self._connections_max = connections_max
        self._inner: SentAwareTransport | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request`; errors as `http_client` promises."""
        if self._inner is None:
            self._inner = SentAwareTransport(connections_max=self._connections_max)
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Close every connection; the next request opens new ones."""
        inner, self._inner = self._inner, None
        if inner is not None:
            await inner.aclose()


class SentAwareTransport(httpx.AsyncBaseTransport):
    """aiohttp as httpx's transport, with errors that tell whether the request may have arrived."""

    def __init__(self, *, connections_max: int) -> None:
        self._ssl = tls_context()
        self._connections_max = connections_max
        self._inner = AiohttpTransport(verify=self._ssl, client=self._session)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request`; errors as `http_client` promises."""
        try:
            response = await self._inner.handle_async_request(request)
        except (httpx.TransportError, aiohttp.ClientError, TimeoutError) as error:
            raise _sent_aware(error, request) from None
        stream = response.stream
        assert isinstance(stream, httpx.AsyncByteStream)
        response.stream = _SentAwareStream(stream, request)
        return response

    async def aclose(self) -> None:
        """Close every connection."""
        await self._inner.aclose()

    def _session(self) -> aiohttp.ClientSession:
        return _session(self._connections_max, self._ssl)


class _SentAwareStream(httpx.AsyncByteStream):
    """An answer's body; whatever breaks while it is read came after the request had left."""

    def __init__(self, inner: httpx.AsyncByteStream, request: httpx.Request) -> None:
        self._inner = inner
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._inner:
                yield chunk
        except (httpx.TransportError, aiohttp.ClientError, TimeoutError) as error:
            raise _after_it_left(error, self._request) from None

    async def aclose(self) -> None:
        await self._inner.aclose()


def _session(connections_max: int, context: ssl.SSLContext) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(
        limit=connections_max, keepalive_timeout=_KEPT_ALIVE_SECONDS, ssl=context
    )
    session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
    # aiohttp repeats a GET once on a broken kept-alive connection; retries have one owner (P7)
    session._retry_connection = False  # noqa: SLF001 - there is no public switch
    return session


def _sent_aware(error: Exception, request: httpx.Request | None = None) -> httpx.TransportError:
    cause = error.__cause__ if isinstance(error, httpx.TransportError) else error
    if isinstance(cause, aiohttp.ConnectionTimeoutError):
        return httpx.ConnectTimeout("not connected in time", request=request)
    if isinstance(cause, _NEVER_LEFT):
        return httpx.ConnectError(f"cannot connect: {type(cause).__name__}", request=request)
    if isinstance(error, httpx.UnsupportedProtocol):
        return error
    return _after_it_left(error, request)


def _after_it_left(error: Exception, request: httpx.Request | None) -> httpx.TransportError:
    if isinstance(error, (httpx.ReadTimeout, TimeoutError)):
        return httpx.ReadTimeout("no answer in time", request=request)
    cause = error.__cause__ or error
    return httpx.ReadError(f"the answer broke off: {type(cause).__name__}", request=request)
