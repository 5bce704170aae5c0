"""What every declared duration must be; whoever declares it raises in words of its own."""

from __future__ import annotations

from datetime import timedelta


def wrong_with(given: object) -> str | None:
    """What was given instead of a `timedelta` above zero, and what is allowed; None if it is one.

    A plain number is refused: nobody could say of what.
    """
    if not isinstance(given, timedelta):
        return f"is {given!r} ({type(given).__name__}), it must be a timedelta above zero"
    return None if given > timedelta(0) else f"is {given}, it must be above zero"
