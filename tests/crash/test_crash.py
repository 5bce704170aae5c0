"""A relay is killed in the middle of its work; what it left is finished, or told as unknown."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import zip_longest
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from outbox import Publication, publish_many
from outbox.consume import OUT_OF_MEMORY
from tests.crash.application import BATCH_MAX, EFFECT_TABLE, Parcel
from tests.crash.relay_process import Life

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.conftest import Server

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PARCELS = 200
SEED = 20260301  # of the moments at which the process is killed
KILLS = 3
AHEAD_SECONDS = 60  # each life of a relay is that far ahead of the one before: leases have run out


@dataclass
class Receiver:
    """Somebody outside, on the loopback, who counts what arrives per handler and delivery."""

    arrived: dict[str, Counter[int]] = field(
        default_factory=lambda: {name: Counter() for name in ("call", "push", "newest")}
    )
    total: int = 0
    alarm_at: int = 0
    alarm: asyncio.Event = field(default_factory=asyncio.Event)
    answer_seconds: float = 0.002
    port: int = 0

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Count the call when it has arrived; answer a moment later."""
        try:
            handler, delivery_id = (await reader.readline()).decode().split()
            self.arrived[handler][int(delivery_id)] += 1
            self.total += 1
            if self.total >= self.alarm_at:
                self.alarm.set()
            answer = asyncio.Event()
            asyncio.get_running_loop().call_later(self.answer_seconds, answer.set)
            await answer.wait()
            writer.write(b"taken\n")
            await writer.drain()
        except (ConnectionError, ValueError):
            pass  # the caller was killed
        finally:
            writer.close()

    async def at(self, total: int) -> None:
        """Wait until so many calls have arrived in all."""
        self.alarm_at = total
        self.alarm.clear()
        if self.total < total:
            async with asyncio.timeout(60):
                await self.alarm.wait()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Receiver]:
        """Listen on a free port."""
        server = await asyncio.start_server(self.take, "127.0.0.1", 0)
        async with server:
            self.port = server.sockets[0].getsockname()[1]
            yield self


@dataclass
class World:
    """A database, a receiver, and relays that come and go."""

    dsn: str
    conn: psycopg.Connection[tuple[Any, ...]]
    receiver: Receiver
    handlers: str = "write,call,push"
    lives: int = 0
    lone_claims_max: int = 1

    async def relay(self, mode: str) -> Life:
        """Start the next life; it is at work when this returns."""
        ahead = timedelta(seconds=self.lives * AHEAD_SECONDS)
        self.lives += 1
        handlers = self.handlers.split(",")
        life = Life(self.dsn, self.receiver.port, ahead, handlers, mode, self.lone_claims_max)
        await life.begun()
        return life

    async def drained(self) -> int:
        """Let one life work until nothing is due; its exit code."""
        return await (await self.relay("drain")).ended()

    def rows(self, statement: Any, *params: object) -> list[tuple[Any, ...]]:
        return self.conn.execute(statement, params).fetchall()

    def publish(self, *parcels: Parcel, keys: tuple[str, ...] = ()) -> None:
        with psycopg.connect(self.dsn) as conn:
            conn.execute(
                "insert into outbox.route (topic, handler, ordered)"
                " select 'parcel.ready', one, one = any(%s) from unnest(%s::text[]) as u(one)",
                (["keyed", "blocked", "newest"], self.handlers.split(",")),
            )
            each = zip_longest(parcels, keys)
            publish_many(conn, [Publication(message=parcel, key=key) for parcel, key in each])

    def outcomes(self, handler: str) -> dict[int, str]:
        """How each delivery of a handler ended: its last receipt."""
        found = self.rows(
            "select distinct on (delivery_id) delivery_id, outcome from outbox.receipt"
            " where handler = %s order by delivery_id, id desc",
            handler,
        )
        return {row[0]: row[1] for row in found}


@pytest.fixture
def dsn(server: Server) -> Iterator[str]:
    with server.fresh(migrated=True) as dsn:
        yield dsn


@asynccontextmanager
async def world_on(dsn: str, handlers: str = "write,call,push") -> AsyncIterator[World]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(EFFECT_TABLE)
        async with Receiver().listening() as receiver:
            yield World(dsn, conn, receiver, handlers)


async def test_killed_at_random_moments_everything_is_done_once_or_known_as_unknown(
    dsn: str,
) -> None:
    random = Random(SEED)  # noqa: S311 - a seed, not a secret
    async with world_on(dsn) as world:
        world.lone_claims_max = KILLS + 1  # one that is alone at each kill is no poison for that
        world.publish(*(Parcel(number=number) for number in range(PARCELS)))
        for _ in range(KILLS):
            relay = await world.relay("run")
            await world.receiver.at(world.receiver.total + random.randint(5, 60))
            relay.send_signal(signal.SIGKILL)
            await relay.ended()
        left = world.rows("select count(*) from outbox.delivery")
        code = await world.drained()

        push, pushed = world.outcomes("push"), world.receiver.arrived["push"]
        calls = world.receiver.arrived["call"]
        assert code == 0
        assert left[0][0] > PARCELS  # it was killed in the middle
        assert world.rows("select count(*), count(distinct delivery_id) from effect") == [
            (PARCELS, PARCELS)
        ]
        assert set(world.outcomes("write").values()) == {"done"}
        assert set(world.outcomes("call").values()) == {"done"}
        assert set(calls) == set(world.outcomes("call"))
        assert len(push) == PARCELS
        assert max(pushed.values()) == 1  # never repeated
        assert {i for i, outcome in push.items() if outcome == "done"} <= set(pushed)
        assert set(push.values()) <= {"done", "unknown"}
        unknown = {i for i, outcome in push.items() if outcome == "unknown"}
        assert {row[0] for row in world.rows("select id from outbox.delivery")} == unknown
        assert world.rows("select * from outbox.dead_letter") == []


