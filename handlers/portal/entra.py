"""Client credentials against Entra ID: one form POST, no library that insists on discovery.

Source: Microsoft identity platform, "OAuth 2.0 client credentials flow", shared-secret case.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from outbox.errors import CredentialsRejected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class EntraGrant:
    """Asks for one resource's token with a client secret.

    `secret` is called at each exchange, so that a rotated value is used without a restart; it
    returns an empty text where none is configured. `scope` ends with `/.default`.
    """

    client_id: str
    secret: Callable[[], str] = field(repr=False)
    scope: str
    setting: str = "HLF_PORTAL_CLIENT_SECRET"
    """What to set where there is no secret."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the client and the resource; the secret is no part of it."""
        return hashlib.sha256(f"{self.client_id}\n{self.scope}".encode()).hexdigest()

    def form(self, now: datetime) -> Mapping[str, str]:
        """Return the form fields; the time is no part of this grant."""
        del now
        secret = self.secret()
        if not secret:
            reason = "client_secret_missing"
            raise CredentialsRejected(reason, f"{self.setting} is empty")
        return {
            "grant_type": "client_credentials",
            "client_id": self.client_id,
            "client_secret": secret,
            "scope": self.scope,
        }
