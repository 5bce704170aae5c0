"""An application whose handlers tell by which process they are called, for processes of a test."""

from __future__ import annotations

import os
import signal

import psycopg

from outbox import App, Attempt, Done, Effect, Handler, Message, Outcome

TRACE = "drop table if exists trace; create table trace (handler text, pid integer)"
WAIT_FOR = 4711


class Crate(Message, topic="crate.sent"):
    """To be carried by a handler that may die of it."""

    to: str


async def carry(crate: Crate, attempt: Attempt) -> Outcome:
    """Tell who carries; wait for the test's lock, or die, as the crate says."""
    if crate.to != attempt.handler:
        return Done()
    async with await psycopg.AsyncConnection.connect(
        os.environ["DATABASE_URL"], autocommit=True
    ) as conn:
        await conn.execute("insert into trace values (%s, %s)", (attempt.handler, os.getpid()))
        if attempt.handler == "slow":
            await conn.execute("select pg_advisory_lock(%s)", (WAIT_FOR,))
    if attempt.handler == "deadly":
        os.kill(os.getpid(), signal.SIGKILL)
    return Done()


app = App("lonely")
for name in ("slow", "deadly", "quick"):
    app.add(
        Handler(
            name=name, messages=(Crate,), effect=Effect.IDEMPOTENT, call=carry, lone_claims_max=1
        )
    )
