"""What one group's push says: its live items as title, body, data and link. Pure (PUSH-1, PII-3).

A digest carries counts, never a list of mentors; nothing carries a name. An item whose certificate
was renewed or revoked, or whose mentor left, is no longer worth telling (DSP-8).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from handlers import links
from handlers.fcm.encode import Device, Push, dedup_tag
from handlers.texts import (
    CHANGES,
    LAPSED,
    Audience,
    Kind,
    Text,
    digest_text,
    item_text,
    may_arrive_again,
    urgent,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from uuid import UUID

DATA_SCHEMA: Final = "1"
TTL_EARLY: Final = timedelta(hours=72)
"""Reminders with more than a week left; everything else is stale after a day (PUSH-7)."""
TTL_PRESSING: Final = timedelta(hours=24)
DIGEST_TIERS: Final = ("30", "14", "7", LAPSED)
"""Counts a digest always carries, so that a client finds a 0 instead of nothing."""

_REMINDERS: Final = frozenset({Kind.CERT_EXPIRY_REMINDER, Kind.CERT_LAPSED})
_STATUS_TOLD: Final[Mapping[Kind, str]] = {
    Kind.MENTOR_PAUSED: "paused",
    Kind.MENTOR_REACTIVATED: "active",
}
_CALM: Final = frozenset({Kind.SCENARIO_PROMPT})
_CHANNELS: Final[Mapping[Kind, str]] = {
    Kind.MENTOR_PAUSED: "mentors",
    Kind.MENTOR_REACTIVATED: "mentors",
    Kind.SYNC_ALERT: "mentors",
    Kind.SCENARIO_PROMPT: "prompts",
}
_RENEWABLE: Final = _REMINDERS | {Kind.MENTOR_PAUSED}
_ENROLMENT: Final = "enrolment_url"
_INACTIVE: Final = "inactive"


@dataclass(frozen=True, slots=True)
class Group:
    """One push to one recipient; `again` if an earlier try may have reached him."""

    id: UUID
    recipient_id: UUID
    kind: Kind
    run_id: UUID | None
    dedup_key: str
    language: str
    status: str
    again: bool
    enrolment_template: str | None = None
    """The organisation's own page for renewing a certificate, if it has one (LNK-5)."""


@dataclass(frozen=True, slots=True)
class Item:
    """One fact of a group with the state of the world it is about, as it is now.

    `certificate_counts` is whether that very certificate, with that very last day, still decides.
    """

    id: UUID
    mentor_id: UUID
    kind: Kind
    tier: str | None
    reason: str | None
    scenario_id: UUID | None
    prompt_id: UUID | None
    notification_id: UUID | None
    deep_link: str | None
    mentor_status: str
    certificate_counts: bool
    certificate_type: str | None = None


def live(item: Item) -> bool:
    """Whether `item` is still true, and its mentor still with us."""
    if item.kind in _REMINDERS:
        return item.certificate_counts and item.mentor_status != _INACTIVE
    return item.mentor_status == _STATUS_TOLD.get(item.kind, item.mentor_status) != _INACTIVE


def pushes(
    group: Group,
    items: Sequence[Item],
    devices: Sequence[Device],
    *,
    enrolment_hosts: Collection[str] = (),
) -> tuple[Push, ...]:
    """The same push for each of a recipient's devices; `items` are live and not empty.

    An organisation's enrolment page is told only if it is on one of `enrolment_hosts`. Raises
    LookupError or ValueError for a group of which no push can be made: a mistake of ours.
    """
    digest = group.kind is Kind.COORDINATOR_DIGEST
    text, data = _digest(group, items) if digest else _single(group, items[0], enrolment_hosts)
    if group.again:
        text = text.with_sentence(may_arrive_again(group.language))
    kind = group.kind if digest else items[0].kind
    tier = None if digest else items[0].tier
    return tuple(
        Push(
            device=device,
            title=text.title,
            body=text.body,
            data={"schema": DATA_SCHEMA, "kind": kind.value, **data},
            tag=dedup_tag(group.dedup_key),
            ttl=_ttl(kind, tier),
            urgent=kind not in _CALM and urgent(tier),
            channel=_CHANNELS.get(kind, "certificates"),
            link=data.get(_ENROLMENT),
            label=f"cert_expiry_{tier}" if kind is Kind.CERT_EXPIRY_REMINDER else kind.value,
        )
        for device in devices
    )


def _ttl(kind: Kind, tier: str | None) -> timedelta:
    calm = kind is Kind.CERT_EXPIRY_REMINDER and not urgent(tier)
    return TTL_EARLY if calm else TTL_PRESSING


def _digest(group: Group, items: Sequence[Item]) -> tuple[Text, dict[str, str]]:
    counts = Counter(item.tier for item in items if item.kind in _REMINDERS and item.tier)
    changed = {kind: _mentors(items, kind) for kind in CHANGES}
    context = links.CONTEXT_CERT_EXPIRY if counts else links.CONTEXT_PAUSE
    data = {"count": str(len(items))}
    data |= {f"count_{tier}": str(counts[tier]) for tier in dict.fromkeys([*DIGEST_TIERS, *counts])}
    data |= {f"count_{CHANGES[kind]}": str(count) for kind, count in changed.items() if count}
    if group.run_id is not None:
        data["run_id"] = str(group.run_id)
    link = links.coordinator_certificates(group.run_id, context=context)
    data["deep_link"] = link if links.published(link) else links.courses()
    text = digest_text(
        counts,
        people=_mentors(items, *_REMINDERS),
        changed=changed,
        language=group.language,
    )
    return text, data


def _mentors(items: Sequence[Item], *kinds: Kind) -> int:
    """How many mentors the items of these kinds are about; one may have several certificates."""
    return len({item.mentor_id for item in items if item.kind in kinds})


def _single(group: Group, item: Item, hosts: Collection[str]) -> tuple[Text, dict[str, str]]:
    own = item.mentor_id == group.recipient_id
    text = item_text(
        item.kind,
        audience=Audience.MENTOR if own else Audience.COORDINATOR,
        tier=item.tier,
        reason=item.reason,
        language=group.language,
    )
    link = item.deep_link
    if link is None or not links.published(link):
        link = links.courses(item.notification_id)
    data = {**_facts(item, own=own), "deep_link": link}
    if own and group.enrolment_template and item.kind in _RENEWABLE:
        data[_ENROLMENT] = links.enrolment_page(
            group.enrolment_template,
            hosts=hosts,
            certificate_type=item.certificate_type,
            tier=item.tier,
            notification_id=item.notification_id,
        )
    return text, data


def _facts(item: Item, *, own: bool) -> dict[str, str]:
    """What the app needs to open the right screen: ids and codes, all of them strings.

    A prompt is minimal, and says nothing of the contact (PUSH-4); a change of status carries its
    reason as a code (PUSH-3).
    """
    facts: dict[str, object | None]
    if item.kind is Kind.SCENARIO_PROMPT:
        facts = {
            "scenario_id": item.scenario_id,
            "peer_mentor_id": item.mentor_id,
            "prompt_id": item.prompt_id,
        }
    elif item.kind in _REMINDERS:
        facts = {
            "tier": item.tier,
            "mentor_id": None if own else item.mentor_id,
            "notification_id": item.notification_id,
        }
    else:
        facts = {
            "mentor_id": item.mentor_id,
            "reason": item.reason,
            "notification_id": item.notification_id,
        }
    return {name: str(value) for name, value in facts.items() if value is not None}
