"""The `Retry-After` header, in either of its two forms. Source: RFC 9110 §10.2.3."""

from __future__ import annotations

import re
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

RETRY_AFTER_MAX = timedelta(days=1)

_SECONDS = re.compile(r"[0-9]{1,9}")


def parse_retry_after(value: str | None, *, now: datetime) -> timedelta | None:
    """The wait a header asks for at `now` (aware): seconds or an HTTP date, 0 to one day.

    A date that has passed is no wait at all; garbage, and no header, is None.
    """
    text = (value or "").strip()
    if _SECONDS.fullmatch(text):
        return min(timedelta(seconds=int(text)), RETRY_AFTER_MAX)
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return min(max(until - now, timedelta(0)), RETRY_AFTER_MAX)
