"""Reads the vault's view: once when it is first asked, then in the background, never in the way.

Whoever asks gets what was read last and waits for nobody; a value changed in the vault is used
within `READ_EVERY` and the time to read it, without a restart (CRD-3). A vault that cannot
be read leaves what it gave before in force, and says so in the log by the error's class alone.
Source: the platform's vault, view `vault.decrypted_secrets` (name, decrypted_secret).
"""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import psycopg
import structlog

from handlers.vault import queries
from outbox.dsn import libpq_dsn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from pydantic import SecretStr

log = structlog.get_logger(__name__)

NAMES: Final = (
    "fcm_service_account",
    "portal_client_secret",
    "portal_hmac_current",
    "portal_hmac_previous",
    "dataverse_client_secret",
    "db_webhook_secret",
)
"""What our secrets are called there."""

READ_EVERY: Final = timedelta(seconds=30)
"""As often as a credential circuit is probed: a probe finds what was put right before it."""
_BOUNDS: Final = {"connect_timeout": 3, "options": "-c statement_timeout=3s"}


class Vault:
    """The vault at `url`, whose role may read the view; `now` says how old a reading is."""

    def __init__(self, url: SecretStr, *, now: Callable[[], datetime]) -> None:
        self._dsn = libpq_dsn(url.get_secret_value(), setting="VAULT_DATABASE_URL")
        self._now = now
        self._held: Mapping[str, SecretStr] = {}
        self._read_at: datetime | None = None
        self._reader: threading.Thread | None = None
        self._lock = threading.Lock()

    def secrets(self) -> Mapping[str, SecretStr]:
        """What the vault holds of `NAMES`, by name; the first call alone waits for it."""
        with self._lock:
            now = self._now()
            if self._read_at is None:
                self._read_at = now
                self._read()
            elif now - self._read_at >= READ_EVERY:
                self._read_at = now
                self._reader = threading.Thread(target=self._read, name="vault", daemon=True)
                self._reader.start()
            return self._held

    def settled(self) -> None:
        """Wait until a reading that is under way has ended."""
        if self._reader is not None:
            self._reader.join()

    def _read(self) -> None:
        terms: dict[str, Any] = dict(_BOUNDS)
        if "options=" in self._dsn:  # what the address gives itself is kept
            del terms["options"]
        try:
            with psycopg.connect(self._dsn, **terms) as conn:
                conn.read_only = True
                self._held = queries.read_secrets(conn, NAMES)
        except psycopg.Error as error:
            log.error(  # noqa: TRY400 - its text may quote values
                "vault.unreadable", error=type(error).__name__, sqlstate=error.sqlstate
            )
