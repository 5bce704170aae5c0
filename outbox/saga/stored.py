"""Whether today's code can go on with what is stored: asked at start, and by `outbox saga lint`."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from outbox.errors import OutboxError, SagaInvalid
from outbox.saga import queries_people
from outbox.saga.messages import TimedOut

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from outbox.queries import Conn
    from outbox.saga.declaration import Saga
    from outbox.saga.store import StoredSaga


@dataclass(frozen=True, slots=True)
class Finding:
    """Something of a stored instance that today's code cannot go on with."""

    saga: str
    saga_id: int
    state_version: int
    problem: str


async def check_stored(conn: Conn, sagas: Mapping[str, Saga[Any]]) -> None:
    """Raise `SagaInvalid` where an open instance cannot be read, or has a timer nobody handles.

    What a newer program has stored is left to it.
    """
    if not sagas:
        return
    for row in await queries_people.count_stored_sagas(conn, list(sagas)):
        saga = sagas[row.name]
        if row.state_version > saga.state_version:
            continue
        where = f"{row.instances} open instances (the first is {row.first_id})"
        for version in range(row.state_version, saga.state_version):
            if version not in saga.upcasters:
                raise SagaInvalid(
                    saga.name,
                    f"{where} are stored at version {row.state_version} and `upcasters` has none "
                    f"from {version} to {version + 1}",
                )
        if row.timer is not None and row.timer not in saga.timers:
            raise SagaInvalid(
                saga.name,
                f"timer {row.timer!r} is armed in {where} and nothing handles it; "
                "name it in `timers` and decide about it in `react`",
            )


async def lint(
    conn: Conn, sagas: Mapping[str, Saga[Any]], *, per_version_max: int
) -> tuple[int, list[Finding]]:
    """Run today's code over a sample of stored instances; how many, and what it cannot follow."""
    sample = await queries_people.sample_sagas(conn, limit=per_version_max)
    return len(sample), lint_stored(sample, sagas)


def lint_stored(sample: Sequence[StoredSaga], sagas: Mapping[str, Saga[Any]]) -> list[Finding]:
    """The same over instances in hand, such as a corpus kept with your tests."""
    return [
        Finding(stored.name, stored.id, stored.state_version, problem)
        for stored in sample
        for problem in _problems(stored, sagas.get(stored.name))
    ]


def _problems(stored: StoredSaga, saga: Saga[Any] | None) -> list[str]:
    if saga is None:
        return ["this program has no saga of that name"]
    if stored.state_version > saga.state_version:
        return [f"stored by a newer program; this one knows version {saga.state_version}"]
    try:
        state = saga.read(stored.state, stored.state_version)
    except Exception as error:  # noqa: BLE001 - an upcaster may raise anything; told, not raised
        return [f"its state cannot be read: {_told(error)}"]
    found = [] if saga.check is None else [saga.check(state)]
    for name, armed in stored.timers.items():
        found.append(_timer_problem(saga, stored, state, name, armed))
    return [problem for problem in found if problem is not None]


def _timer_problem(
    saga: Saga[Any], stored: StoredSaga, state: Any, name: str, armed: Mapping[str, Any]
) -> str | None:
    if name not in saga.timers:
        return f"timer {name!r} is armed and nothing handles it"
    fired = TimedOut(saga_id=stored.id, key=stored.key, name=name, generation=armed["generation"])
    try:
        decision = saga.react(state, fired, now=datetime.fromisoformat(armed["at"]))
    except Exception as error:  # noqa: BLE001 - whatever it is, it would be raised at night
        return f"timer {name!r} would fail: {_told(error)}"
    undeclared = sorted({timer.name for timer in decision.arm} - saga.timers)
    return f"timer {name!r} would arm {', '.join(undeclared)}" if undeclared else None


def _told(error: Exception) -> str:
    """Our own words, or the type and place: a foreign text may quote what is stored."""
    if isinstance(error, OutboxError):
        return str(error)
    if isinstance(error, ValidationError):
        places = [".".join(map(str, one["loc"])) + f" ({one['type']})" for one in error.errors()]
        return ", ".join(places[:5])
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {frame.name}, line {frame.lineno}"