async def test_a_term_signal_drains_and_leaves_no_lease(dsn: str) -> None:
    async with world_on(dsn) as world:
        world.receiver.answer_seconds = 0.05
        world.publish(*(Parcel(number=number) for number in range(PARCELS)))
        relay = await world.relay("run")
        await world.receiver.at(20)
        relay.send_signal(signal.SIGTERM)

        assert await relay.ended() == 0
        assert world.rows("select * from outbox.delivery where lease_token is not null") == []
        assert world.rows("select count(*) > 0 from outbox.delivery") == [(True,)]
        assert {row[0] for row in world.rows("select outcome from outbox.receipt")} == {"done"}
        assert world.rows("select * from outbox.relay") == []
        assert sum(world.receiver.arrived["call"].values()) == len(world.outcomes("call"))


LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds RLIMIT_AS to its word")
DEATHS = {
    "exit": {9},
    # a library that finds no memory may die of it by itself
    "memory": {OUT_OF_MEMORY, -signal.SIGSEGV, -signal.SIGABRT},
}


def publish_deadly(world: World, death: str, *, keys: tuple[str, ...] = ()) -> None:
    """Five parcels, the third of them deadly, each under its key."""
    parcels = [Parcel(number=number, deadly=death * (number == 2)) for number in range(5)]
    world.publish(*parcels, keys=keys)


async def until_nobody_dies(world: World, death: str) -> list[int]:
    """Start one life after the other; how each ended."""
    codes = [await world.drained()]
    while codes[-1] in DEATHS[death] and len(codes) < 8:
        codes.append(await world.drained())
    return codes


@pytest.mark.parametrize(
    ("handler", "death"),
    [
        ("write", "exit"),
        ("push", "exit"),
        ("call", "exit"),
        pytest.param("call", "memory", marks=LINUX),
    ],
)
async def test_a_deadly_message_ends_dead_and_its_neighbours_are_delivered(
    handler: str, death: str, dsn: str
) -> None:
    """It kills in the call, and before any call, in `prepare`, of `push`."""
    async with world_on(dsn, handler) as world:
        publish_deadly(world, death)
        codes = await until_nobody_dies(world, death)

        assert len(codes) == 3  # with its neighbours, then alone, then buried
        assert DEATHS[death].issuperset(codes[:2])
        assert codes[2] == 0
        assert world.rows("select reason from outbox.dead_letter") == [("poison",)]
        assert Counter(world.outcomes(handler).values()) == {"done": 4, "dead": 1}
        assert world.rows("select * from outbox.delivery") == []


@pytest.mark.parametrize("death", ["exit", pytest.param("memory", marks=LINUX)])
async def test_a_deadly_message_in_a_batch_held_by_locks_ends_dead_too(
    death: str, dsn: str
) -> None:
    """Its locks and effects are gone with the worker; the note of the batch tells who it was."""
    async with world_on(dsn, "write") as world:
        last = BATCH_MAX + 4  # the second batch is a backlog
        numbers = range(last + 1)
        world.publish(
            *(Parcel(number=number, deadly=death * (number == last - 1)) for number in numbers)
        )
        codes = [await world.drained()]
        noted = world.rows("select cardinality(deliveries) from outbox.lease where first_id > 0")
        done = world.rows("select count(*) from effect")
        codes += await until_nobody_dies(world, death)

        assert len(codes) == 3
        assert DEATHS[death].issuperset(codes[:2])
        assert codes[2] == 0
        assert (noted, done) == ([(5,)], [(BATCH_MAX,)])
        assert world.rows("select reason from outbox.dead_letter") == [("poison",)]
        assert world.rows("select count(*) from effect") == [(last,)]
        assert world.rows("select * from outbox.delivery") == []
        assert world.rows("select * from outbox.lease") == []


@pytest.mark.parametrize(("handler", "after"), [("keyed", [3, 4]), ("blocked", [])])
async def test_a_deadly_message_lets_its_key_go_on_as_declared(
    handler: str, after: list[int], dsn: str
) -> None:
    async with world_on(dsn, handler) as world:
        publish_deadly(world, "exit", keys=("a", "a", "a", "a", "a"))
        codes = await until_nobody_dies(world, "exit")

        done = world.rows(
            "select (m.payload ->> 'number')::int from outbox.receipt as r"
            " inner join outbox.message as m on m.id = r.message_id"
            " where r.outcome = 'done' order by r.id"
        )
        assert codes == [9, 9, 0]
        assert [number for (number,) in done] == [0, 1, *after]
        assert world.rows("select reason from outbox.dead_letter") == [("poison",)]
        assert world.rows("select count(*) from outbox.delivery") == [(2 - len(after),)]
        assert world.rows("select * from outbox.key_lease where until > now()") == []


async def test_a_deadly_newest_message_ends_dead_and_other_keys_go_on(dsn: str) -> None:
    """What it has overtaken stays overtaken: it is not tried in its place."""
    async with world_on(dsn, "newest") as world:
        publish_deadly(world, "exit", keys=("a", "b", "b", "c", "d"))
        codes = await until_nobody_dies(world, "exit")

        assert codes == [9, 9, 0]
        assert Counter(world.outcomes("newest").values()) == {
            "done": 3, "superseded": 1, "dead": 1
        }  # fmt: skip
        assert world.rows("select * from outbox.delivery") == []
