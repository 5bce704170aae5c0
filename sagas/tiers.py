"""How close a certificate is to its last valid day, in civil days of the organisation's zone.

`expiry_date` is the last valid day: on day 0 the certificate still counts, on day -1 it has lapsed
(TIER-2).
Days are differences of calendar dates, never hours divided by 24: Oslo has days of 23 and 25 hours.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Final

from sagas.policy import Cadence

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from sagas.policy import Policy

LAPSED_THRESHOLD: Final = -1
"""What `threshold_days` holds for the lapsed tier."""


@dataclass(frozen=True, slots=True, order=True)
class Tier:
    """One band before expiry, named by its upper end (-1 for lapsed). Sorts urgent first."""

    threshold_days: int

    @property
    def label(self) -> str:
        """`60`, `30`, ... or `lapsed`: what tables, logs and links call this tier (TIER-8)."""
        return "lapsed" if self.lapsed else str(self.threshold_days)

    @property
    def lapsed(self) -> bool:
        """Whether the last valid day has passed."""
        return self.threshold_days == LAPSED_THRESHOLD


LAPSED: Final = Tier(LAPSED_THRESHOLD)


def local_date(now: datetime, zone: ZoneInfo) -> date:
    """The civil date at `now` in `zone`. Raises ValueError for a naive `now`."""
    if now.tzinfo is None:
        message = "now has no time zone; give an aware datetime"
        raise ValueError(message)
    return now.astimezone(zone).date()


def days_until(expiry: date | datetime, now: datetime, zone: ZoneInfo) -> int:
    """Calendar days from today to the last valid day: 0 today, negative once lapsed (TIER-1).

    TIER-9 has worked examples.

    A timestamp expiry is first reduced to its own civil date in `zone`.
    """
    last_day = local_date(expiry, zone) if isinstance(expiry, datetime) else expiry
    return (last_day - local_date(now, zone)).days


def tier_of(days: int, policy: Policy) -> Tier | None:
    """The one tier `days` falls in, or None: too early, or lapsed without such a tier.

    Bands and not single days (TIER-3, TIER-4): a missed night is made up while the band lasts
    (TIER-5), and a band that has passed is never named again (TIER-6).
    """
    if days < 0:
        return LAPSED if policy.lapsed else None
    return min((Tier(each) for each in policy.thresholds if days <= each), default=None)


def window_start(expiry: date, tier: Tier) -> date:
    """The civil day on which `tier` opened for a certificate whose last valid day is `expiry`."""
    if tier.lapsed:
        return expiry + timedelta(days=1)
    return expiry - timedelta(days=tier.threshold_days)


def window_date(expiry: date, tier: Tier, *, cadence: Cadence, today: date) -> date:
    """The date that goes into a reminder's idempotency key (DED-2).

    `once_per_tier`: the day the tier opened, so the key is the same whichever night runs;
    `per_run_date`: the run's own date, so the same day is blocked and the next is not.
    """
    return today if cadence is Cadence.PER_RUN_DATE else window_start(expiry, tier)
