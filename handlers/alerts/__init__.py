"""Alerts on the coordinators' dashboard, opened and closed at a saga's command."""

from __future__ import annotations

from handlers.alerts.credentials import announce_credentials
from handlers.alerts.handler import AlertHandler
from handlers.alerts.kinds import KINDS, AlertKind

__all__ = ["KINDS", "AlertHandler", "AlertKind", "announce_credentials"]
