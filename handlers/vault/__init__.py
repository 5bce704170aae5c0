"""Secrets from the platform's vault, read at run time (SEC-1, SEC-3)."""

from __future__ import annotations

from handlers.vault.reading import NAMES, Vault

__all__ = ["NAMES", "Vault"]
