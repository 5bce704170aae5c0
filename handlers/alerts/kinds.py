"""What each type of alert says, and how soon somebody has to look: the one place for both."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class AlertKind:
    """The text people read, and the time within which a review is due, if one is."""

    text: str
    due_after: timedelta | None = None


SEVERITIES: Final = ("info", "warning", "critical")
"""From the least to the most severe."""

_REVIEW: Final = timedelta(hours=24)

KINDS: Final[Mapping[str, AlertKind]] = MappingProxyType(
    {
        # ALR-1 fixes this text, em dash included.
        "dynamics_sync_pending": AlertKind(
            "Dynamics sync pending — mentor may still be visible on portal"
        ),
        "credential_failure": AlertKind(
            "Credentials rejected — nothing is sent until the check passes again"
        ),
        "portal_ahead": AlertKind(
            "Portal holds a newer version than ours — compare both before more is sent", _REVIEW
        ),
        "endpoint_retired": AlertKind(
            "Portal endpoint retired — no visibility change reaches the portal"
        ),
        "duplicate_dispatch": AlertKind(
            "The same reminder may have been sent twice — review", _REVIEW
        ),
        "duplicate_log_entries": AlertKind(
            "Duplicate entries in the reminder log — review", _REVIEW
        ),
        "invalid_policy": AlertKind(
            "Reminder settings are not valid — the organisation runs on the defaults"
        ),
        "payload_rejected": AlertKind("A push message was refused as malformed"),
        "data_quality": AlertKind("Data needs attention — somebody may not be reached"),
    }
)
