"""The check that closes a destination's credential circuit, made by one process at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from outbox import queries_cluster
from outbox.destination import CIRCUIT_PROBE_AFTER
from outbox.errors import AttemptError, CredentialsRejected, TransientFailure
from outbox.retry import reason_of

if TYPE_CHECKING:
    from outbox.lane import Lane


async def probe_circuit(lane: Lane) -> None:
    """Run the check if the circuit is open and it is our turn."""
    if lane.handler.check is None:
        return
    async with lane.pool.connection() as conn:
        now = lane.app.clock.sql_now()
        mine = await queries_cluster.take_circuit_probe(
            conn, handler=lane.handler.name, probe_after=CIRCUIT_PROBE_AFTER, now=now
        )
    if mine:
        await check_lane(lane)


async def check_lane(lane: Lane) -> AttemptError | None:
    """Run the handler's check and tell its circuit; what was wrong, None if all is well."""
    if lane.handler.check is None:
        return None
    try:
        async with asyncio.timeout(lane.handler.timeout.total_seconds()):
            await lane.handler.check()
    except CredentialsRejected as error:
        async with lane.pool.connection() as conn:
            await lane.settlement.destination.credentials_rejected(conn, error)
        return error
    except AttemptError as error:
        return error
    except Exception as error:  # noqa: BLE001 - a check that breaks says nothing about us
        return TransientFailure("timeout" if isinstance(error, TimeoutError) else reason_of(error))
    async with lane.pool.connection() as conn:
        await lane.settlement.destination.credentials_accepted(conn)
    return None
