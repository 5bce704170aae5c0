"""Publish, claim, wait, crash and settle in any order: nothing lost, nothing settled twice."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from outbox import (
    AfterDead,
    Dead,
    Done,
    Effect,
    Handler,
    Message,
    Order,
    Outcome,
    Retry,
    Suppressed,
    Unknown,
    apublish,
)
from outbox.testing import OutboxHarness
from tests.outbox.shop import made
from tests.properties.model import ModelOutbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outbox import Attempt
    from outbox.testing import Lease
    from tests.conftest import Server


class Plain(Message, topic="model.plain", dedup_window=timedelta(seconds=100)):
    """Two handlers take it: one in no order, one that is ambiguous."""


class Keyed(Message, topic="model.keyed"):
    """Four handlers take it: keyed (dead letters skipped, or blocking), newest-only, unordered."""


async def never(message: Any, attempt: Attempt) -> Outcome:
    """Nobody is called here: the machine settles by hand."""
    raise AssertionError(message, attempt)


# name -> (effect, order, topics); the model is told the same words
HANDLERS = {
    "plain": (Effect.IDEMPOTENT, Order.NONE, (Plain, Keyed)),
    "ambiguous": (Effect.AMBIGUOUS, Order.NONE, (Plain,)),
    "keyed": (Effect.IDEMPOTENT, Order.KEYED, (Keyed,)),
    "newest": (Effect.IDEMPOTENT, Order.NEWEST, (Keyed,)),
    "blocking": (Effect.IDEMPOTENT, Order.KEYED, (Keyed,)),
}
BLOCKING = frozenset({"blocking"})
LONE_CLAIMS_MAX = 2

handlers = st.sampled_from(sorted(HANDLERS))
KEYS = ("a", "b")
keys = st.sampled_from(KEYS)
picks = st.integers(0, 15)
outcomes: st.SearchStrategy[Outcome] = st.one_of(
    st.just(Done()),
    st.just(Suppressed("nobody")),
    st.just(Dead("refused")),
    st.just(Unknown("reset")),
    st.builds(
        Retry,
        st.sampled_from([timedelta(0), timedelta(seconds=10), timedelta(seconds=50)]),
        st.sampled_from(["busy", ""]),
        st.booleans(),
    ),
)

words = st.lists(st.none() | outcomes, min_size=1, max_size=4)


class OutboxMachine(RuleBasedStateMachine):
    """The engine on real PostgreSQL beside a model that shares no code with it.

    A lease nobody settles is the crash. Races of two sessions are out of reach: `tests/races`.
    """

    dsn: ClassVar[str]
    runner: ClassVar[asyncio.Runner]

    def __init__(self) -> None:
        super().__init__()
        self.stack = AsyncExitStack()
        self.leases: list[Lease] = []

    @initialize()
    def begin_empty(self) -> None:
        """Empty tables, and both worlds at the same instant."""
        with psycopg.connect(self.dsn) as conn:
            conn.execute("set local synchronous_commit = off")
            conn.execute(EMPTY)
        app = made(
            *(
                Handler(
                    name=name,
                    messages=messages,
                    effect=effect,
                    call=never,
                    order=order,
                    lone_claims_max=LONE_CLAIMS_MAX,
                    after_dead=AfterDead.BLOCK if name in BLOCKING else AfterDead.SKIP,
                )
                for name, (effect, order, messages) in HANDLERS.items()
            )
        )
        self.real = self.do(self.stack.enter_async_context(OutboxHarness.opened(app, self.dsn)))
        self.model = ModelOutbox(
            {name: (effect.value, order.value) for name, (effect, order, _) in HANDLERS.items()},
            {
                topic: [name for name, (_, _, taken) in HANDLERS.items() if message in taken]
                for topic, message in (("plain", Plain), ("keyed", Keyed))
            },
            lease_seconds=30,
            call_seconds=20,
            lone_claims_max=LONE_CLAIMS_MAX,
            window_seconds=100,
            blocking=BLOCKING,
        )
        for key in (*KEYS, *KEYS, None):
            self.publish_keyed(key, None, None)
            self.publish_plain(None, None)

    def do(self, awaitable: Any) -> Any:
        """Wait for the engine."""
        return self.runner.run(_awaited(awaitable))

    @rule(
        dedup_key=st.none() | keys,
        due=st.none() | st.integers(1, 60),
        priority=st.sampled_from([0, 0, 5, -5]),
    )
    def publish_plain(self, dedup_key: str | None, due: int | None, priority: int = 0) -> None:
        """A priority changes who goes first and never how many may go."""
        due_at = None if due is None else self.real.clock.now() + timedelta(seconds=due)
        terms: dict[str, Any] = {"dedup_key": dedup_key, "due_at": due_at, "priority": priority}
        receipt = self.do(self.real.publish(Plain(), **terms))
        expected = self.model.publish("plain", receipt.message_id, dedup_key=dedup_key, due=due)
        assert (receipt.message_id, receipt.duplicate, receipt.deliveries) == expected

    @rule(
        key=st.none() | keys, sequence=st.none() | st.integers(1, 50), due=st.none() | st.just(20)
    )
    def publish_keyed(self, key: str | None, sequence: int | None, due: int | None) -> None:
        due_at = None if due is None else self.real.clock.now() + timedelta(seconds=due)
        receipt = self.do(self.real.publish(Keyed(), key=key, sequence=sequence, due_at=due_at))
        expected = self.model.publish(
            "keyed", receipt.message_id, key=key, sequence=sequence, due=due
        )
        assert (receipt.message_id, receipt.duplicate, receipt.deliveries) == expected

    @rule(dedup_key=st.none() | keys)
    def publish_and_roll_back(self, dedup_key: str | None) -> None:
        """As if it had never been."""

        async def vanish() -> None:
            async with await psycopg.AsyncConnection.connect(self.dsn) as conn:
                await apublish(conn, Plain(), dedup_key=dedup_key)
                await conn.rollback()

        self.do(vanish())

    @rule(limit=st.integers(1, 5), words=words)
    def claim(self, limit: int, words: list[Outcome | None]) -> None:
        """Every handler claims, as the lanes of a relay do; None is a crash."""
        for handler, (_, order, _) in HANDLERS.items():
            # newest-only: every key is decided at once, so the model need not guess which
            most = max(limit, 2 * len(KEYS)) if order is Order.NEWEST else limit
            found = self.do(self.real.claim(handler, most))
            self.model.claim(handler, taken(found), most)
            self.end(found, words)

    @rule(seconds=st.sampled_from([0, 31]), words=words)
    def claim_alone(self, seconds: int, words: list[Outcome | None]) -> None:
        """What a relay does with what was taken and not settled, soon or after a lease."""
        self.wait(seconds)
        for handler in HANDLERS:
            self.do(self.real.decide_expired(handler))
            self.model.decide_expired(handler)
            lease = self.do(self.real.claim_alone(handler))
            found = [] if lease is None else [lease]
            self.model.claim_alone(handler, taken(found))
            self.end(found, words)

    def end(self, leases: list[Lease], words: list[Outcome | None]) -> None:
        """Begin what is ambiguous, then say the words in turn."""
        for number, lease in enumerate(leases):
            word = words[number % len(words)]
            if HANDLERS[lease.handler][0] is Effect.AMBIGUOUS and len(words) > 1:
                self.begin_one(lease)
            if word is not None:
                self.say(lease, word)
        self.leases += leases

    def begin_one(self, lease: Lease) -> None:
        begun = self.do(self.real.begin(lease))
        assert bool(begun) == self.model.begin(identity(lease), str(lease.token))

    def say(self, lease: Lease, outcome: Outcome) -> None:
        held = self.do(self.real.settle(lease, outcome))
        wait = outcome.after if isinstance(outcome, Retry) else None
        seconds = 0 if wait is None else int(wait.total_seconds())
        word = type(outcome).__name__.lower()
        assert held == self.model.settle(identity(lease), str(lease.token), word, seconds)

    @precondition(lambda self: self.leases)
    @rule(picks=st.lists(picks, min_size=1, max_size=4))
    def begin(self, picks: list[int]) -> None:
        for lease in map(self.picked, picks):
            if HANDLERS[lease.handler][0] is Effect.AMBIGUOUS:
                self.begin_one(lease)

    @precondition(lambda self: self.leases)
    @rule(words=st.lists(st.tuples(picks, outcomes), min_size=1, max_size=5))
    def settle(self, words: list[tuple[int, Outcome]]) -> None:
        """Also late, also twice: only the holder's word counts."""
        for pick, outcome in words:
            self.say(self.picked(pick), outcome)

    @precondition(lambda self: self.leases)
    @rule(picks=st.lists(picks, min_size=1, max_size=3))
    def give_back(self, picks: list[int]) -> None:
        for lease in map(self.picked, picks):
            self.do(self.real.give_back(lease))
            self.model.give_back(identity(lease), str(lease.token))

    @rule(seconds=st.sampled_from([1, 10, 31, 120]))
    def wait(self, seconds: int) -> None:
        self.real.advance(timedelta(seconds=seconds))
        self.model.now += seconds

    @rule(handler=handlers)
    def redrive(self, handler: str) -> None:
        dead = self.model.dead_of(handler)[:1]
        if dead:
            assert self.do(self.real.redrive(*dead)) == dead
            self.model.redrive(dead[0])

    @precondition(lambda self: self.leases)
    @rule(pick=picks)
    def ask_who_holds(self, pick: int) -> None:
        """The holder is whom the model says, or nobody."""
        lease = self.picked(pick)
        found = self.do(self.real.lease_of(lease.delivery_id))
        mine = self.model.waiting.get(identity(lease))
        assert (found and str(found.token)) == (mine and mine.token)

    def picked(self, pick: int) -> Lease:
        """A lease somebody had or has, the last ones more likely."""
        return self.leases[-1 - pick % len(self.leases)]

    @invariant()
    def every_delivery_is_accounted_for(self) -> None:
        if not hasattr(self, "model"):
            return
        for handler in HANDLERS:
            found = self.do(self.real.census(handler))
            real = {state: getattr(found, state) for state in STATES}
            assert real == self.model.census(handler), handler

    def teardown(self) -> None:
        """Close the pool."""
        self.runner.run(self.stack.aclose())


