"""What a handler declares, what it is given, and what is told about it afterwards."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from psycopg import AsyncConnection

from outbox.breaker import BY_EFFECT, Breaker
from outbox.declared import check_calls, check_handler
from outbox.durations import wrong_with
from outbox.errors import HandlerInvalid, PolicyInvalid
from outbox.outcome import AnyOutcome, Dead, Outcome, Retry, Unknown
from outbox.rate import Rate
from outbox.retry import Backoff, Exponential, RetryPolicy

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


class AfterDead(StrEnum):
    """What a dead letter means to what follows it under the same ordering key (P5)."""

    SKIP = "skip"
    """The next goes on."""
    BLOCK = "block"
    """Nothing of the key goes on until the dead letter is redriven or dismissed."""


class UnknownPolicy(StrEnum):
    """What happens to a delivery whose outcome cannot be known."""

    HOLD = "hold"
    """Nothing, until somebody decides."""
    PROBE = "probe"
    """The receiver is asked (`Handler.probe`); while it cannot tell, and after that, it is held."""
    RESEND_ONCE = "resend_once"
    """It is tried once more; a second unknown is held."""


class Answer(StrEnum):
    """What a receiver says about a call of unknown outcome."""

    DELIVERED = "delivered"
    NOT_DELIVERED = "not_delivered"
    CANNOT_KNOW = "cannot_know"


class Attempt(NamedTuple):
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
    """A destination was held, its circuit or its breaker opened or closed.

    `kind` is `held`, `credentials_rejected`, `credentials_accepted`, `breaker_opened` or
    `breaker_closed`. `until` is set for `held`, and for `breaker_opened`: its first probe. A hold
    that was asked for longer than it may last says so in `hint`.
    """

    handler: str
    kind: str
    reason: str
    hint: str
    until: datetime | None
    at: datetime


DatabaseCall: TypeAlias = Callable[[Any, Attempt, AsyncConnection[Any]], Awaitable[Outcome]]
DatabaseCallMany: TypeAlias = Callable[
    [Sequence[tuple[Any, Attempt]], AsyncConnection[Any]], Awaitable[Mapping[int, Outcome]]
]
OutsideCall: TypeAlias = Callable[[Any, Attempt], Awaitable[Outcome]]
Prepare: TypeAlias = Callable[
    [AsyncConnection[Any], Sequence[tuple[Any, Attempt]]], Awaitable[Mapping[int, Any]]
]
Record: TypeAlias = Callable[[AsyncConnection[Any], Sequence[Settled]], Awaitable[None]]
Check: TypeAlias = Callable[[], Awaitable[None]]
DestinationHook: TypeAlias = Callable[[AsyncConnection[Any], DestinationChange], Awaitable[None]]


UnknownChoice: TypeAlias = Callable[
    [AsyncConnection[Any], Sequence[Settled]], Awaitable[Mapping[int, UnknownPolicy]]
]


@dataclass(frozen=True, slots=True)
class Probe:
    """How a receiver is asked about a call: `ask` gets the message and the attempt asked about.

    It is asked after `backoff.after(1)`, then after each answer that it cannot tell, at most
    `asks_max` times; a question that raises or takes longer than the handler's timeout was not
    answered. Raises `PolicyInvalid`.
    """

    ask: Callable[[Any, Attempt], Awaitable[Answer]]
    backoff: Backoff = field(
        default_factory=lambda: Exponential(first=timedelta(seconds=10), factor=3.0)
    )
    asks_max: int = 6

    def __post_init__(self) -> None:
        """Refuse to ask never."""
        if self.asks_max < 1:
            raise PolicyInvalid(
                f"asks_max is {self.asks_max}, it must be at least 1; to ask nobody, give no probe"
            )


_TYPES: dict[str, type] = {
    "effect": Effect,
    "order": Order,
    "timeout": timedelta,
    "retry": RetryPolicy,
    "concurrency": int,
    "batch_max": int,
    "lone_claims_max": int,
    "after_dead": AfterDead,
}
_OPTIONAL: dict[str, type] = {"breaker": Breaker, "rate": Rate, "probe": Probe}


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """One outside effect and the terms on which the engine calls it.

    `timeout` bounds one call; the lease is `timeout` + `LEASE_MARGIN`. `concurrency` bounds calls
    in flight in one process (DATABASE handlers: deliveries in one transaction are bounded by
    `batch_max`); one claim takes 1,000 at most. `call_many` is a DATABASE handler's way to take a
    batch at once: it answers by delivery id; where it raises, leaves one out or one did not end
    well, all is rolled back and `call` is made for each alone. `prepare` runs once per claimed
    batch of a calling handler and returns, per delivery id, what the call finds in
    `attempt.prepared`, or an outcome that settles it without a call. `unknown` is the policy for
    calls of unknown outcome, or a coroutine that gives one for each by delivery id, inside the
    transaction that makes them unknown (what is left out is held). `record` runs inside every
    settling transaction. `check` says whether the credentials work; it closes their circuit.
    `breaker` is when a destination that fails is left alone; a DATABASE handler has none unless it
    is declared, and None is never. `rate` bounds the calls of one process. Raises `HandlerInvalid`
    on a declaration that cannot work.
    """

    name: str
    messages: tuple[type[Message], ...]
    effect: Effect
    call: DatabaseCall | OutsideCall
    timeout: timedelta = timedelta(seconds=20)
    concurrency: int = 10
    batch_max: int = 500
    order: Order = Order.NONE
    after_dead: AfterDead = AfterDead.SKIP
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    breaker: Breaker | None = BY_EFFECT
    rate: Rate | None = None
    unknown: UnknownPolicy | UnknownChoice = UnknownPolicy.HOLD
    probe: Probe | None = None
    lone_claims_max: int = 3
    call_many: DatabaseCallMany | None = None
    prepare: Prepare | None = None
    record: Record | None = None
    check: Check | None = None
    destination_changed: DestinationHook | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot work, at start and not at three in the morning."""
        check_handler(self, _TYPES, _OPTIONAL)
        for term in ("concurrency", "batch_max", "lone_claims_max"):
            if (given := getattr(self, term)) < 1:
                raise HandlerInvalid(self.name, f"{term} is {given}, it must be at least 1")
        if (wrong := wrong_with(self.timeout)) is not None:
            raise HandlerInvalid(self.name, f"timeout {wrong}")
        if self.effect is Effect.DATABASE and self.prepare is not None:
            raise HandlerInvalid(
                self.name,
                "prepare is for handlers that call out; a DATABASE handler has its connection",
            )
        if self.effect is not Effect.DATABASE and self.call_many is not None:
            raise HandlerInvalid(
                self.name, "call_many is for DATABASE handlers; a call out is made for each"
            )
        if self.blocks and self.order is not Order.KEYED:
            raise HandlerInvalid(
                self.name,
                f"after_dead is block and order is {self.order}; nothing but a keyed delivery is "
                "followed by another: give order=Order.KEYED, or leave after_dead out",
            )
        self._check_doubts()
        problem = self.retry.problem(ambiguous=self.effect is Effect.AMBIGUOUS)
        if problem is not None:
            raise HandlerInvalid(self.name, f"its retry policy cannot be kept: {problem}")
        check_calls(self)

    def _check_doubts(self) -> None:
        doubts = self.unknown is not UnknownPolicy.HOLD or self.probe is not None
        if doubts and self.effect is not Effect.AMBIGUOUS:
            raise HandlerInvalid(
                self.name,
                f"its effect is {self.effect}, and `unknown` or `probe` is given; only AMBIGUOUS "
                "handlers have unknown outcomes to ask about or repeat",
            )
        if not isinstance(self.unknown, UnknownPolicy) and not callable(self.unknown):
            raise HandlerInvalid(
                self.name,
                f"unknown is a {type(self.unknown).__name__}, it must be one of "
                f"{', '.join(f'UnknownPolicy.{one.name}' for one in UnknownPolicy)} or an async "
                "function",
            )
        if self.unknown is UnknownPolicy.PROBE and self.probe is None:
            raise HandlerInvalid(
                self.name, "unknown is probe and nobody is asked; give probe=Probe(ask=...)"
            )

    @property
    def lease(self) -> timedelta:
        """How long a claim is good for."""
        return self.timeout + LEASE_MARGIN

    @property
    def reads(self) -> frozenset[tuple[str, int]]:
        """The topics it takes, each with the versions its code can read."""
        return frozenset(
            (message.declaration.topic, message.declaration.version) for message in self.messages
        )

    @property
    def breaks(self) -> Breaker | None:
        """The terms of its breaker; None where it has none."""
        usual = self.breaker is BY_EFFECT and self.effect is Effect.DATABASE
        return None if usual else self.breaker

    @property
    def ordered(self) -> bool:
        """Whether its deliveries keep the message's ordering key."""
        return self.order is not Order.NONE

    @property
    def blocks(self) -> bool:
        """Whether a dead letter keeps what follows it under its key."""
        return self.after_dead is AfterDead.BLOCK

    def stops_at(self, outcome: AnyOutcome) -> bool:
        """Whether an attempt that ended so keeps what follows it under its key."""
        return isinstance(outcome, Retry | Unknown) or (self.blocks and isinstance(outcome, Dead))


def receipt_of(outcome: AnyOutcome) -> Mapping[str, Json] | None:
    """The JSON a `Done` leaves behind, if any."""
    receipt = getattr(outcome, "receipt", None)
    return receipt or None
