"""What a handler declares, what it is given, and what is told about it afterwards."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

from psycopg import AsyncConnection

from outbox.errors import HandlerInvalid
from outbox.outcome import AnyOutcome, Outcome
from outbox.retry import RetryPolicy

if TYPE_CHECKING:
    from outbox.message import Message
    from outbox.outcome import Json

LEASE_MARGIN = timedelta(seconds=10)
"""A lease is the handler's timeout and this margin, for the settlement and the way to it."""


class Effect(StrEnum):
    """Where the effect happens, which decides how a crash is survived (P4)."""

    DATABASE = "database"
    """In our database: effect, receipt and settlement are one commit."""
    IDEMPOTENT = "idempotent"
    """Outside, and the receiver tolerates repeats: after a crash it is called again."""
    AMBIGUOUS = "ambiguous"
    """Outside, and it does not: a call that began and was not settled is stored as unknown."""


class Order(StrEnum):
    """What deliveries with the same ordering key mean to each other (P5)."""

    NONE = "none"
    KEYED = "keyed"
    """One at a time, in order."""
    NEWEST = "newest"
    """One at a time, and whatever a newer one has overtaken is superseded."""


class UnknownPolicy(StrEnum):
    """What happens to a delivery whose outcome cannot be known."""

    HOLD = "hold"
    """Nothing, until somebody decides."""
    RESEND_ONCE = "resend_once"
    """It is tried once more; a second unknown is held."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try, as the handler sees it.

    `number` is 1 for the first; `deadline` is when the lease may be lost.
    """

    number: int
    delivery_id: int
    message_id: int
    handler: str
    topic: str
    key: str | None
    sequence: int | None
    correlation_id: str | None
    published_at: datetime
    now: datetime
    deadline: datetime
    resend: bool = False
    prepared: Any = None


@dataclass(frozen=True, slots=True)
class Settled:
    """One settlement, as the `record` hook sees it.

    `final` is False while the delivery will be tried again.
    """

    delivery_id: int
    message_id: int
    handler: str
    topic: str
    key: str | None
    sequence: int | None
    correlation_id: str | None
    attempt: int
    message: Message
    outcome: AnyOutcome
    at: datetime
    final: bool
    prepared: Any = None


@dataclass(frozen=True, slots=True)
class DestinationChange:
    """A destination was held, or its credentials were rejected or accepted again.

    `kind` is `held`, `credentials_rejected` or `credentials_accepted`; `until` is set for `held`.
    """

    handler: str
    kind: str
    reason: str
    hint: str
    until: datetime | None
    at: datetime


DatabaseCall: TypeAlias = Callable[[Any, Attempt, AsyncConnection[Any]], Awaitable[Outcome]]
OutsideCall: TypeAlias = Callable[[Any, Attempt], Awaitable[Outcome]]
Prepare: TypeAlias = Callable[
    [AsyncConnection[Any], Sequence[tuple[Any, Attempt]]], Awaitable[Mapping[int, Any]]
]
Record: TypeAlias = Callable[[AsyncConnection[Any], Sequence[Settled]], Awaitable[None]]
Check: TypeAlias = Callable[[], Awaitable[None]]
DestinationHook: TypeAlias = Callable[[AsyncConnection[Any], DestinationChange], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """One outside effect and the terms on which the engine calls it.

    `timeout` bounds one call; the lease is `timeout` + `LEASE_MARGIN`. `concurrency` bounds calls
    in flight in one process (DATABASE handlers: deliveries in one transaction are bounded by
    `batch_max`). `prepare` runs once per claimed batch of a calling handler and returns, per
    delivery id, what the call finds in `attempt.prepared`, or an outcome that settles it without a
    call. `record` runs inside every settling transaction. `check` says whether the credentials
    work; it closes their circuit. Raises `HandlerInvalid` on a declaration that cannot work.
    """

    name: str
    messages: tuple[type[Message], ...]
    effect: Effect
    call: DatabaseCall | OutsideCall
    timeout: timedelta = timedelta(seconds=20)
    concurrency: int = 10
    batch_max: int = 200
    order: Order = Order.NONE
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    unknown: UnknownPolicy = UnknownPolicy.HOLD
    lone_claims_max: int = 3
    prepare: Prepare | None = None
    record: Record | None = None
    check: Check | None = None
    destination_changed: DestinationHook | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot work, at start and not at three in the morning."""
        if not self.name.replace("_", "").isalnum() or not self.name[:1].isalpha():
            raise HandlerInvalid(
                self.name, "a name is letters, digits and underscores, starting with a letter"
            )
        if not self.messages:
            raise HandlerInvalid(self.name, "it takes no message; give at least one message class")
        if self.concurrency < 1 or self.batch_max < 1 or self.lone_claims_max < 1:
            raise HandlerInvalid(
                self.name, "concurrency, batch_max and lone_claims_max are at least 1"
            )
        if self.timeout <= timedelta(0):
            raise HandlerInvalid(self.name, f"timeout is {self.timeout}, it must be above zero")
        if self.effect is Effect.DATABASE and self.prepare is not None:
            raise HandlerInvalid(
                self.name,
                "prepare is for handlers that call out; a DATABASE handler has its connection",
            )
        if self.unknown is UnknownPolicy.RESEND_ONCE and self.effect is not Effect.AMBIGUOUS:
            raise HandlerInvalid(
                self.name, "only AMBIGUOUS handlers have unknown outcomes to send again"
            )

    @property
    def lease(self) -> timedelta:
        """How long a claim is good for."""
        return self.timeout + LEASE_MARGIN

    @property
    def ordered(self) -> bool:
        """Whether its deliveries keep the message's ordering key."""
        return self.order is not Order.NONE


def receipt_of(outcome: AnyOutcome) -> Mapping[str, Json] | None:
    """The JSON a `Done` leaves behind, if any."""
    receipt = getattr(outcome, "receipt", None)
    return receipt or None
