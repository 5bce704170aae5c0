"""Changes to a mentor's own state that a saga commands."""

from __future__ import annotations

from handlers.mentor_state.handler import MentorStateHandler
from handlers.mentor_state.raising import RAISE_MAX, Hold, MovedOn, Raise, decide

__all__ = ["RAISE_MAX", "Hold", "MentorStateHandler", "MovedOn", "Raise", "decide"]
