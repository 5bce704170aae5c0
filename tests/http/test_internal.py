"""For machines: jobs, the wake-up, health; and what happens when the database is away."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import httpx
import psycopg
import pytest
from pydantic import SecretStr

from handlers.vault import Vault
from sagas.http.api import build_api
from sagas.http.jobs import JobName
from sagas.timetable import JOBS
from tests.http.front import HOOK_SECRET, settings, token

if TYPE_CHECKING:
    import io

    from tests.http.front import Front


async def test_the_service_role_starts_the_night(front: Front) -> None:
    """OPS-3: the same entry point as the command; asked again it finds everything done."""
    organisation = await front.scene.world.organisation()
    await front.scene.followed_mentor(organisation, days=30)

    first = await front.ask("POST", "/internal/jobs/nightly/run?wait=true")
    again = await front.ask("POST", "/internal/jobs/nightly/run?wait=true")

    assert first.status_code == again.status_code == 200
    assert first.json()["summary"]["outcome"] == "completed"
    assert first.json()["summary"]["total"]["created"] == 2
    assert again.json()["summary"]["total"]["created"] == 0
    run = await front.scene.world.value(
        "select count(*) from job_runs where id = %s and status = 'done'", first.json()["run_id"]
    )
    assert run == 1


@pytest.mark.parametrize("job", JOBS[1:])
async def test_the_other_jobs_run_too(front: Front, job: str) -> None:
    """OPS-3: every job of the timetable, through its one door."""
    assert {each.value for each in JobName} == {*JOBS}
    await front.scene.known_mentor(await front.scene.world.organisation())

    answer = await front.ask("POST", f"/internal/jobs/{job}/run?wait=true")

    assert answer.status_code == 200
    assert answer.json()["summary"]["outcome"] == "completed"
    assert await front.scene.world.value("select job_name from job_runs") == job


async def test_a_job_that_is_not_waited_for_ends_all_the_same(front: Front) -> None:
    """The server does not end before it has."""
    await front.scene.followed_mentor(await front.scene.world.organisation(), days=-1)

    answer = await front.ask("POST", "/internal/jobs/sweep/run")
    await front.api.state.desk.jobs.aclose()

    assert (answer.status_code, answer.json()["status"]) == (202, "started")
    assert (
        await front.scene.world.value("select count(*) from peer_mentors where status = 'paused'")
        == 1
    )


async def test_a_person_starts_no_job(front: Front) -> None:
    """SEC-2: whatever role the tables give him."""
    admin = await front.scene.world.coordinator(
        await front.scene.world.organisation(), role="hlf_admin"
    )
    before = await front.tables()

    answer = await front.ask("POST", "/internal/jobs/nightly/run", admin)
    unknown = await front.ask("POST", "/internal/jobs/drop-everything/run")

    assert (answer.status_code, answer.json()["code"]) == (403, "service_only")
    assert unknown.status_code == 422
    assert await front.tables() == before


async def test_the_webhook_wakes_relays_and_is_believed_in_nothing_else(front: Front) -> None:
    """SYN-6: by its secret or the service role; its row is not read, however it looks."""
    async with await psycopg.AsyncConnection.connect(
        front.scene.world.dsn, autocommit=True
    ) as conn:
        await conn.execute("listen outbox")
        for headers in (
            {"X-Hook-Secret": HOOK_SECRET},
            {"Authorization": f"Bearer {token(None)}"},
        ):
            answer = await front.http.post(
                "/internal/hooks/visibility", content=b"{not json", headers=headers
            )
            assert answer.status_code == 204
        heard = [note.channel async for note in conn.notifies(timeout=10, stop_after=2)]

    assert heard[:1] == ["outbox"]


@pytest.mark.parametrize(
    "headers", [{}, {"X-Hook-Secret": ""}, {"X-Hook-Secret": "guessed"}, {"X-Hook-Secret": "å"}]
)
async def test_without_its_secret_the_webhook_is_nobody(
    front: Front, headers: dict[str, str]
) -> None:
    encoded = {name.encode(): value.encode() for name, value in headers.items()}
    answers = [await front.http.post("/internal/hooks/visibility", headers=list(encoded.items()))]
    person = {"Authorization": f"Bearer {token(uuid4())}"}
    answers.append(await front.http.post("/internal/hooks/visibility", headers=person))

    assert [answer.status_code for answer in answers] == [401, 401]


async def test_the_vault_s_secret_opens_the_webhook(front: Front) -> None:
    """SEC-1: it takes the place of the settings'; one that is too short to be one does not."""
    world, now = front.scene.world, front.scene.stage.clock.now
    put = (
        "insert into vault._plain (name, secret) values ('db_webhook_secret', %s)"
        " on conflict (name) do update set secret = excluded.secret"
    )
    statuses = []
    for held in ("s", "the-webhook-s-own-secret-of-32-bytes"):
        await world.conn.execute(put, [held])
        vault = Vault(SecretStr(world.dsn), now=now)
        front.scene.stage.app.hook_secret = lambda: vault.secrets().get("db_webhook_secret")  # noqa: B023 - asked in this turn
        for given in (held, HOOK_SECRET):
            answer = await front.http.post(
                "/internal/hooks/visibility", headers={"X-Hook-Secret": given}
            )
            statuses.append(answer.status_code)

    assert statuses == [401, 204, 204, 401]


async def test_health_is_asked_without_a_token(front: Front) -> None:
    answer = await front.http.get("/healthz")

    assert (answer.status_code, answer.json()) == (200, {"alive": True, "database": True})


async def test_a_database_that_is_away_is_a_503_that_says_when_to_come_back(front: Front) -> None:
    api = build_api(front.scene.stage.app, settings(), "postgresql://nobody@127.0.0.1:1/none")
    transport = httpx.ASGITransport(api, raise_app_exceptions=False)
    async with (
        api.router.lifespan_context(api),
        httpx.AsyncClient(transport=transport, base_url="http://surface") as http,
    ):
        head = {"Authorization": f"Bearer {token(uuid4())}"}
        answers = [await http.get("/healthz"), await http.get("/me/notifications", headers=head)]

    for answer in answers:
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "5"
        assert answer.json()["code"] == "database_unavailable"


async def test_a_fault_of_ours_is_told_by_its_kind_alone(
    front: Front, production_logs: io.StringIO
) -> None:
    """P12: the text of an error may quote a value; neither the answer nor the log has it."""

    @front.api.get("/me/fault")
    async def fault() -> None:
        problem = "marker-of-a-value"
        raise RuntimeError(problem)

    answer = await front.http.get(
        "/me/fault", headers={"Authorization": f"Bearer {token(uuid4())}"}
    )

    assert (answer.status_code, answer.json()["code"]) == (500, "fault")
    assert '"error_type": "RuntimeError"' in production_logs.getvalue()
    assert "marker" not in answer.text + production_logs.getvalue()
