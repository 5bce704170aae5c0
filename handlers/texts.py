"""What people read, by kind, tier and language: Norwegian bokmål, and English.

No text names anybody (NTF-4, PII-3): a push lies open on a lock screen, and the catalogue serves
inbox and push alike. Numbers are counts, never dates. An unknown language reads Norwegian.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

LAPSED: Final = "lapsed"
CERTIFICATE_LAPSED: Final = "certificate_lapsed"
_URGENT_DAYS_MAX: Final = 7


class Kind(StrEnum):
    """What a notification is about; the words stored in `notification_groups.kind`."""

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
    """
    words = _ITEMS[_language(language)][kind, audience]
    if kind is Kind.MENTOR_PAUSED and reason not in {None, CERTIFICATE_LAPSED}:
        words = Text(words.title, _OPEN_THE_APP[_language(language)])
    days = tier if tier is not None and tier.isdigit() else ""
    return Text(words.title, words.body.format(days=days))


def digest_text(counts: Mapping[str, int], *, paused: int, language: str) -> Text:
    """The text of one push for several mentors: `counts` per tier, and how many were paused."""
    words = _DIGESTS[_language(language)]
    pressing = sum(count for tier, count in counts.items() if urgent(tier))
    reminders = sum(counts.values())
    if paused and not reminders:
        return Text(words.paused_title, _counted(words.paused, paused))
    body = _counted(words.follow_up, reminders + paused)
    if pressing:
        body = body.removesuffix(".") + " " + words.pressing.format(count=pressing) + "."
    if paused:
        body = f"{body} {_counted(words.paused, paused)}"
    return Text(words.title, body)


def may_arrive_again(language: str) -> str:
    """The sentence that goes with a push whose first try nobody can account for (DED-12)."""
    return _MAY_ARRIVE_AGAIN[_language(language)]


@dataclass(frozen=True, slots=True)
class _Digest:
    title: str
    follow_up: tuple[str, str]
    pressing: str
    paused_title: str
    paused: tuple[str, str]


def _language(language: str) -> str:
    return language if language in _ITEMS else "nb"


def _counted(forms: tuple[str, str], count: int) -> str:
    return forms[count != 1].format(count=count)


_MENTOR, _COORDINATOR = Audience.MENTOR, Audience.COORDINATOR

_NB: Final[Mapping[tuple[Kind, Audience], Text]] = {
    (Kind.CERT_EXPIRY_REMINDER, _MENTOR): Text(
        "Sertifikatet ditt utløper snart",
        "Det er {days} dager eller mindre igjen. Trykk for å fornye.",
    ),
    (Kind.CERT_EXPIRY_REMINDER, _COORDINATOR): Text(
        "Et sertifikat utløper snart",
        "En likeperson har {days} dager eller mindre igjen. Åpne appen for detaljer.",
    ),
    (Kind.CERT_LAPSED, _MENTOR): Text(
        "Sertifikatet ditt er utløpt",
        "Du vises ikke lenger for nye kontakter. Trykk for å fornye.",
    ),
    (Kind.CERT_LAPSED, _COORDINATOR): Text(
        "Et sertifikat er utløpt",
        "En likeperson trenger oppfølging. Åpne appen for detaljer.",
    ),
    (Kind.MENTOR_PAUSED, _MENTOR): Text(
        "Du er satt på pause",
        "Sertifikatet er utløpt. Trykk for å fornye.",
    ),
    (Kind.MENTOR_PAUSED, _COORDINATOR): Text(
        "En likeperson er satt på pause",
        "Sertifikatet er utløpt. Åpne appen for detaljer.",
    ),
    (Kind.MENTOR_REACTIVATED, _MENTOR): Text(
        "Du er aktiv igjen",
        "Pausen er opphevet.",
    ),
    (Kind.MENTOR_REACTIVATED, _COORDINATOR): Text(
        "En likeperson er aktiv igjen",
        "Pausen er opphevet. Åpne appen for detaljer.",
    ),
    (Kind.SCENARIO_PROMPT, _MENTOR): Text(
        "Tid for oppfølging",
        "En av kontaktene dine bør følges opp. Åpne appen for detaljer.",
    ),
    (Kind.SCENARIO_PROMPT, _COORDINATOR): Text(
        "Tid for oppfølging",
        "En kontakt bør følges opp. Åpne appen for detaljer.",
    ),
    (Kind.SYNC_ALERT, _MENTOR): Text(
        "Synligheten oppdateres",
        "Visningen på portalen er ikke bekreftet ennå.",
    ),
    (Kind.SYNC_ALERT, _COORDINATOR): Text(
        "Synkronisering venter",
        "En likeperson kan fortsatt være synlig på portalen. Åpne appen for detaljer.",
    ),
}

