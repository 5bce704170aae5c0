"""What the runner needs of a place where instances are kept.

Two places keep this promise: `PostgresStore`, and the memory of `outbox.testing.Lab`. Whatever
decides (correlation, timers, `react`, steps, reports) is the same code over both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from outbox.message import Message
    from outbox.publication import Publication


@dataclass(frozen=True, slots=True)
class StoredSaga:
    """One instance as stored. `timers` maps names to {generation, message_id, at}."""

    id: int
    name: str
    key: str
    state: str
    state_version: int
    version: int
    timers: Mapping[str, Mapping[str, Any]]
    parked_why: str | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one instance in one transaction, over one or several transitions."""

    saga_id: int
    version_before: int
    version: int
    state: str
    state_version: int
    timers: Mapping[str, Mapping[str, Any]]
    ended: bool
    parked_why: str | None


@dataclass(frozen=True, slots=True)
class Transition:
    """One line of an instance's timeline. `message_id` is None for a person's act."""

    saga_id: int
    version: int
    message_id: int | None
    topic: str
    change: Mapping[str, Any]
    published: tuple[int, ...]
    armed: Mapping[str, str]
    cancelled: tuple[str, ...]


class Origin(NamedTuple):
    """The instance that published a message."""

    name: str
    saga_id: int
    key: str


@dataclass(frozen=True, slots=True)
class Addressed:
    """A message to one handler past the routes, ordered by `key`."""

    handler: str
    message: Message
    key: str | None
    correlation_id: str | None
    causation_id: int | None
    due_at: datetime | None = None


class SagaStore(Protocol):
    """A transaction in which instances are locked and changed; all of it commits or nothing."""

    async def lock(self, name: str, keys: Sequence[str]) -> list[StoredSaga]:
        """The open instances of `keys`, locked in the order of their keys."""
        ...

    async def start(
        self, name: str, states: Mapping[str, str], *, state_version: int
    ) -> list[StoredSaga]:
        """Make an instance for each key without an open one; those made, locked."""
        ...

    async def save(self, changes: Sequence[Change], transitions: Sequence[Transition]) -> None:
        """Store the next versions. Raises where a version moved under us."""
        ...

    async def publish(self, origin: Origin, publications: Sequence[Publication]) -> list[int]:
        """Publish on an instance's behalf; the ids of the messages."""
        ...

    async def address(self, addressed: Addressed) -> int:
        """Publish one message of the engine's own; its id."""
        ...

    async def published(self, saga_id: int, topics: Sequence[str]) -> list[int]:
        """The messages of `topics` that an instance has published and stored."""
        ...

    async def withdraw(self, message_ids: Sequence[int], *, reason: str) -> None:
        """Close those of their deliveries that nobody has begun."""
        ...

    async def revoke(self, message_ids: Sequence[int], *, reason: str) -> datetime | None:
        """Close all of their deliveries and dead letters; until when one may still be in flight."""
        ...

    async def origins(self, message_ids: Sequence[int]) -> dict[int, Origin]:
        """Which instances published these messages, where one did."""
        ...
