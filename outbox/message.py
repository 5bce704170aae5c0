"""A message: an immutable fact or command, with a topic and a version.

The class is the contract on the wire. A new meaning is a new version: raise `version` and keep the
old class registered for as long as deliveries of it may wait.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

from outbox.errors import MessageClassInvalid

if TYPE_CHECKING:
    from datetime import timedelta

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
        version: int = 1,
        dedup_window: timedelta | None = None,
        **kwargs: Any,
    ) -> None:
        """Check and keep the declaration once, when the class is made."""
        super().__pydantic_init_subclass__(**kwargs)
        if "declaration" in cls.model_fields:
            raise MessageClassInvalid(cls.__name__, "the field name `declaration` is reserved")
        if topic is None:
            if not hasattr(cls, "declaration"):
                advice = 'it needs a topic: class X(Message, topic="order.placed")'
                raise MessageClassInvalid(cls.__name__, advice)
            return
        if not TOPIC_PATTERN.fullmatch(topic) or len(topic) > TOPIC_CHARS_MAX:
            raise MessageClassInvalid(
                cls.__name__,
                f"topic {topic!r} is not two or more lower-case words joined by dots, "
                f"at most {TOPIC_CHARS_MAX} characters",
            )
        if version < 1:
            raise MessageClassInvalid(cls.__name__, f"version {version} is below 1")
        cls.declaration = Declaration(topic, version, dedup_window)
