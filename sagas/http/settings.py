"""Whose tokens the HTTP surface believes, and how many connections it may use."""

from __future__ import annotations

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from handlers.addresses import kept_private

SECRET_BYTES_MIN = 32
"""HS256 is as strong as its secret; a shorter one can be guessed from a single token (RFC 7518)."""


class ApiSettings(BaseSettings):
    """Environment first, then `.env`. `outbox serve` says what is missing, by its name.

    Secrets are redacting types (SEC-4) and come from outside alone (SEC-1).
    """

    model_config = SettingsConfigDict(env_file=".env", extra="ignore")

    api_jwt_secret: SecretStr | None = None
    """The issuer's HS256 secret, 32 bytes or more."""
    api_jwks_url: str | None = None
    """Where the issuer publishes its public keys (ES256, RS256, EdDSA)."""
    api_jwt_issuer: str | None = None
    """The `iss` that tokens must carry."""
    api_jwt_audience: str = "authenticated"
    """The `aud` that tokens must carry."""
    api_hook_secret: SecretStr | None = None
    """What a database webhook sends as `X-Hook-Secret`; without it the hook is closed."""
    api_connections: int = Field(default=10, ge=2, le=100)
    """Most connections of one process."""

    @field_validator("api_jwt_secret", "api_hook_secret")
    @classmethod
    def _is_long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():
            return None
        if len(value.get_secret_value().encode()) < SECRET_BYTES_MIN:
            problem = f"must have at least {SECRET_BYTES_MIN} bytes"
            raise ValueError(problem)
        return value

    @field_validator("api_jwks_url", "api_jwt_issuer")
    @classmethod
    def _empty_is_none(cls, value: str | None) -> str | None:
        return value or None

    @field_validator("api_jwks_url")
    @classmethod
    def _nobody_changes_it_on_the_way(cls, value: str | None) -> str | None:
        return kept_private(value, since="its keys decide who is believed")
