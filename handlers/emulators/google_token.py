"""Google's token endpoint for service accounts, on the loopback: it verifies what Google verifies.

Source: RFC 7523; Google's notes on service-account authorisation. Google's libraries sign the
audience `https://oauth2.googleapis.com/token` wherever they post to, so that is what is expected.
"""

from __future__ import annotations

import base64
import json
from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

AUDIENCE = "https://oauth2.googleapis.com/token"
JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SCOPES = frozenset(
    {
        "https://www.googleapis.com/auth/firebase.messaging",
        "https://www.googleapis.com/auth/cloud-platform",
    }
)
ASSERTION_SECONDS_MAX = 3600
SKEW_SECONDS_MAX = 300
KEY_BITS = 2048


class GrantRefused(Exception):
    """The grant is refused with an OAuth error code."""

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(error)
        self.status, self.error, self.description = status, error, description


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """A scripted answer of the token endpoint."""

    status: int
    body: str = '{"error": "temporarily_unavailable"}'
    content_type: str = "application/json"


def generate_key() -> rsa.RSAPrivateKey:
    """A new RSA key, 2,048 bits; costs up to half a second."""
    return rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)


def service_account(
    token_uri: str,
    *,
    project_id: str = "outbox-demo",
    key: rsa.RSAPrivateKey | None = None,
    key_id: str = "emulated-key-1",
) -> tuple[dict[str, str], rsa.RSAPrivateKey]:
    """A service account as Google's console hands it out, and its key (made if not given)."""
    key = key or generate_key()
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    info = {
        "type": "service_account",
        "project_id": project_id,
        "private_key_id": key_id,
        "private_key": pem.decode(),
        "client_email": f"push@{project_id}.iam.gserviceaccount.com",
        "token_uri": token_uri,
    }
    return info, key


@dataclass(slots=True)
class TokenEndpoint:
    """Answers `POST /token`; tokens are numbered `emulated-token-1`, `-2` and so on.

    `reject` makes every grant `invalid_grant`; `script` answers come before anything else, each
    once; `requests` counts all calls, `issued` the tokens given out.
    """

    public_key: rsa.RSAPublicKey | None
    wall: Callable[[], datetime]
    expires_in: int | str = 3599
    reject: bool = False
    script: deque[TokenAnswer] = field(default_factory=deque)
    requests: int = 0
    issued: int = 0
    _valid: dict[str, datetime] = field(default_factory=dict)

    async def answer(self, request: web.Request) -> web.Response:
        """One token request."""
        self.requests += 1
        form = await request.post()
        if self.script:
            scripted = self.script.popleft()
            return self._dated(
                web.Response(
                    status=scripted.status, text=scripted.body, content_type=scripted.content_type
                )
            )
        try:
            self._verify(str(form.get("grant_type", "")), str(form.get("assertion", "")))
        except GrantRefused as refused:
            body = {"error": refused.error, "error_description": refused.description}
            return self._dated(web.json_response(body, status=refused.status))
        self.issued += 1
        token = f"emulated-token-{self.issued}"
        self._valid[token] = self.wall() + timedelta(seconds=float(self.expires_in))
        answer = {"access_token": token, "expires_in": self.expires_in, "token_type": "Bearer"}
        return self._dated(web.json_response(answer))

    def accepts(self, authorization: str) -> bool:
        """Whether an `Authorization` header carries a token that is still good."""
        scheme, _, token = authorization.partition(" ")
        until = self._valid.get(token)
        return scheme.lower() == "bearer" and until is not None and self.wall() < until

    def revoke_all(self) -> None:
        """No token given out so far is good any more."""
        self._valid.clear()

    def _dated(self, response: web.Response) -> web.Response:
        response.headers["Date"] = format_datetime(self.wall(), usegmt=True)
        return response

    def _verify(self, grant_type: str, assertion: str) -> None:
        if grant_type != JWT_GRANT:
            raise GrantRefused(400, "unsupported_grant_type", "Invalid grant_type")
        if self.reject or self.public_key is None:
            raise GrantRefused(400, "invalid_grant", "Invalid grant: account not found")
        claims = _claims(assertion, self.public_key)
        if claims.get("aud") != AUDIENCE:
            raise GrantRefused(400, "invalid_grant", "Invalid JWT audience")
        now = self.wall().timestamp()
        issued, expires = claims.get("iat"), claims.get("exp")
        if (
            not isinstance(issued, int)
            or not isinstance(expires, int)
            or not 0 < expires - issued <= ASSERTION_SECONDS_MAX
            or issued > now + SKEW_SECONDS_MAX
            or expires < now
        ):
            text = "Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
            raise GrantRefused(400, "invalid_grant", f"Invalid JWT: {text}")
        if not claims.get("iss"):
            raise GrantRefused(401, "invalid_client", "The OAuth client was not found.")
        scopes = str(claims.get("scope", "")).split()
        if not scopes or not SCOPES.issuperset(scopes):
            raise GrantRefused(400, "invalid_scope", "Invalid OAuth scope or ID token audience.")


def _claims(assertion: str, public_key: rsa.RSAPublicKey) -> dict[str, Any]:
    """The claims of a JWT signed with RS256. Raises GrantRefused unless the signature holds."""
    try:
        head, body, signature = assertion.split(".")
        header, claims = json.loads(_unpadded(head)), json.loads(_unpadded(body))
        signed = f"{head}.{body}".encode()
        public_key.verify(_unpadded(signature), signed, padding.PKCS1v15(), hashes.SHA256())
    except (ValueError, InvalidSignature) as error:
        raise GrantRefused(400, "invalid_grant", "Invalid JWT Signature.") from error
    if not isinstance(header, dict) or header.get("alg") != "RS256" or not isinstance(claims, dict):
        raise GrantRefused(400, "invalid_grant", "Invalid JWT Signature.")
    return claims


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
