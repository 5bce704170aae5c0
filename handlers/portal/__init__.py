"""The public portal: its contract, two ways to it, and the handlers that keep it in step."""

from __future__ import annotations

from handlers.portal.client import PortalAuth, PortalClient
from handlers.portal.dataverse import DataverseClient
from handlers.portal.entra import EntraGrant
from handlers.portal.handler import RETRY_LADDER, PortalHandler
from handlers.portal.port import Healthy, Listing, VisibilityPort, WantedVisibility
from handlers.portal.read_back import ReadBackHandler
from handlers.portal.signature import InvalidSecret, SigningSecret, parse_secrets
from handlers.portal.wire import AuthMode, Reason, StoredVisibility

__all__ = [
    "RETRY_LADDER",
    "AuthMode",
    "DataverseClient",
    "EntraGrant",
    "Healthy",
    "InvalidSecret",
    "Listing",
    "PortalAuth",
    "PortalClient",
    "PortalHandler",
    "ReadBackHandler",
    "Reason",
    "SigningSecret",
    "StoredVisibility",
    "VisibilityPort",
    "WantedVisibility",
    "parse_secrets",
]
