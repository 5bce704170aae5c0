"""Policies on the database: who may change them, what is refused, and what runs make of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.texts import Audience
from sagas.coordinator import Forbidden
from sagas.policies import UnknownOrganisation, set_overrides, set_policy, standings
from sagas.policy import DEFAULTS, Grouping, InvalidPolicy, policy_from_row

if TYPE_CHECKING:
    from uuid import UUID

    from sagas.policies import PolicyChange
    from sagas.run import Organisation
    from tests.sagas.world import World

MENTOR, COORDINATOR = Audience.MENTOR, Audience.COORDINATOR

INSERT = """
    insert into notification_policies (
        organisation_id, audience, thresholds, lapsed, cadence, per_run_date_tiers, grouping,
        in_doubt, lapsed_lookback_days, guard_hours
    )
    values (
        %(organisation_id)s, 'mentor', %(thresholds)s, %(lapsed)s, %(cadence)s,
        %(per_run_date_tiers)s::text[], %(grouping)s, %(in_doubt)s, %(lapsed_lookback_days)s,
        %(guard_hours)s
    )
"""


VALID = {
    "thresholds": st.lists(st.integers(1, 365), min_size=1, max_size=8, unique=True).map(
        lambda days: sorted(days, reverse=True)
    ),
    "lapsed": st.booleans(),
    "cadence": st.sampled_from(["once_per_tier", "per_run_date"]),
    "per_run_date_tiers": st.lists(st.just("lapsed")),
    "grouping": st.sampled_from(["per_run", "per_tier", "per_mentor"]),
    "in_doubt": st.sampled_from(["hold", "resend_once"]),
    "lapsed_lookback_days": st.integers(0, 3650),
    "guard_hours": st.integers(0, 168),
}
ODD: dict[str, st.SearchStrategy[Any]] = {
    "thresholds": st.lists(st.integers(-1, 367), max_size=9) | st.permutations([60, 30, 7]),
    "cadence": st.just("often"),
    "per_run_date_tiers": st.lists(st.sampled_from(["30", "7", "lapsed", "030", ""])),
    "grouping": st.just("in pairs"),
    "in_doubt": st.just("shrug"),
    "lapsed_lookback_days": st.sampled_from([-1, 3651]),
    "guard_hours": st.sampled_from([-1, 169]),
}
SETTINGS = st.one_of(
    st.fixed_dictionaries(VALID),
    *(st.fixed_dictionaries({**VALID, name: odd}) for name, odd in ODD.items()),
)
"""Valid ones, and such as are odd in one place."""


async def change(
    world: World, organisation: Organisation, actor: UUID, audience: Audience, **values: object
) -> PolicyChange:
    """A change at the world's now, committed."""
    async with await psycopg.AsyncConnection.connect(world.dsn) as conn:
        return await set_policy(
            conn, organisation_id=organisation.id, audience=audience, values=values,
            actor_id=actor, now=world.now, request_id="r-1",
        )  # fmt: skip


async def switch(world: World, organisation: Organisation, actor: UUID, *, enabled: bool) -> bool:
    """The flag of the organisation's own policies, switched by somebody."""
    async with await psycopg.AsyncConnection.connect(world.dsn) as conn:
        return await set_overrides(
            conn, organisation_id=organisation.id, enabled=enabled, actor_id=actor,
            now=world.now, reason="pilot",
        )  # fmt: skip


async def told(world: World) -> list[tuple[str, str]]:
    """Alerts opened and closed about policies, in the order of their messages."""
    rows = await world.rows(
        "select topic, payload ->> 'subject' as subject, key from outbox.message"
        " where payload ->> 'type' = 'invalid_policy' order by id"
    )
    assert all(row["key"].endswith(row["subject"]) for row in rows)
    return [(row["topic"], row["subject"]) for row in rows]


