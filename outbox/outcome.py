"""How an attempt ends: a closed set of values. Nothing here touches a clock, a database or dice."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

REASON_UNFIT = "reason_unfit"
"""Stored for a reason that is no code: a sentence may quote what must not be stored (P12)."""

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,199}")  # as in the checks of revision 0016

Json: TypeAlias = "str | int | float | bool | Mapping[str, Json] | list[Json] | None"


@dataclass(frozen=True, slots=True)
class Done:
    """The effect happened. `receipt` (JSON, no personal data) is kept with the attempt."""

    receipt: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Suppressed:
    """Nothing had to be done, and never will; `reason` is a short code."""

    reason: str


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again, not before `after` (none: as the handler's policy says).

    `spent` is False where the attempt does not count: a held destination, rejected credentials.
    """

    after: timedelta | None = None
    reason: str = ""
    spent: bool = True


@dataclass(frozen=True, slots=True)
class Dead:
    """Given up; the delivery becomes a dead letter until somebody redrives it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """The call may have happened and nobody can tell; held, never silently repeated."""

    reason: str


@dataclass(frozen=True, slots=True)
class Superseded:
    """Set by the engine: a newer message of the same key made this one pointless."""

    reason: str = "overtaken"


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Set by the engine: whoever published it took it back before it began.

    With the reason `dismissed`, a person closed its dead letter for good.
    """

    reason: str = "withdrawn"


@dataclass(frozen=True, slots=True)
class Redriven:
    """Set by the engine: a person gave what was dead or unknown another chance; it waits again."""

    reason: str = "redriven"


Outcome: TypeAlias = Done | Suppressed | Retry | Dead | Unknown
AnyOutcome: TypeAlias = Outcome | Superseded | Withdrawn | Redriven


def code_of(reason: str) -> str:
    """`reason` if it is a code (at most 200 letters, digits, `_`, `.`, `:` and `-`) or empty.

    Anything else becomes `reason_unfit`.
    """
    return reason if not reason or _CODE.fullmatch(reason) else REASON_UNFIT


def outcome_name(outcome: AnyOutcome) -> str:
    """The word for `outcome` in receipts, logs and reports: `done`, `retry`, `dead` and so on."""
    return type(outcome).__name__.lower()


def outcome_reason(outcome: AnyOutcome) -> str | None:
    """The short code an outcome carries, if it carries one."""
    return None if isinstance(outcome, Done) else outcome.reason or None
