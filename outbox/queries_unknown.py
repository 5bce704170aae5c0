"""Statements about deliveries held as unknown, and about questions to their receivers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg.rows import dict_row

from outbox.queries import Claimed, Decided
from outbox.queries_letters import decided
from outbox.statements import load

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta
    from uuid import UUID

    from outbox.queries import Conn, Now

LOCK_UNKNOWN = load("outbox", "lock_unknown")
LIST_UNKNOWN = load("outbox", "list_unknown")
RESEND_HELD = load("outbox", "resend_held")
NOTE_QUESTIONS = load("outbox", "note_questions")
CLAIM_QUESTIONS = load("outbox", "claim_questions")
NOTE_ANSWER = load("outbox", "note_answer")
CLOSE_QUESTIONS = load("outbox", "close_questions")


async def lock_unknown(conn: Conn, delivery_ids: Sequence[int]) -> list[tuple[str, Claimed]]:
    """What of these is held as unknown, locked, each with its handler."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(LOCK_UNKNOWN, {"ids": list(delivery_ids)})
        return [(row.pop("handler"), Claimed(**row)) for row in await cursor.fetchall()]


async def list_unknown(conn: Conn, *, handler: str | None, limit: int) -> list[dict[str, Any]]:
    """What is held as unknown, the oldest first."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(LIST_UNKNOWN, {"handler": handler, "limit": limit})
        return await cursor.fetchall()


async def resend_held(
    conn: Conn, *, ids: Sequence[int], actor: str, operation_id: int, now: Now
) -> list[Decided]:
    """Give held deliveries another try at a person's word; what they were."""
    params = {"ids": list(ids), "actor": actor, "operation_id": operation_id, "now": now}
    return await decided(conn, RESEND_HELD, params)


async def note_questions(conn: Conn, ids: Sequence[int], *, wait: timedelta, now: Now) -> None:
    """Plan to ask about deliveries that have just become unknown."""
    await conn.execute(NOTE_QUESTIONS, {"ids": list(ids), "wait": wait, "now": now})


async def claim_questions(  # noqa: PLR0913 - the terms of a claim
    conn: Conn, *, handler: str, token: UUID, limit: int, lease: timedelta, now: Now
) -> list[tuple[int, Claimed]]:
    """Take questions that are due; how often each was asked with this time, and its delivery."""
    params = {"handler": handler, "token": token, "limit": limit, "lease": lease, "now": now}
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(CLAIM_QUESTIONS, params)
        return [(row.pop("asked"), Claimed(**row)) for row in await cursor.fetchall()]


async def note_answer(
    conn: Conn, delivery_id: int, *, token: UUID, ask_at: datetime | None, answer: str
) -> bool:
    """Write down what the receiver could not tell; False when the question is another's."""
    params = {"delivery_id": delivery_id, "token": token, "ask_at": ask_at, "answer": answer}
    return (await conn.execute(NOTE_ANSWER, params)).rowcount > 0


async def close_questions(conn: Conn, ids: Sequence[int], *, token: UUID | None = None) -> bool:
    """Forget questions, with `token` only what is asked under it; whether there was one."""
    params = {"ids": list(ids), "token": token}
    return (await conn.execute(CLOSE_QUESTIONS, params)).rowcount > 0
