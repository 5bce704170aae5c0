"""The timeline of one instance, as a story: what came, what changed, what went out, what of it.

Nothing of a payload is told: of a published message its topic, or what the saga's `describe` says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outbox.saga import queries, queries_people

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from outbox.app import App
    from outbox.queries import Conn
    from outbox.saga.declaration import Saga

HIDDEN = "(private)"


async def tell_story(conn: Conn, app: App, saga_id: int) -> dict[str, Any] | None:
    """One instance with its timeline as one document; None when there is none."""
    found = await queries.show_saga(conn, saga_id)
    if found is None:
        return None
    instance, timeline = found
    saga = app.sagas.get(instance["name"])
    traced = await queries_people.trace_published(conn, saga_id)
    told = [{**step, "out": _out(app, saga, traced, step["version"])} for step in timeline]
    return {**instance, "state": _shown(saga, instance["state"]), "timeline": told}


def lines_of(story: Mapping[str, Any]) -> Iterator[str]:
    """The story as lines for a terminal."""
    ended = f"ended {_at(story['ended_at'])}" if story["ended_at"] else "open"
    parked = f", waits for a person: {story['parked_why']}" if story["parked_why"] else ""
    yield f"saga {story['id']} {story['name']} {story['key']}: {ended}{parked}"
    for step in story["timeline"]:
        change = step["change"]
        yield f"{_at(step['at'])} {step['topic']}: {change['note'] or '-'}"
        if "actor" in change:
            yield f"    by {change['actor']}: {change['why']}"
        for name, (old, new) in change["fields"].items():
            yield f"    {name}: {_word(old)} -> {_word(new)}"
        for message in step["out"]:
            yield f"    says {message['told']} (message {message['message_id']})"
            yield from (f"        {_attempt(one)}" for one in message["attempts"])
        for name, at in step["armed"].items():
            yield f"    arms {name} for {at}"
        for name in step["cancelled"]:
            yield f"    cancels {name}"
    for name, armed in story["timers"].items():
        yield f"next: timer {name} at {armed['at']}"


def _out(
    app: App, saga: Saga[Any] | None, traced: Sequence[Mapping[str, Any]], version: int
) -> list[dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for row in traced:
        if row["told_at"] != version:
            continue
        message = found.setdefault(
            row["message_id"],
            {
                "message_id": row["message_id"],
                "topic": row["topic"],
                "told": _described(app, saga, row),
                "attempts": [],
            },
        )
        if row["handler"] is not None:
            names = ("handler", "attempt", "outcome", "reason", "at")
            message["attempts"].append({name: row[name] for name in names})
    return list(found.values())


def _described(app: App, saga: Saga[Any] | None, row: Mapping[str, Any]) -> str:
    if row["topic"] is None:
        return "a message no longer kept"
    read = app.reader(row["topic"], row["version"])
    if saga is None or saga.describe is None or read is None:
        return str(row["topic"])
    return f"{row['topic']}: {saga.describe(read(row['payload']))}"


def _shown(saga: Saga[Any] | None, state: Mapping[str, Any]) -> dict[str, Any]:
    """The state without what is private; of a saga this program does not have, names alone."""
    hidden = state.keys() if saga is None else saga.private
    return {name: HIDDEN if name in hidden else value for name, value in state.items()}


def _attempt(one: Mapping[str, Any]) -> str:
    reason = f" ({one['reason']})" if one["reason"] else ""
    when = f", {_at(one['at'])}" if one["at"] else ""
    return f"{one['handler']}, attempt {one['attempt']}: {one['outcome']}{reason}{when}"


def _at(at: Any) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"


def _word(value: Any) -> str:
    return "-" if value is None or value in ([], {}) else str(value)
