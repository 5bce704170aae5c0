"""Whether the credentials of every destination work, asked anew each time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from outbox.credentials import check_lane
from outbox.errors import CredentialsRejected
from outbox.relay import Relay

if TYPE_CHECKING:
    from outbox.app import App


@dataclass(frozen=True, slots=True)
class CredentialCheck:
    """One handler's check: `outcome` is accepted, rejected or unavailable, `reason` a code."""

    handler: str
    outcome: str
    reason: str | None = None
    hint: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the other side knows us."""
        return self.outcome == "accepted"


async def check_credentials(app: App, dsn: str) -> list[CredentialCheck]:
    """Run every handler's check and tell the circuits: a rejection opens, a success closes them."""
    names = {name for name, handler in app.handlers.items() if handler.check is not None}
    relay = Relay(app, dsn, only=names)
    checks: list[CredentialCheck] = []
    async with relay.opened():
        for name, lane in relay.lanes.items():
            error = await check_lane(lane)
            if error is None:
                checks.append(CredentialCheck(name, "accepted"))
                continue
            rejected = isinstance(error, CredentialsRejected)
            hint = (error.hint or None) if isinstance(error, CredentialsRejected) else None
            outcome = "rejected" if rejected else "unavailable"
            checks.append(CredentialCheck(name, outcome, error.reason, hint))
    return checks
