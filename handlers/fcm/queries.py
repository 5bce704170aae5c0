"""The SQL of the push handler; the transaction is the caller's."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from psycopg.rows import dict_row

from handlers.fcm.content import Group, Item
from handlers.fcm.encode import AddressKind, Device
from handlers.texts import Kind
from outbox.statements import load

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from psycopg import AsyncConnection

_PACKAGE: Final = "handlers.fcm"
_LOAD_GROUPS: Final = load(_PACKAGE, "load_groups")
_LOAD_DEVICES: Final = load(_PACKAGE, "load_devices")
_SETTLE_PUSHES: Final = load(_PACKAGE, "settle_pushes")
_LOAD_RESENT_IN_DOUBT: Final = load(_PACKAGE, "load_resent_in_doubt")
_FORGET_DEVICES: Final = load(_PACKAGE, "forget_devices")

_UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Ended:
    """How the push of one group ended, in the words of the tables.

    `tries` is how many calls were made for it (0 or 1); `cancelled` are the items left out of it.
    """

    group_id: UUID
    status: str
    error_class: str | None
    tries: int
    at: datetime
    resent: bool = False
    cancelled: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """A settled group, for the log."""

    group_id: UUID
    recipient_id: UUID
    kind: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A device whose address FCM called dead, and the word for it."""

    device: Device = field(repr=False)
    reason: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """A group and its items, in their order."""

    group: Group
    items: tuple[Item, ...]


class PostgresPushStore:
    """The push handler's port on the application's tables."""

    async def groups(
        self, conn: AsyncConnection[Any], ids: Sequence[UUID]
    ) -> Mapping[UUID, Loaded | None]:
        """Groups with their items in order, in one statement. A group without items is left out.

        A group of a kind this code does not know is None, and spoils no other.
        """
        async with conn.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(_LOAD_GROUPS, {"groups": list(ids)})
            rows = await cursor.fetchall()
        per_group: defaultdict[UUID, list[Mapping[str, Any]]] = defaultdict(list)
        for row in rows:
            per_group[row["group_id"]].append(row)
        return {group_id: _loaded(found) for group_id, found in per_group.items()}

    async def devices(
        self, conn: AsyncConnection[Any], recipients: Sequence[UUID], now: datetime
    ) -> Mapping[UUID, tuple[Device, ...]]:
        """Usable addresses per recipient, in one statement; those without any are left out."""
        params = {"recipients": list(recipients), "now": now}
        found: defaultdict[UUID, list[Device]] = defaultdict(list)
        async with conn.cursor() as cursor:
            await cursor.execute(_LOAD_DEVICES, params)
            async for user_id, device_id, address, kind, seen in cursor:
                found[user_id].append(Device(device_id, address, AddressKind(kind), seen))
        return {user_id: tuple(devices) for user_id, devices in found.items()}

    async def resent_in_doubt(
        self, conn: AsyncConnection[Any], ids: Sequence[UUID], now: datetime
    ) -> set[UUID]:
        """Groups whose organisation has what is in doubt sent once more (DSP-7)."""
        async with conn.cursor() as cursor:
            await cursor.execute(_LOAD_RESENT_IN_DOUBT, {"groups": list(ids), "now": now})
            return {row[0] for row in await cursor.fetchall()}

    async def settle(self, conn: AsyncConnection[Any], ended: Sequence[Ended]) -> list[Told]:
        """Write outcomes to groups, inbox, log and prompt history; each group at most once."""
        params = {
            "groups": [each.group_id for each in ended],
            "statuses": [each.status for each in ended],
            "errors": [each.error_class for each in ended],
            "tries": [each.tries for each in ended],
            "resent": [each.resent for each in ended],
            "times": [each.at for each in ended],
            "cancelled": [item for each in ended for item in each.cancelled],
        }
        async with conn.cursor() as cursor:
            await cursor.execute(_SETTLE_PUSHES, params)
            return [Told(*row) for row in await cursor.fetchall()]

    async def forget(
        self, conn: AsyncConnection[Any], refused: Sequence[Refused], at: datetime
    ) -> set[UUID]:
        """Invalidate dead addresses that were not registered again; returns the devices hit."""
        params = {
            "devices": [each.device.id for each in refused],
            "addresses": [each.device.address for each in refused],
            "seen": [each.device.last_seen_at for each in refused],
            "reasons": [each.reason for each in refused],
            "at": at,
        }
        async with conn.cursor() as cursor:
            await cursor.execute(_FORGET_DEVICES, params)
            return {row[0] for row in await cursor.fetchall()}


def _loaded(rows: Sequence[Mapping[str, Any]]) -> Loaded | None:
    try:
        return Loaded(_group(rows[0]), tuple(map(_item, rows)))
    except ValueError:
        return None


def _group(row: Mapping[str, Any]) -> Group:
    return Group(
        id=row["group_id"],
        recipient_id=row["recipient_id"],
        kind=Kind(row["group_kind"]),
        run_id=row["run_id"],
        dedup_key=row["dedup_key"],
        language=row["language"],
        status=row["status"],
        again=row["resent"] or row["status"] == _UNKNOWN,
        enrolment_template=row["enrolment_url_template"],
    )


def _item(row: Mapping[str, Any]) -> Item:
    return Item(
        id=row["item_id"],
        mentor_id=row["mentor_id"],
        kind=Kind(row["kind"]),
        tier=row["tier"],
        reason=row["reason"],
        scenario_id=row["scenario_id"],
        prompt_id=row["prompt_id"],
        notification_id=row["notification_id"],
        deep_link=row["deep_link"],
        mentor_status=row["mentor_status"],
        certificate_counts=row["certificate_counts"],
        certificate_type=row["certificate_type"],
    )
