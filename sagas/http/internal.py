"""For machines: jobs by the service role, the wake-up of a database webhook, and health."""

import hmac
from http import HTTPStatus
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import SecretStr

from outbox import queries_doctor
from sagas.http.desk import AtDesk, Desk, Service
from sagas.http.fields import Told
from sagas.http.jobs import JobName
from sagas.http.problems import Refusal, refusals
from sagas.http.settings import SECRET_BYTES_MIN
from sagas.http.tokens import Caller, Role

router = APIRouter(tags=["internal"])


class JobRun(Told):
    """A run of a job; `summary` when it was waited for, and did not fail: the log tells why."""

    job: JobName
    run_id: UUID
    status: Literal["started", "ended", "failed"]
    summary: dict[str, Any] | None = None


class Health(Told):
    """The surface answers, and so does its database."""

    alive: bool
    database: bool


@router.post(
    "/internal/jobs/{name}/run",
    responses={
        HTTPStatus.ACCEPTED.value: {"model": JobRun, "description": "Started; it goes on"},
        **refusals(HTTPStatus.FORBIDDEN),
    },
)
async def run_job(
    desk: AtDesk,
    caller: Service,  # noqa: ARG001 - only the service role gets here
    response: Response,
    name: JobName,
    wait: Annotated[bool, Query(description="Answer when it has ended.")] = False,  # noqa: FBT002 - a query's name
) -> JobRun:
    """Start a job as its command does; one that runs already is not run twice."""
    run_id, running = desk.jobs.start(name)
    if not wait:
        response.status_code = HTTPStatus.ACCEPTED
        return JobRun(job=name, run_id=run_id, status="started")
    summary = await running
    if summary is None:
        return JobRun(job=name, run_id=run_id, status="failed")
    return JobRun(job=name, run_id=run_id, status="ended", summary=dict(summary))


@router.post(
    "/internal/hooks/visibility",
    status_code=HTTPStatus.NO_CONTENT,
    response_class=Response,
    responses=refusals(),
)
async def wake_up(
    request: Request,
    desk: AtDesk,
    x_hook_secret: Annotated[str | None, Header(description="The secret of the webhook.")] = None,
) -> None:
    """Wake sleeping relays (SYN-6). Nothing of the body is read: the outbox row is the truth."""
    caller: Caller | None = request.state.caller
    by_service = caller is not None and caller.role is Role.SERVICE
    secret = _hook_secret(desk)
    by_secret = (
        secret is not None
        and x_hook_secret is not None
        and hmac.compare_digest(x_hook_secret.encode(), secret.get_secret_value().encode())
    )
    if not by_service and not by_secret:
        raise Refusal(HTTPStatus.UNAUTHORIZED, "hook_secret_wrong")
    async with desk.sessions.service() as conn:
        await queries_doctor.ring(conn, "")


@router.get(
    "/healthz",
    responses={
        code: told
        for code, told in refusals().items()
        if code in {HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.SERVICE_UNAVAILABLE}
    },
)
async def tell_health(desk: AtDesk) -> Health:
    """200 while the database answers; 503 when it does not."""
    async with desk.sessions.service():
        return Health(alive=True, database=True)


def _hook_secret(desk: Desk) -> SecretStr | None:
    """The vault's, if it holds one that is long enough, else that of the settings."""
    held = desk.app.hook_secret()
    if held is not None and len(held.get_secret_value().encode()) >= SECRET_BYTES_MIN:
        return held
    return desk.hook_secret
