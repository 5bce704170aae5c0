"""Named places in the life of a delivery, at which a test may let the process end or stall.

Nothing is armed outside tests: a place then costs one comparison per batch, or per call that leaves
the process. `outbox.testing` arms them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable


class CrashPoint(StrEnum):
    """Where in the life of a delivery."""

    BEFORE_CLAIM_COMMIT = "before_claim_commit"
    """A claim is about to become durable."""
    AFTER_CLAIM = "after_claim"
    """The leases are committed, or the note of a held batch; nothing was tried."""
    AFTER_BEGUN = "after_begun"
    """Ambiguous calls are noted as begun; none has left."""
    AFTER_CALL = "after_call"
    """A call outside has ended, or all effects of a transaction are written; nothing is settled."""
    BEFORE_SETTLE_COMMIT = "before_settle_commit"
    """Everything of a settlement is written; it is not committed."""
    AFTER_SETTLE = "after_settle"
    """A settlement is committed."""
    LEASE_LOST = "lease_lost"
    """A settlement has found that another worker holds the delivery."""
    BROKER_LOST = "broker_lost"
    """A ticket could not be handed to the broker; its lease is committed."""


Action: TypeAlias = "Callable[[CrashPoint, str], None]"

_action: Action | None = None


def reach(point: CrashPoint, handler: str) -> None:
    """Say that the work for `handler` has come to `point`."""
    if _action is not None:
        _action(point, handler)


def arm(action: Action | None) -> Action | None:
    """Let `action` be called at every point, None for nothing; what was armed before."""
    global _action
    before, _action = _action, action
    return before
