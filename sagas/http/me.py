"""A person's own: inbox and devices."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response

from sagas.http import queries
from sagas.http.desk import AtDesk, Person
from sagas.http.fields import PAGE_MAX, Address, Before, Given, Limit, Told
from sagas.http.problems import not_found, refusals

router = APIRouter(prefix="/me", tags=["me"])


class Notification(Told):
    """One inbox row; `status` is how its push fared."""

    id: UUID
    kind: str
    tier: str | None
    mentor_id: UUID | None
    title: str
    body: str
    deep_link: str | None
    status: Literal["pending", "delivered", "failed", "no_token", "unknown", "cancelled"]
    read_at: datetime | None
    created_at: datetime


class Inbox(Told):
    """A page of the inbox, the newest first; `next` is the `before` of the next page."""

    items: list[Notification]
    next: UUID | None


class Device(Given):
    """Where this person's pushes go."""

    address: Address
    address_kind: Literal["token", "fid"] = "token"
    platform: Literal["android", "ios", "web"] | None = None


class Registered(Told):
    """The device, under its own id; its address is told to nobody again."""

    id: UUID


@router.get("/notifications", responses=refusals(HTTPStatus.FORBIDDEN))
async def list_notifications(
    desk: AtDesk,
    caller: Person,
    before: Before = None,
    limit: Limit = 50,
    unread: Annotated[bool, Query(description="Only what was not read.")] = False,  # noqa: FBT002 - a query's name
) -> Inbox:
    """The caller's inbox."""
    async with desk.sessions.person(caller) as conn:
        found = await queries.my_notifications(conn, unread=unread, before=before, limit=limit)
    items = [Notification.model_validate(row) for row in found]
    return Inbox(items=items, next=items[-1].id if len(items) == min(limit, PAGE_MAX) else None)


@router.post(
    "/notifications/{notification_id}/read",
    status_code=HTTPStatus.NO_CONTENT,
    response_class=Response,
    responses=refusals(HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND),
)
async def read_notification(desk: AtDesk, caller: Person, notification_id: UUID) -> None:
    """Mark one of the caller's notifications as read; a second time changes nothing."""
    async with desk.sessions.person(caller) as conn:
        if not await queries.mark_read(conn, notification_id):
            raise not_found("notification")


@router.put("/devices", responses=refusals(HTTPStatus.FORBIDDEN))
async def register_device(desk: AtDesk, caller: Person, device: Device) -> Registered:
    """Let this device receive the caller's pushes, and nobody else's any more."""
    async with desk.sessions.person(caller) as conn:
        registered = await queries.register_device(
            conn,
            address=device.address,
            address_kind=device.address_kind,
            platform=device.platform,
        )
    return Registered(id=registered)
