"""The ways to the portals that the settings name, by an organisation's channel (SYN-1)."""

from __future__ import annotations

import time
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from handlers.portal import (
    AuthMode,
    DataverseClient,
    EntraGrant,
    InvalidSecret,
    PortalAuth,
    PortalClient,
)
from handlers.token_provider import TokenProvider
from outbox.errors import CredentialsRejected

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

    from handlers.portal import SigningSecret, VisibilityPort
    from handlers.settings import Newest
    from outbox.clock import Clock

WEBHOOK: Final = "webhook"
DATAVERSE: Final = "dataverse"


class NotConfigured:
    """Stands for a portal whose address nobody gave: every call says so and spends no attempt."""

    def __init__(self, setting: str) -> None:
        self._setting = setting

    def __getattr__(self, _: str) -> Any:
        """Any method of the port."""

        async def refuse(*_args: object, **_terms: object) -> Any:
            raise CredentialsRejected("portal_not_configured", f"set {self._setting}")

        return refuse


def visibility_ports(
    newest: Newest, http: httpx.AsyncClient, clock: Clock
) -> Mapping[str, VisibilityPort]:
    """A port per channel that has an address; with none at all, one that says what to set.

    Secrets are asked of `newest` whenever they are used.
    """
    settings = newest()
    ports: dict[str, VisibilityPort] = {}
    if settings.hlf_portal_base_url:
        ports[WEBHOOK] = _webhook(newest, http, clock, settings.hlf_portal_base_url)
    if settings.hlf_dataverse_base_url:
        ports[DATAVERSE] = _dataverse(newest, http, clock, settings.hlf_dataverse_base_url)
    if not ports:
        ports = {
            WEBHOOK: NotConfigured("HLF_PORTAL_BASE_URL"),
            DATAVERSE: NotConfigured("HLF_DATAVERSE_BASE_URL"),
        }
    return MappingProxyType(ports)


def _webhook(newest: Newest, http: httpx.AsyncClient, clock: Clock, url: str) -> VisibilityPort:
    settings = newest()
    grant = EntraGrant(
        settings.hlf_portal_client_id,
        lambda: newest().portal_client_secret(),
        settings.hlf_portal_scope,
        setting="HLF_PORTAL_CLIENT_SECRET",
    )
    tokens = TokenProvider(
        http,
        settings.hlf_portal_token_url or "",
        grant,
        monotonic=time.monotonic,
        wall=clock.now,
    )

    def secrets() -> tuple[SigningSecret, ...]:
        try:
            return newest().webhook_secrets()
        except InvalidSecret as error:
            raise CredentialsRejected("webhook_secrets_unusable", str(error)) from None

    mode = settings.portal_auth_mode
    auth = PortalAuth(mode, None if mode is AuthMode.HMAC else tokens, secrets)
    return PortalClient(http, url, auth, clock=clock)


def _dataverse(newest: Newest, http: httpx.AsyncClient, clock: Clock, url: str) -> VisibilityPort:
    settings = newest()
    grant = EntraGrant(
        settings.hlf_dataverse_client_id,
        lambda: newest().dataverse_client_secret(),
        settings.hlf_dataverse_scope,
        setting="HLF_DATAVERSE_CLIENT_SECRET",
    )
    tokens = TokenProvider(
        http,
        settings.hlf_dataverse_token_url or "",
        grant,
        monotonic=time.monotonic,
        wall=clock.now,
    )
    return DataverseClient(http, url, tokens, clock=clock)
