"""Around a command that concerns one organisation: who it is, and what is wrong in words."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final

from outbox.cli import settings
from outbox.errors import ConfigurationError
from sagas import queries
from sagas.commands import Refused
from sagas.coordinator import Forbidden
from sagas.wiring import open_checked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from psycopg import AsyncConnection

    from sagas.run import Organisation

NO_ORGANISATION: Final = "the database has no organisation"


@asynccontextmanager
async def organisation_called(
    code: str,
) -> AsyncIterator[tuple[AsyncConnection[Any], Organisation]]:
    """An idle connection, and the organisation called `code`. Raises `ConfigurationError`."""
    async with open_checked(settings().required_database_url()) as conn:
        yield conn, await one_called(conn, code)


async def one_called(conn: AsyncConnection[Any], code: str) -> Organisation:
    """The organisation called `code`; `conn` is idle again. Raises `ConfigurationError`."""
    everybody = {one.code: one for one in await queries.list_organisations(conn)}
    await conn.commit()
    if code not in everybody:
        known = f"there are {', '.join(everybody)}" if everybody else "the database has none"
        raise ConfigurationError(f"no organisation has the code {code!r}; {known}")
    return everybody[code]


@contextmanager
def told(invalid: type[Exception]) -> Iterator[None]:
    """What was given is `invalid`: wrong usage; who may not: refused."""
    try:
        yield
    except invalid as error:
        raise ConfigurationError(str(error)) from error
    except Forbidden as error:
        raise Refused(str(error)) from error
