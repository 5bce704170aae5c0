"""What is done about one mentor: his portal sync, his pause; and the alerts that ask for it."""

import asyncio
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from sagas import coordinator, manual_pause
from sagas.coordinator import Forbidden
from sagas.http import queries
from sagas.http.desk import AtDesk, Desk, Person
from sagas.http.fields import Before, Given, Limit, Line, MentorId, Told
from sagas.http.problems import Refusal, not_found, refusals, request_id_of
from sagas.http.sentences import told, told_of
from sagas.http.tokens import Caller
from sagas.visibility import ALERTS

router = APIRouter(tags=["mentors"])

WAIT_SECONDS_MAX: Final = 10
_LOOK_EVERY: Final = 0.2
_REFUSED: Final = (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)

_WHY_NOT: Final = {
    "inactive": (HTTPStatus.CONFLICT, "the mentor has left"),
    "certificate_lapsed": (HTTPStatus.CONFLICT, "the pause ends when the certificate is renewed"),
    "own_certificate_pause": (
        HTTPStatus.FORBIDDEN,
        "a pause for a lapsed certificate is not lifted by the mentor himself",
    ),
}


class Deeds(Told):
    """The buttons of an alert: where they lead, and what stands on them (ALR-2)."""

    retry: str
    retry_label: str
    force: str
    force_label: str


class Alert(Told):
    """Something that asks for a person; `meaning` and `action` are in the language asked for."""

    id: UUID
    type: str
    organisation_id: UUID | None
    mentor_id: UUID | None
    text: str
    meaning: str
    action: str
    severity: Literal["info", "warning", "critical"]
    hint: str | None
    opened_at: datetime
    due_at: datetime | None
    resolved_at: datetime | None
    deeds: Deeds | None


class Alerts(Told):
    """A page of alerts, the newest first; `next` is the `before` of the next page."""

    items: list[Alert]
    next: UUID | None


class SyncEvent(Told):
    """How the newest version of a mentor's visibility stands."""

    version: int
    visible: bool
    reason: str | None
    status: Literal["pending", "accepted", "delivered"]
    attempts: int
    last_code: str | None
    changed_at: datetime | None
    acked_at: datetime | None


class RetriedSync(Told):
    """What a retry led to; `repeated`: an earlier click within a minute did it already."""

    mentor_id: UUID
    made_due: int
    redriven: int
    repeated: bool
    message: str
    event: SyncEvent | None


class ForcedSync(Told):
    """The version a forced sync published, and how it stands now."""

    mentor_id: UUID
    version: int
    repeated: bool
    message: str
    event: SyncEvent | None


class Reason(Given):
    """Why, in the words of whoever acts."""

    reason: Line | None = None


class StatusChange(Told):
    """The mentor's status; `changed` False: it was so already."""

    mentor_id: UUID
    status: Literal["active", "paused"]
    changed: bool
    version: int
    message: str


@router.get("/coordinator/alerts", responses=refusals(HTTPStatus.FORBIDDEN))
async def list_alerts(
    desk: AtDesk,
    caller: Person,
    before: Before = None,
    limit: Limit = 50,
    state: Annotated[Literal["open", "resolved", "all"], Query()] = "open",
) -> Alerts:
    """Alerts about whom the caller answers for."""
    async with desk.sessions.person(caller) as conn:
        found = await queries.my_alerts(conn, state=state, before=before, limit=limit)
    items = [
        Alert(
            **row,
            meaning=told_of("alert", row["type"], ".meaning"),
            action=told_of("alert", row["type"], ".action"),
            deeds=_deeds(row["type"], row["mentor_id"]),
        )
        for row in found
    ]
    return Alerts(items=items, next=items[-1].id if len(items) == limit else None)


@router.post(
    "/mentors/{mentor_id}/sync/retry",
    status_code=HTTPStatus.ACCEPTED,
    responses=refusals(*_REFUSED),
)
async def retry_sync(
    request: Request, desk: AtDesk, caller: Person, mentor_id: MentorId
) -> RetriedSync:
    """Try now what waits or was given up; clicks within 60 s are one (SYN-8)."""
    try:
        async with desk.sessions.service(caller) as conn:
            done = await coordinator.retry_sync(
                conn,
                app=desk.app,
                mentor_id=mentor_id,
                actor_id=_actor(caller),
                now=desk.now(),
                request_id=request_id_of(request),
            )
            event = await queries.sync_event(conn, mentor_id)
    except Forbidden as error:
        raise await _refusal(desk, caller, mentor_id, error) from None
    return RetriedSync(
        mentor_id=mentor_id,
        made_due=done.made_due,
        redriven=done.redriven,
        repeated=done.repeated,
        message=told("retry-done", count=done.made_due + done.redriven),
        event=None if event is None else SyncEvent(**event),
    )


