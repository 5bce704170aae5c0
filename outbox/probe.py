"""`/healthz`, `/readyz` and `/metrics` of one relay or worker, on a port of its own.

They are answered by a thread, so that a stuck event loop is told and not merely felt. Only reading
happens here; nothing that is answered names a payload, a key or an address.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

from outbox.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outbox.vitals import Problem, Vitals

log = structlog.get_logger("outbox")

PORT_MAX = 65_535
TEXT, JSON = "text/plain; version=0.0.4; charset=utf-8", "application/json"


class Address(NamedTuple):
    """Where to answer."""

    host: str
    port: int

    @classmethod
    def parse(cls, given: str) -> Address:
        """`PORT` or `HOST:PORT` (`[::1]:9100` for IPv6). Raises `ConfigurationError`."""
        host, _, port = given.rpartition(":")
        if not port.isdecimal() or int(port) > PORT_MAX:
            raise ConfigurationError(
                f"--http is {given!r}; give a port, or HOST:PORT, with a port from 0 to {PORT_MAX} "
                "(0 takes a free one)"
            )
        return cls(host.strip("[]") or "127.0.0.1", int(port))

    def plus(self, number: int) -> Address:
        """That of the process that comes `number` after the first; any free port stays one."""
        port = self.port + number if self.port else 0
        if port > PORT_MAX:
            raise ConfigurationError(
                f"--http {self} leaves no port for process {number + 1}; give a lower one"
            )
        return Address(self.host, port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@contextmanager
def answering(address: Address, vitals: Vitals) -> Iterator[Address]:
    """Answer until the block ends; the address used. Raises `ConfigurationError` if it is taken."""

    class Answer(_Answer):
        pass

    Answer.vitals = vitals
    try:
        server = _Server(address, Answer)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {address.host}:{address.port} for --http: {_why(error)}"
        ) from error
    vitals.read = True
    thread = Thread(target=server.serve_forever, name="outbox-http", daemon=True)
    thread.start()
    log.info("probe.opened", host=address.host, port=server.server_port)
    try:
        yield Address(address.host, server.server_port)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: Address, answer: type[_Answer]) -> None:
        import socket  # noqa: PLC0415 - only where somebody asked for a port

        if ":" in address.host:
            self.address_family = socket.AF_INET6
        super().__init__((address.host, address.port), answer)


class _Answer(BaseHTTPRequestHandler):
    """One request."""

    vitals: Vitals
    timeout = 10
    server_version = "outbox"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer a GET."""
        match self.path.partition("?")[0]:
            case "/healthz":
                alive, vitals = self.vitals.alive(), self.vitals
                self._json(200 if alive else 503, {"alive": alive, vitals.kind: vitals.name})
            case "/readyz":
                code, body = readiness(self.vitals)
                self._json(code, body)
            case "/metrics":
                self._metrics()
            case _:
                self._json(404, {"error": "there are /healthz, /readyz and /metrics"})

    do_HEAD = do_GET  # noqa: N815 - the library's name

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Nothing: a line per scrape tells nobody anything."""

    def _metrics(self) -> None:
        try:
            from outbox.metrics import exposition  # noqa: PLC0415 - an optional extra
        except ModuleNotFoundError as error:
            text = f"{error.name} is not installed; install outbox-saga[telemetry] for /metrics\n"
            self._send(501, TEXT, text.encode())
            return
        self._send(200, TEXT, exposition(self.vitals))

    def _json(self, code: int, document: dict[str, Any]) -> None:
        self._send(code, JSON, json.dumps(document).encode() + b"\n")

    def _send(self, code: int, kind: str, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def readiness(vitals: Vitals) -> tuple[int, dict[str, Any]]:
    """Status and body of `/readyz`: why not, and what stays blocked meanwhile."""
    problems = vitals.problems()
    body = {
        "ready": not problems,
        vitals.kind: vitals.name,
        "problems": [_told(one) for one in problems],
        "blocked": [_told(one) for one in vitals.reported()],
    }
    return (503 if problems else 200), body


def _told(problem: Problem) -> dict[str, Any]:
    return {name: value for name, value in problem._asdict().items() if value is not None}


def _why(error: OSError) -> str:
    import errno  # noqa: PLC0415 - only where it failed

    known = {
        errno.EADDRINUSE: "somebody else listens there; give another port",
        errno.EACCES: "this user may not open that port; give one above 1023",
        errno.EADDRNOTAVAIL: "that address is not of this machine",
    }
    return known.get(error.errno or 0, f"{type(error).__name__} {error.errno}")
