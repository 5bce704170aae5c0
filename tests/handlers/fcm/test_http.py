"""The client's errors tell what never left the machine from what may have arrived."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import certifi
import httpx
import pytest
from aiohttp import web

from handlers.emulators.server import LOOPBACK, LoopbackServer
from handlers.http import PostClient, SentAwareTransport, http_client, tls_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from handlers.http import Poster

    Opened = Callable[..., AbstractAsyncContextManager[Poster]]

PATIENCE = timedelta(seconds=1)


class Misbehaving:
    """Answers in every way an answer can go wrong."""

    def __init__(self) -> None:
        self.released = asyncio.Event()
        self.reached = asyncio.Event()
        self.arrived = 0

    def app(self) -> web.Application:
        app = web.Application()
        for answer in (self.well, self.never, self.closed, self.aborted, self.half, self.noise):
            app.router.add_post(f"/{answer.__name__}", answer)
        return app

    async def well(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        return web.json_response({})

    async def never(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        self.arrived += 1
        self.reached.set()
        await self.released.wait()
        return web.Response()

    async def closed(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    async def aborted(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def half(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"{")
        assert request.transport is not None
        request.transport.close()
        return response

    async def noise(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        assert request.transport is not None
        request.transport.write(b"NOT HTTP\r\n\r\n")
        request.transport.close()
        return web.Response()


@asynccontextmanager
async def post_client(**terms: Any) -> AsyncIterator[PostClient]:
    client = PostClient(**terms)
    yield client
    await client.aclose()


@pytest.fixture(params=[http_client, post_client])
def opened(request: pytest.FixtureRequest) -> Opened:
    """Both ways to post promise the same errors."""
    given: Opened = request.param
    return given


@pytest.fixture
async def base_url() -> AsyncIterator[str]:
    behaviour = Misbehaving()
    async with LoopbackServer(behaviour.app()) as server:
        yield server.base_url
        behaviour.released.set()


@pytest.mark.parametrize("path", ["closed", "aborted", "half", "noise"])
async def test_a_connection_lost_after_the_request_left_is_a_read_error(
    opened: Opened, base_url: str, path: str
) -> None:
    """The transport below reports it as a failed connect: a push would be sent twice."""
    async with opened(timeout=PATIENCE, connections_max=2) as client:
        with pytest.raises(httpx.ReadError):
            await client.post(f"{base_url}/{path}", content=b"{}", headers={})


async def test_the_same_holds_on_a_connection_used_before(opened: Opened, base_url: str) -> None:
    async with opened(timeout=PATIENCE, connections_max=1) as client:
        await client.post(f"{base_url}/well", content=b"{}", headers={})
        with pytest.raises(httpx.ReadError):
            await client.post(f"{base_url}/closed", content=b"{}", headers={})


async def test_an_answer_that_does_not_come_is_a_read_timeout(
    opened: Opened, base_url: str
) -> None:
    async with opened(timeout=PATIENCE, connections_max=2) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post(f"{base_url}/never", content=b"{}", headers={})


async def test_a_closed_port_is_a_connect_error(opened: Opened) -> None:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port = probe.getsockname()[1]
    async with opened(timeout=PATIENCE, connections_max=2) as client:
        with pytest.raises(httpx.ConnectError):
            await client.post(f"http://{LOOPBACK}:{port}/", content=b"{}", headers={})


async def test_a_server_that_speaks_no_tls_is_a_connect_error(
    opened: Opened, base_url: str
) -> None:
    async with opened(timeout=PATIENCE, connections_max=2) as client:
        with pytest.raises(httpx.ConnectError):
            await client.post(base_url.replace("http:", "https:"), content=b"{}", headers={})


async def test_waiting_for_a_free_connection_is_no_send() -> None:
    """A request that never got a connection has certainly not arrived."""
    behaviour = Misbehaving()
    async with (
        LoopbackServer(behaviour.app()) as server,
        http_client(timeout=timedelta(seconds=5), connections_max=1) as client,
    ):
        first = asyncio.create_task(client.post(f"{server.base_url}/never", content=b"{}"))
        await behaviour.reached.wait()
        with pytest.raises(httpx.ConnectTimeout):
            await client.post(
                f"{server.base_url}/never", content=b"{}", timeout=httpx.Timeout(5, pool=0.05)
            )
        behaviour.released.set()
        await first

    assert behaviour.arrived == 1


async def test_no_error_quotes_the_request(opened: Opened, base_url: str) -> None:
    """The errors below carry the headers in their repr; ours may be logged (P12)."""
    headers = {"Authorization": "Bearer secret-token"}
    async with opened(timeout=PATIENCE, connections_max=2) as client:
        with pytest.raises(httpx.ReadError) as caught:
            await client.post(f"{base_url}/noise", content=b"{}", headers=headers)

    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert "secret-token" not in repr(caught.value) + str(caught.value)


async def test_a_post_that_found_no_connection_in_time_was_not_sent() -> None:
    """The wait is bounded by half the timeout, so it is not taken for a lost answer."""
    behaviour = Misbehaving()
    async with (
        LoopbackServer(behaviour.app()) as server,
        post_client(timeout=timedelta(seconds=2), connections_max=1) as client,
    ):
        url = f"{server.base_url}/never"
        first = asyncio.create_task(client.post(url, content=b"{}", headers={}))
        await behaviour.reached.wait()
        with pytest.raises(httpx.ConnectTimeout):
            await client.post(url, content=b"{}", headers={})
        with pytest.raises(httpx.ReadTimeout):
            await first
        behaviour.released.set()

    assert behaviour.arrived == 1


async def test_a_closed_post_client_opens_anew(base_url: str) -> None:
    """Each drain of a night gives its connections back and the next one opens others."""
    async with post_client(timeout=PATIENCE, connections_max=1) as client:
        for _ in range(2):
            answer = await client.post(f"{base_url}/well", content=b"{}", headers={})
            assert (answer.status_code, answer.content) == (200, b"{}")
            assert answer.headers.get("CONTENT-type", "").startswith("application/json")
            await client.aclose()


async def test_certificates_are_read_once_and_again_when_others_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each drain of a nightly run opens its connections anew."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    made = [SentAwareTransport(connections_max=1) for _ in range(2)]
    for one in made:
        await one.aclose()
    first = tls_context()
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())

    assert made[0]._ssl is made[1]._ssl is first
    assert tls_context() is not first