def identity(lease: Lease) -> tuple[str, int]:
    """A delivery by the words the model has for it."""
    return lease.handler, lease.claimed.message_id


def taken(leases: list[Lease]) -> dict[int, tuple[int, str]]:
    """What a claim took, as the model is told."""
    return {one.claimed.message_id: (one.delivery_id, str(one.token)) for one in leases}


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


STATES = ("pending", "leased", "unknown", "dead", "done", "overtaken")
EMPTY = """
delete from outbox.unrouted; delete from outbox.dedup; delete from outbox.receipt;
delete from outbox.lease; delete from outbox.key_lease; delete from outbox.newest;
delete from outbox.dead_letter; delete from outbox.delivery; delete from outbox.message;
update outbox.destination set paused_at = null;
"""


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def world(server: Server) -> Iterator[None]:
    """One database and one event loop for all examples."""
    with server.fresh(migrated=True) as dsn, asyncio.Runner() as runner:
        OutboxMachine.dsn, OutboxMachine.runner = dsn, runner
        yield


# The same examples in every run, and no shrinking, which takes minutes.
# OUTBOX_MACHINE_EXAMPLES=1000 explores further with new seeds; a failure is then shrunk and prints
# the blob that repeats it.
EXPLORE = os.environ.get("OUTBOX_MACHINE_EXAMPLES")
TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(
    max_examples=int(EXPLORE or 60),
    stateful_step_count=25,
    deadline=None,
    derandomize=EXPLORE is None,
    phases=tuple(Phase) if EXPLORE else (Phase.explicit, Phase.reuse, Phase.generate),
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
