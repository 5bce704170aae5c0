"""Tells people when an integration has not answered its checks for a while (CRD-2).

Rejected credentials alert at once, by the destination itself; that nobody answers is no news before
the third check in a row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from handlers.commands import AlertClose, AlertOpen
from outbox import apublish
from sagas import queries_access

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psycopg import AsyncConnection

TYPE: Final = "integration_unavailable"
CHECKS: Final = 3
"""So many checks in a row without an answer are told."""


async def tell_availability(conn: AsyncConnection[Any], reasons: Mapping[str, str | None]) -> None:
    """Open or close the alerts of the integrations just checked; `reasons` by integration."""
    standing = await queries_access.unanswered_checks(
        conn, sorted(reasons), checks=CHECKS, type_=TYPE
    )
    for integration, persists, alerted in standing:
        if persists is alerted:
            continue
        subject = f"availability:{integration}"
        message: AlertOpen | AlertClose = (
            AlertOpen(
                type=TYPE,
                organisation_id=None,
                mentor_id=None,
                subject=subject,
                hint=reasons[integration],
            )
            if persists
            else AlertClose(type=TYPE, organisation_id=None, subject=subject)
        )
        await apublish(conn, message, key=f"alert:{TYPE}:{subject}")
