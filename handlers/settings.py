"""The application's settings: where FCM and the portal are, and what proves who we are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from handlers.portal import AuthMode, SigningSecret, parse_secrets


class ApplicationSettings(BaseSettings):
    """Environment first, then `.env`. What is missing is said when it is needed, by its name."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore")

    fcm_base_url: str = "https://fcm.googleapis.com"
    fcm_service_account_file: Path | None = None
    fcm_service_account_json: SecretStr | None = None
    fcm_retry_floor_seconds: float = Field(default=10.0, ge=0)
    """The least wait after a failed push; 0 gives 2 s and 4 s, Google asks for 10 s or more."""
    hlf_portal_base_url: str | None = None
    hlf_portal_token_url: str | None = None
    hlf_portal_client_id: str = ""
    hlf_portal_client_secret: SecretStr = SecretStr("")
    hlf_portal_scope: str = ""
    hlf_portal_webhook_secrets: SecretStr = SecretStr("")
    """Comma-separated `whsec_...`; two may be active while one is replaced."""
    portal_auth_mode: AuthMode = AuthMode.OAUTH_HMAC

    @field_validator("hlf_portal_webhook_secrets")
    @classmethod
    def _secrets_are_usable(cls, value: SecretStr) -> SecretStr:
        parse_secrets(value.get_secret_value())
        return value

    @field_validator("fcm_service_account_file", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return value or None

    def webhook_secrets(self) -> tuple[SigningSecret, ...]:
        """The signing secrets, the one to prefer first."""
        return parse_secrets(self.hlf_portal_webhook_secrets.get_secret_value())
