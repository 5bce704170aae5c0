"""The application's part of the doctor: each fault made on a real database, and told once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import schema.migrations
from outbox import Severity
from sagas.doctor import examine

if TYPE_CHECKING:
    from tests.sagas.world import World


async def told(world: World) -> list[str]:
    """What is found, in words; all of it breaks a promise."""
    async with world.transaction() as conn:
        found = await examine(conn)
    assert {one.severity for one in found} <= {Severity.ERROR}
    assert all(one.why and one.cure for one in found)
    return [one.what for one in found]


async def test_the_schema_as_it_is_migrated_is_sound(world: World) -> None:
    """And what is looked for is what there is: every index of ours, that of DED-4 among them."""
    assert await told(world) == []
    rows = await world.rows("select indexname from pg_indexes where schemaname = 'public'")
    there = {row["indexname"] for row in rows}
    looked_for = set(schema.migrations.indexes())
    assert "cert_expiry_reminders_tier_idx" in looked_for
    assert "notification_groups_once_per_dedup_key" in looked_for
    assert looked_for <= there
    existing = {"organisations", "chapters", "peer_mentors", "chapter_memberships", "user_roles"}
    existing |= {"assignments", "certifications", "device_tokens", "activities"}
    assert {name for name in there - looked_for if not name.startswith(tuple(existing))} == set()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            "drop index cert_expiry_reminders_tier_idx",
            "index cert_expiry_reminders_tier_idx of the application is missing",
        ),
        (
            "update pg_index set indisvalid = false where indexrelid = 'job_runs_pkey'::regclass",
            "index job_runs_pkey is invalid",
        ),
        (
            "alter table notifications disable row level security",
            "row-level security of table notifications is off, or not forced",
        ),
        (
            "alter table audit_log no force row level security",
            "row-level security of table audit_log is off, or not forced",
        ),
    ],
)
async def test_what_was_lost_is_told(world: World, spoil: str, said: str) -> None:
    """DED-4, VIS-5."""
    await world.conn.execute(spoil.encode())

    assert await told(world) == [said]


async def test_a_table_that_is_gone_is_told_with_its_indexes(world: World) -> None:
    await world.conn.execute("drop table widened_reads")

    assert await told(world) == [
        "index widened_reads_once_an_hour of the application is missing",
        "table widened_reads of the application is missing",
    ]
