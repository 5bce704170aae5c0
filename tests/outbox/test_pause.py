"""A pause and a resumption are audited: who, why, when."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from outbox.errors import TermInvalid
from outbox.redrive import set_paused
from tests.outbox.shop import mailer

if TYPE_CHECKING:
    from outbox.testing import OutboxHarness
    from tests.outbox.conftest import Opened, Rows

AUDIT = "select actor, action, why, selection ->> 'handler' from outbox.operation order by id"
AUDIT += " desc limit 2"


async def pause(box: OutboxHarness, actor: str, why: str, *, paused: bool = True) -> bool:
    async with box.relay.pool.connection() as conn:
        return await set_paused(
            conn, handler="mailer", paused=paused, actor=actor, why=why, now=box.clock.sql_now()
        )


async def test_who_paused_and_who_resumed_is_kept(opened: Opened, rows: Rows) -> None:
    """The destination forgets who paused it when it is resumed; the audit does not."""
    box = await opened(mailer())
    await pause(box, "ada", "new certificate")
    await pause(box, "bob", "", paused=False)

    assert rows(AUDIT) == [
        ("bob", "resume", None, "mailer"),
        ("ada", "pause", "new certificate", "mailer"),
    ]
    assert rows("select paused_by from outbox.destination") == [(None,)]


async def test_a_handler_that_is_not_there_leaves_no_trace(opened: Opened, rows: Rows) -> None:
    box = await opened(mailer(name="ledger"))
    before = rows("select count(*) from outbox.operation")

    assert await pause(box, "ada", "new certificate") is False
    assert rows("select count(*) from outbox.operation") == before


@pytest.mark.parametrize(
    ("actor", "why", "says"),
    [
        (" ", "because", "actor is ' '; say who"),
        ("ada", "", "why is ''; say who pauses mailer and"),
    ],
)
async def test_a_pause_says_who_and_why(opened: Opened, actor: str, why: str, says: str) -> None:
    box = await opened(mailer())

    with pytest.raises(TermInvalid, match=says):
        await pause(box, actor, why)
