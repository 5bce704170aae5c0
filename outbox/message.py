"""A message: an immutable fact or command, with a topic and a version.

The class is the contract on the wire. A new meaning is a new version: raise `version` and keep the
old class registered for as long as deliveries of it may wait.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from outbox.declared import ENGINE_TOPICS, is_reserved_topic
from outbox.errors import MessageClassInvalid

TOPIC_PATTERN = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
TOPIC_CHARS_MAX = 120


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a message class says of itself. `dedup_window` None: a dedup key counts for ever."""

    topic: str
    version: int
    dedup_window: timedelta | None


class Message(BaseModel):
    """What is published: subclass it with `topic=` (two or more dotted words) and `version=`.

    `dedup_window` is how long a dedup key keeps the same message from being published again. What
    the class says stands in `declaration`, so that a payload may have fields of any other name.
    Raises `MessageClassInvalid` when the class is defined wrongly.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    declaration: ClassVar[Declaration]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let the class keywords through to `__pydantic_init_subclass__`."""
        super().__init_subclass__()

    @classmethod
    def __pydantic_init_subclass__(
        cls,
        *,
        topic: str | None = None,
        version: int | None = None,
        dedup_window: timedelta | None = None,
        **kwargs: Any,
    ) -> None:
        """Check and keep the declaration once, when the class is made."""
        super().__pydantic_init_subclass__()
        if kwargs:
            terms = ", ".join(kwargs)
            problem = f"it has no term {terms}; there are topic, version and dedup_window"
            raise MessageClassInvalid(cls.__name__, problem)
        if "declaration" in cls.model_fields:
            raise MessageClassInvalid(cls.__name__, "the field name `declaration` is reserved")
        if topic is None:
            if not hasattr(cls, "declaration"):
                advice = 'it needs a topic: class X(Message, topic="order.placed")'
                raise MessageClassInvalid(cls.__name__, advice)
            if version is not None or dedup_window is not None:
                advice = f"give the topic again beside its version: {cls.declaration.topic!r}"
                raise MessageClassInvalid(cls.__name__, advice)
            return
        cls.declaration = Declaration(
            _checked_topic(cls, topic),
            _checked_version(cls, 1 if version is None else version),
            _checked_window(cls, dedup_window),
        )


def _checked_topic(cls: type[Message], topic: Any) -> str:
    if (
        not isinstance(topic, str)
        or not TOPIC_PATTERN.fullmatch(topic)
        or len(topic) > TOPIC_CHARS_MAX
    ):
        raise MessageClassInvalid(
            cls.__name__,
            f"topic {topic!r} is not two or more lower-case words joined by dots, "
            f"at most {TOPIC_CHARS_MAX} characters",
        )
    if is_reserved_topic(topic, cls.__module__):
        problem = f"topic {topic!r}: topics beginning with {ENGINE_TOPICS!r} are the engine's"
        raise MessageClassInvalid(cls.__name__, f"{problem}; choose another")
    return topic


def _checked_version(cls: type[Message], version: Any) -> int:
    if not isinstance(version, int) or isinstance(version, bool):
        problem = f"version is a {type(version).__name__}, it must be an int from 1"
        raise MessageClassInvalid(cls.__name__, problem)
    if version < 1:
        raise MessageClassInvalid(cls.__name__, f"version {version} is below 1; count from 1")
    return version


def _checked_window(cls: type[Message], window: Any) -> timedelta | None:
    if window is not None and not isinstance(window, timedelta):
        problem = f"dedup_window is a {type(window).__name__}, it must be a timedelta"
        raise MessageClassInvalid(cls.__name__, problem)
    if window is not None and window <= timedelta(0):
        raise MessageClassInvalid(cls.__name__, f"dedup_window is {window}, it must be above zero")
    return window
