"""The push handler: prepares a batch in two statements, sends, writes down what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog

from handlers.fcm.answers import (
    Accepted,
    Ambiguous,
    AuthRejected,
    BadAddress,
    BadPayload,
    SendResult,
    Throttled,
    Transient,
)
from handlers.fcm.combine import NO_TOKEN, combine, held
from handlers.fcm.content import live, pushes
from handlers.fcm.encode import address_hash
from handlers.fcm.queries import Ended, Refused
from outbox.errors import AttemptError, CredentialsRejected, TransientFailure
from outbox.handler import LEASE_MARGIN, Effect, Handler, UnknownPolicy
from outbox.outcome import Dead, Done, Outcome, Retry, Suppressed, Unknown
from outbox.retry import Ladder, RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from uuid import UUID

    from psycopg import AsyncConnection

    from handlers.fcm.client import FcmClient
    from handlers.fcm.encode import Device, Push
    from handlers.fcm.queries import Loaded, Told
    from outbox.handler import Attempt, Settled
    from outbox.message import Message

log = structlog.get_logger("handlers.fcm")

ATTEMPTS_MAX: Final = 3
RETRY_FLOOR_SECONDS: Final = 10.0
"""Google asks for at least 10 s before a failed request is repeated; 0 gives 2 s and 4 s."""
RETRY_JITTER: Final = 0.2
CALL_TIMEOUT: Final = timedelta(seconds=30)
SEND_SECONDS_MAX: Final = timedelta(seconds=12)
"""A send to one more device starts only if this much of the call's time is left."""
CANCELLED: Final = "cancelled"
KIND_UNKNOWN: Final = "kind_unknown"
ALREADY_DELIVERED: Final = "already_delivered"

_FAILURES: Final = {"failed": "push.failed", "unknown": "push.unknown"}


class GroupMessage(Protocol):
    """The message the handler takes: it names one group."""

    @property
    def group_id(self) -> UUID:
        """The group whose push is asked for."""
        ...


class PushStore(Protocol):
    """The application's tables, as far as a push needs them."""

    async def groups(
        self, conn: AsyncConnection[Any], ids: Sequence[UUID]
    ) -> Mapping[UUID, Loaded | None]:
        """Groups with their items, in one statement; None for a kind this code does not know."""
        ...

    async def devices(
        self, conn: AsyncConnection[Any], recipients: Sequence[UUID], now: datetime
    ) -> Mapping[UUID, tuple[Device, ...]]:
        """Usable addresses per recipient, in one statement."""
        ...

    async def settle(self, conn: AsyncConnection[Any], ended: Sequence[Ended]) -> list[Told]:
        """Write the outcomes of groups."""
        ...

    async def forget(
        self, conn: AsyncConnection[Any], refused: Sequence[Refused], at: datetime
    ) -> set[UUID]:
        """Invalidate dead addresses."""
        ...


@dataclass(slots=True)
class Prepared:
    """What one delivery sends, and in `refused` which addresses turned out to be dead.

    The engine hands the same object to `call` and to `record`; settled by anybody else, there is
    none, and a dead address is found dead again by the next push.
    """

    pushes: tuple[Push, ...]
    cancelled: tuple[UUID, ...] = ()
    again: bool = False
    refused: list[Refused] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PushHandler:
    """Sends a group's one push to each device of its recipient, one device after the other.

    Idempotence: FCM takes no idempotency key, so a call that may have arrived is unknown, never
    repeated by itself. A deliberate repeat carries the same tag: the drawer shows one of the two.
    Failures: 429 holds every send of the project; 401 after one refresh, and 403, open the
    credential circuit; 500 and 503 are tried again by the policy; 502, 504 and lost answers are
    unknown; a dead address is forgotten, a refused payload never costs an address.
    Source: FCM HTTP v1 reference, "ErrorCode"; FCM guide, "Collapsible messages".
    """

    fcm: FcmClient
    store: PushStore
    now: Callable[[], datetime]

    def handler(
        self,
        *messages: type[Message],
        floor: float = RETRY_FLOOR_SECONDS,
        unknown: UnknownPolicy = UnknownPolicy.HOLD,
    ) -> Handler:
        """The declaration the engine registers; each of `messages` has a `group_id`."""
        return Handler(
            name="fcm",
            messages=messages,
            effect=Effect.AMBIGUOUS,
            call=self.call,
            timeout=CALL_TIMEOUT,
            retry=retry_policy(floor),
            unknown=unknown,
            prepare=self.prepare,
            record=self.record,
            check=self.check,
        )

    async def prepare(
        self, conn: AsyncConnection[Any], items: Sequence[tuple[GroupMessage, Attempt]]
    ) -> Mapping[int, Prepared | Outcome]:
        """Resolve groups, live items and addresses of the batch in two statements (REC-6)."""
        if not items:
            return {}
        groups = await self.store.groups(conn, [message.group_id for message, _ in items])
        recipients = sorted({found.group.recipient_id for found in groups.values() if found})
        devices = await self.store.devices(conn, recipients, items[0][1].now)
        return {
            attempt.delivery_id: _prepared(groups[message.group_id], devices, attempt)
            if message.group_id in groups
            else Suppressed(CANCELLED)  # its mentors are gone, and its items with them
            for message, attempt in items
        }

    async def call(self, message: GroupMessage, attempt: Attempt) -> Outcome:  # noqa: ARG002 - the engine's signature
        """Send to every device of the recipient; one accepted is enough."""
        prepared: Prepared = attempt.prepared
        until = min(attempt.deadline - LEASE_MARGIN, attempt.now + CALL_TIMEOUT)
        answers: list[SendResult] = []
        for push in prepared.pushes:
            answer = await self._send(push, until, first=not answers)
            answers.append(answer)
            if isinstance(answer, BadAddress):
                prepared.refused.append(Refused(push.device, answer.reason))
            if isinstance(answer, (Throttled, AuthRejected)):
                break  # it would be the same for the rest
        verdict = combine(answers)
        if isinstance(verdict, AttemptError):
            raise verdict
        return verdict

    async def record(self, conn: AsyncConnection[Any], settled: Sequence[Settled]) -> None:
        """Write the outcomes where the application reads them, and forget dead addresses."""
        ended = {each.group_id: each for one in settled if (each := _ended(one)) is not None}
        if ended:
            for told in await self.store.settle(conn, list(ended.values())):
                _tell(told, ended[told.group_id])
        refused = [bad for one in settled for bad in _refused(one)]
        if refused:
            hit = await self.store.forget(conn, refused, settled[0].at)
            for bad in refused:
                if bad.device.id in hit:
                    mark = address_hash(bad.device.address)
                    log.warning("device.invalidated", reason=bad.reason, address_hash=mark)

    async def check(self) -> None:
        """Prove credentials and project without a device.

        Raises CredentialsRejected, or TransientFailure if it cannot be known now.
        """
        await self.fcm.check_token()
        match await self.fcm.probe():
            case Accepted():
                return
            case AuthRejected() as answer:
                raise held(answer)
            case Throttled(wait):
                raise TransientFailure("fcm_throttled", wait)
            case Transient(reason, wait):
                raise TransientFailure(reason, wait)
            case Ambiguous(reason):
                raise TransientFailure(reason)
            case BadAddress() | BadPayload() | _:
                raise CredentialsRejected("fcm_probe_refused", "project id or base URL is wrong")

    async def _send(self, push: Push, until: datetime, *, first: bool) -> SendResult:
        """One device. After the first, trouble before the send is an answer and not an end."""
        if not first and self.now() + SEND_SECONDS_MAX > until:
            return Transient("out_of_time")
        if first:
            return await self.fcm.send(push)
        try:
            return await self.fcm.send(push)
        except CredentialsRejected:
            return AuthRejected(401, refresh=False)
        except TransientFailure as error:
            return Transient(error.reason, error.retry_after)


