"""An application: the handlers and sagas of one program, put together once and then only read."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from outbox.clock import SystemClock
from outbox.declared import ENGINE_TOPICS, check_app
from outbox.durations import wrong_with
from outbox.errors import HandlerInvalid, MessageClassInvalid, UsageError
from outbox.handler import Handler
from outbox.retention import Retention

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence

    import typer
    from pydantic_settings import BaseSettings

    from outbox.clock import Clock
    from outbox.findings import Finding
    from outbox.handler import Effect
    from outbox.message import Message
    from outbox.queries import Conn
    from outbox.saga.declaration import Saga

    Examine = Callable[[Conn], Awaitable[Sequence[Finding]]]


class SchemaHistory(Protocol):
    """A chain of schema revisions; `outbox.migrations.ENGINE` is one."""

    @property
    def version_table_schema(self) -> str:
        """The schema its version table is in."""
        ...

    @property
    def version_table(self) -> str:
        """Its version table's name."""
        ...

    def upgrade(self, dsn: str, revision: str = "head") -> None:
        """Bring the database at `dsn` to `revision`."""
        ...

    def downgrade(self, dsn: str, revision: str) -> None:
        """Take the database at `dsn` down to `revision`; `base` for nothing."""
        ...

    def current(self, dsn: str) -> str | None:
        """The revision the database is at; None when it never had one."""
        ...

    def known(self) -> list[str]:
        """Every revision this code knows, the newest first."""
        ...

    def sql(self, revision: str = "head") -> str:
        """The SQL of the way up from nothing."""
        ...


@asynccontextmanager
async def _nothing_to_open() -> AsyncIterator[None]:
    yield


class App:
    """What `OUTBOX_APP` names: handlers by name, message classes by topic and version.

    `name` owns its handlers on a database: another application cannot register theirs.
    `clock` is the one injected clock. `lifespan` is entered around everything that calls handlers
    and opens what they need (HTTP clients). `histories` are schema histories applied after the
    engine's own. `commands` are added to the command line, `settings` to `outbox config`.
    `retention` says how long what has ended is kept; None: for ever. A relay says so when something
    due and unblocked is older than `due_age_max`, or stays blocked beyond `blocked_max`. `doctor`
    looks at what is the application's own and adds its findings to those of `outbox doctor`; it is
    given a connection in autocommit and should only read. Raises `AppInvalid`, `HandlerInvalid` or
    `MessageClassInvalid` where two parts contradict.
    """

    def __init__(  # noqa: PLR0913 - the parts of an application, all named
        self,
        name: str,
        *,
        lifespan: Callable[[], AbstractAsyncContextManager[None]] = _nothing_to_open,
        histories: tuple[SchemaHistory, ...] = (),
        commands: typer.Typer | None = None,
        clock: Clock | None = None,
        settings: tuple[type[BaseSettings], ...] = (),
        retention: Retention | None = Retention(),  # noqa: B008 - immutable
        due_age_max: timedelta = timedelta(minutes=1),
        blocked_max: timedelta = timedelta(hours=1),
        doctor: Examine | None = None,
    ) -> None:
        check_app(name, histories)
        for term, given in (("due_age_max", due_age_max), ("blocked_max", blocked_max)):
            if (wrong := wrong_with(given)) is not None:
                raise UsageError(f"App {name!r}: {term} {wrong}")
        if blocked_max < due_age_max:
            raise UsageError(
                f"App {name!r}: due_age_max is {due_age_max} and blocked_max {blocked_max}; "
                "the second must be no shorter"
            )
        self.due_age_max, self.blocked_max = due_age_max, blocked_max
        self.settings, self.retention, self.doctor = settings, retention, doctor
        self.name, self.lifespan, self.histories, self.commands = (
            name,
            lifespan,
            histories,
            commands,
        )
        self.clock: Clock = clock or SystemClock()
        self._handlers: dict[str, Handler] = {}
        self._messages: dict[tuple[str, int], type[Message]] = {}
        self._sagas: dict[str, Saga[Any]] = {}

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """Handlers by name, those of sagas included."""
        return self._handlers

    @property
    def sagas(self) -> Mapping[str, Saga[Any]]:
        """Sagas by name."""
        return self._sagas

    def add(self, handler: Handler) -> Handler:
        """Register `handler`; its name must be free and its message classes contradict nobody's."""
        if handler.name in self._handlers:
            raise HandlerInvalid(handler.name, "the name is taken; each handler has its own")
        for message_class in handler.messages:
            known = self._messages.setdefault(
                (message_class.declaration.topic, message_class.declaration.version), message_class
            )
            if known is not message_class:
                raise MessageClassInvalid(
                    message_class.__name__,
                    f"topic {message_class.declaration.topic!r} version "
                    f"{message_class.declaration.version} is already {known.__name__}",
                )
        self._handlers[handler.name] = handler
        return handler

    def handler(
        self,
        *messages: type[Message],
        name: str,
        effect: Effect,
        **terms: Any,
    ) -> Callable[[Any], Any]:
        """Register the decorated coroutine function; `terms` are the other fields of `Handler`."""

        def register(call: Any) -> Any:
            self.add(Handler(name=name, messages=messages, effect=effect, call=call, **terms))
            return call

        return register

    def add_saga(self, saga: Saga[Any]) -> None:
        """Register a saga: it becomes the handler `saga.name`, reached like any other."""
        from outbox.saga.runner import saga_handler  # noqa: PLC0415 - the runner needs the app's catalogue

        self.add(saga_handler(saga, self))
        self._sagas[saga.name] = saga

    def message_class(self, topic: str, version: int) -> type[Message] | None:
        """The class that reads `topic` at `version`; None when this code does not know it."""
        return self._messages.get((topic, version))

    def reader(self, topic: str, version: int) -> Callable[[str], Message] | None:
        """What makes the message of a payload of `topic` at `version`; None as above."""
        found = self._messages.get((topic, version))
        return None if found is None else found.__pydantic_validator__.validate_json

    def routes(self) -> Iterator[tuple[str, str, bool]]:
        """Each (topic, handler, ordered) this code wants routed."""
        for handler in self._handlers.values():
            for topic in sorted({message.declaration.topic for message in handler.messages}):
                if not topic.startswith(ENGINE_TOPICS):
                    yield topic, handler.name, handler.ordered

    def watchers(self, topic: str) -> list[Saga[Any]]:
        """The sagas that want to hear how deliveries of `topic` end."""
        return [saga for saga in self._sagas.values() if topic in saga.watches]

    def is_heard(self, handler: Handler) -> bool:
        """Whether its `record` or a saga is told how its deliveries end."""
        return handler.record is not None or any(
            self.watchers(message.declaration.topic) for message in handler.messages
        )
