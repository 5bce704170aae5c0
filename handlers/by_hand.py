"""Sends visibility to a portal by hand, straight from the database, with credentials of the moment.

For the day on which the configured credentials do not work (SYN-14): no relay, no message and no
circuit is in the way. What is sent is what a relay would send, under the same versions, so that
the receiver's comparison holds and a relay that comes back finds its work done.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from pydantic import SecretStr

from handlers.http import http_client
from handlers.portal.handler import UNKNOWN, check_ports, settlement, told_of
from handlers.portal.queries import note_unknown, record_told, wanted_visibility
from handlers.ports import DATAVERSE, visibility_ports
from handlers.settings import Newest
from outbox import Dead, Done
from outbox.errors import AttemptError, CredentialsRejected, DestinationHeld

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from uuid import UUID

    from psycopg import AsyncConnection

    from handlers.portal import VisibilityPort
    from handlers.portal.queries import Told, WantedRow
    from handlers.settings import ApplicationSettings
    from outbox.clock import Clock

IN_FLIGHT_MAX: Final = 4
_TIMEOUT: Final = timedelta(seconds=15)
_SECRETS: Final = ("client_secret", "webhook_secrets")
NOT_TRIED: Final = "not_tried"


@dataclass(frozen=True, slots=True)
class SentByHand:
    """What became of one mentor.

    `answer` is the portal's (`applied`, `duplicate`, `accepted`, `stale`, `ahead`, `conflict`), the
    reason why there is none, or `not_tried`; `hint` says more where a person can act on it.
    """

    mentor_id: UUID
    version: int | None
    visible: bool | None
    answer: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class ByHand:
    """Opens a way to one channel's portal with other credentials than the configured ones."""

    newest: Newest
    clock: Clock

    @asynccontextmanager
    async def opened(
        self, channel: str, credentials: Mapping[str, str]
    ) -> AsyncIterator[OpenedByHand]:
        """A way to the portal of `channel`; `credentials` replace settings while it is open.

        Their names are those of the settings without the channel's prefix: `base_url`, `token_url`,
        `client_id`, `client_secret`, `scope`, `webhook_secrets`. They are held in memory alone.
        Raises KeyError where the channel has no address in either.
        """
        settings = replaced(self.newest(), channel, credentials)
        async with http_client(timeout=_TIMEOUT, connections_max=IN_FLIGHT_MAX) as http:
            ports = visibility_ports(Newest(settings), http, self.clock)
            yield OpenedByHand(channel, ports[channel], self.clock)


def replaced(
    settings: ApplicationSettings, channel: str, credentials: Mapping[str, str]
) -> ApplicationSettings:
    """The settings with `credentials` in the places of `channel`."""
    prefix = "hlf_dataverse" if channel == DATAVERSE else "hlf_portal"
    update: dict[str, Any] = {}
    for name, value in credentials.items():
        update[f"{prefix}_{name}"] = SecretStr(value) if name in _SECRETS else value
        if name in _SECRETS:
            update[f"{prefix}_{name}_file"] = None
    return settings.model_copy(update=update)


class OpenedByHand:
    """Sends page by page; after what stops all sending, the rest is `not_tried`."""

    def __init__(self, channel: str, port: VisibilityPort, clock: Clock) -> None:
        self._channel = channel
        self._port = port
        self._clock = clock
        self._stopped: str | None = None

    async def check(self) -> None:
        """Ask the portal who we are. Raises CredentialsRejected or TransientFailure."""
        await check_ports({self._channel: self._port})

    async def send(self, conn: AsyncConnection[Any], mentors: Sequence[UUID]) -> list[SentByHand]:
        """Send the state of each of `mentors` as it is now, in their order, four at a time.

        What was learnt is kept in `portal_sync_state`, and whom the portal does not know as a
        finding, in the caller's transaction. Rejected credentials and a portal that asks to wait
        stop everything that has not begun.
        """
        rows = await wanted_visibility(conn, mentors, now=self._clock.now())
        room = asyncio.Semaphore(IN_FLIGHT_MAX)

        async def one(mentor_id: UUID) -> tuple[SentByHand, Told | None]:
            async with room:
                return await self._send(mentor_id, rows.get(mentor_id))

        done = await asyncio.gather(*(one(mentor_id) for mentor_id in mentors))
        await record_told(conn, [learnt for _, learnt in done if learnt is not None])
        unknown = [sent.mentor_id for sent, _ in done if sent.answer == UNKNOWN]
        await note_unknown(conn, dict.fromkeys(unknown, self._clock.now()))
        return [sent for sent, _ in done]

    async def _send(  # noqa: PLR0911 - one per way it may end
        self, mentor_id: UUID, row: WantedRow | None
    ) -> tuple[SentByHand, Told | None]:
        if row is None:
            return SentByHand(mentor_id, None, None, "mentor_gone"), None
        if row.channel != self._channel:
            return SentByHand(mentor_id, row.version, row.visible, "other_channel"), None
        if self._stopped is not None:
            sent = SentByHand(mentor_id, row.version, row.visible, NOT_TRIED, self._stopped)
            return sent, None
        wanted = row.wanted()
        try:
            outcome = settlement(await self._port.set(wanted), wanted)
        except AttemptError as error:
            return SentByHand(mentor_id, row.version, row.visible, *self._failed(error)), None
        except Exception as error:  # noqa: BLE001 - one attempt ends here, the others go on
            failed = ("failed", type(error).__name__)  # its text may quote values
            return SentByHand(mentor_id, row.version, row.visible, *failed), None
        if isinstance(outcome, Dead):
            return SentByHand(mentor_id, row.version, row.visible, outcome.reason), None
        assert isinstance(outcome, Done), "a portal's answer is an end, or was raised"
        receipt = outcome.receipt
        answer = str(receipt.get("cause") or receipt["answer"])
        learnt = told_of(mentor_id, self._clock.now(), receipt, attempts=None)
        return SentByHand(mentor_id, row.version, row.visible, answer), learnt

    def _failed(self, error: AttemptError) -> tuple[str, str | None]:
        if isinstance(error, CredentialsRejected):
            self._stopped = error.reason
            return error.reason, error.hint or None
        if isinstance(error, DestinationHeld):
            self._stopped = error.reason
            return error.reason, f"the portal asks to wait {error.retry_after}"
        return error.reason, None
