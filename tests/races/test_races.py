"""Eight processes publish and relay at once: nothing is lost, doubled or overtaken."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.races.application import TABLES
from tests.races.worker import CONTESTED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Server

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PROCESSES, MESSAGES = 8, 50
COMMITTED = PROCESSES * MESSAGES * 4 // 5


@dataclass
class Aftermath:
    """The database after the race, and what each process said of the contested keys."""

    conn: psycopg.Connection[tuple[Any, ...]]
    said: list[list[tuple[int, int, bool, bool]]]

    def rows(self, statement: Any, *params: object) -> list[tuple[Any, ...]]:
        return self.conn.execute(statement, params).fetchall()


@pytest.fixture(scope="module")
def race(server: Server) -> Iterator[Aftermath]:
    """One race for all the questions below."""
    with server.fresh(migrated=True) as dsn, psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(TABLES)
        command = [sys.executable, "-m", "tests.races.worker", dsn]
        runners = [
            subprocess.Popen(
                [*command, str(index), str(MESSAGES)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for index in range(PROCESSES)
        ]
        try:
            for runner in runners:
                assert runner.stdout is not None
                while runner.stdout.readline().strip() != "ready":
                    assert runner.poll() is None, runner.communicate()[1]
            for runner in runners:
                assert runner.stdin is not None
                runner.stdin.write("go\n")
                runner.stdin.flush()
            ends = [runner.communicate(timeout=120) for runner in runners]
        finally:
            for runner in runners:
                runner.kill()
        assert [runner.returncode for runner in runners] == [0] * PROCESSES, ends[0][1]
        yield Aftermath(conn, [json.loads(out.splitlines()[-1]) for out, _ in ends])


def test_nothing_is_lost_and_nothing_is_left(race: Aftermath) -> None:
    published = race.rows(
        "select (select count(*) from outbox.message where topic = 'race.moved'),"
        " (select count(*) from outbox.message where topic = 'race.counted')"
    )

    assert published == [(COMMITTED, COMMITTED + CONTESTED)]
    assert race.rows("select * from outbox.delivery") == []
    assert race.rows("select * from outbox.dead_letter") == []
    assert race.rows("select * from outbox.relay") == []


def test_no_two_processes_met_in_a_deadlock(race: Aftermath) -> None:
    """Keys are locked in one order, by claims and by those who give them back."""
    found = race.rows("select deadlocks from pg_stat_database where datname = current_database()")

    assert found == [(0,)]


def test_each_effect_happened_once(race: Aftermath) -> None:
    """`effect` refuses a second row of a delivery; here is none missing."""
    for handler, count in (
        ("counted", COMMITTED + CONTESTED),
        ("ordered", COMMITTED),
        ("ordered_out", COMMITTED),
    ):
        found = race.rows("select count(*) from effect where handler = %s", handler)
        assert found == [(count,)], handler


def test_no_attempt_failed(race: Aftermath) -> None:
    """A second call in flight for a key would have met the first in `flying`."""
    outcomes = race.rows("select outcome, count(*) from outbox.receipt group by 1 order by 1")

    assert {outcome for outcome, _ in outcomes} <= {"done", "superseded"}
    assert race.rows("select * from flying") == []


@pytest.mark.parametrize("handler", ["ordered", "ordered_out", "newest_out"])
def test_each_key_was_taken_in_its_order(handler: str, race: Aftermath) -> None:
    """Publishers serialise on their shelf, whose version is the sequence."""
    found = race.rows("select key, sequence from effect where handler = %s order by id", handler)
    by_key: dict[str, list[int]] = defaultdict(list)
    for key, sequence in found:
        by_key[key].append(sequence)

    assert len(by_key) == 4
    for key, sequences in by_key.items():
        assert sequences == sorted(set(sequences)), key


def test_newest_only_skips_what_is_overtaken_and_never_the_newest(race: Aftermath) -> None:
    last = (
        "select key, max(sequence) from effect where handler = 'newest_out' group by 1 order by 1"
    )
    newest = (
        "select key, max(sequence) from outbox.message where key is not null group by 1 order by 1"
    )
    outcomes = dict(
        race.rows(
            "select outcome, count(*) from outbox.receipt where handler = 'newest_out' group by 1"
        )
    )

    assert race.rows(last) == race.rows(newest)
    assert sum(outcomes.values()) == COMMITTED
    assert race.rows("select count(*) from effect where handler = 'newest_out'") == [
        (outcomes["done"],)
    ]


def test_of_each_contested_key_one_is_published_and_all_know_it(race: Aftermath) -> None:
    """A rolled-back winner leaves a waiter as winner; a loser has learned the committed winner."""
    stored = dict(race.rows("select dedup_key, message_id from outbox.dedup"))
    assert len(stored) == CONTESTED
    for key in range(CONTESTED):
        said = [line for lines in race.said for line in lines if line[0] == key]
        winners = [message for _, message, duplicate, commits in said if commits and not duplicate]
        assert winners == [stored[f"contested:{key}"]]
        assert {message for _, message, duplicate, _ in said if duplicate} <= set(winners)
