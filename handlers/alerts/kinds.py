"""The types of alert (ALR-4), and how soon somebody has to look. Their words: the catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from handlers.texts import Language, key_of, say

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class AlertKind:
    """One type of alert, and the time within which a review is due, if one is."""

    type: str
    due_after: timedelta | None = None

    def text(self, language: str) -> str:
        """The text of the dashboard; that of ALR-1 is the same in every language."""
        return say(key_of("alert", self.type), language)

    def texts(self) -> Mapping[str, str]:
        """The text in every language, by its code."""
        return {language.value: self.text(language) for language in Language}


SEVERITIES: Final = ("info", "warning", "critical")
"""From the least to the most severe."""

_REVIEW: Final = timedelta(hours=24)

KINDS: Final[Mapping[str, AlertKind]] = MappingProxyType(
    {
        kind.type: kind
        for kind in (
            AlertKind("dynamics_sync_pending"),
            AlertKind("credential_failure"),
            AlertKind("portal_ahead", _REVIEW),
            AlertKind("endpoint_retired"),
            AlertKind("duplicate_dispatch", _REVIEW),
            AlertKind("duplicate_log_entries", _REVIEW),
            AlertKind("invalid_policy"),
            AlertKind("payload_rejected"),
            AlertKind("data_quality"),
            AlertKind("integration_unavailable"),
        )
    }
)
