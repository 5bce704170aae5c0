"""Push through Firebase Cloud Messaging, HTTP v1: the nudge beside the inbox row."""

from __future__ import annotations

from handlers.dispatch import (
    DispatchFailure,
    DispatchOutcome,
    DispatchResult,
    RecipientOutcome,
    dispatch_result,
)
from handlers.fcm.client import FcmClient
from handlers.fcm.credentials import (
    ServiceAccountGrant,
    parse_service_account,
    read_service_account,
)
from handlers.fcm.handler import PushHandler, retry_policy
from handlers.fcm.queries import PostgresPushStore

__all__ = [
    "DispatchFailure",
    "DispatchOutcome",
    "DispatchResult",
    "FcmClient",
    "PostgresPushStore",
    "PushHandler",
    "RecipientOutcome",
    "ServiceAccountGrant",
    "dispatch_result",
    "parse_service_account",
    "read_service_account",
    "retry_policy",
]
