"""What a person does to an instance: the same runner, one commit, audited in the timeline.

`saga_id` is the life that is meant, where the caller knows it: a later one is left alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from outbox.errors import OutboxError
from outbox.handler import Attempt
from outbox.saga.messages import Compensate, SkipStep
from outbox.saga.runner import SagaRun

if TYPE_CHECKING:
    from datetime import datetime

    from outbox.saga.declaration import Saga, Timer
    from outbox.saga.store import SagaStore

NOTE_CHARS_MAX: Final = 500


class ActRefused(OutboxError):
    """What a person asked of an instance cannot be done; nothing was changed."""

    def __init__(self, saga: str, key: str, problem: str) -> None:
        super().__init__(f"saga {saga} of {key!r}: {problem}; nothing was changed")
        self.saga, self.key, self.problem = saga, key, problem


async def skip_step(  # noqa: PLR0913 - who does what to whom, and why
    store: SagaStore,
    saga: Saga[Any],
    key: str,
    *,
    step: str,
    why: str,
    actor: str,
    now: datetime,
    saga_id: int | None = None,
) -> str:
    """Let an instance go on without the step it stands at; the transition's note."""
    _check(saga, key, actor=actor, why=why)
    return await _intervene(
        store, saga, key, SkipStep(step=step, why=why, actor=actor), now, saga_id
    )


async def compensate(  # noqa: PLR0913 - who does what to whom, and why
    store: SagaStore,
    saga: Saga[Any],
    key: str,
    *,
    why: str,
    actor: str,
    now: datetime,
    saga_id: int | None = None,
) -> str:
    """Let an instance undo what it has done, or try again to; the transition's note."""
    _check(saga, key, actor=actor, why=why)
    return await _intervene(store, saga, key, Compensate(why=why, actor=actor), now, saga_id)


async def rearm(  # noqa: PLR0913 - who does what to whom, and why
    store: SagaStore,
    saga: Saga[Any],
    key: str,
    *,
    timer: Timer,
    actor: str,
    now: datetime,
    why: str = "by hand",
    saga_id: int | None = None,
) -> None:
    """Arm a timer for `timer.at`, in place of one that is armed."""
    _check(saga, key, actor=actor, why=why)
    if timer.name not in saga.timers:
        known = ", ".join(sorted(saga.timers)) or "none"
        raise ActRefused(saga.name, key, f"it has no timer {timer.name!r}; there are {known}")
    act = {"actor": actor, "why": why}
    attempt = _attempt(saga, key, now)
    if not await SagaRun(saga, store).rearm(key, timer, attempt, act, saga_id=saga_id):
        raise ActRefused(saga.name, key, "it has no open instance")


def _check(saga: Saga[Any], key: str, *, actor: str, why: str) -> None:
    for name, text in (("actor", actor), ("why", why)):
        if not text.strip() or len(text) > NOTE_CHARS_MAX:
            given = f"has {len(text)} characters" if text.strip() else "is empty"
            problem = f"{name} {given}; give 1 to {NOTE_CHARS_MAX} characters"
            raise ActRefused(saga.name, key, problem)


async def _intervene(  # noqa: PLR0913, PLR0917 - as above
    store: SagaStore,
    saga: Saga[Any],
    key: str,
    act: SkipStep | Compensate,
    now: datetime,
    saga_id: int | None,
) -> str:
    attempt = _attempt(saga, key, now)
    decision = await SagaRun(saga, store).intervene(key, act, attempt, saga_id=saga_id)
    if decision is None:
        raise ActRefused(saga.name, key, "it has no open instance")
    if decision.ignored:
        raise ActRefused(saga.name, key, f"the saga does not take this now ({decision.note})")
    return decision.note


def _attempt(saga: Saga[Any], key: str, now: datetime) -> Attempt:
    """A person's act as the runner sees it: of no message."""
    return Attempt(
        number=1, delivery_id=0, message_id=0, handler=saga.name, topic="", key=key, sequence=None,
        correlation_id=None, published_at=now, now=now, deadline=now,
    )  # fmt: skip
