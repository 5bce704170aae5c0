"""When a follow-up prompt is due: rules as coordinators choose them, judged from facts alone.

A rule hangs on an activity of a mentor (its anchor) and fires once per activity, some days later.
No clock and no database: who asks brings the facts, so a preview judges exactly as a run does.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from sagas.tiers import local_date

if TYPE_CHECKING:
    from collections.abc import Mapping
    from zoneinfo import ZoneInfo

DELAY_DAYS_MAX: Final = 365
CATCH_UP: Final = timedelta(days=3)
"""How long after its day a prompt is still sent, where no run was made before (SCN-11)."""
RUNS_MAX: Final = 3
"""Runs that may try one prompt; each gives its push up to three attempts (SCN-12)."""
CONDITIONS_MAX: Final = 8
PROMPTED: Final = frozenset({"active", "paused"})
"""Statuses of mentors who follow up contacts; whoever has left is not prompted."""


class InvalidRule(ValueError):
    """A rule does not have the form of SCN-7; `problems` says where, and never what was given."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__(f"rule refused: {'; '.join(problems)}")
        self.problems = problems


class Anchor(StrEnum):
    """What a rule hangs on."""

    FIRST_CONTACT = "first_contact"
    LAST_CONTACT = "last_contact"
    ACTIVITY_REGISTERED = "activity_registered"
    ACTIVITY_COMPLETED = "activity_completed"


class Event(StrEnum):
    """What makes a prompt superfluous."""

    FOLLOW_UP_REGISTERED = "follow_up_registered"


CONTACTS: Final = ("first_contact", "contact")
"""Kinds of activity that are a contact with somebody; the last of them is the last contact."""

KINDS: Final[Mapping[Anchor, tuple[str, ...]]] = {
    Anchor.FIRST_CONTACT: ("first_contact",),
    Anchor.LAST_CONTACT: CONTACTS,
    Anchor.ACTIVITY_REGISTERED: ("activity_registered",),
    Anchor.ACTIVITY_COMPLETED: ("activity_completed",),
}
"""The kinds of activity (`activities.kind`) a rule of each anchor looks at."""

_FORM: Final = ConfigDict(frozen=True, extra="forbid")


class Condition(BaseModel):
    """A flag the activity must carry (`is` true), or must not (`is` false: absent is enough)."""

    model_config = _FORM

    flag: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
    is_: Annotated[bool, Field(alias="is", strict=True)]


class Unless(BaseModel):
    """An event that, once registered after the anchor, makes the prompt superfluous."""

    model_config = _FORM

    event: Event


def _each_flag_once(conditions: tuple[Condition, ...]) -> tuple[Condition, ...]:
    if len({each.flag for each in conditions}) < len(conditions):
        problem = "each flag stands once"
        raise ValueError(problem)
    return conditions


def _each_event_once(unless: tuple[Unless, ...]) -> tuple[Unless, ...]:
    if len({each.event for each in unless}) < len(unless):
        problem = "each event stands once"
        raise ValueError(problem)
    return unless


class Rule(BaseModel):
    """One rule in the form of SCN-7, version 1. Equal rules read the same, others do not."""

    model_config = _FORM

    schema_: Annotated[Literal[1], Field(alias="schema")]
    anchor: Anchor
    delay_days: Annotated[int, Field(ge=0, le=DELAY_DAYS_MAX, strict=True)]
    conditions: Annotated[
        tuple[Condition, ...], Field(max_length=CONDITIONS_MAX), AfterValidator(_each_flag_once)
    ] = ()
    unless: Annotated[tuple[Unless, ...], AfterValidator(_each_event_once)] = ()

    @classmethod
    def of(cls, given: object) -> Rule:
        """Read a rule from what JSON gave. Raises `InvalidRule`."""
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise InvalidRule(
                tuple(
                    f"{'.'.join(map(str, each['loc'])) or 'rule'}: {each['msg']}"
                    for each in error.errors(include_input=False, include_url=False)
                )
            ) from None  # the cause quotes what was given

    def as_json(self) -> dict[str, Any]:
        """The rule in its stored form."""
        return self.model_dump(mode="json", by_alias=True)


class Reason(StrEnum):
    """Why a rule does not fire; without any it fires."""

    NOT_YET = "not_yet"
    TOO_LATE = "too_late"
    BEFORE_ENABLED = "before_enabled"
    OTHER_ACTIVITY = "other_activity"
    CONDITION_NOT_MET = "condition_not_met"
    FOLLOWED_UP = "followed_up"
    OVERTAKEN = "overtaken"
    MENTOR_LEFT = "mentor_left"


@dataclass(frozen=True, slots=True)
class Activity:
    """An activity and what is known around it at the time of judging.

    `followed_up`: a follow-up was registered since, with the same contact. `overtaken`: there was
    a later contact with the same person.
    """

    kind: str
    occurred_at: datetime
    flags: Mapping[str, Any]
    followed_up: bool = False
    overtaken: bool = False
    mentor_status: str = "active"


@dataclass(frozen=True, slots=True)
class Judged:
    """Whether a rule fires for an activity now, on which day it is due, and why it does not."""

    due_on: date
    last_on: date
    reasons: tuple[Reason, ...]

    @property
    def fires(self) -> bool:
        """Whether the prompt is to be sent now."""
        return not self.reasons


def judge(
    rule: Rule, activity: Activity, *, now: datetime, zone: ZoneInfo, enabled_at: datetime | None
) -> Judged:
    """Decide whether `rule`, enabled at `enabled_at`, fires for `activity` at `now` (SCN-11).

    Days are civil days of `zone`. `enabled_at` None: as if it had been enabled long ago, which is
    what a preview asks. What happened before the enabling stays unsaid, or enabling would flood.
    """
    due_on = local_date(activity.occurred_at, zone) + timedelta(days=rule.delay_days)
    last_on, today = due_on + CATCH_UP, local_date(now, zone)
    found = {
        Reason.OTHER_ACTIVITY: activity.kind not in KINDS[rule.anchor],
        Reason.NOT_YET: today < due_on or now < activity.occurred_at,
        Reason.TOO_LATE: today > last_on,
        Reason.BEFORE_ENABLED: enabled_at is not None and activity.occurred_at < enabled_at,
        Reason.CONDITION_NOT_MET: not all(_met(each, activity) for each in rule.conditions),
        Reason.FOLLOWED_UP: bool(rule.unless) and activity.followed_up,
        Reason.OVERTAKEN: rule.anchor is Anchor.LAST_CONTACT and activity.overtaken,
        Reason.MENTOR_LEFT: activity.mentor_status not in PROMPTED,
    }
    return Judged(due_on, last_on, tuple(reason for reason, holds in found.items() if holds))


def reach(rule: Rule, *, now: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The instants, the last excluded, between which what `rule` may fire for now occurred."""
    newest = local_date(now, zone) - timedelta(days=rule.delay_days)
    return min(_midnights(newest - CATCH_UP, zone)), max(
        _midnights(newest + timedelta(days=1), zone)
    )


def _met(condition: Condition, activity: Activity) -> bool:
    return (activity.flags.get(condition.flag) is True) == condition.is_


def _midnights(day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The instants `day` may begin at: two where clocks change at midnight, else the same one."""
    begins = datetime(day.year, day.month, day.day, tzinfo=zone)
    return begins.astimezone(UTC), begins.replace(fold=1).astimezone(UTC)
