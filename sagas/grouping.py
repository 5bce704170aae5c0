"""Which items share one push: one group has one recipient and becomes one push.

Items stay single in log and inbox whatever the mode (GRP-3); a group only decides how often the
phone rings. A mentor's own reminder is a group of one. Dedup keys are derived, so building the same
groups again names the same groups.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from handlers.texts import Kind
from sagas.policy import Grouping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import date
    from uuid import UUID

    from sagas.tiers import Tier


@dataclass(frozen=True, slots=True)
class Item:
    """One fact for one recipient: a reminder that fired, or (without `tier`) a change of status."""

    recipient_id: UUID
    mentor_id: UUID
    kind: Kind
    reminder_id: UUID | None = None
    certification_id: UUID | None = None
    certificate_type: str | None = None
    expiry_date: date | None = None
    tier: Tier | None = None
    reason: str | None = None
    step: int | None = None
    """The step of the recipients' chain that found this recipient; None: the mentor himself."""


@dataclass(frozen=True, slots=True)
class Group:
    """Everything one push to one recipient covers; `items` are most urgent first, never empty."""

    dedup_key: str
    recipient_id: UUID
    kind: Kind
    tier: Tier | None
    items: tuple[Item, ...]


def reminder_kind(tier: Tier) -> Kind:
    """The kind of a single reminder of `tier`."""
    return Kind.CERT_LAPSED if tier.lapsed else Kind.CERT_EXPIRY_REMINDER


def single_groups(items: Iterable[Item]) -> list[Group]:
    """Give each item a group of its own: a mentor's reminders."""
    return [
        Group(
            dedup_key=f"reminder:{item.reminder_id}:{item.recipient_id}",
            recipient_id=item.recipient_id,
            kind=item.kind,
            tier=item.tier,
            items=(item,),
        )
        for item in items
    ]


def coordinator_groups(items: Iterable[Item], *, mode: Grouping, run_id: UUID) -> list[Group]:
    """Bundle one run's coordinator reminders by `mode`; a bundle of several is a digest.

    One push per coordinator and run unless the policy says otherwise (GRP-1, GRP-5); per tier or
    per mentor where it does (GRP-2).
    """
    match mode:
        case Grouping.PER_RUN:
            return _bundle(items, lambda item: f"reminders:{run_id}:{item.recipient_id}")
        case Grouping.PER_TIER:
            return _bundle(
                items,
                lambda item: (
                    f"reminders:{run_id}:{item.recipient_id}:{item.tier and item.tier.label}"
                ),
            )
        case Grouping.PER_MENTOR:
            return _bundle(
                items, lambda item: f"reminders:{run_id}:{item.recipient_id}:{item.mentor_id}"
            )


def pause_groups(items: Iterable[Item], *, run_id: UUID) -> list[Group]:
    """Bundle a sweep's notices per coordinator: one mentor as himself, several a digest (GRP-6)."""
    return _bundle(items, lambda item: f"pauses:{run_id}:{item.recipient_id}")


def status_groups(items: Iterable[Item], *, key: str, versions: Mapping[UUID, int]) -> list[Group]:
    """Bundle notices told together, per recipient, under keys derived from `key`.

    A notice of one mentor alone is keyed by the version of his state, if `versions` has it.
    """
    groups = _bundle(items, lambda item: f"{key}:{item.recipient_id}")
    return [_of_version(group, versions) for group in groups]


def _of_version(group: Group, versions: Mapping[UUID, int]) -> Group:
    mentor_id = group.items[0].mentor_id
    if len(group.items) > 1 or mentor_id not in versions:
        return group
    key = f"status:{mentor_id}:{versions[mentor_id]}:{group.recipient_id}"
    return replace(group, dedup_key=key)


def regrouped(group: Group, items: Iterable[Item]) -> Group:
    """The same group with only `items`, at least one of its own: same key, same recipient."""
    return _group(group.dedup_key, list(items))


def _bundle(items: Iterable[Item], key_of: Callable[[Item], str]) -> list[Group]:
    bundles: defaultdict[str, list[Item]] = defaultdict(list)
    for item in items:
        bundles[key_of(item)].append(item)
    return [_group(key, bundle) for key, bundle in bundles.items()]


def _group(key: str, bundle: list[Item]) -> Group:
    bundle.sort(key=_urgency)
    first = bundle[0]
    return Group(
        dedup_key=key,
        recipient_id=first.recipient_id,
        kind=first.kind if len(bundle) == 1 else Kind.COORDINATOR_DIGEST,
        tier=first.tier,
        items=tuple(bundle),
    )


def _urgency(item: Item) -> tuple[int, UUID]:
    """Lapsed first, then fewest days; what has no tier (a pause) is as urgent as a lapse."""
    return (item.tier.threshold_days if item.tier is not None else -1, item.mentor_id)
