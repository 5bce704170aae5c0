"""What a program declares wrongly is told when it is made: what was given, and what is allowed."""

from __future__ import annotations

import re
from datetime import timedelta
from types import new_class
from typing import TYPE_CHECKING, Any

import pytest

from outbox import AfterDead, App, Done, Effect, Message, UnknownPolicy
from outbox.errors import HandlerInvalid, MessageClassInvalid
from tests.outbox.shop import OrderPlaced, StockChanged, count_order, made, mailer, nothing

if TYPE_CHECKING:
    from outbox import Attempt, Outcome

SECOND = timedelta(seconds=1)


def shown(value: object) -> str:
    """A name for a case that is the same in every process: no address of a function."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))[:40]


MESSAGES: list[tuple[dict[str, Any], str]] = [
    ({}, "it needs a topic"),
    ({"topic": 7}, "topic 7 is not two or more lower-case words joined by dots"),
    ({"topic": "order"}, "two or more lower-case words"),
    ({"topic": "Order.Placed"}, "two or more lower-case words"),
    ({"topic": "a." + "x" * 119}, "at most 120 characters"),
    ({"topic": "outbox.timer"}, "topics beginning with 'outbox.' are the engine's"),
    ({"topic": "order.placed", "version": 0}, "version 0 is below 1"),
    ({"topic": "order.placed", "version": "1"}, "version is a str, it must be an int from 1"),
    ({"topic": "order.placed", "version": True}, "version is a bool"),
    ({"topic": "order.placed", "verson": 2}, "no term verson; there are topic, version and"),
    ({"topic": "order.placed", "dedup_window": 60}, "dedup_window is a int, it must be a timed"),
    ({"topic": "order.placed", "dedup_window": -SECOND}, "is -1 day.*, it must be above zero"),
]


@pytest.mark.parametrize(("terms", "says"), MESSAGES, ids=shown)
def test_a_message_class_declared_wrongly_is_refused(terms: dict[str, Any], says: str) -> None:
    with pytest.raises(MessageClassInvalid, match=f"message class Wrong: .*{says}"):
        new_class("Wrong", (Message,), terms, lambda body: body.update(__module__="shop.messages"))


def test_a_new_version_says_its_topic_again() -> None:
    """Else it would pass for the version that it was made from."""
    with pytest.raises(MessageClassInvalid, match=r"give the topic again.*'order.placed'"):

        class Second(OrderPlaced, version=2):
            """More than the first."""


def test_a_topic_that_is_taken_names_both_classes() -> None:
    class Usurper(Message, topic="order.placed"):
        """Another class for a topic that has one."""

    app = made(mailer())
    with pytest.raises(
        MessageClassInvalid, match=r"Usurper.*'order.placed' version 1 is already Or"
    ):
        app.add(mailer(name="other", messages=(Usurper,)))

    assert list(app.handlers) == ["mailer"]


def a_plain_one(message: Any, attempt: Attempt) -> Outcome:
    """Forgets `async`."""
    del message, attempt
    return Done()


class Called:
    """An object that is called, as many handlers are."""

    async def __call__(self, message: Any, attempt: Attempt) -> Outcome:
        """Call it."""
        return await nothing(message, attempt)


HANDLERS: list[tuple[dict[str, Any], str]] = [
    ({"name": 7}, "its name is a int, it must be a str"),
    ({"name": ""}, "a name is letters, digits and underscores"),
    ({"name": "mail-er"}, "a name is letters, digits and underscores"),
    ({"name": "outbox_mailer"}, "names beginning with 'outbox' are the engine's"),
    ({"messages": ()}, "it takes no message; give at least one"),
    ({"messages": OrderPlaced}, "messages is the class OrderPlaced; give a tuple"),
    ({"messages": (OrderPlaced(order_id=1),)}, "messages has a OrderPlaced in it; give classes"),
    ({"messages": (int,)}, "messages has the class int in it"),
    ({"messages": (Message,)}, "Message has no topic"),
    ({"effect": "idempotent"}, "effect is a str, it must be one of Effect.DATABASE, Effect.IDEMP"),
    ({"order": True}, "order is a bool, it must be one of Order.NONE"),
    ({"retry": None}, "retry is a NoneType, it must be a RetryPolicy"),
    ({"timeout": 20}, "timeout is a int, it must be a timedelta"),
    ({"timeout": -SECOND}, "it must be above zero"),
    ({"concurrency": "4"}, "concurrency is a str, it must be a int"),
    ({"concurrency": True}, "concurrency is a bool, it must be a int"),
    ({"concurrency": 0}, "concurrency is 0, it must be at least 1"),
    ({"lone_claims_max": -1}, "lone_claims_max is -1, it must be at least 1"),
    ({"after_dead": "block"}, "after_dead is a str, it must be one of AfterDead.SKIP"),
    (
        {"after_dead": AfterDead.BLOCK},
        "after_dead is block and order is none; .* order=Order.KEYED",
    ),
    ({"breaker": True}, "breaker is a bool, it must be a Breaker or None"),
    ({"rate": 5}, "rate is a int, it must be a Rate or None"),
    ({"probe": nothing}, "probe is a function, it must be a Probe or None"),
    ({"unknown": UnknownPolicy.PROBE}, "its effect is idempotent, and `unknown` or `probe` is"),
    (
        {"effect": Effect.AMBIGUOUS, "unknown": "hold"},
        "unknown is a str, it must be one of UnknownPolicy.HOLD, .* or an async function",
    ),
    ({"effect": Effect.AMBIGUOUS, "unknown": UnknownPolicy.PROBE}, "nobody is asked; give probe="),
    ({"call": None}, "call is a NoneType, it must be an async function"),
    ({"call": a_plain_one}, "call is a plain function, it must be an async one"),
    ({"call": count_order}, "IDEMPOTENT is called with .message, attempt.: missing a required"),
    ({"effect": Effect.DATABASE}, "DATABASE is called with .message, attempt, conn.: too many"),
    ({"record": nothing, "check": nothing}, "check is called with ..: missing a required"),
]


@pytest.mark.parametrize(("terms", "says"), HANDLERS, ids=shown)
def test_a_handler_declared_wrongly_is_refused(terms: dict[str, Any], says: str) -> None:
    with pytest.raises(HandlerInvalid, match=says):
        mailer(**terms)


def test_what_can_be_called_is_taken() -> None:
    """Functions, objects, and a lambda, whose answer only a call shows."""
    spoken = lambda message, attempt: nothing(message, attempt)  # noqa: E731, PLW0108 - the case
    for call in (nothing, Called(), spoken):
        assert mailer(call).call is call


def test_the_same_name_twice_is_refused() -> None:
    app = App("shop")
    app.add(mailer())
    with pytest.raises(HandlerInvalid, match="'mailer': the name is taken"):
        app.add(mailer(messages=(StockChanged,)))


def test_the_decorator_refuses_as_the_class_does() -> None:
    app = App("shop")
    with pytest.raises(HandlerInvalid, match="plain function"):
        app.handler(OrderPlaced, name="mailer", effect=Effect.IDEMPOTENT)(a_plain_one)

    assert not app.handlers
