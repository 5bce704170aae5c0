"""The service account as a token grant: a signed assertion, made anew for each exchange.

The credential is read at every exchange, so a rotated key is used from the next token on, and a
rejected one heals by itself once the vault holds a good one (CRD-3, CRD-5).
Source: RFC 7523; google-auth signs, we post.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Final

from google.auth import crypt, jwt

from handlers.addresses import kept_private
from outbox.errors import CredentialsRejected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from pathlib import Path

SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
AUDIENCE: Final = "https://oauth2.googleapis.com/token"
"""What Google expects in the assertion, wherever it is posted to."""
JWT_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ISSUED_BEFORE_SECONDS: Final = 10
"""An assertion is dated this far back: our clock may be a little ahead of Google's."""
VALID_SECONDS: Final = 3600

_FIELDS: Final = ("client_email", "private_key", "private_key_id", "project_id", "token_uri")


class ServiceAccountGrant:
    """Proves the service account that `load` returns; `load` is asked for each exchange.

    `load` gives the parsed JSON of the account and may raise OSError or ValueError.
    """

    def __init__(self, load: Callable[[], Mapping[str, str]]) -> None:
        self._load = load
        self._fingerprint = ""
        self._signer: crypt.RSASigner | None = None

    @property
    def fingerprint(self) -> str:
        """SHA-256 of key id and e-mail of the account last used, else of the one there is now."""
        return self._fingerprint or fingerprint(self._account())

    def form(self, now: datetime) -> Mapping[str, str]:
        """The form of one token request. Raises CredentialsRejected if the account is unusable."""
        account = self._account()
        signer = self._signer_of(account)
        issued = int(now.timestamp()) - ISSUED_BEFORE_SECONDS
        claims = {
            "iss": account["client_email"],
            "scope": SCOPE,
            "aud": AUDIENCE,
            "iat": issued,
            "exp": issued + VALID_SECONDS,
        }
        assertion: bytes = jwt.encode(signer, claims)  # type: ignore[no-untyped-call]
        return {"grant_type": JWT_GRANT, "assertion": assertion.decode()}

    def _account(self) -> Mapping[str, str]:
        try:
            account = self._load()
        except (OSError, ValueError) as error:
            reason = "service_account_unreadable"
            raise CredentialsRejected(reason, type(error).__name__) from None
        missing = [name for name in _FIELDS if not isinstance(account.get(name), str)]
        if missing:
            reason = "service_account_incomplete"
            raise CredentialsRejected(reason, "missing: " + ", ".join(missing))
        try:
            kept_private(account["token_uri"])
        except ValueError as error:
            reason = "service_account_token_uri_refused"
            raise CredentialsRejected(reason, f"token_uri: {error}") from None
        return account

    def _signer_of(self, account: Mapping[str, str]) -> crypt.RSASigner:
        mark = fingerprint(account)
        if self._signer is None or mark != self._fingerprint:
            try:
                signer = crypt.RSASigner.from_service_account_info(dict(account))  # type: ignore[no-untyped-call]
            except ValueError:  # its text may quote the key
                reason = "service_account_key_unusable"
                raise CredentialsRejected(reason, "private_key is not an RSA key in PEM") from None
            self._signer, self._fingerprint = signer, mark
        return self._signer


def fingerprint(account: Mapping[str, str]) -> str:
    """SHA-256 (hex) of `private_key_id` and `client_email`."""
    text = f"{account['private_key_id']}\n{account['client_email']}"
    return hashlib.sha256(text.encode()).hexdigest()


def read_service_account(file: Path) -> Mapping[str, str]:
    """The account in a JSON file. Raises OSError, or ValueError if it is not a JSON object."""
    return parse_service_account(file.read_text(encoding="utf-8"))


def parse_service_account(text: str) -> Mapping[str, str]:
    """The account in a JSON text. Raises ValueError without quoting it."""
    try:
        account = json.loads(text)
    except ValueError:
        account = None
    if not isinstance(account, dict):
        message = "the service account is not a JSON object"
        raise ValueError(message)  # noqa: TRY004 - the text is what is wrong, not its type
    return account