def delay(failures: int, *, floor: float, retry_after: timedelta = timedelta(0)) -> timedelta:
    """The wait after failure `failures` (1 or more): `max(2^n, floor * 2^(n-1), retry_after)` s."""
    seconds: float = max(2**failures, floor * 2 ** (failures - 1))
    return max(timedelta(seconds=seconds), retry_after)


def retry_policy(floor: float = RETRY_FLOOR_SECONDS) -> RetryPolicy:
    """At most three attempts and the waits of `delay`; Retry-After and jitter are the engine's."""
    waits = [delay(n, floor=floor).total_seconds() for n in range(1, ATTEMPTS_MAX)]
    return RetryPolicy(attempts_max=ATTEMPTS_MAX, backoff=Ladder(tuple(waits)), jitter=RETRY_JITTER)


def _prepared(
    found: Loaded | None, devices: Mapping[UUID, tuple[Device, ...]], attempt: Attempt
) -> Prepared | Outcome:
    if found is None:
        return Dead(KIND_UNKNOWN)
    group, items = found.group, found.items
    if group.status == "delivered":
        return Suppressed(ALREADY_DELIVERED)
    worth = [item for item in items if live(item)]
    if not worth:
        return Suppressed(CANCELLED)
    usable = devices.get(group.recipient_id, ())
    if not usable:
        return Suppressed(NO_TOKEN)
    again = group.again or attempt.resend
    return Prepared(
        pushes(replace(group, again=again), worth, usable),
        cancelled=tuple(item.id for item in items if item not in worth),
        again=again,
    )


def _ended(one: Settled) -> Ended | None:
    """The tables' words for a settlement; None if they already say it."""
    message: Any = one.message
    group_id: UUID = message.group_id
    prepared = one.prepared if isinstance(one.prepared, Prepared) else None
    called = prepared is not None
    match one.outcome:
        case Done():
            status, error, tries = "delivered", None, 1
        case Retry(_, reason, spent):
            status, error, tries = "queued", reason or None, int(spent and called)
        case Dead(reason):
            status, error, tries = "failed", reason, int(called)
        case Unknown(reason):
            status, error, tries = "unknown", reason, 1
        case Suppressed("no_token"):
            status, error, tries = "no_token", None, 0
        case Suppressed("already_delivered"):
            return None
        case _:
            status, error, tries = "cancelled", None, 0
    again, cancelled = (prepared.again, prepared.cancelled) if prepared else (False, ())
    resent = again and tries > 0
    return Ended(group_id, status, error, tries, one.at, resent=resent, cancelled=cancelled)


def _refused(one: Settled) -> Sequence[Refused]:
    return one.prepared.refused if isinstance(one.prepared, Prepared) else ()


def _tell(told: Told, ended: Ended) -> None:
    """One line per final failure and recipient (RTY-6); never an address."""
    event = _FAILURES.get(ended.status)
    if event is not None:
        log.error(
            event,
            recipient_id=str(told.recipient_id),
            kind=told.kind,
            error_class=ended.error_class,
            attempts=told.attempts,
        )
