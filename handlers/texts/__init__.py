"""What people read: every sentence in Norwegian bokmål and English, from one catalogue (NTF-4).

The sentences lie in `nb/*.ftl` and `en/*.ftl` (Fluent); `say` formats them. `docs/texts.md` shows
them all. Commands, logs and stored codes are for operators and developers, and English alone.
"""

from __future__ import annotations

from handlers.texts.catalogue import (
    Argument,
    Language,
    TextIncomplete,
    TextMissing,
    key_of,
    language_of,
    negotiate,
    say,
)
from handlers.texts.notices import (
    CERTIFICATE_LAPSED,
    CHANGES,
    LAPSED,
    Audience,
    Kind,
    Text,
    digest_text,
    item_text,
    may_arrive_again,
    urgent,
)

__all__ = [
    "CERTIFICATE_LAPSED",
    "CHANGES",
    "LAPSED",
    "Argument",
    "Audience",
    "Kind",
    "Language",
    "Text",
    "TextIncomplete",
    "TextMissing",
    "digest_text",
    "item_text",
    "key_of",
    "language_of",
    "may_arrive_again",
    "negotiate",
    "say",
    "urgent",
]
