"""The surface as a process of its own."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog
import uvicorn

from outbox.errors import ConfigurationError
from sagas.http.api import build_api
from sagas.http.sessions import service_url
from sagas.wiring import open_checked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi import FastAPI

    from sagas.http.settings import ApiSettings
    from sagas.wiring import Application

log = structlog.get_logger("sagas.http")

GRACE_SECONDS = 30
"""How long requests under way may take once the process was told to stop."""


def serve(app: Application, settings: ApiSettings, dsn: str, *, host: str, port: int) -> None:
    """Answer until told to stop; port 0 takes a free one, which the log tells.

    Raises `ConfigurationError` if nobody's tokens could be believed or nothing can be listened on,
    and what a database that does not fit raises.
    """
    api = build_api(app, settings, dsn)

    async def run() -> None:
        async with open_checked(service_url(dsn)):
            pass
        with listening(host, port) as listener:
            log.info("http.opened", host=host, port=listener.getsockname()[1])
            server = _Server(configured(api))
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, server.stop)
            await server.serve(sockets=[listener])

    asyncio.run(run())


class _Server(uvicorn.Server):
    """A server that was told to stop and did has ended well; its own handlers raise the signal."""

    def stop(self) -> None:
        """Finish what is under way; told again, no more."""
        self.force_exit = self.should_exit
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the loop."""
        yield


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises `ConfigurationError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {host}:{port}: {type(error).__name__} {error.errno}; "
            "give another --host or --port"
        ) from error


def configured(api: FastAPI) -> uvicorn.Config:
    """The server's settings. Its own logs are off: the frame tells of requests and of faults."""
    own = logging.getLogger("uvicorn")
    own.addHandler(logging.NullHandler())
    own.propagate = False
    return uvicorn.Config(
        api,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
