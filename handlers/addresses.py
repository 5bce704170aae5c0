"""Where secrets may be sent, and from where what is believed may come."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

_THIS_MACHINE: Final = frozenset({"127.0.0.1", "::1", "localhost"})


def kept_private(url: str | None, *, since: str = "secrets go there") -> str | None:
    """An address that secrets may be sent to, as it was given; an empty one is one nobody calls.

    Raises ValueError, which says `since` and does not quote it, where somebody on the way could
    read or change what passes.
    """
    if url:
        parts = urlsplit(url)
        here = parts.scheme == "http" and parts.hostname in _THIS_MACHINE
        if parts.scheme != "https" and not here:
            problem = f"{since}: it must be an https address, or http on this machine"
            raise ValueError(problem)
    return url
