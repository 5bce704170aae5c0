"""What handlers answer in a lab: replies in turn, by handler or by topic."""

from __future__ import annotations

import inspect
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

from outbox.errors import UsageError
from outbox.message import Message
from outbox.outcome import Dead, Done, Outcome, Retry, Suppressed, Unknown

if TYPE_CHECKING:
    from outbox.handler import Attempt, Handler

Answer: TypeAlias = Outcome | Exception
Reply: TypeAlias = Answer | Callable[[Any, "Attempt"], Answer | Awaitable[Answer]]
"""An outcome, an exception to raise, or a function of message and attempt that gives either."""

Whose: TypeAlias = str | type[Message]
"""A handler by its name, or whoever handles a message class."""


class Crash(StrEnum):
    """Where a process dies in an attempt; its lease then runs out."""

    BEFORE_CALL = "before_call"
    """The delivery was taken and nothing else had happened. A saga's writes vanish as well."""
    AFTER_CALL = "after_call"
    """The handler had done its work, and nobody had settled it."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call that a handler of the lab has had."""

    handler: str
    message: Any
    attempt: int


@dataclass(slots=True)
class Replies:
    """Replies waiting to be given, calls had, crashes to come."""

    queued: dict[str, deque[Reply]] = field(default_factory=lambda: defaultdict(deque))
    standing: dict[str, Reply] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    crashes: dict[str, deque[Crash]] = field(default_factory=lambda: defaultdict(deque))

    def next(self, handler: str, message: Message) -> Reply:
        """The reply whose turn it is: the handler's, the topic's, what stands, or `Done`."""
        for whose in (handler, message.declaration.topic):
            if self.queued[whose]:
                return self.queued[whose].popleft()
        for whose in (handler, message.declaration.topic):
            if whose in self.standing:
                return self.standing[whose]
        return Done()

    def crash(self, handler: str) -> Crash | None:
        """Where the attempt that is about to be made dies, if it does."""
        return self.crashes[handler].popleft() if self.crashes[handler] else None

    def scripted(self, handler: Handler) -> Handler:
        """`handler` with its terms, answering from here."""

        async def call(message: Message, attempt: Attempt, *_: Any) -> Outcome:
            return await self.answer(handler.name, message, attempt)

        return replace(
            handler, call=call, call_many=None, prepare=None, record=None, check=None,
            destination_changed=None,
        )  # fmt: skip

    async def answer(self, handler: str, message: Message, attempt: Attempt) -> Outcome:
        """Note the call and give the reply; an exception is raised."""
        self.calls.append(Call(handler, message, attempt.number))
        reply: Any = self.next(handler, message)
        if callable(reply) and not isinstance(reply, type):
            reply = reply(message, attempt)
            if inspect.isawaitable(reply):
                reply = await reply
        if isinstance(reply, Exception):
            raise reply
        if not isinstance(reply, Done | Suppressed | Retry | Dead | Unknown):
            given = type(reply).__name__
            raise UsageError(f"the reply of {handler} is a {given}; give an outcome or exception")
        return reply


def name_of(whose: Whose) -> str:
    """The name that replies are kept under."""
    return whose if isinstance(whose, str) else whose.declaration.topic
