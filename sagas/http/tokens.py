"""Who calls: a bearer token, verified, becomes a `Caller`; what is wrong with it is one refusal.

The key decides the algorithm, never the token: HS256 goes with the secret, ES256, RS256 and EdDSA
with a published key, and nothing else with anything. Whoever sets the claims of a transaction *is*
that person, so only what was verified gets there, and no more of it than policies ask for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Protocol
from uuid import UUID

import jwt

if TYPE_CHECKING:
    from jwt import PyJWK
    from pydantic import SecretStr

SYMMETRIC: Final = "HS256"
ASYMMETRIC: Final = frozenset({"ES256", "RS256", "EdDSA"})
LEEWAY: Final = timedelta(seconds=10)
"""How far the issuer's clock may be from ours."""
TOKEN_CHARS_MAX: Final = 8_192


class Role(StrEnum):
    """The database role that a token stands for."""

    PERSON = "authenticated"
    SERVICE = "service_role"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. `user_id` is None for the service role alone; rights come from tables (VIS-4)."""

    role: Role
    user_id: UUID | None = None

    def claims(self) -> str:
        """The claims a transaction is given: nothing that a policy does not ask for."""
        claims = {"role": self.role.value}
        if self.user_id is not None:
            claims["sub"] = str(self.user_id)
        return json.dumps(claims)


class TokenRefused(Exception):
    """The token proves nobody. `code` is ours; nothing of the token is quoted."""

    def __init__(self, code: str) -> None:
        super().__init__(f"the token is refused: {code}")
        self.code = code


class PublishedKeys(Protocol):
    """Where public keys are found."""

    async def key(self, kid: str) -> PyJWK | None:
        """The key called `kid`; None if the issuer has none of that name."""
        ...


@dataclass(frozen=True, slots=True)
class Verifier:
    """Verifies tokens of one issuer for one audience: by a secret, published keys or both."""

    issuer: str
    audience: str
    secret: SecretStr | None = None
    keys: PublishedKeys | None = None

    async def caller(self, token: str) -> Caller:
        """Who holds `token`. Raises `TokenRefused`, or `KeysUnavailable` if it cannot be known."""
        if len(token) > TOKEN_CHARS_MAX:
            raise TokenRefused("token_too_long")
        try:
            key, algorithm = await self._key(jwt.get_unverified_header(token))
            claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self.audience,
                issuer=self.issuer,
                leeway=LEEWAY,
                options={"require": ["exp", "aud", "iss", "role"]},
            )
        except jwt.ExpiredSignatureError:
            raise TokenRefused("token_expired") from None
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise TokenRefused("token_invalid") from None
        return _caller(claims)

    async def _key(self, header: dict[str, Any]) -> tuple[str | PyJWK, str]:
        """The key that the header asks for and the algorithm that goes with it."""
        algorithm = header.get("alg")
        if algorithm == SYMMETRIC and self.secret is not None:
            return self.secret.get_secret_value(), SYMMETRIC
        kid = header.get("kid")
        if algorithm not in ASYMMETRIC or self.keys is None or not isinstance(kid, str):
            raise TokenRefused("token_invalid")
        key = await self.keys.key(kid)
        if key is None or key.algorithm_name != algorithm:
            raise TokenRefused("token_invalid")
        return key, key.algorithm_name


def _caller(claims: dict[str, Any]) -> Caller:
    subject = claims.get("sub")
    match claims["role"]:
        case Role.SERVICE:
            return Caller(Role.SERVICE)
        case Role.PERSON if isinstance(subject, str):
            try:
                return Caller(Role.PERSON, UUID(subject))
            except ValueError:
                raise TokenRefused("token_invalid") from None
        case _:
            raise TokenRefused("token_invalid")
