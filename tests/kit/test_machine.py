"""The state machine of the kit holds a small shop, and finds what a shop loses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from outbox import (
    App,
    Done,
    Effect,
    Handler,
    Message,
    Order,
    Outcome,
    Publication,
    VirtualClock,
    apublish,
)
from outbox.testing import CrashPoint
from outbox.testing.handlers_machine import OutboxMachine

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from outbox import Attempt
    from tests.conftest import Server


class Sold(Message, topic="kit.sold"):
    """Something left the shop."""

    piece: int


class Booked(Message, topic="kit.booked"):
    """It is in the books."""

    piece: int


class ShopMachine(OutboxMachine):
    """Each sale is booked once and told at least once; each push leaves at most once."""

    def application(self) -> App:
        self.told: list[int] = []
        self.pushed: list[int] = []

        async def book(
            message: Sold, attempt: Attempt, conn: psycopg.AsyncConnection[Any]
        ) -> Outcome:
            del attempt
            await apublish(conn, Booked(piece=message.piece))
            return Done()

        async def tell(message: Booked, attempt: Attempt) -> Outcome:
            del message
            self.told.append(attempt.delivery_id)
            return Done()

        async def push(message: Sold, attempt: Attempt) -> Outcome:
            del message
            self.pushed.append(attempt.delivery_id)
            return Done()

        app = App("shop", clock=VirtualClock(datetime(2026, 3, 1, tzinfo=UTC)))
        app.add(Handler(name="book", messages=(Sold,), effect=Effect.DATABASE, call=book,
                        order=Order.KEYED))  # fmt: skip
        app.add(Handler(name="tell", messages=(Booked,), effect=Effect.IDEMPOTENT, call=tell))
        app.add(Handler(name="push", messages=(Sold,), effect=Effect.AMBIGUOUS, call=push))
        return app

    def publications(self) -> st.SearchStrategy[Publication]:
        due = st.none() | st.just(timedelta(seconds=20))
        return st.builds(
            lambda piece, key, wait: Publication(
                message=Sold(piece=piece), key=key,
                due_at=None if wait is None else self.outbox.clock.now() + wait,
            ),
            st.integers(0, 9), st.sampled_from(["a", "b"]), due,
        )  # fmt: skip

    async def check(self) -> None:
        dead = (await self.outbox.census("book")).dead  # it killed its worker thrice
        booked = await self.outbox.assert_published(
            Booked, count=await self.outbox.owed("book") - dead
        )
        assert len(set(self.told)) == len(booked) - (await self.outbox.census("tell")).dead
        assert len(set(self.pushed)) == len(self.pushed)


class LosingMachine(ShopMachine):
    """It takes an idempotent call for one that happens once."""

    async def check(self) -> None:
        await super().check()
        assert len(self.told) == len(set(self.told)), "told twice"


FEW = settings(
    max_examples=4, stateful_step_count=10, deadline=None, derandomize=True, database=None,
    phases=(Phase.generate,), suppress_health_check=list(HealthCheck),
)  # fmt: skip


@pytest.fixture(autouse=True)
def world(server: Server) -> Iterator[None]:
    OutboxMachine.server = server
    yield
    del OutboxMachine.server


def test_a_shop_loses_nothing() -> None:
    run_state_machine_as_test(ShopMachine, settings=FEW)


@pytest.mark.parametrize("machine", [ShopMachine, LosingMachine])
def test_who_promises_more_than_the_effect_is_found_out(machine: type[ShopMachine]) -> None:
    """The steps by hand, so that no search need find them: a crash after the call repeats it."""
    steps = machine()
    steps.open_database()
    steps.do(steps.outbox.publish(Sold(piece=1), key="a"))
    steps.do(steps.outbox.run_once("book"))
    steps.do(steps.crash("tell", CrashPoint.AFTER_CALL))
    steps.every_delivery_is_accounted_for()

    if machine is ShopMachine:
        steps.teardown()
    else:
        with pytest.raises(AssertionError, match="told twice"):
            steps.teardown()

    assert len(steps.told) == 2
