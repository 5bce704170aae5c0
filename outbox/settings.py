"""The engine's settings: environment first, then `.env` in the working directory."""

from __future__ import annotations

import importlib
import sysconfig
import tomllib
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from outbox.app import App
from outbox.dsn import libpq_dsn
from outbox.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

DATABASE_URL_HELP = (
    "DATABASE_URL is not set; give the address of a PostgreSQL database, e.g. "
    "postgresql://user@host:5432/name (`outbox demo` starts a server of its own)"
)


class EngineSettings(BaseSettings):
    """Where the database, the broker and the application are."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore")

    database_url: SecretStr | None = None
    """PostgreSQL, `postgres://` or `postgresql://`."""
    database_listen_url: SecretStr | None = None
    """A direct address for LISTEN where DATABASE_URL goes through a transaction pooler."""
    broker_url: SecretStr | None = None
    """RabbitMQ (amqp, amqps) or Redis (redis, rediss), for relays that send tickets to workers."""
    log_format: Literal["auto", "json", "console"] = "auto"
    """How log lines look: `auto` is text on a terminal, else JSON."""
    outbox_app: str | None = None
    """`module:attribute` of the application."""

    def required_database_url(self) -> str:
        """The address. Raises `ConfigurationError` if it is missing or is no PostgreSQL address."""
        if self.database_url is None or not self.database_url.get_secret_value():
            raise ConfigurationError(DATABASE_URL_HELP)
        return libpq_dsn(self.database_url.get_secret_value())

    def broker_address(self) -> str | None:
        """The broker's address, if one is given."""
        return None if self.broker_url is None else self.broker_url.get_secret_value()

    def listen_url(self) -> str | None:
        """The address for LISTEN, if one is given. Raises as `required_database_url`."""
        if self.database_listen_url is None or not self.database_listen_url.get_secret_value():
            return None
        return libpq_dsn(self.database_listen_url.get_secret_value(), setting="DATABASE_LISTEN_URL")


def load_settings(kind: type[BaseSettings]) -> Any:
    """Read settings. Raises `ConfigurationError` naming each wrong one, never its value."""
    try:
        return kind()
    except ValidationError as error:
        wrong = "; ".join(
            f"{_variable(kind, e['loc'])}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        )
        raise ConfigurationError(f"settings cannot be read: {wrong}") from None


def shown_settings(settings: BaseSettings) -> Iterator[tuple[str, str]]:
    """Name and value for people; a secret shows only that it is set."""
    for name in type(settings).model_fields:
        value, variable = getattr(settings, name), _variable(type(settings), (name,))
        if isinstance(value, SecretStr):
            yield variable, "set" if value.get_secret_value() else "empty"
        else:
            yield variable, "not set" if value is None else str(value)


def _variable(kind: type[BaseSettings], place: tuple[int | str, ...]) -> str:
    """What a setting is called in the environment, its prefix included."""
    named = ".".join(map(str, place))
    own = bool(place) and place[0] in kind.model_fields
    return f"{kind.model_config.get('env_prefix', '') if own else ''}{named}".upper()


def find_app(given: str | None = None) -> App:
    """The application of `given`, OUTBOX_APP or the nearest `pyproject.toml`; else an empty one.

    Raises `ConfigurationError` when a name is given that leads to no `outbox.App`, and what a
    module that is put together wrongly raises itself, if that is a `UsageError`.
    """
    named = given or load_settings(EngineSettings).outbox_app or _app_of_pyproject(Path.cwd())
    if named is None:
        return App("no application")
    module, _, attribute = named.partition(":")
    if not module or not attribute:
        raise ConfigurationError(
            f"--app / OUTBOX_APP is {named!r}; it must look like module:attribute"
        )
    told = f"--app / OUTBOX_APP names {named!r}, but"
    loaded = _import(module, told)
    try:
        found = getattr(loaded, attribute)
    except AttributeError as error:
        raise ConfigurationError(f"{told} {module} has no {attribute}") from error
    if not isinstance(found, App):
        raise ConfigurationError(f"{told} that is a {type(found).__name__} and no outbox.App")
    return found


def _import(module: str, told: str) -> ModuleType:
    """Import `module`; what it raises on the way is not taken for a module that is not there."""
    try:
        return importlib.import_module(module)
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            raise ConfigurationError(
                f"{told} there is no module {error.name} in {Path.cwd()} or among what is installed"
            ) from error
        raise ConfigurationError(
            f"{told} importing {module} fails: {_cause(error)}; "
            f"`python -c 'import {module}'` shows all of it"
        ) from error


def _cause(error: BaseException) -> str:
    """Type and place of what a module raised; its text only where that speaks of names in code."""
    kind = type(error).__name__
    if isinstance(error, SyntaxError):
        return f"{kind} at {error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    paths = sysconfig.get_paths()
    foreign = ("<", paths["stdlib"], paths["purelib"], paths["platlib"])
    frame = next((one for one in reversed(frames) if not one.filename.startswith(foreign)), None)
    frame = frame or frames[-1]
    text = f" ({error})" if isinstance(error, ImportError | NameError | AttributeError) else ""
    return f"{kind}{text} at {frame.filename}:{frame.lineno}"


def _app_of_pyproject(folder: Path) -> str | None:
    for candidate in (folder, *folder.parents):
        path = candidate / "pyproject.toml"
        if path.is_file():
            return _app_named_in(path)
    return None


def _app_named_in(path: Path) -> str | None:
    try:
        found: Any = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{path} cannot be read ({type(error).__name__}), and may name the application; "
            "mend it, or say which with --app module:attribute"
        ) from error
    for name in ("tool", "outbox", "app"):
        found = found.get(name) if isinstance(found, dict) else None
    if found is None or isinstance(found, str):
        return found or None
    raise ConfigurationError(f"[tool.outbox] app in {path} is no text like 'module:attribute'")
