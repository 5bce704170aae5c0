"""Instances in the database: every step joins the transaction of the connection given."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from outbox import queries as engine
from outbox.errors import OutboxError
from outbox.outcome import Withdrawn
from outbox.publication import batches_of
from outbox.publish import receipts_of
from outbox.queries_publish import PUBLISH_MESSAGES, execute_async
from outbox.saga import queries
from outbox.telling import tell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from outbox.app import App
    from outbox.publication import Publication
    from outbox.queries import Conn, Now
    from outbox.saga.store import Addressed, Change, Origin, StoredSaga, Transition


class InstanceLost(OutboxError):
    """An instance changed under its lock's holder; this transaction must not commit."""


class PostgresStore:
    """`SagaStore` over one connection, for an application and by its clock."""

    def __init__(self, conn: Conn, app: App) -> None:
        self._conn, self._app = conn, app
        self._now: Now = app.clock.sql_now()

    async def lock(self, name: str, keys: Sequence[str]) -> list[StoredSaga]:
        """Lock the open instances of `keys`."""
        return await queries.lock_sagas(self._conn, name=name, keys=keys)

    async def start(
        self, name: str, states: Mapping[str, str], *, state_version: int
    ) -> list[StoredSaga]:
        """Make instances where none is open."""
        return await queries.start_sagas(
            self._conn, name=name, states=states, state_version=state_version, now=self._now
        )

    async def save(self, changes: Sequence[Change], transitions: Sequence[Transition]) -> None:
        """Store and tell. Raises `InstanceLost`."""
        if await queries.store_sagas(self._conn, changes, now=self._now) != len(changes):
            raise InstanceLost("an instance is no longer at the version that was locked")
        await queries.append_transitions(self._conn, transitions, now=self._now)

    async def publish(self, origin: Origin, publications: Sequence[Publication]) -> list[int]:
        """Publish with the instance's name in the headers."""
        ids: list[int] = []
        mark = {"saga": {"name": origin.name, "id": origin.saga_id, "key": origin.key}}
        for params in batches_of(publications, self._now):
            headers = json.dumps(json.loads(params["headers"]) | mark)
            found = await execute_async(
                self._conn, PUBLISH_MESSAGES, {**params, "headers": headers}
            )
            begin = len(ids)
            batch = publications[begin : begin + len(found[0] or ())]
            ids += [receipt.message_id for receipt in receipts_of(batch, [found])]
        return ids

    async def address(self, addressed: Addressed) -> int:
        """Publish to one handler."""
        return await engine.publish_addressed(
            self._conn, topic=addressed.message.declaration.topic,
            payload=addressed.message.model_dump_json(), key=addressed.key,
            due_at=addressed.due_at, correlation_id=addressed.correlation_id,
            headers=json.dumps({}), handler=addressed.handler,
            causation_id=addressed.causation_id, now=self._now,
        )  # fmt: skip

    async def published(self, saga_id: int, topics: Sequence[str]) -> list[int]:
        """What the timeline says was published."""
        return await queries.list_published(self._conn, saga_id=saga_id, topics=topics)

    async def withdraw(self, message_ids: Sequence[int], *, reason: str) -> None:
        """Close what has not begun."""
        taken_back = await queries.withdraw_deliveries(
            self._conn, message_ids=message_ids, reason=reason, now=self._now
        )
        await tell(self._conn, self._app, taken_back, Withdrawn(reason))

    async def revoke(self, message_ids: Sequence[int], *, reason: str) -> datetime | None:
        """Close all of it."""
        revoked, flies_until = await queries.revoke_messages(
            self._conn, message_ids=message_ids, reason=reason, now=self._now
        )
        await tell(self._conn, self._app, revoked, Withdrawn(reason))
        return flies_until

    async def origins(self, message_ids: Sequence[int]) -> dict[int, Origin]:
        """Who published what."""
        return await queries.find_origins(self._conn, message_ids)
