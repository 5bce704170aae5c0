"""The live view: one frame tells depth, age, rate, destination and relays, and names nobody."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.console import Console

from outbox import Dead, Done
from outbox.cli.live import frame, look
from tests.outbox.shop import MINUTE, OrderPlaced, Unheard, mailer

if TYPE_CHECKING:
    from outbox.testing import OutboxHarness
    from tests.outbox.conftest import Opened, Rows


async def shown(box: OutboxHarness) -> str:
    async with box.relay.pool.connection() as conn:
        sight = await look(conn, box.app)
    console = Console(file=io.StringIO(), width=140)
    console.print(frame(sight, box.app))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def row_of(screen: str, handler: str) -> list[str]:
    """The cells of one handler's row."""
    (line,) = [line for line in screen.splitlines() if f" {handler} " in line]
    return [cell.strip() for cell in line.strip("│┃").split("│")]


async def test_a_frame_tells_what_an_operator_watches(opened: Opened, rows: Rows) -> None:
    box = await opened(mailer(), mailer(name="ledger"))
    for number in range(4):
        await box.publish(OrderPlaced(order_id=number, note="payload-marker"), key="key-marker")
    await box.publish(Unheard(place="payload-marker"))
    done, dead, held = await box.claim("mailer", limit=3)
    await box.settle(done, Done({"ticket": "receipt-marker"}))
    await box.settle(dead, Dead("refused"), ValueError("text-marker"))
    rows("update outbox.destination set paused_at = now(), paused_by = 'a' where handler='ledger'")
    box.advance(timedelta(seconds=3))
    rows(
        "insert into outbox.relay (id, started_at, seen_at, handlers, version)"
        " values ('far:1:a', now(), now() - interval '2 minutes', '{mailer}', '0.1.0')"
    )
    early = await shown(box)
    box.advance(2 * MINUTE)
    late = await shown(box)

    assert held.delivery_id
    assert row_of(early, "mailer") == ["mailer", "1", "1", "0", "1", "3 s", "0.3", "open"]
    assert row_of(early, "ledger") == ["ledger", "4", "0", "0", "0", "3 s", "0.0", "paused"]
    assert row_of(late, "mailer")[5:7] == ["2 min 3 s", "0.0"]
    assert "relay far:1:a: seen 120 s ago, version 0.1.0, lost" in early
    assert "no relay is running" in early
    assert "unrouted: 1 messages of tree.fallen" in early
    assert "marker" not in early + late
