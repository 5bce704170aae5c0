"""How claimed deliveries reach their handlers: in the relay's process, or by tickets to workers.

`INLINE` runs them where they were claimed. `outbox.transport.tickets` sends the right to take them
over through a broker; nothing of a message leaves the database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from outbox.lane import Lane

if TYPE_CHECKING:
    import asyncio
    from contextlib import AbstractAsyncContextManager
    from random import Random

    from psycopg_pool import AsyncConnectionPool

    from outbox.app import App
    from outbox.doors import Doors
    from outbox.gate import ProcessGate
    from outbox.handler import Handler

__all__ = ["INLINE", "Inline", "Transport"]


class Transport(Protocol):
    """What a relay does with what it claims."""

    @property
    def hands_over(self) -> bool:
        """Whether it gives what it claims to workers."""
        ...

    @property
    def trouble(self) -> str | None:
        """What keeps it from handing over; None when all is well."""
        ...

    def lane(  # noqa: PLR0913, PLR0917 - what a lane stands on
        self,
        app: App,
        handler: Handler,
        pool: AsyncConnectionPool[Any],
        relay: str,
        gate: ProcessGate,
        random: Random,
        shared: asyncio.Semaphore,
        doors: Doors | None,
        /,
    ) -> Lane:
        """The lane of one handler."""
        ...

    def opened(self, app: App, /) -> AbstractAsyncContextManager[None]:
        """Whatever must be open while lanes work."""
        ...


class Inline:
    """Handlers run in the relay's own process, with what the application opens for them."""

    lane = Lane
    hands_over = False
    trouble = None

    @staticmethod
    def opened(app: App) -> AbstractAsyncContextManager[None]:
        """The application's own resources."""
        return app.lifespan()


INLINE = Inline()
