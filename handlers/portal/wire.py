"""The bodies of the portal contract, version 1, as they travel.

What we send forbids unknown fields. What we receive ignores them: the receiver may add a field
without breaking us, and every field we act on is checked strictly.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

LISTING_LIMIT_MAX: Final = 500

VersionNumber = Annotated[int, Field(ge=0, le=2**63 - 1)]
Code = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class AuthMode(StrEnum):
    """How we prove who we are: Entra bearer token, webhook signature, or both."""

    OAUTH_HMAC = "oauth+hmac"
    OAUTH = "oauth"
    HMAC = "hmac"

    @property
    def has_token(self) -> bool:
        """Whether requests carry a bearer token."""
        return self is not AuthMode.HMAC

    @property
    def has_signature(self) -> bool:
        """Whether requests carry a webhook signature."""
        return self is not AuthMode.OAUTH


class Reason(StrEnum):
    """Why a mentor's visibility has the value it has."""

    CERTIFICATE_LAPSED = "certificate_lapsed"
    CERTIFICATE_RENEWED = "certificate_renewed"
    PAUSED_MANUAL = "paused_manual"
    REACTIVATED = "reactivated"
    OFFBOARDED = "offboarded"
    FORCE_SYNC = "force_sync"
    RECONCILE = "reconcile"


class _Sent(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Received(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class VisibilityData(_Sent):
    """The complete wanted state of one mentor; no personal data beyond the id (SYN-12)."""

    organisation: str
    mentor_id: UUID
    version: VersionNumber
    visible: bool
    reason: Reason
    effective_at: AwareDatetime


class VisibilitySet(_Sent):
    """Body of `POST /v1/visibility`; `timestamp` is when the state changed, on every attempt."""

    type: Literal["mentor.visibility.set"] = "mentor.visibility.set"
    timestamp: AwareDatetime
    data: VisibilityData


class SetOutcome(StrEnum):
    """What the receiver did with a set request, in its own words."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    STALE = "stale"


class SetAnswer(_Received):
    """Body of a 200 to a set request: what is stored and what is published after it."""

    mentor_id: UUID
    outcome: SetOutcome
    version: VersionNumber
    visible: bool
    published_version: VersionNumber | None = None
    published_visible: bool | None = None
    stored_at: AwareDatetime


class StoredVisibility(_Received):
    """One mentor as the receiver holds it; `published_*` is what the public page shows."""

    mentor_id: UUID
    version: VersionNumber
    visible: bool
    stored_at: AwareDatetime
    published_version: VersionNumber | None = None
    published_visible: bool | None = None
    published_at: AwareDatetime | None = None


class ListingPage(_Received):
    """One page of the listing; `next_cursor` is opaque, null on the last page."""

    snapshot_at: AwareDatetime
    items: tuple[StoredVisibility, ...]
    next_cursor: str | None


class CurrentState(_Received):
    """What the receiver holds when it refuses a version."""

    version: VersionNumber
    visible: bool


class ErrorDetail(_Received):
    """The receiver's reason; `message` is for people and is never stored by us."""

    code: Code
    message: str = ""
    current: CurrentState | None = None


class ErrorAnswer(_Received):
    """Body of every refusal of the contract."""

    error: ErrorDetail


class HealthAnswer(_Received):
    """Body of `GET /v1/health`; `time` is the receiver's clock."""

    status: Literal["ok"]
    caller: str
    time: AwareDatetime
