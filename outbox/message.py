"""A message: an immutable fact or command, with a topic and a version.

The class is the contract on the wire. A new meaning is a new version: raise `version` and keep the old
class registered for as long as deliveries of it may wait.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

from outbox.errors import MessageClassInvalid

if TYPE_CHECKING:
    from datetime import timedelta

TOPIC_PATTERN = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
TOPIC_CHARS_MAX = 120


class Message(BaseModel):
    """What is published. Subclass it with `topic=` (at least two dotted words) and `version=` (from 1).

    `dedup_window` is how long a dedup key keeps the same message from being published again; without
    it a dedup key counts for ever. Raises `MessageClassInvalid` when the class is defined wrongly.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    topic: ClassVar[str] = ""
    version: ClassVar[int] = 1
    dedup_window: ClassVar[timedelta | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let the class keywords through to `__pydantic_init_subclass__`, which has the finished class."""
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
        if topic is None:
            if not cls.topic:
                raise MessageClassInvalid(
                    cls.__name__, 'it needs a topic: class X(Message, topic="order.placed")'
                )
            return
        if not TOPIC_PATTERN.fullmatch(topic) or len(topic) > TOPIC_CHARS_MAX:
            raise MessageClassInvalid(
                cls.__name__,
                f"topic {topic!r} is not two or more lower-case words joined by dots, at most {TOPIC_CHARS_MAX} characters",
            )
        if version < 1:
            raise MessageClassInvalid(cls.__name__, f"version {version} is below 1")
        cls.topic, cls.version, cls.dedup_window = topic, version, dedup_window
