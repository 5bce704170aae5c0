"""Who is nobody, or somebody else's, changes nothing: every endpoint, every table."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

import pytest

from tests.http.front import AUDIT, token

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi import FastAPI

    from tests.http.front import Front

OPEN: Final = {"/healthz"}
OWN: Final = {("put", "/me/devices")}
"""What anybody signed in may do, since it touches nothing of others."""


def operations(api: FastAPI) -> Iterator[tuple[str, str]]:
    """Every method and path of the document."""
    for path, methods in api.openapi()["paths"].items():
        for method in methods:
            if path not in OPEN:
                yield method, path


async def scene(front: Front) -> dict[str, str]:
    """Somebody to attack: a paused mentor with a failed push, a report, an inbox; his ids."""
    world = front.scene.world
    organisation = await world.organisation()
    mentor, _ = await front.scene.followed_mentor(organisation, days=-1)
    await world.conn.execute("update device_tokens set address = 'unreg-' || id")
    await front.scene.night()
    await front.scene.stage.reconcile()
    scenario = await world.value(
        "insert into followup_scenarios (code, name, rule) values ('x', 'x', '{}') returning id"
    )
    return {
        "mentor_id": str(mentor),
        "organisation_id": str(organisation.id),
        "scenario_id": str(scenario),
        "audience": "mentor",
        "name": "nightly",
        **{
            name: str(await world.value(f"select id from {table} limit 1"))
            for name, table in (
                ("notification_id", "notifications"),
                ("log_id", "cert_notification_log"),
                ("report_id", "reconciliation_reports"),
            )
        },
    }


def body(ids: dict[str, str], method: str, path: str) -> Any:  # noqa: PLR0911 - a table
    """A body that would be valid."""
    match method, path:
        case "put", "/me/devices":
            return {"address": "a-new-device"}
        case "post", "/functions/v1/send-push-notifications":
            payload = {"kind": "mentor_paused", "mentor_id": ids["mentor_id"]}
            return {"payload": payload, "recipients": [ids["mentor_id"]]}
        case "put", _ if path.endswith("/enabled"):
            return {"organisation_id": ids["organisation_id"], "enabled": True}
        case "post", "/scenarios/preview":
            rule = {"schema": 1, "anchor": "first_contact", "delay_days": 0}
            activity = {"kind": "first_contact", "occurred_at": "2026-03-01T00:00Z"}
            return {"rule": rule, "activity": activity, "mentor_id": ids["mentor_id"]}
        case "post", "/functions/v1/dispatch-scenario-prompt":
            return {
                "peer_mentor_id": ids["mentor_id"],
                "scenario_id": ids["scenario_id"],
                "device_token": "somebodys",
            }
        case "put", _ if "/policies/" in path:
            return {"lapsed": False}
        case "post", _ if path.endswith(("/pause", "/reactivate")):
            return {"reason": "x"}
        case _:
            return None


@pytest.mark.parametrize(
    "bearer",
    [
        None,
        "not-a-token",
        pytest.param(token(uuid4(), exp=int(time.time()) - 60), id="expired"),
        pytest.param(token(uuid4(), aud="another"), id="audience"),
        pytest.param(token(uuid4(), secret="x" * 40), id="forged"),
        pytest.param(token(None, secret="x" * 40), id="forged service"),
    ],
)
async def test_nobody_gets_401_and_changes_nothing(front: Front, bearer: str | None) -> None:
    ids = await scene(front)
    before = await front.tables()

    for method, path in operations(front.api):
        headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
        answer = await front.http.request(
            method, path.format(**ids), json=body(ids, method, path), headers=headers
        )
        front.documented(method, answer)
        assert answer.status_code == 401, (method, path)

    assert await front.tables() == before


@pytest.mark.parametrize("role", [None, "peer_mentor", "coordinator", "org_admin", "hlf_admin"])
async def test_somebody_elses_gets_403_or_404_and_changes_nothing(
    front: Front, role: str | None
) -> None:
    """Whatever he is in another organisation; only the audit knows that he tried (VIS-9)."""
    ids = await scene(front)
    world = front.scene.world
    foreign = await world.organisation("NHF")
    user = uuid4()
    if role is not None:
        chapter = await world.chapter(foreign)
        await world.coordinator(foreign, chapter, role=role, user=user, device=False)
    if role == "peer_mentor":
        user = await world.mentor(foreign, chapter, device=False)
    before = await front.tables(AUDIT)

    for method, path in operations(front.api):
        if (method, path) in OWN:
            continue
        answer = await front.ask(method, path.format(**ids), user, json=body(ids, method, path))
        if method == "get" and "{" not in path:
            assert answer.status_code == 200, (method, path)
            theirs = [one for name, one in ids.items() if _is_id(one) and name != "scenario_id"]
            assert not [one for one in theirs if one in answer.text]  # rules are all organisations'
        elif path.startswith("/internal/hooks"):
            assert answer.status_code == 401
        else:
            assert answer.status_code in {403, 404}, (method, path, answer.status_code)

    assert await front.tables(AUDIT) == before
    assert await world.value("select bool_and(after ->> 'outcome' = 'refused') from audit_log")


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
