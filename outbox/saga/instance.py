"""One instance in the hands of a transaction: its state, and the transitions not yet stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from outbox.saga.store import Change, Transition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outbox.message import Message
    from outbox.saga.declaration import Decision, Saga
    from outbox.saga.store import StoredSaga

HIDDEN = "(private)"


@dataclass(slots=True)
class Instance:
    """An open instance, locked. `starter` is the message that began it, until it is brought to it.

    `is_newer`: its state was stored by a newer program, and must be left to it.
    """

    saga: Saga[Any]
    id: int
    key: str
    state: Any
    version: int
    timers: dict[str, Mapping[str, Any]]
    is_newer: bool
    stored_version: int
    starter: Message | None = None
    ended: bool = False
    parked_why: str | None = None
    transitions: list[Transition] = field(default_factory=list)

    @classmethod
    def of(cls, saga: Saga[Any], stored: StoredSaga, *, starter: Message | None = None) -> Self:
        """What was stored, read by today's code."""
        newer = stored.state_version > saga.state_version
        state = None if newer else saga.read(stored.state, stored.state_version)
        return cls(
            saga=saga, id=stored.id, key=stored.key, state=state, version=stored.version,
            timers=dict(stored.timers), is_newer=newer, stored_version=stored.version,
            starter=starter, parked_why=stored.parked_why,
        )  # fmt: skip

    def move(  # noqa: PLR0913 - the columns of one line
        self,
        decision: Decision[Any],
        *,
        topic: str,
        message_id: int | None,
        published: tuple[int, ...],
        armed: Mapping[str, str],
        cancelled: tuple[str, ...],
        act: Mapping[str, str] | None = None,
    ) -> None:
        """Take one step, and a line of the timeline."""
        change: dict[str, Any] = {"note": decision.note, "fields": self._difference(decision.state)}
        if act:
            change |= act
        if decision.park is not None:
            change["parked"] = decision.park
        if decision.end:
            change["ended"] = True
        self.state, self.ended, self.parked_why = decision.state, decision.end, decision.park
        self.version += 1
        self.transitions.append(
            Transition(
                saga_id=self.id,
                version=self.version,
                message_id=message_id,
                topic=topic,
                change=change,
                published=published,
                armed=armed,
                cancelled=cancelled,
            )
        )

    def change(self) -> Change:
        """What is to be stored of it."""
        return Change(
            saga_id=self.id, version_before=self.stored_version, version=self.version,
            state=self.state.model_dump_json(), state_version=self.saga.state_version,
            timers=self.timers, ended=self.ended, parked_why=self.parked_why,
        )  # fmt: skip

    def flushed(self) -> None:
        """It is stored as it is now."""
        self.stored_version = self.version
        self.transitions.clear()

    def _difference(self, state: Any) -> dict[str, list[Any]]:
        if state is self.state:
            return {}
        before, after = self.state.model_dump(mode="json"), state.model_dump(mode="json")
        return {
            name: [HIDDEN, HIDDEN] if name in self.saga.private else [before.get(name), value]
            for name, value in after.items()
            if before.get(name) != value
        }
