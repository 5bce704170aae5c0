"""The inbox: what a person was told, kept whether or not a push arrives."""

from __future__ import annotations

from handlers.in_app.handler import InAppHandler

__all__ = ["InAppHandler"]
