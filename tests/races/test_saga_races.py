"""Eight runners on the same instances: serial for each, side by side across, and no deadlock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from outbox import Publication, publish_many
from tests.races.saga_worker import TABLES, Pressed, application

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Server

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
RUNNERS, HOT, SUBJECTS, EACH = 8, 200, 40, 3
DEADLOCKS = "select deadlocks from pg_stat_database where datname = current_database()"


@pytest.fixture(scope="module")
def race(server: Server) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """One hot instance and many others, each reached under many ordering keys at once."""
    with server.fresh(migrated=True) as dsn, psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(TABLES)
        _register(conn)
        subjects = [f"subject:{number % SUBJECTS}" for number in range(SUBJECTS * EACH)]
        pressed = ["hot", *subjects][: len(subjects)] + ["hot"] * HOT
        with conn.transaction():
            publish_many(
                conn,
                [  # keys that say nothing of the instance: batches of several runners meet at it
                    Publication(message=Pressed(subject=subject), key=f"key:{number % 97}")
                    for number, subject in enumerate(sorted(pressed, key=hash))
                ],
            )
        _run(dsn)
        yield conn


def _register(conn: psycopg.Connection[tuple[Any, ...]]) -> None:
    for topic, handler, ordered in application().routes():
        conn.execute(
            "insert into outbox.route (topic, handler, ordered) values (%s, %s, %s)",
            (topic, handler, ordered),
        )


def _run(dsn: str) -> None:
    command = [sys.executable, "-m", "tests.races.saga_worker", dsn]
    runners = [
        subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )
        for _ in range(RUNNERS)
    ]  # fmt: skip
    try:
        for runner in runners:
            assert runner.stdout is not None
            while (line := runner.stdout.readline()) and line != "ready\n":
                pass
            assert line, runner.communicate()[1]
        for runner in runners:
            assert runner.stdin is not None
            runner.stdin.write("go\n")
            runner.stdin.flush()
        ends = [runner.communicate(timeout=120) for runner in runners]
    finally:
        for runner in runners:
            runner.kill()
    assert [runner.returncode for runner in runners] == [0] * RUNNERS, ends[0][1]


def test_eight_runners_on_one_instance_give_one_serial_history(
    race: psycopg.Connection[tuple[Any, ...]],
) -> None:
    """Each transition begins where the one before ended, whoever made it."""
    for saga in ("left", "right"):
        found = race.execute(
            "select t.version, (t.change #>> '{fields,count,0}')::int,"
            " (t.change #>> '{fields,count,1}')::int"
            " from outbox.saga_transition as t join outbox.saga as s on s.id = t.saga_id"
            " where s.name = %s and s.key = 'hot' order by t.version",
            [saga],
        ).fetchall()
        assert found == [(n + 1, n - 1, n) for n in range(1, len(found) + 1)]
        assert len(found) >= HOT


def test_every_message_moved_its_instance_once(
    race: psycopg.Connection[tuple[Any, ...]],
) -> None:
    """Two sagas race for each subject; nothing is lost, doubled or left between them."""
    messages, transitions, moved, left = race.execute(
        "select (select count(*) from outbox.message where topic = 'race.pressed'),"
        " (select count(*) from outbox.saga_transition),"
        " (select count(distinct (saga_id, message_id)) from outbox.saga_transition),"
        " (select count(*) from outbox.delivery)"
    ).fetchone() or (0, 0, 0, 0)
    counts = race.execute("select sum((state ->> 'count')::int) from outbox.saga").fetchone()

    assert transitions == moved == 2 * messages
    assert counts == (2 * messages,)
    assert left == 0
    assert race.execute("select * from outbox.dead_letter").fetchall() == []


def test_two_sagas_racing_for_a_subject_give_it_one_history(
    race: psycopg.Connection[tuple[Any, ...]],
) -> None:
    broken = race.execute(
        "select subject from turn group by subject having max(version) <> count(*)"
    ).fetchall()
    both = race.execute("select count(distinct by) from turn where subject = 'hot'").fetchone()
    turns = race.execute("select count(*) from turn").fetchone()

    assert broken == []
    assert both == (2,)
    assert turns == race.execute("select count(*) from outbox.saga_transition").fetchone()


def test_no_two_of_them_waited_for_each_other(
    race: psycopg.Connection[tuple[Any, ...]],
) -> None:
    """Batches lock their instances in the order of keys, so there is no ring to be broken."""
    assert race.execute(DEADLOCKS).fetchone() == (0,)