def test_cfg_5_python_and_the_table_refuse_the_same(database: str) -> None:
    """CFG-5: whoever writes past one of them meets the other, and neither refuses more."""
    with psycopg.connect(database, autocommit=True) as conn:
        organisation = uuid4()
        conn.execute(
            "insert into organisations (id, code, name) values (%s, 'HLF', 'HLF')", [organisation]
        )
        seen = set()

        @given(SETTINGS)
        def agree(values: dict[str, Any]) -> None:
            try:
                policy_from_row(MENTOR, values)
                read = True
            except InvalidPolicy:
                read = False
            try:
                with conn.transaction(force_rollback=True):
                    conn.execute(INSERT, {"organisation_id": organisation, **values})
                written = True
            except psycopg.errors.CheckViolation:
                written = False
            assert read == written
            seen.add(read)

        agree()
        assert seen == {True, False}


async def test_cfg_1_a_change_names_what_was_before_and_after(world: World) -> None:
    """CFG-1, AUD-1: settings not named stay, those never set come from the defaults."""
    organisation = await world.organisation()
    admin = await world.coordinator(organisation, role="org_admin")

    first = await change(world, organisation, admin, COORDINATOR, thresholds=[60, 30, 14, 7])
    second = await change(world, organisation, admin, COORDINATOR, grouping="per_tier")

    assert (first.before, first.overrides) == (None, False)
    assert second.before == first.after.as_json()
    assert (second.after.thresholds, second.after.grouping) == ((60, 30, 14, 7), Grouping.PER_TIER)
    rows = await world.rows("select * from audit_log order by id")
    assert [(row["action"], row["actor_id"], row["actor_role"]) for row in rows] == [
        ("policy.set", admin, "org_admin")
    ] * 2
    assert rows[1]["before"] == first.after.as_json()
    assert rows[1]["after"] == second.after.as_json()
    assert rows[1]["subject"] == {"audience": "coordinator"}
    assert (rows[1]["organisation_id"], rows[1]["request_id"]) == (organisation.id, "r-1")
    stored = await world.rows("select updated_by, updated_at from notification_policies")
    assert stored == [{"updated_by": admin, "updated_at": world.now}]


@pytest.mark.parametrize("role", ["coordinator", "chapter_admin", "peer_mentor", None])
async def test_only_administrators_change_policies_and_a_refusal_is_kept(
    world: World, role: str | None
) -> None:
    """AUD-1: of another organisation, or without the role: nothing changes."""
    organisation, other = await world.organisation(), await world.organisation("NHF")
    actor = await world.coordinator(other, role="org_admin")
    if role is not None:
        await world.coordinator(organisation, role=role, user=actor)

    with pytest.raises(Forbidden, match="administrator"):
        await change(world, organisation, actor, MENTOR, thresholds=[14])
    with pytest.raises(Forbidden):
        await switch(world, organisation, actor, enabled=True)

    assert await world.value("select count(*) from notification_policies") == 0
    assert await world.value("select count(*) from feature_flags") == 0
    rows = await world.rows("select action, actor_role, after from audit_log order by id")
    assert [tuple(row.values()) for row in rows] == [
        ("policy.set", "none", {"outcome": "refused"}),
        ("policy.overrides", "none", {"outcome": "refused"}),
    ]


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"thresholds": [7, 30]}, "strictly descend"),
        ({"thresholds": [400]}, "1 to 365"),
        ({"guard_hours": 169}, "guard_hours is 0 to 168"),
        ({"cadence": "hourly"}, "cadence is once_per_tier or per_run_date"),
        ({"thresholds": [30], "per_run_date_tiers": ["7"]}, "tiers of the policy"),
        ({"grace_days": 3}, "the settings are thresholds, lapsed"),
    ],
    ids=["ascending", "too far", "too long", "unknown word", "foreign tier", "unknown setting"],
)
async def test_cfg_5_what_is_not_valid_is_refused_on_write_and_says_why(
    world: World, values: dict[str, object], rule: str
) -> None:
    organisation = await world.organisation()
    admin = await world.coordinator(organisation, role="hlf_admin")

    with pytest.raises(InvalidPolicy, match=rule):
        await change(world, organisation, admin, MENTOR, **values)

    assert await world.value("select count(*) from notification_policies") == 0
    assert await world.value("select count(*) from audit_log") == 0


