"""The commands that run all day: relay and worker."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from outbox.cli.frame import FAILED, current_app, engine, settings
from outbox.errors import ConfigurationError
from outbox.probe import Address, answering
from outbox.readiness import check_history, require_schema
from outbox.relay import Relay
from outbox.suspects import Suspects, try_suspects
from outbox.transport import INLINE, Transport
from outbox.transport.tickets import Tickets

if TYPE_CHECKING:
    from outbox.app import App
    from outbox.settings import EngineSettings
    from outbox.transport.brokers import BrokerAddress

Only = Annotated[str | None, typer.Option("--only", help="Handlers, joined by commas.")]
Http = Annotated[
    str | None,
    typer.Option(
        "--http", help="[HOST:]PORT for /healthz, /readyz, /metrics; +1 for each next process."
    ),
]
Processes = Annotated[int, typer.Option("--processes", min=1, max=64, help="How many processes.")]


@engine.command()
def relay(  # noqa: PLR0913, PLR0917 - the options of the command
    context: typer.Context,
    drain: Annotated[bool, typer.Option("--drain", help="Stop when nothing is due.")] = False,
    only: Only = None,
    transport: Annotated[
        str,
        typer.Option(
            "--transport",
            help="inline: handlers run in this process. dramatiq: in those of `outbox worker`, "
            "told through the broker at BROKER_URL.",
        ),
    ] = "inline",
    processes: Processes = 1,
    connections: Annotated[
        int | None,
        typer.Option("--connections", min=2, help="Most connections of one process (24)."),
    ] = None,
    http: Http = None,
) -> None:
    """Deliver messages until told to stop; SIGTERM finishes what runs and gives leases back."""
    app = current_app(context)
    names = _chosen_handlers(app, only)
    if drain and transport != "inline":
        raise ConfigurationError(
            "--drain runs handlers until nothing is due, so it goes with --transport inline; "
            "with workers, watch `outbox status`"
        )
    loaded = settings()
    dsn, listen_dsn = loaded.required_database_url(), loaded.listen_url()
    carried = _transport(transport, loaded)
    address = None if http is None else Address.parse(http)
    if processes > 1:
        raise typer.Exit(_run_processes(processes, address))

    async def run() -> tuple[int, int]:
        stop = _stop_on_signals()
        await _check_tables(app, dsn)
        relay = Relay(
            app, dsn, only=names, listen_dsn=listen_dsn, transport=carried,
            connections_max=connections,
        )  # fmt: skip
        async with AsyncExitStack() as stack:
            if address is not None:
                stack.enter_context(answering(address, relay.vitals))
            suspects = await stack.enter_async_context(_suspects_of(context))
            await stack.enter_async_context(relay.opened())
            if drain:
                return await suspects.drain(relay, stop), suspects.started
            for lane in relay.lanes.values():
                lane.suspects = suspects
            await relay.run(stop)
            return 0, 0

    tried, alone = asyncio.run(run())
    if drain:
        beside = f", suspects by {alone} processes of their own" if alone else ""
        typer.echo(f"{tried} deliveries tried{beside}; nothing is due", err=True)


@engine.command()
def worker(
    context: typer.Context, only: Only = None, processes: Processes = 1, http: Http = None
) -> None:
    """Run handlers for relays that send tickets; SIGTERM finishes what runs, no more."""
    app = current_app(context)
    names = _chosen_handlers(app, only)
    loaded = settings()
    dsn, address = loaded.required_database_url(), _broker(loaded)
    pooled = loaded.listen_url() is not None
    asked_at = None if http is None else Address.parse(http)
    if processes > 1:
        raise typer.Exit(_run_processes(processes, asked_at))
    from outbox.transport.worker import Worker  # noqa: PLC0415 - it needs the extra, as _broker told

    async def run() -> None:
        stop = _stop_on_signals()
        await _check_tables(app, dsn)
        working = Worker(app, dsn, address, only=names, pooled=pooled)
        async with AsyncExitStack() as stack:
            if asked_at is not None:
                stack.enter_context(answering(asked_at, working.vitals))
            suspects = await stack.enter_async_context(_suspects_of(context))
            for lane in working.lanes.values():
                lane.suspects = suspects
            await stack.enter_async_context(working.opened())
            await working.run(stop)

    asyncio.run(run())


@engine.command(hidden=True)
def suspects(context: typer.Context, handler: str, at_most: int) -> None:
    """Try what a dead process had taken of one handler; relays and workers start this."""
    app = current_app(context)
    names = _chosen_handlers(app, handler)
    loaded = settings()
    dsn, listen_dsn = loaded.required_database_url(), loaded.listen_url()

    async def run() -> None:
        stop = _stop_on_signals()
        relay = Relay(app, dsn, only=names, listen_dsn=listen_dsn, wake_ups=False)
        await try_suspects(relay, handler, at_most=at_most, stop=stop)

    asyncio.run(run())


def _suspects_of(context: typer.Context) -> Suspects:
    """Processes of this program, with the same options before its command."""
    given = context.find_root().params
    command = [sys.executable, "-m", "outbox"]
    if given["app"] is not None:
        command += ["--app", given["app"]]
    command += [f"--{name}" for name in ("verbose", "quiet") if given[name]]
    return Suspects([*command, "suspects"])


def _chosen_handlers(app: App, only: str | None) -> set[str] | None:
    """The handlers of `--only`; None for all. Raises `ConfigurationError` on one there is not."""
    names = None if only is None else {name.strip() for name in only.split(",") if name.strip()}
    unknown = sorted((names or set()) - set(app.handlers))
    if unknown:
        raise ConfigurationError(
            f"no handler {', '.join(unknown)}; "
            f"there are {', '.join(sorted(app.handlers)) or 'none'}"
        )
    if not app.handlers:
        raise ConfigurationError(
            "the application has no handlers; name one with --app module:attribute"
        )
    return names


def _transport(name: str, loaded: EngineSettings) -> Transport:
    if name == "inline":
        return INLINE
    if name != "dramatiq":
        raise ConfigurationError(f"there is no transport {name!r}; there are inline and dramatiq")
    address = _broker(loaded)
    from outbox.transport.sending import DramatiqSender  # noqa: PLC0415 - it needs the extra

    return Tickets(DramatiqSender(address))


def _broker(loaded: EngineSettings) -> BrokerAddress:
    """Where the broker is. Raises `ConfigurationError` without the extra, or on a wrong address."""
    try:
        from outbox.transport.brokers import BrokerAddress  # noqa: PLC0415 - it needs the extra
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] not in {"dramatiq", "pika", "redis"}:
            raise
        raise ConfigurationError(
            f"workers need the extra `dramatiq` ({error.name} is not installed); "
            "install outbox-saga[dramatiq]"
        ) from error
    return BrokerAddress.of(loaded.broker_address())


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def _check_tables(app: App, dsn: str) -> None:
    await require_schema(dsn)
    for history in app.histories:
        await check_history(history, dsn)


def _run_processes(count: int, http: Address | None = None) -> int:
    """Run this command `count` times as children; they end together. 0 when all ended well."""
    command = [sys.executable, "-m", "outbox", *_without(sys.argv[1:], "--processes", "--http")]
    more = [[] if http is None else ["--http", str(http.plus(number))] for number in range(count)]
    children = [subprocess.Popen([*command, *args]) for args in more]  # noqa: S603 - our own command line

    def forward(number: int, _frame: object) -> None:
        for child in children:
            child.send_signal(number)

    signal.signal(signal.SIGTERM, forward)
    signal.signal(signal.SIGINT, forward)
    codes = []
    for child in children:
        codes.append(child.wait())
        if codes[-1] != 0:
            for other in children:
                other.terminate()
    return FAILED if any(codes) else 0


def _without(args: list[str], *names: str) -> list[str]:
    """`args` but for these options and their values."""
    kept: list[str] = []
    rest = iter(args)
    for arg in rest:
        if arg in names:
            next(rest, None)
        elif not arg.startswith(tuple(f"{name}=" for name in names)):
            kept.append(arg)
    return kept
