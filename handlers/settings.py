"""The application's settings: where FCM and the portal are, and what proves who we are there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from handlers.addresses import kept_private
from handlers.portal import AuthMode, SigningSecret, parse_secrets
from outbox.errors import OutboxError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from handlers.vault import Vault

log = structlog.get_logger(__name__)


class ApplicationSettings(BaseSettings):
    """Environment first, then `.env`. What is missing is said when it is needed, by its name."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore")

    fcm_base_url: str = "https://fcm.googleapis.com"
    fcm_service_account_file: Path | None = None
    fcm_service_account_json: SecretStr | None = None
    """The service account, as the file has it; from the vault at run time (SEC-3)."""
    fcm_retry_floor_seconds: float = Field(default=10.0, ge=0)
    """The least wait after a failed push; 0 gives 2 s and 4 s, Google asks for 10 s or more."""
    fcm_concurrency: int = Field(default=10, ge=1, le=500)
    """Pushes in flight in one process (DSP-1)."""
    job_records_keep_days: int = Field(default=90, ge=7)
    """How long runs of jobs and checks of credentials are kept; the last of each stays for ever."""
    enrolment_hosts: str = ""
    """Comma-separated hosts that an organisation's enrolment page may be on (LNK-5)."""
    hlf_portal_base_url: str | None = None
    hlf_portal_token_url: str | None = None
    hlf_portal_client_id: str = ""
    hlf_portal_client_secret: SecretStr = SecretStr("")
    hlf_portal_client_secret_file: Path | None = None
    """Where the secret is read anew at each exchange; wins over the value."""
    hlf_portal_scope: str = ""
    hlf_portal_webhook_secrets: SecretStr = SecretStr("")
    """Comma-separated `whsec_...`; two may be active while one is replaced."""
    hlf_portal_webhook_secrets_file: Path | None = None
    """Where they are read anew at each request; wins over the value."""
    portal_auth_mode: AuthMode = AuthMode.OAUTH_HMAC
    hlf_dataverse_base_url: str | None = None
    """Root of the Web API, `https://<org>.<region>.dynamics.com/api/data/v9.2`."""
    hlf_dataverse_token_url: str | None = None
    hlf_dataverse_client_id: str = ""
    hlf_dataverse_client_secret: SecretStr = SecretStr("")
    hlf_dataverse_client_secret_file: Path | None = None
    """As for the portal."""
    hlf_dataverse_scope: str = ""

    vault_database_url: SecretStr | None = None
    """Where the platform's vault is; a secret that it holds wins over every other place of it."""

    @field_validator("vault_database_url", mode="before")
    @classmethod
    def _no_address_is_none(cls, value: Any) -> Any:
        return value or None

    @field_validator(
        "fcm_base_url",
        "hlf_portal_base_url",
        "hlf_portal_token_url",
        "hlf_dataverse_base_url",
        "hlf_dataverse_token_url",
    )
    @classmethod
    def _nobody_reads_on_the_way(cls, value: str | None) -> str | None:
        return kept_private(value)

    @field_validator("hlf_portal_webhook_secrets")
    @classmethod
    def _secrets_are_usable(cls, value: SecretStr) -> SecretStr:
        parse_secrets(value.get_secret_value())
        return value

    @field_validator(
        "fcm_service_account_file",
        "hlf_portal_client_secret_file",
        "hlf_portal_webhook_secrets_file",
        "hlf_dataverse_client_secret_file",
        mode="before",
    )
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return value or None

    def allowed_enrolment_hosts(self) -> frozenset[str]:
        """The hosts, as they stand in an address."""
        hosts = (host.strip().lower() for host in self.enrolment_hosts.split(","))
        return frozenset(host for host in hosts if host)

    def webhook_secrets(self) -> tuple[SigningSecret, ...]:
        """The signing secrets as they are now, the one to prefer first. Raises `InvalidSecret`."""
        file, value = self.hlf_portal_webhook_secrets_file, self.hlf_portal_webhook_secrets
        return parse_secrets(_newest(file, value))

    def portal_client_secret(self) -> str:
        """The portal's client secret as it is now; empty if there is none."""
        return _newest(self.hlf_portal_client_secret_file, self.hlf_portal_client_secret)

    def dataverse_client_secret(self) -> str:
        """Dataverse's client secret as it is now; empty if there is none."""
        return _newest(self.hlf_dataverse_client_secret_file, self.hlf_dataverse_client_secret)


class Newest:
    """The settings as the `.env` file has them now, so that a new secret needs no restart (CRD-3).

    The file is read again when it has changed. What cannot be read then is logged, and the settings
    before it stay in force: a file that is being written must not stop a relay. What stands in the
    environment wins over the file, and cannot change. A secret that `vault` holds wins over both
    (SEC-1).
    """

    def __init__(
        self,
        settings: ApplicationSettings,
        reread: Callable[[], ApplicationSettings] | None = None,
        *,
        vault: Vault | None = None,
        file: Path = Path(".env"),
    ) -> None:
        self._settings = settings
        self._vault = vault
        self._reread = reread
        self._file = file
        self._seen = _mark(file)

    def __call__(self) -> ApplicationSettings:
        """The settings of this moment."""
        settings = self._from_file()
        if self._vault is None:
            return settings
        return settings.model_copy(update=_held(self._vault.secrets()))

    def _from_file(self) -> ApplicationSettings:
        if self._reread is None or (mark := _mark(self._file)) == self._seen:
            return self._settings
        self._seen = mark
        try:
            self._settings = self._reread()
        except (OutboxError, OSError, ValueError) as error:
            log.error("settings.not_read_again", error=type(error).__name__)  # noqa: TRY400 - a text may quote values
        else:
            log.info("settings.read_again")
        return self._settings


_FIELDS: Final = {
    "fcm_service_account": "fcm_service_account_json",
    "portal_client_secret": "hlf_portal_client_secret",
    "dataverse_client_secret": "hlf_dataverse_client_secret",
}
_SIGNING: Final = ("portal_hmac_current", "portal_hmac_previous")


def _held(secrets: Mapping[str, SecretStr]) -> dict[str, Any]:
    """What the vault holds as fields of the settings; a file named beside it no longer counts."""
    found: dict[str, Any] = {
        field: secrets[name] for name, field in _FIELDS.items() if name in secrets
    }
    signing = [secrets[name].get_secret_value() for name in _SIGNING if name in secrets]
    if signing:
        found["hlf_portal_webhook_secrets"] = SecretStr(",".join(signing))
    files = {f"{field}_file": None for field in found if field != "fcm_service_account_json"}
    return {**found, **files}


def _newest(file: Path | None, value: SecretStr) -> str:
    if file is None:
        return value.get_secret_value()
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        log.error("secret.unreadable", file=str(file), error=type(error).__name__)  # noqa: TRY400 - a text may quote values
        return ""


def _mark(file: Path) -> tuple[int, int, int] | None:
    """What changes when the file is written or replaced."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
