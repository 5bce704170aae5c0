"""The page on migration and rollback, its commands run in their order on a database with data."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import psycopg

from schema import migrations
from tests.end_to_end.test_commands import desk_on
from tests.tidy.tree import ROOT

if TYPE_CHECKING:
    from pathlib import Path

BLOCK = re.compile(r"^( *)```sh\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)


def commands_of(name: str) -> list[list[str]]:
    """The commands of a page's blocks, one list of words each."""
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    lines = [line.strip() for _, block in BLOCK.findall(text) for line in block.splitlines()]
    return [line.partition(" > ")[0].split()[1:] for line in lines]


async def test_the_way_up_and_the_way_back_run_as_they_are_written(
    database: str, tmp_path: Path
) -> None:
    """DOC-4, MIG-3, MIG-4: rehearsed on data; afterwards nothing of ours is left."""
    commands = commands_of("rollout.md")
    assert ["migrate"] in commands
    assert ["migrate", "--down", "base"] in commands
    before = migrations.known()[1]
    async with desk_on(database, tmp_path) as desk:
        for days in (30, -1):
            await desk.mentor(days)
        ended = {}
        for words in commands:
            given = [before if word == "REVISION" else word for word in words]
            ran = await desk.run(*given)
            ended[" ".join(given)] = ran.code
            assert ran.code != 2, (given, ran.err)
            assert "Traceback" not in ran.err

    looks = {name: code for name, code in ended.items() if name.startswith(("doctor", "reconcile"))}
    assert {code for name, code in ended.items() if name not in looks} == {0}
    assert looks["reconcile --dry-run"] in {0, 3}  # drift is what a rehearsal may find
    with psycopg.connect(database) as conn:
        left = conn.execute(
            "select to_regclass('outbox.message'), to_regclass('public.cert_expiry_reminders')"
        ).fetchone()
    assert left == (None, None)
