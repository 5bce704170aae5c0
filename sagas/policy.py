"""Which tiers an organisation's mentors and coordinators are told about, and how.

A policy belongs to one (organisation, audience) and is configuration, not code (CFG-1). It decides
when reminders open, not whom they reach (`sagas.recipients`) nor how they are bundled into pushes
(`sagas.grouping`). Grace periods and behaviour per certificate type are out of scope (CFG-4): the
type is carried, never interpreted.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, TypeVar

from handlers.texts import Audience as Audience  # noqa: PLC0414 - a policy is asked for by it

if TYPE_CHECKING:
    from collections.abc import Mapping

PER_ORG_THRESHOLDS: Final = "per_org_thresholds"
"""The feature flag that lets an organisation's own policies take effect."""

THRESHOLD_DAYS_MAX: Final = 365
THRESHOLDS_MAX: Final = 8
LAPSED_LOOKBACK_DAYS_MAX: Final = 3650
GUARD_HOURS_MAX: Final = 168


class Cadence(StrEnum):
    """How often one tier may fire for one certificate period."""

    ONCE_PER_TIER = "once_per_tier"
    PER_RUN_DATE = "per_run_date"


class Grouping(StrEnum):
    """What one push to a coordinator covers."""

    PER_RUN = "per_run"
    PER_TIER = "per_tier"
    PER_MENTOR = "per_mentor"


class InDoubt(StrEnum):
    """What becomes of a push whose outcome cannot be known."""

    HOLD = "hold"
    RESEND_ONCE = "resend_once"


class InvalidPolicy(ValueError):
    """A policy breaks a rule of `notification_policies`: refused on write, set aside on read."""

    def __init__(self, *, rule: str, given: object) -> None:
        super().__init__(f"policy refused: {rule}; given {given!r}")
        self.rule, self.given = rule, given


@dataclass(frozen=True, slots=True)
class Policy:
    """One audience's tiers: thresholds in days before expiry, strictly descending.

    Raises `InvalidPolicy` when a threshold is outside 1..365, when there are none or more than
    eight, when they do not strictly descend, when `per_run_date_tiers` names a tier the policy
    lacks, or when `lapsed_lookback_days` is outside 0..3650 or `guard_hours` outside 0..168.
    """

    audience: Audience
    thresholds: tuple[int, ...]
    lapsed: bool = True
    cadence: Cadence = Cadence.ONCE_PER_TIER
    per_run_date_tiers: frozenset[str] = frozenset()
    """Labels of tiers that fire on every run's date although `cadence` is once per tier."""
    grouping: Grouping = Grouping.PER_RUN
    in_doubt: InDoubt = InDoubt.HOLD
    lapsed_lookback_days: int = 30
    """How long after a lapse its notice may still be sent for the first time."""
    guard_hours: int = 20
    """No second push for one recipient, mentor, certificate and threshold within; 0 is off."""

    def __post_init__(self) -> None:
        """Refuse what the table's check constraints would refuse."""
        given = self.thresholds
        if not 1 <= len(given) <= THRESHOLDS_MAX:
            raise InvalidPolicy(rule=f"one to {THRESHOLDS_MAX} thresholds", given=given)
        if not all(1 <= each <= THRESHOLD_DAYS_MAX for each in given):
            rule = f"each threshold is 1 to {THRESHOLD_DAYS_MAX} days"
            raise InvalidPolicy(rule=rule, given=given)
        if any(later >= earlier for earlier, later in pairwise(given)):
            raise InvalidPolicy(rule="thresholds strictly descend", given=given)
        unknown = self.per_run_date_tiers - {*map(str, given), "lapsed"}
        if unknown:
            rule = "per_run_date_tiers are tiers of the policy"
            raise InvalidPolicy(rule=rule, given=sorted(unknown))
        for name, most in _BOUNDS:
            number = getattr(self, name)
            if not 0 <= number <= most:
                raise InvalidPolicy(rule=f"{name} is 0 to {most}", given=number)

    def cadence_of(self, label: str) -> Cadence:
        """The cadence of the tier called `label`."""
        return Cadence.PER_RUN_DATE if label in self.per_run_date_tiers else self.cadence

    def as_json(self) -> dict[str, Any]:
        """The settings by name, as `policy_from_row` reads them."""
        return {
            "thresholds": list(self.thresholds),
            "lapsed": self.lapsed,
            "cadence": self.cadence.value,
            "per_run_date_tiers": sorted(self.per_run_date_tiers),
            "grouping": self.grouping.value,
            "in_doubt": self.in_doubt.value,
            "lapsed_lookback_days": self.lapsed_lookback_days,
            "guard_hours": self.guard_hours,
        }


