"""Probes: the one delivery that may go to a destination whose breaker is open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from outbox.leased import LeasedBatch

if TYPE_CHECKING:
    from outbox.lane import Lane

log = structlog.get_logger("outbox")


async def take_probe(lane: Lane) -> LeasedBatch | None:
    """The delivery that this process may try; mostly None."""
    starts_by = lane.starts_by()
    async with lane.pool.connection() as conn:
        probe = await lane.claims.claim_probe(conn)
    if probe is None:
        return None
    lane.settlement.destination.probing, rows = probe
    log.info("destination.probed", handler=lane.handler.name, delivery_id=rows[0].id)
    return LeasedBatch(lane, rows, starts_by)


async def run_probe(lane: Lane) -> None:
    """Try one delivery if it is our turn, whatever else the lane does."""
    if lane.handler.breaks is None or not lane.pace.allowed(1):
        return
    await lane.gate.enter()
    try:
        if (batch := await take_probe(lane)) is not None:
            lane.pace.spend(1)
            await batch.run()
    finally:
        await lane.gate.leave()
