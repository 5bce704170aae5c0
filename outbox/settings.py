"""The engine's settings: environment first, then `.env` in the working directory."""

from __future__ import annotations

import importlib
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from outbox.app import App
from outbox.dsn import libpq_dsn
from outbox.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    """RabbitMQ or Redis, for a relay that hands deliveries to workers."""
    outbox_app: str | None = None
    """`module:attribute` of the application."""

    def required_database_url(self) -> str:
        """The address. Raises `ConfigurationError` if it is missing or is no PostgreSQL address."""
        if self.database_url is None or not self.database_url.get_secret_value():
            raise ConfigurationError(DATABASE_URL_HELP)
        return libpq_dsn(self.database_url.get_secret_value())

    def listen_url(self) -> str | None:
        """The address for LISTEN, if one is given."""
        return (
            None
            if self.database_listen_url is None
            else self.database_listen_url.get_secret_value()
        )


def load_settings(kind: type[BaseSettings]) -> Any:
    """Read settings. Raises `ConfigurationError` naming each wrong one, never its value."""
    try:
        return kind()
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()
        )
        raise ConfigurationError(f"settings cannot be read: {wrong}") from None


def shown_settings(settings: BaseSettings) -> Iterator[tuple[str, str]]:
    """Name and value for people; a secret shows only that it is set."""
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            yield name.upper(), "set" if value.get_secret_value() else "empty"
        else:
            yield name.upper(), "not set" if value is None else str(value)


def find_app(given: str | None = None) -> App:
    """The application of `given`, OUTBOX_APP or the nearest `pyproject.toml`; else an empty one.

    Raises `ConfigurationError` when a name is given that leads to no `outbox.App`.
    """
    name = given or os.environ.get("OUTBOX_APP") or _app_of_pyproject(Path.cwd())
    if name is None:
        return App("no application")
    module, separator, attribute = name.partition(":")
    if not separator:
        raise ConfigurationError(
            f"--app / OUTBOX_APP is {name!r}; it must look like module:attribute"
        )
    try:
        found = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"--app / OUTBOX_APP names {name!r}, but there is no module {error.name}"
        ) from error
    except AttributeError as error:
        raise ConfigurationError(
            f"--app / OUTBOX_APP names {name!r}, but {module} has no {attribute}"
        ) from error
    if not isinstance(found, App):
        raise ConfigurationError(f"--app / OUTBOX_APP names {name!r}, which is no outbox.App")
    return found


def _app_of_pyproject(folder: Path) -> str | None:
    for candidate in (folder, *folder.parents):
        path = candidate / "pyproject.toml"
        if path.is_file():
            tool = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {})
            app = tool.get("outbox", {}).get("app")
            return str(app) if app else None
    return None