async def test_nobody_changes_what_is_not_there(world: World) -> None:
    actor = uuid4()
    async with await psycopg.AsyncConnection.connect(world.dsn) as conn:
        with pytest.raises(UnknownOrganisation):
            await set_overrides(
                conn, organisation_id=uuid4(), enabled=True, actor_id=actor, now=world.now
            )


async def test_t1_11_thresholds_follow_the_configuration_and_its_flag(world: World) -> None:
    """T1.11, CFG-1, CFG-3: an administrator's words alone, no code; off again, defaults again."""
    organisation = await world.organisation()
    admin = await world.coordinator(organisation, role="org_admin")
    await world.coordinator(organisation)
    await world.mentor(organisation, days=60)
    await change(world, organisation, admin, COORDINATOR, thresholds=[60, 30, 14, 7])

    off = await world.remind(organisation, COORDINATOR)
    assert await switch(world, organisation, admin, enabled=True)
    on = await world.remind(organisation, COORDINATOR)
    assert not await switch(world, organisation, admin, enabled=True)
    await world.mentor(organisation, days=60)
    assert await switch(world, organisation, admin, enabled=False)
    again = await world.remind(organisation, COORDINATOR)

    assert (off.created, on.created, again.created) == (0, 1, 0)
    rows = await world.rows(
        "select before, after, reason from audit_log where action = 'policy.overrides' order by id"
    )
    assert [(row["before"]["enabled"], row["after"]["enabled"]) for row in rows] == [
        (False, True), (True, True), (True, False)
    ]  # fmt: skip
    assert {row["reason"] for row in rows} == {"pilot"}


async def test_cfg_5_an_invalid_policy_is_one_organisations_own_trouble(world: World) -> None:
    """CFG-5: defaults and an alert there, its own policy in the next; mended, the alert closes."""
    hlf, nhf = await world.organisation("HLF"), await world.organisation("NHF")
    admin = await world.coordinator(hlf, role="org_admin")
    await world.conn.execute(
        "alter table notification_policies drop constraint notification_policies_thresholds_descend"
    )
    await world.policy(hlf, "mentor", [7, 30])
    await world.policy(nhf, "mentor", [90])
    for organisation in (hlf, nhf):
        await world.flag(organisation)
        await world.mentor(organisation, days=60)
        await world.mentor(organisation, days=90)

    created = [(await world.remind(one, MENTOR)).created for one in (hlf, nhf)]
    shown = await standings(world.conn, hlf.id, now=world.now)

    assert created == [1, 2]  # at 60 by the defaults; at 60 and 90 in the band of 90
    assert await told(world) == [("alert.open", "mentor")]
    assert shown[MENTOR].in_force == DEFAULTS[MENTOR]
    assert shown[MENTOR].as_json()["own"]["thresholds"] == [7, 30]
    assert shown[MENTOR].as_json()["refused"] == "thresholds strictly descend"
    assert shown[COORDINATOR].as_json() == {
        "audience": "coordinator", "in_force": DEFAULTS[COORDINATOR].as_json(), "own": None,
        "overrides": True, "refused": None,
    }  # fmt: skip

    await world.conn.execute(
        "insert into dashboard_alerts (type, organisation_id, subject, text)"
        " values ('invalid_policy', %s, 'mentor', 't')",
        [hlf.id],
    )
    await change(world, hlf, admin, MENTOR, thresholds=[30, 7])
    assert await told(world) == [("alert.open", "mentor"), ("alert.close", "mentor")]


async def test_an_alert_about_a_policy_that_is_gone_closes_with_the_next_run(world: World) -> None:
    """Whoever mends the rows by hand need not think of the alert."""
    organisation = await world.organisation()
    await world.conn.execute(
        "insert into dashboard_alerts (type, organisation_id, subject, text)"
        " values ('invalid_policy', %s, 'coordinator', 't')",
        [organisation.id],
    )

    await world.remind(organisation)

    assert await told(world) == [("alert.close", "coordinator")]
