"""The alert that credentials were rejected, for any handler's destination (CRD-2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from handlers.commands import AlertClose, AlertOpen
from outbox import apublish

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from outbox import DestinationChange

_TYPE = "credential_failure"


async def announce_credentials(conn: AsyncConnection[Any], change: DestinationChange) -> None:
    """Open the alert at the first rejection and close it when the check passes again.

    Both are published in the transaction that changes the destination, in order; a hold of the
    destination is no news about its credentials.
    """
    subject = f"handler:{change.handler}"
    message: AlertOpen | AlertClose
    match change.kind:
        case "credentials_rejected":
            message = AlertOpen(
                type=_TYPE,
                organisation_id=None,
                mentor_id=None,
                subject=subject,
                severity="critical",
                hint=change.hint or change.reason,
            )
        case "credentials_accepted":
            message = AlertClose(type=_TYPE, organisation_id=None, subject=subject)
        case _:
            return
    await apublish(conn, message, key=f"alert:{_TYPE}:{subject}")
