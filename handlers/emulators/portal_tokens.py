"""The token endpoint beside the emulated portal: client credentials as Entra ID answers them."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Mapping

WRONG_SECRET: Final = 7000215
EXPIRED_SECRET: Final = 7000222
UNKNOWN_APPLICATION: Final = 700016
BAD_SCOPE: Final = 70011
_UNSUPPORTED_GRANT: Final = 70003
_SCOPE_SUFFIX: Final = "/.default"


@dataclass(frozen=True, slots=True)
class TokenReply:
    """Status and JSON body of one exchange."""

    status: int
    body: dict[str, object]


@dataclass(slots=True)
class TokenDesk:
    """Issues numbered bearer tokens and knows which of them are still good."""

    client_id: str
    client_secret: str = field(repr=False)
    lifetime: timedelta = timedelta(seconds=3599)
    _good: dict[str, datetime] = field(default_factory=dict, repr=False)
    _issued: int = 0
    _refusing: int | None = None

    @property
    def issued(self) -> int:
        """How many tokens were handed out."""
        return self._issued

    def refuse(self, code: int = EXPIRED_SECRET) -> None:
        """Refuse every exchange with `code` and every token handed out so far."""
        self._refusing = code
        self._good.clear()

    def accept(self) -> None:
        """Take the client's credentials again."""
        self._refusing = None

    def expire(self) -> None:
        """Let every token handed out so far be expired."""
        self._good.clear()

    def is_good(self, authorization: str, now: datetime) -> bool:
        """Whether an `Authorization` header carries a token that counts at `now`."""
        scheme, _, token = authorization.partition(" ")
        until = self._good.get(token)
        return scheme == "Bearer" and until is not None and now < until

    def exchange(self, form: Mapping[str, object], now: datetime) -> TokenReply:
        """Answer one form POST."""
        refused = self._refusal(form)
        if refused is not None:
            return _error(*refused, now)
        self._issued += 1
        token = f"emulated-{self._issued}-{uuid4().hex}"
        self._good[token] = now + self.lifetime
        body: dict[str, object] = {
            "token_type": "Bearer",
            "expires_in": int(self.lifetime.total_seconds()),
            "access_token": token,
        }
        return TokenReply(200, body)

    def _refusal(self, form: Mapping[str, object]) -> tuple[int, str, int] | None:
        if form.get("grant_type") != "client_credentials":
            return 400, "unsupported_grant_type", _UNSUPPORTED_GRANT
        if form.get("client_id") != self.client_id:
            return 400, "unauthorized_client", UNKNOWN_APPLICATION
        if self._refusing is not None:
            return 401, "invalid_client", self._refusing
        secret = str(form.get("client_secret", ""))
        if not hmac.compare_digest(secret.encode(), self.client_secret.encode()):
            return 401, "invalid_client", WRONG_SECRET
        if not str(form.get("scope", "")).endswith(_SCOPE_SUFFIX):
            return 400, "invalid_scope", BAD_SCOPE
        return None


def _error(status: int, error: str, code: int, now: datetime) -> TokenReply:
    trace = str(uuid4())
    return TokenReply(
        status,
        {
            "error": error,
            "error_description": f"AADSTS{code}: refused by the emulator. Trace ID: {trace}",
            "error_codes": [code],
            "timestamp": f"{now.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}",
            "trace_id": trace,
            "correlation_id": str(uuid4()),
        },
    )
