"""Pushes: sending one again, and the two functions that the app's first version calls (DSP-9)."""

from http import HTTPStatus
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sagas import prompt_push, push_retry, status_push
from sagas.coordinator import Forbidden
from sagas.http import queries
from sagas.http.desk import AtDesk, Person
from sagas.http.fields import Address, Code, Told
from sagas.http.problems import Refusal, not_found, refusals, request_id_of

router = APIRouter(tags=["dispatches"])

_REFUSED = (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)
_LISTED_MAX = 200


class RetriedDispatch(Told):
    """What a retry led to; `repeated`: an earlier click within a minute did it already.

    `may_arrive_twice`: nobody knows whether the first one arrived, and the push says so (DED-12).
    """

    log_id: UUID
    deliveries: int
    may_arrive_twice: bool
    repeated: bool


class StatusPayload(BaseModel):
    """What the push is about. Texts that older clients send along are not used (PII-3)."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    kind: Literal["mentor_paused", "mentor_reactivated"]
    mentor_id: UUID
    reason: Annotated[Code | None, Field(description="Ignored: the server knows why.")] = None


class PushOrder(BaseModel):
    """Whom to push to: people, addresses of their devices, or both."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    payload: StatusPayload
    recipients: list[UUID] = Field(default=[], max_length=_LISTED_MAX)
    tokens: list[Address] = Field(default=[], max_length=_LISTED_MAX)

    @model_validator(mode="after")
    def _somebody(self) -> "PushOrder":
        if not self.recipients and not self.tokens:
            problem = "recipients or tokens must name somebody"
            raise ValueError(problem)
        return self


class Ordered(Told):
    """Pushes on their way, counted in people as `DispatchResult` counts them."""

    event: str
    mentorId: UUID  # noqa: N815 - the name that clients know
    recipientCount: int  # noqa: N815 - as above
    queuedCount: int  # noqa: N815 - as above
    noTokenCount: int  # noqa: N815 - as above


class PromptOrder(BaseModel):
    """Whom to prompt by which rule; the device must be his own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    peer_mentor_id: UUID
    scenario_id: UUID
    device_token: Address


class Prompted(Told):
    """What came of it: prompts on their way, and those that were sent before."""

    peerMentorId: UUID  # noqa: N815 - the name that clients know
    scenarioId: UUID  # noqa: N815 - as above
    queuedCount: int  # noqa: N815 - as above
    skippedCount: int  # noqa: N815 - as above


@router.post(
    "/dispatches/{log_id}/retry",
    status_code=HTTPStatus.ACCEPTED,
    responses=refusals(*_REFUSED),
)
async def retry_dispatch(
    request: Request, desk: AtDesk, caller: Person, log_id: UUID
) -> RetriedDispatch:
    """Send a push again that failed, or that may not have arrived; clicks within 60 s are one."""
    assert caller.user_id is not None, "a person has an id"
    try:
        async with desk.sessions.service(caller) as conn:
            done = await push_retry.retry_dispatch(
                conn,
                app=desk.app,
                log_id=log_id,
                actor_id=caller.user_id,
                now=desk.now(),
                request_id=request_id_of(request),
            )
    except (Forbidden, push_retry.UnknownDispatch):
        raise not_found("dispatch") from None  # the log is nobody's to look into (VIS-5)
    except push_retry.NothingToRetry as error:
        detail = f"it is {error.status}; only one that failed, or is unknown, is sent again"
        raise Refusal(HTTPStatus.CONFLICT, "nothing_to_retry", detail) from None
    return RetriedDispatch(
        log_id=log_id,
        deliveries=done.deliveries,
        may_arrive_twice=done.was == "unknown",
        repeated=done.repeated,
    )


@router.post(
    "/functions/v1/send-push-notifications",
    status_code=HTTPStatus.ACCEPTED,
    responses=refusals(*_REFUSED),
)
async def send_push_notifications(
    request: Request, desk: AtDesk, caller: Person, order: PushOrder
) -> Ordered:
    """Tell people that a mentor was paused or is active again; the text is the server's own.

    Everybody named must be the mentor or follow him up, and so must the caller.
    """
    assert caller.user_id is not None, "a person has an id"
    wanted = status_push.Order(
        mentor_id=order.payload.mentor_id,
        kind=order.payload.kind,
        recipients=frozenset(order.recipients),
        addresses=frozenset(order.tokens),
        actor_id=caller.user_id,
        now=desk.now(),
        request_id=request_id_of(request),
    )
    try:
        async with desk.sessions.service(caller) as conn:
            told = await status_push.send(conn, wanted)
    except status_push.StateDiffers as error:
        detail = f"the mentor is {error.status}"
        raise Refusal(HTTPStatus.CONFLICT, "state_differs", detail) from None
    except Forbidden:
        async with desk.sessions.person(caller) as conn:
            if not await queries.sees_mentor(conn, wanted.mentor_id):
                raise not_found("mentor") from None
        raise Refusal(HTTPStatus.FORBIDDEN, "forbidden") from None
    return Ordered(
        event=wanted.kind,
        mentorId=wanted.mentor_id,
        recipientCount=told.recipients,
        queuedCount=told.queued,
        noTokenCount=told.without_device,
    )


@router.post(
    "/functions/v1/dispatch-scenario-prompt",
    status_code=HTTPStatus.ACCEPTED,
    responses=refusals(*_REFUSED),
)
async def dispatch_scenario_prompt(
    request: Request, desk: AtDesk, caller: Person, order: PromptOrder
) -> Prompted:
    """Prompt a mentor about what is due of one rule, each activity once; the server judges."""
    assert caller.user_id is not None, "a person has an id"
    wanted = prompt_push.Order(
        mentor_id=order.peer_mentor_id,
        scenario_id=order.scenario_id,
        address=order.device_token,
        actor_id=caller.user_id,
        now=desk.now(),
        request_id=request_id_of(request),
    )
    try:
        async with desk.sessions.service(caller) as conn:
            found = await prompt_push.send(conn, wanted)
    except prompt_push.NotEnabled:
        raise Refusal(HTTPStatus.CONFLICT, "not_enabled", "the rule is not on") from None
    except Forbidden:
        async with desk.sessions.person(caller) as conn:
            if not await queries.sees_mentor(conn, wanted.mentor_id):
                raise not_found("mentor") from None
        raise Refusal(HTTPStatus.FORBIDDEN, "forbidden") from None
    return Prompted(
        peerMentorId=wanted.mentor_id,
        scenarioId=wanted.scenario_id,
        queuedCount=found.claimed + found.retried,
        skippedCount=found.skipped,
    )