_EN: Final[Mapping[tuple[Kind, Audience], Text]] = {
    (Kind.CERT_EXPIRY_REMINDER, _MENTOR): Text(
        "Your certificate expires soon",
        "There are {days} days or fewer left. Tap to renew.",
    ),
    (Kind.CERT_EXPIRY_REMINDER, _COORDINATOR): Text(
        "A certificate expires soon",
        "A peer mentor has {days} days or fewer left. Open the app for details.",
    ),
    (Kind.CERT_LAPSED, _MENTOR): Text(
        "Your certificate has expired",
        "You are no longer shown to new contacts. Tap to renew.",
    ),
    (Kind.CERT_LAPSED, _COORDINATOR): Text(
        "A certificate has expired",
        "A peer mentor needs follow-up. Open the app for details.",
    ),
    (Kind.MENTOR_PAUSED, _MENTOR): Text(
        "You have been paused",
        "Your certificate has expired. Tap to renew.",
    ),
    (Kind.MENTOR_PAUSED, _COORDINATOR): Text(
        "A peer mentor has been paused",
        "The certificate has expired. Open the app for details.",
    ),
    (Kind.MENTOR_REACTIVATED, _MENTOR): Text(
        "You are active again",
        "Your pause has been lifted.",
    ),
    (Kind.MENTOR_REACTIVATED, _COORDINATOR): Text(
        "A peer mentor is active again",
        "The pause has been lifted. Open the app for details.",
    ),
    (Kind.SCENARIO_PROMPT, _MENTOR): Text(
        "Time to follow up",
        "One of your contacts is due a follow-up. Open the app for details.",
    ),
    (Kind.SCENARIO_PROMPT, _COORDINATOR): Text(
        "Time to follow up",
        "A contact is due a follow-up. Open the app for details.",
    ),
    (Kind.SYNC_ALERT, _MENTOR): Text(
        "Your visibility is being updated",
        "The listing on the portal is not confirmed yet.",
    ),
    (Kind.SYNC_ALERT, _COORDINATOR): Text(
        "Synchronisation pending",
        "A peer mentor may still be visible on the portal. Open the app for details.",
    ),
}

_ITEMS: Final[Mapping[str, Mapping[tuple[Kind, Audience], Text]]] = {"nb": _NB, "en": _EN}

_DIGESTS: Final[Mapping[str, _Digest]] = {
    "nb": _Digest(
        title="Sertifikater som utløper",
        follow_up=(
            "{count} likeperson trenger oppfølging.",
            "{count} likepersoner trenger oppfølging.",
        ),
        pressing="({count} haster)",
        paused_title="Likepersoner satt på pause",
        paused=("{count} er satt på pause.", "{count} er satt på pause."),
    ),
    "en": _Digest(
        title="Certificates about to expire",
        follow_up=("{count} peer mentor needs follow-up.", "{count} peer mentors need follow-up."),
        pressing="({count} urgent)",
        paused_title="Peer mentors paused",
        paused=("{count} has been paused.", "{count} have been paused."),
    ),
}

_OPEN_THE_APP: Final[Mapping[str, str]] = {
    "nb": "Åpne appen for detaljer.",
    "en": "Open the app for details.",
}

_MAY_ARRIVE_AGAIN: Final[Mapping[str, str]] = {
    "nb": "Denne meldingen kan komme to ganger.",
    "en": "This message may reach you twice.",
}