@router.post(
    "/mentors/{mentor_id}/sync/force",
    responses={
        HTTPStatus.ACCEPTED.value: {
            "model": ForcedSync,
            "description": "On its way; not confirmed by the portal yet",
        },
        **refusals(*_REFUSED),
    },
)
async def force_sync(  # noqa: PLR0913, PLR0917 - what one request is made of
    request: Request,
    response: Response,
    desk: AtDesk,
    caller: Person,
    mentor_id: MentorId,
    wait: Annotated[
        float, Query(ge=0, le=WAIT_SECONDS_MAX, description="Seconds to wait for the portal.")
    ] = 0,
) -> ForcedSync:
    """Send the same state under a new version; 200 once the portal confirmed it (SYN-9)."""
    try:
        async with desk.sessions.service(caller) as conn:
            forced = await coordinator.force_sync(
                conn,
                mentor_id=mentor_id,
                actor_id=_actor(caller),
                now=desk.now(),
                request_id=request_id_of(request),
            )
    except Forbidden as error:
        raise await _refusal(desk, caller, mentor_id, error) from None
    event = await _confirmed(desk, mentor_id, forced.version, wait)
    if event is None or event.status != "delivered" or event.version < forced.version:
        response.status_code = HTTPStatus.ACCEPTED
    return ForcedSync(
        mentor_id=mentor_id,
        version=forced.version,
        repeated=forced.repeated,
        message=told("force-done"),
        event=event,
    )


@router.post("/mentors/{mentor_id}/pause", responses=refusals(*_REFUSED))
async def pause(
    request: Request, desk: AtDesk, caller: Person, mentor_id: MentorId, why: Reason
) -> StatusChange:
    """Pause a mentor: himself, or a coordinator of his chapter (VIS-2, PAU-10)."""
    return await _set_paused(desk, caller, mentor_id, why, request_id_of(request), paused=True)


@router.post("/mentors/{mentor_id}/reactivate", responses=refusals(*_REFUSED))
async def reactivate(
    request: Request, desk: AtDesk, caller: Person, mentor_id: MentorId, why: Reason
) -> StatusChange:
    """End a pause; that of a lapsed certificate is not lifted by the mentor himself (VIS-6)."""
    return await _set_paused(desk, caller, mentor_id, why, request_id_of(request), paused=False)


async def _set_paused(  # noqa: PLR0913 - one act, all of it named
    desk: Desk,
    caller: Caller,
    mentor_id: UUID,
    why: Reason,
    request_id: str | None,
    *,
    paused: bool,
) -> StatusChange:
    act = manual_pause.Act(
        mentor_id=mentor_id,
        actor_id=_actor(caller),
        paused=paused,
        reason=why.reason,
        now=desk.now(),
        request_id=request_id,
    )
    async with desk.sessions.person(caller) as conn:
        allowed = await queries.editable_mentor(conn, mentor_id) is not None
        sees = allowed or await queries.sees_mentor(conn, mentor_id)
        await desk.sessions.promote(conn, caller)
        done = await manual_pause.carry_out(conn, act) if allowed else None
        if done is None:
            await manual_pause.note_refusal(conn, act)
    if done is None:
        if sees:
            raise Refusal(HTTPStatus.FORBIDDEN, "forbidden")
        raise not_found("mentor")
    if done.refused is not None:
        status, detail = _WHY_NOT[done.refused]
        raise Refusal(status, done.refused, detail)
    return StatusChange(
        mentor_id=mentor_id,
        status="paused" if paused else "active",
        changed=done.changed,
        version=done.version,
        message=told("paused-done") if paused else told("reactivated-done"),
    )


async def _refusal(desk: Desk, caller: Caller, mentor_id: UUID, error: Forbidden) -> Refusal:
    """Forbidden to whom the mentor is shown; to all others he is not there."""
    async with desk.sessions.person(caller) as conn:
        if not await queries.sees_mentor(conn, mentor_id):
            return not_found("mentor")
    return Refusal(HTTPStatus.FORBIDDEN, "forbidden", f"allowed to {error.who_may}")


async def _confirmed(desk: Desk, mentor_id: UUID, version: int, wait: float) -> SyncEvent | None:
    """The mentor's event once the portal confirmed `version`, or as it is when time is up."""
    loop = asyncio.get_running_loop()
    until = loop.time() + wait
    while True:
        async with desk.sessions.service() as conn:
            found = await queries.sync_event(conn, mentor_id)
        event = None if found is None else SyncEvent(**found)
        confirmed = event is not None and event.status == "delivered" and event.version >= version
        if confirmed or loop.time() + _LOOK_EVERY > until:
            return event
        await asyncio.sleep(_LOOK_EVERY)


def _deeds(type_: str, mentor_id: UUID | None) -> Deeds | None:
    if mentor_id is None or type_ not in ALERTS:
        return None
    return Deeds(
        retry=f"/mentors/{mentor_id}/sync/retry",
        retry_label=told("button-retry"),
        force=f"/mentors/{mentor_id}/sync/force",
        force_label=told("button-force"),
    )


def _actor(caller: Caller) -> UUID:
    assert caller.user_id is not None, "a person has an id"
    return caller.user_id
