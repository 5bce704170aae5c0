"""Working a lane off: claim and run until nothing is left, and tell how much was tried.

The next claim goes out while a batch still runs or is settled, as far as the handler's concurrency
leaves room: a slow answer or a slow settlement keeps no slot empty.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Coroutine, Iterable

    from outbox.held import HeldBatch
    from outbox.lane import Lane
    from outbox.leased import LeasedBatch

    Running = dict[asyncio.Task[None], LeasedBatch | HeldBatch]


async def work_off(lane: Lane, running: Running, stop: asyncio.Event) -> int:
    """Run what `lane` finds due until a claim is empty or `stop` is set; how many were tried.

    `running` is told what is under way. What has begun is ended, also after `stop`; where a batch
    fails, or the caller is cancelled, the others are cancelled and their leases run out.
    """
    tried, changed = 0, asyncio.Event()
    try:
        while True:
            changed.clear()
            for task in [task for task in running if task.done()]:
                del running[task]
                task.result()
            batch = None if stop.is_set() else await _take(lane, running)
            if batch is not None:
                tried += len(batch.rows)
                batch.freed = changed.set
                task = asyncio.create_task(_run(lane, batch))
                task.add_done_callback(lambda _: changed.set())
                running[task] = batch
            elif running:
                await _changes(changed, lane.looks_again_in)
            else:
                return tried
    finally:
        await end_all(running)
        running.clear()


async def all_of(works: Iterable[Coroutine[Any, Any, int]]) -> list[int]:
    """Do all at once; where one fails, or the caller is cancelled, none of them goes on."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await end_all(tasks)


async def end_all(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel what is not done yet, and wait for its end.

    Each has begun by then: one that never did would not let go of what was opened for it.
    """
    if all(task.done() for task in tasks):
        return
    try:
        await asyncio.sleep(0)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _changes(changed: asyncio.Event, at_most: float | None) -> None:
    """Wait for the event, `at_most` so many seconds."""
    timer = None
    if at_most is not None:
        timer = asyncio.get_running_loop().call_later(at_most, changed.set)
    await changed.wait()
    if timer is not None:
        timer.cancel()


async def _take(lane: Lane, running: Running) -> LeasedBatch | HeldBatch | None:
    """Claim for the room that is left, through the gate; None where there is none or nothing."""
    room = lane.room(running.values())
    if not room:
        return None
    await lane.gate.enter()  # before the claim: no lease runs out at the gate
    batch = None
    try:
        batch = await lane.take(room)
    finally:
        if batch is None:
            await lane.gate.leave()
    return batch


async def _run(lane: Lane, batch: LeasedBatch | HeldBatch) -> None:
    try:
        await batch.run()
    finally:
        await lane.gate.leave()
