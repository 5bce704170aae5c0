"""P12: a reason is a code; a sentence, which may quote somebody, is stored nowhere."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from structlog.testing import capture_logs

from outbox import (
    Attempt,
    Dead,
    Effect,
    Outcome,
    OutcomeUnknown,
    PermanentFailure,
    Retry,
    Suppressed,
    TransientFailure,
    Unknown,
)
from outbox.errors import DestinationHeld
from outbox.outcome import REASON_UNFIT, code_of
from tests.outbox.shop import OrderPlaced, mailer

if TYPE_CHECKING:
    from tests.outbox.conftest import Opened, Rows

SENTENCE = "no mailbox someone@example.org"

STORED = """
select last_reason from outbox.delivery
union select reason from outbox.receipt
union select reason from outbox.dead_letter
union select held_reason from outbox.destination
"""


def raising(error: Exception) -> Any:
    async def call(message: OrderPlaced, attempt: Attempt) -> Outcome:
        del message, attempt
        raise error

    return call


def returning(outcome: Outcome) -> Any:
    async def call(message: OrderPlaced, attempt: Attempt) -> Outcome:
        del message, attempt
        return outcome

    return call


@pytest.mark.parametrize(
    "call",
    [
        returning(Dead(SENTENCE)),
        returning(Suppressed(SENTENCE)),
        returning(Retry(reason=SENTENCE)),
        returning(Retry(timedelta(hours=1), SENTENCE, spent=False)),
        returning(Unknown(SENTENCE)),
        raising(PermanentFailure(SENTENCE)),
        raising(TransientFailure(SENTENCE)),
        raising(OutcomeUnknown(SENTENCE)),
        raising(DestinationHeld(SENTENCE, timedelta(seconds=9))),
    ],
    ids=[
        "dead",
        "suppressed",
        "retry",
        "unspent",
        "unknown",
        "permanent",
        "transient",
        "lost",
        "held",
    ],
)
async def test_a_sentence_for_a_reason_is_not_stored_and_is_told(
    call: Any, opened: Opened, rows: Rows
) -> None:
    box = await opened(mailer(call, effect=Effect.AMBIGUOUS))
    await box.publish(OrderPlaced(order_id=1))

    with capture_logs() as logs:
        await box.run_once()

    stored = {row[0] for row in rows(STORED)} - {None}
    assert stored == {REASON_UNFIT}
    assert "example.org" not in repr(logs)
    assert [log["handler"] for log in logs if log["event"] == "handler.reason_unfit"] == ["mailer"]


@pytest.mark.parametrize(
    "reason", ["", "busy", "http_503", "attempts_exhausted:fcm.busy", "ValueError"]
)
def test_a_code_is_kept(reason: str) -> None:
    assert code_of(reason) == reason


@pytest.mark.parametrize("reason", ["not found", "a@b.c", "12345678", "x" * 201, "é", "a\n"])
def test_anything_else_is_unfit(reason: str) -> None:
    assert code_of(reason) == REASON_UNFIT


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("delivery", "last_reason"),
        ("receipt", "reason"),
        ("dead_letter", "reason"),
        ("destination", "held_reason"),
        ("destination", "circuit_reason"),
        ("destination", "breaker_reason"),
    ],
)
async def test_the_database_refuses_what_is_no_code(
    table: str, column: str, opened: Opened, rows: Rows
) -> None:
    """The guard: whoever writes, it may not be a sentence."""
    box = await opened(
        mailer(returning(Dead("refused"))), mailer(returning(Retry(reason="busy")), name="ledger")
    )
    await box.publish(OrderPlaced(order_id=1))
    await box.drain()

    for reason in (SENTENCE, "a\nb", "x" * 201):
        with pytest.raises(psycopg.errors.CheckViolation, match=f"{table}_{column}_is_code"):
            rows(f"update outbox.{table} set {column} = %s", reason)
    rows(f"update outbox.{table} set {column} = %s", "http_503")
