"""The gate of a process: many batches at once, or one suspect alone."""

from __future__ import annotations

import asyncio


class ProcessGate:
    """Lets many batches run at once, or one suspect alone: a killer takes no neighbours along."""

    def __init__(self) -> None:
        self._shared = 0
        self._alone = False
        self._changed = asyncio.Condition()

    async def enter(self) -> None:
        """Begin work that may run beside other work."""
        if not self._alone:  # nobody else is asked while nobody wants to be alone
            self._shared += 1
            return
        async with self._changed:
            await self._changed.wait_for(lambda: not self._alone)
            self._shared += 1

    async def leave(self) -> None:
        """End it."""
        self._shared -= 1
        if self._alone:
            async with self._changed:
                self._changed.notify_all()

    async def enter_alone(self) -> None:
        """Wait until nothing runs in this process, and keep it so."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._alone)
            self._alone = True
            try:
                await self._changed.wait_for(lambda: self._shared == 0)
            except BaseException:  # cancelled while waiting: nobody may be kept out for it
                self._alone = False
                self._changed.notify_all()
                raise

    async def leave_alone(self) -> None:
        """Let the others go on."""
        async with self._changed:
            self._alone = False
            self._changed.notify_all()