SETTINGS: Final = (
    "thresholds",
    "lapsed",
    "cadence",
    "per_run_date_tiers",
    "grouping",
    "in_doubt",
    "lapsed_lookback_days",
    "guard_hours",
)
"""What a policy is made of, beside its audience."""

_BOUNDS: Final = (
    ("lapsed_lookback_days", LAPSED_LOOKBACK_DAYS_MAX),
    ("guard_hours", GUARD_HOURS_MAX),
)


@dataclass(frozen=True, slots=True)
class Effective:
    """The policy that applies, and why the organisation's own one was set aside, if it was."""

    policy: Policy
    refused: InvalidPolicy | None = None


DEFAULTS: Final[Mapping[Audience, Policy]] = {
    Audience.MENTOR: Policy(Audience.MENTOR, (60, 30, 7)),
    Audience.COORDINATOR: Policy(Audience.COORDINATOR, (30, 14, 7)),
}
"""The HLF standard (CFG-2), in force wherever nothing valid of the organisation's own is."""


def effective(
    audience: Audience, row: Mapping[str, object] | None, *, overrides: bool
) -> Effective:
    """Choose the organisation's own policy if it has a valid one and `overrides` is on.

    `row` is a row of `notification_policies` or None; an invalid one never raises here: the
    defaults apply and `refused` says what was wrong, so that an alert can be opened.
    """
    if row is None or not overrides:
        return Effective(DEFAULTS[audience])
    try:
        return Effective(policy_from_row(audience, row))
    except InvalidPolicy as refused:
        return Effective(DEFAULTS[audience], refused)


def policy_from_row(audience: Audience, row: Mapping[str, object]) -> Policy:
    """Read a policy from its table row or from a request's body. Raises `InvalidPolicy`.

    What `row` leaves out, but for the thresholds, has its default; what else it holds is ignored.
    """
    tiers = row.get("per_run_date_tiers", ())
    if not isinstance(tiers, list | tuple | frozenset):
        raise InvalidPolicy(rule="per_run_date_tiers is a list of labels", given=tiers)
    return Policy(
        audience=audience,
        thresholds=_whole_numbers(row, "thresholds"),
        lapsed=_switch(row, "lapsed"),
        cadence=_word(row, "cadence", Cadence.ONCE_PER_TIER),
        per_run_date_tiers=frozenset(map(str, tiers)),
        grouping=_word(row, "grouping", Grouping.PER_RUN),
        in_doubt=_word(row, "in_doubt", InDoubt.HOLD),
        lapsed_lookback_days=_whole_number(row, "lapsed_lookback_days", 30),
        guard_hours=_whole_number(row, "guard_hours", 20),
    )


_Word = TypeVar("_Word", bound=StrEnum)


def _word(row: Mapping[str, object], name: str, default: _Word) -> _Word:
    given, words = row.get(name, default), type(default)
    if not isinstance(given, str) or given not in list(words):
        known = " or ".join(each.value for each in words)
        raise InvalidPolicy(rule=f"{name} is {known}", given=given)
    return words(given)


def _switch(row: Mapping[str, object], name: str) -> bool:
    given = row.get(name, True)
    if not isinstance(given, bool):
        raise InvalidPolicy(rule=f"{name} is true or false", given=given)
    return given


def _whole_numbers(row: Mapping[str, object], name: str) -> tuple[int, ...]:
    given = row.get(name)
    if not isinstance(given, list | tuple) or not all(type(each) is int for each in given):
        raise InvalidPolicy(rule=f"{name} is a list of whole numbers", given=given)
    return tuple(given)


def _whole_number(row: Mapping[str, object], name: str, default: int) -> int:
    given = row.get(name, default)
    if type(given) is not int:
        raise InvalidPolicy(rule=f"{name} is a whole number", given=given)
    return given
