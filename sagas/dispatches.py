"""Who was told of a mentor's pause or return, and how each push ended: the event as one result.

Counted from the rows that the settlements themselves wrote, so it never disagrees with the log.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID  # noqa: TC003 - typer reads it

import typer

from handlers.dispatch import DispatchResult, dispatch_result
from handlers.texts import Kind
from outbox.cli import AsJson, out, print_json, settings
from sagas import queries_access
from sagas.commands import Refused, commands
from sagas.wiring import open_checked

if TYPE_CHECKING:
    from psycopg import AsyncConnection

_STATUS_AFTER: Final = {Kind.MENTOR_PAUSED: "paused", Kind.MENTOR_REACTIVATED: "active"}


class Change(StrEnum):
    """The changes of status that people are told of."""

    MENTOR_PAUSED = Kind.MENTOR_PAUSED.value
    MENTOR_REACTIVATED = Kind.MENTOR_REACTIVATED.value


_ON_ITS_WAY: Final = frozenset({"queued", "sending"})


@dataclass(frozen=True, slots=True)
class Told:
    """What an event came to so far; `waiting` recipients are in none of the result's counts."""

    result: DispatchResult
    waiting: int


async def told_of(conn: AsyncConnection[Any], mentor_id: UUID, event: Kind) -> Told | None:
    """The newest `event` about a mentor; None if there was none.

    `event` is `mentor_paused` or `mentor_reactivated`; ValueError for another kind, which is about
    a certificate or a contact and not about a change of status.
    """
    if event not in _STATUS_AFTER:
        message = f"{event.value} is no change of status; give one of {', '.join(_STATUS_AFTER)}"
        raise ValueError(message)
    everybody = await queries_access.told_of_change(
        conn, mentor_id, event=event.value, to_status=_STATUS_AFTER[event]
    )
    if everybody is None:
        return None
    ended = [each for each in everybody if each.status not in _ON_ITS_WAY]
    return Told(dispatch_result(event.value, mentor_id, ended), len(everybody) - len(ended))


@commands.command("told")
def told_command(
    mentor_id: Annotated[UUID, typer.Argument(help="The mentor's id.")],
    event: Annotated[Change, typer.Option("--event", help="Which.")] = Change.MENTOR_PAUSED,
    as_json: AsJson = False,  # noqa: FBT002 - typer reads the signature
) -> None:
    """Who was told that a mentor was paused (or came back), and how each push ended."""

    async def look() -> Told | None:
        async with open_checked(settings().required_database_url()) as conn:
            return await told_of(conn, mentor_id, Kind(event.value))

    told = asyncio.run(look())
    if told is None:
        status = _STATUS_AFTER[Kind(event.value)]
        raise Refused(f"no change to {status} of a mentor {mentor_id} is on record")
    if as_json:
        print_json({**told.result.as_json(), "waiting": told.waiting})
        return
    result = told.result
    out().print(
        f"{event.value}: {result.outcome.value}; of {result.recipient_count + told.waiting} "
        f"recipients {result.success_count} reached, {result.failure_count} not, "
        f"{result.no_token_count} without a device, {told.waiting} still waiting"
    )
    for failure in result.failures:
        out().print(
            f"  {failure.recipient_id}: {failure.error_class}, {failure.attempts} attempts",
            highlight=False,
        )
