"""A loopback HTTP server around an aiohttp application: a free port, a clean end, no log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from aiohttp import web

if TYPE_CHECKING:
    from types import TracebackType

LOOPBACK = "127.0.0.1"


class LoopbackServer:
    """Serves one application on 127.0.0.1 while the context is entered.

    Port 0 takes a free one; `base_url` is known once the context is entered and ends without a
    slash. Leaving the context closes the listener and every open connection within
    `shutdown_seconds`; requests still running after that are cancelled.
    """

    def __init__(
        self, app: web.Application, *, port: int = 0, shutdown_seconds: float = 0.2
    ) -> None:
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=shutdown_seconds)
        self._port = port
        self._bound: int | None = None

    async def __aenter__(self) -> Self:
        """Listen; raises OSError if the port is taken."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, LOOPBACK, self._port).start()
        except OSError:
            await self._runner.cleanup()
            raise
        self._bound = int(self._runner.addresses[0][1])
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop listening and close what is open."""
        self._bound = None
        await self._runner.cleanup()

    @property
    def port(self) -> int:
        """The port it listens on; raises RuntimeError outside the context."""
        if self._bound is None:
            message = "the server listens only while its context is entered"
            raise RuntimeError(message)
        return self._bound

    @property
    def base_url(self) -> str:
        """`http://127.0.0.1:<port>`."""
        return f"http://{LOOPBACK}:{self.port}"
