"""The words of pushes and inbox rows, by kind, tier and reader.

No text names anybody (NTF-4, PII-3): a push lies open on a lock screen, and inbox and push say the
same. Numbers are counts, never dates.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from handlers.texts.catalogue import key_of, say

if TYPE_CHECKING:
    from collections.abc import Mapping

LAPSED: Final = "lapsed"
CERTIFICATE_LAPSED: Final = "certificate_lapsed"
_URGENT_DAYS_MAX: Final = 7


class Kind(StrEnum):
    """What a notification is about; the words stored in `notification_groups.kind` (PUSH-2)."""

    CERT_EXPIRY_REMINDER = "cert_expiry_reminder"
    CERT_LAPSED = "cert_lapsed"
    COORDINATOR_DIGEST = "coordinator_digest"
    MENTOR_PAUSED = "mentor_paused"
    MENTOR_REACTIVATED = "mentor_reactivated"
    SCENARIO_PROMPT = "scenario_prompt"
    SYNC_ALERT = "sync_alert"


class Audience(StrEnum):
    """Who reads it: the mentor it is about, or somebody who follows him up."""

    MENTOR = "mentor"
    COORDINATOR = "coordinator"


CHANGES: Final = {
    Kind.MENTOR_PAUSED: "paused",
    Kind.MENTOR_REACTIVATED: "reactivated",
    Kind.SYNC_ALERT: "unconfirmed",
}
"""What a digest, and its data, call a change; the one its title is about first."""


@dataclass(frozen=True, slots=True)
class Text:
    """A title and a body, ready to show."""

    title: str
    body: str

    def with_sentence(self, sentence: str) -> Text:
        """The same text with one more sentence at its end."""
        return Text(self.title, f"{self.body} {sentence}")


def urgent(tier: str | None) -> bool:
    """Whether `tier` is the last one before the end, or past it. No tier (a pause) is urgent."""
    return tier is None or tier == LAPSED or int(tier) <= _URGENT_DAYS_MAX


def item_text(
    kind: Kind, *, audience: Audience, tier: str | None, reason: str | None, language: str
) -> Text:
    """The text of one fact; `tier` is a number of days or `lapsed` and fills reminders only.

    `reason` is why a mentor was paused; only `certificate_lapsed` (or none) blames the certificate.
    Raises TextMissing for a digest, which is no fact, and TextIncomplete for a reminder without
    its days.
    """
    key = key_of(kind, audience)
    arguments: dict[str, str | int] = {}
    if kind is Kind.CERT_EXPIRY_REMINDER and tier is not None and tier.isdigit():
        arguments = {"days": int(tier), "urgency": "urgent" if urgent(tier) else "calm"}
    if kind is Kind.MENTOR_PAUSED:
        blamed = reason in {None, CERTIFICATE_LAPSED}
        arguments = {"cause": "certificate" if blamed else "other"}
    return Text(
        say(f"{key}.title", language, **arguments), say(f"{key}.body", language, **arguments)
    )


def digest_text(
    counts: Mapping[str, int], *, people: int, changed: Mapping[Kind, int], language: str
) -> Text:
    """The text of one push for several mentors.

    `counts` are certificates per tier and are told most urgent first (GRP-1); `people` are the
    mentors they belong to. `changed` are mentors paused, returned or unconfirmed, told beside them.
    """
    topics = [kind for kind in CHANGES if changed.get(kind)]
    sentences: list[str] = []
    if counts:
        pressing = sum(count for tier, count in counts.items() if urgent(tier))
        sentences.append(
            say(
                "digest-follow-up",
                language,
                count=people,
                pressing=pressing,
                tiers=", ".join(_tier(tier, counts[tier], language) for tier in _ranked(counts)),
            )
        )
    sentences += [say(f"digest-{CHANGES[kind]}", language, count=changed[kind]) for kind in topics]
    topic = CHANGES[topics[0]] if topics and not counts else "certificates"
    return Text(say("digest-title", language, topic=topic), " ".join(sentences))


def may_arrive_again(language: str) -> str:
    """The sentence that goes with a push whose first try nobody can account for (DED-12)."""
    return say("may-arrive-again", language)


def _ranked(counts: Mapping[str, int]) -> list[str]:
    """Tiers that have any, most urgent first."""
    present = [tier for tier, count in counts.items() if count]
    return sorted(present, key=lambda tier: -1 if tier == LAPSED else int(tier))


def _tier(tier: str, count: int, language: str) -> str:
    if tier == LAPSED:
        return say("digest-lapsed", language, count=count)
    return say("digest-tier", language, count=count, days=int(tier))
