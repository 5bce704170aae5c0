"""Push addresses that have gone silent, told before they stop being usable (PUSH-8).

An address is sent to until 270 days after its device was last heard of; Google calls one that was
silent for a month stale. Between the two nothing is deleted: the report says whom no push will
reach soon, so that somebody can ask that person to open the app.
Source: FCM guide, "Manage registration tokens" (stale after a month, expired after 270 days).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from sagas import queries_devices
from sagas.reminders import DEVICE_SILENT_MAX

if TYPE_CHECKING:
    from psycopg import AsyncConnection

SILENT_AFTER: Final = timedelta(days=30)


class SilentDevice(BaseModel):
    """One device; `reached_by_no_other`: no other device of this person was seen since."""

    model_config = ConfigDict(frozen=True)

    device_id: UUID
    user_id: UUID
    organisations: tuple[str, ...]
    platform: str | None
    last_seen_at: datetime
    silent_days: int
    usable_until: datetime
    reached_by_no_other: bool


async def silent_devices(
    conn: AsyncConnection[Any], *, now: datetime, code: str | None = None
) -> list[SilentDevice]:
    """Usable addresses silent for 30 to 270 days, those that end first at the top.

    `code` is of one organisation; somebody who belongs to several is told of in each.
    """
    found = await queries_devices.silent_devices(
        conn, silent_since=now - SILENT_AFTER, seen_since=now - DEVICE_SILENT_MAX, code=code
    )
    return [
        SilentDevice(
            **row,
            silent_days=(now - row["last_seen_at"]).days,
            usable_until=row["last_seen_at"] + DEVICE_SILENT_MAX,
        )
        for row in found
    ]
