"""What the shop must be told; `outbox config` shows it."""

from __future__ import annotations

from pydantic import HttpUrl, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class ShopSettings(BaseSettings):
    """From the environment or `.env`."""

    model_config = SettingsConfigDict(env_file=".env", env_prefix="SHOP_", extra="ignore")

    mail_url: HttpUrl = HttpUrl("http://127.0.0.1:8025/mails")
    """Where mails are asked for."""
    mail_token: SecretStr = SecretStr("")
    """Who we are there; empty where nobody asks."""
