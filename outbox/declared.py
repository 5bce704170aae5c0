"""What a program declares is looked at when it is made: free names, fitting types, callable calls.

A mistake is told at start, with what was given and what is allowed.
"""

from __future__ import annotations

import inspect
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from outbox.errors import AppInvalid, HandlerInvalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from outbox.app import SchemaHistory
    from outbox.handler import Handler

ENGINE_SCHEMA = "outbox"
ENGINE_TOPICS = "outbox."
"""Topics beginning so are the engine's: it addresses them to one handler, past the routes."""

APP_NAME_CHARS_MAX = 100

ARGUMENTS = {
    "call": ("message", "attempt"),
    "call_many": ("items", "conn"),
    "prepare": ("conn", "items"),
    "record": ("conn", "settled"),
    "check": (),
    "destination_changed": ("conn", "change"),
}
"""With what the engine calls a handler's functions; `call` of DATABASE handlers gets `conn` too."""


def is_reserved_topic(topic: str, module: str) -> bool:
    """Whether `topic` is the engine's and `module`, which declares it, is not."""
    return topic.startswith(ENGINE_TOPICS) and module.partition(".")[0] != ENGINE_SCHEMA


def check_app(name: object, histories: Iterable[SchemaHistory]) -> None:
    """Raise `AppInvalid` on a name that names nothing, or a history inside the engine's schema."""
    if not isinstance(name, str) or not name.strip() or len(name) > APP_NAME_CHARS_MAX:
        problem = f"a name is a text of 1 to {APP_NAME_CHARS_MAX} characters; it owns its handlers"
        raise AppInvalid(str(name)[:APP_NAME_CHARS_MAX], problem)
    for history in histories:
        if history.version_table_schema == ENGINE_SCHEMA:
            raise AppInvalid(
                name,
                f"its version table would be {ENGINE_SCHEMA}.{history.version_table}, and schema "
                f"{ENGINE_SCHEMA!r} is the engine's; keep yours in a schema of your own",
            )


def check_handler(handler: Handler, terms: dict[str, type], optional: dict[str, type]) -> None:
    """Raise `HandlerInvalid` on a name that is not free or a term of the wrong type.

    `terms` are the fields whose type is one class, `optional` those that may be None as well.
    """
    _check_name(handler)
    _check_messages(handler)
    for term, wanted in terms.items():
        given = getattr(handler, term)
        if not isinstance(given, wanted) or (wanted is int and isinstance(given, bool)):
            raise HandlerInvalid(
                handler.name,
                f"{term} is {_named(given)}, it must be {_shown(wanted)}",
            )
    for term, wanted in optional.items():
        given = getattr(handler, term)
        if given is not None and not isinstance(given, wanted):
            problem = f"{term} is {_named(given)}, it must be {_shown(wanted)} or None"
            raise HandlerInvalid(handler.name, problem)


def check_calls(handler: Handler) -> None:
    """Raise `HandlerInvalid` on a function that the engine could not call or await."""
    for term, arguments in ARGUMENTS.items():
        call = getattr(handler, term)
        if term == "call" or call is not None:
            _check_call(handler, term, call, arguments)


def _check_name(handler: Handler) -> None:
    name: Any = handler.name
    if not isinstance(name, str):
        raise HandlerInvalid(str(name), f"its name is {_named(name)}, it must be a str")
    if not name.replace("_", "").isalnum() or not name[:1].isalpha():
        problem = "a name is letters, digits and underscores, starting with a letter"
        raise HandlerInvalid(name, problem)
    if name.partition("_")[0].lower() == ENGINE_SCHEMA:
        problem = f"names beginning with {ENGINE_SCHEMA!r} are the engine's; choose another"
        raise HandlerInvalid(name, problem)


def _check_messages(handler: Handler) -> None:
    from outbox.message import Message  # noqa: PLC0415 - which asks this module for its topics

    given: Any = handler.messages
    if not isinstance(given, tuple):
        problem = f"messages is {_named(given)}; give a tuple of message classes"
        raise HandlerInvalid(handler.name, problem)
    if not given:
        raise HandlerInvalid(handler.name, "it takes no message; give at least one message class")
    for one in given:
        if not (isinstance(one, type) and issubclass(one, Message)):
            problem = f"messages has {_named(one)} in it; give classes made from outbox.Message"
            raise HandlerInvalid(handler.name, problem)
        if not hasattr(one, "declaration"):
            problem = f"{one.__name__} has no topic, so nothing of it can be published"
            raise HandlerInvalid(handler.name, problem)


def _check_call(handler: Handler, term: str, call: Any, arguments: tuple[str, ...]) -> None:
    from outbox.handler import Effect  # noqa: PLC0415 - which asks this module for its checks

    if term == "call" and handler.effect is Effect.DATABASE:
        arguments = (*arguments, "conn")
    if not callable(call):
        raise HandlerInvalid(
            handler.name, f"{term} is {_named(call)}, it must be an async function"
        )
    if _is_plain_function(call):
        problem = f"{term} is a plain function, it must be an async one (`async def`)"
        raise HandlerInvalid(handler.name, problem)
    try:
        inspect.signature(call).bind(*arguments)
    except TypeError as error:
        of_kind = f" of a handler that is {handler.effect.name}" if term == "call" else ""
        problem = f"{term}{of_kind} is called with ({', '.join(arguments)}): {error}"
        raise HandlerInvalid(handler.name, problem) from error
    except ValueError:  # a callable without a signature: nothing can be told of it
        return


def _is_plain_function(call: Callable[..., Any]) -> bool:
    """Whether it is written as `def`: what it returns could not be awaited."""
    bare = inspect.unwrap(call)
    if not (inspect.isfunction(bare) or inspect.ismethod(bare)):
        return False
    return not inspect.iscoroutinefunction(bare) and bare.__name__ != "<lambda>"


def _named(given: object) -> str:
    if isinstance(given, type):
        return f"the class {given.__name__}"
    return f"a {type(given).__name__}"


def _shown(wanted: type) -> str:
    if wanted is timedelta:
        return "a timedelta"
    members = getattr(wanted, "__members__", None)
    name = wanted.__name__
    return f"one of {', '.join(f'{name}.{one}' for one in members)}" if members else f"a {name}"
