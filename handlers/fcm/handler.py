"""The push handler: prepares a batch in two statements, sends, writes down what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog

from handlers.commands import AlertOpen
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
from handlers.fcm.combine import (
    NO_TOKEN,
    PAYLOAD_REFUSED,
    PLATFORM_CREDENTIALS,
    combine,
    held,
)
from handlers.fcm.content import live, pushes
from handlers.fcm.encode import address_hash
from handlers.fcm.queries import Ended, Refused
from outbox import apublish
from outbox.errors import AttemptError, CredentialsRejected, TransientFailure
from outbox.handler import LEASE_MARGIN, Effect, Handler, UnknownPolicy
from outbox.outcome import Dead, Done, Outcome, Redriven, Retry, Suppressed, Unknown
from outbox.retry import Ladder, RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from uuid import UUID

    from psycopg import AsyncConnection

    from handlers.fcm.client import FcmClient
    from handlers.fcm.encode import Device, Push
    from handlers.fcm.queries import Loaded, Told
    from outbox.handler import Attempt, Settled
    from outbox.message import Message

log = structlog.get_logger("handlers.fcm")

CONCURRENCY: Final = 10
"""Pushes in flight in one process unless configured otherwise (DSP-1)."""
ATTEMPTS_MAX: Final = 3
RETRY_FLOOR_SECONDS: Final = 10.0
"""Google asks for at least 10 s before a failed request is repeated; 0 gives 2 s and 4 s."""
RETRY_JITTER: Final = 0.2
CALL_TIMEOUT: Final = timedelta(seconds=30)
SEND_SECONDS_MAX: Final = timedelta(seconds=12)
"""A send to one more device starts only if this much of the call's time is left."""
CANCELLED: Final = "cancelled"
KIND_UNKNOWN: Final = "kind_unknown"
UNBUILDABLE: Final = "push_unbuildable"
ALREADY_DELIVERED: Final = "already_delivered"

_OURS: Final = (UNBUILDABLE, PAYLOAD_REFUSED, "push_too_large")
"""How the reasons begin that are a mistake of ours in the push itself."""
_FAILURES: Final = {"failed": "push.failed", "unknown": "push.unknown"}


class GroupMessage(Protocol):
    """The message the handler takes: it names one group."""

    @property
    def group_id(self) -> UUID:
        """The group whose push is asked for."""
        ...


class PushStore(Protocol):
    """The application's tables, as far as a push needs them (ARC-5)."""

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

    async def resent_in_doubt(
        self, conn: AsyncConnection[Any], ids: Sequence[UUID], now: datetime
    ) -> set[UUID]:
        """Groups whose organisation has what is in doubt sent once more."""
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
    unknown; a dead address is forgotten, a refused payload never costs an address (RTY-3).
    Each push settles on its own: one that fails leaves the others running (DSP-3), and an outcome
    that cannot be written is written again, never sent again (DSP-5). A killed process leaves the
    calls it had begun unknown and the rest due (DSP-4, DSP-6).
    Source: FCM HTTP v1 reference, "ErrorCode"; FCM guide, "Collapsible messages".
    """

    fcm: FcmClient
    store: PushStore
    now: Callable[[], datetime]
    enrolment_hosts: frozenset[str] = frozenset()
    """The hosts an organisation's enrolment page may be on (LNK-5)."""

    def handler(
        self,
        *messages: type[Message],
        floor: float = RETRY_FLOOR_SECONDS,
        concurrency: int = CONCURRENCY,
    ) -> Handler:
        """The declaration the engine registers; each of `messages` has a `group_id`."""
        return Handler(
            name="fcm",
            messages=messages,
            effect=Effect.AMBIGUOUS,
            call=self.call,
            timeout=CALL_TIMEOUT,
            concurrency=concurrency,
            retry=retry_policy(floor),
            unknown=self.in_doubt,
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
            attempt.delivery_id: self._prepared(groups[message.group_id], devices, attempt)
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

    async def in_doubt(
        self, conn: AsyncConnection[Any], unknown: Sequence[Settled]
    ) -> Mapping[int, UnknownPolicy]:
        """What the organisation says of pushes that may have arrived (DSP-7): hold, or once more.

        The repeat carries the same tag and the sentence that it may arrive again (DED-12).
        """
        groups = {one.delivery_id: group for one in unknown if (group := _group_of(one))}
        resent = await self.store.resent_in_doubt(conn, [*groups.values()], unknown[0].at)
        return {
            delivery_id: UnknownPolicy.RESEND_ONCE
            for delivery_id, group_id in groups.items()
            if group_id in resent
        }

    async def record(self, conn: AsyncConnection[Any], settled: Sequence[Settled]) -> None:
        """Write the outcomes where the application reads them, and forget dead addresses."""
        ended = {each.group_id: each for one in settled if (each := _ended(one)) is not None}
        if ended:
            for told in await self.store.settle(conn, list(ended.values())):
                _tell(told, ended[told.group_id])
            for alert in _alerts(ended.values()):
                await apublish(conn, alert, key=f"alert:{alert.type}:{alert.subject}")
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

    def _prepared(
        self,
        found: Loaded | None,
        devices: Mapping[UUID, tuple[Device, ...]],
        attempt: Attempt,
    ) -> Prepared | Outcome:
        """What one group sends; one that cannot be built spoils no other of its batch (GRP-4)."""
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
        again = replace(group, again=group.again or attempt.resend)
        try:
            built = pushes(again, worth, usable, enrolment_hosts=self.enrolment_hosts)
        except (LookupError, ValueError):
            return Dead(UNBUILDABLE)
        cancelled = tuple(item.id for item in items if not live(item))
        return Prepared(built, cancelled=cancelled, again=again.again)

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
    """The wait after failure n (1 or more): `max(2^n, floor * 2^(n-1), retry_after)` s (RTY-2)."""
    seconds: float = max(2**failures, floor * 2 ** (failures - 1))
    return max(timedelta(seconds=seconds), retry_after)


def retry_policy(floor: float = RETRY_FLOOR_SECONDS) -> RetryPolicy:
    """At most three attempts (RTY-1) and the waits of `delay`.

    Retry-After, jitter and clock are the engine's and injected (RTY-4); no wait is slept, all are
    due dates of the delivery (RTY-5).
    """
    waits = [delay(n, floor=floor).total_seconds() for n in range(1, ATTEMPTS_MAX)]
    return RetryPolicy(attempts_max=ATTEMPTS_MAX, backoff=Ladder(tuple(waits)), jitter=RETRY_JITTER)


def _ended(one: Settled) -> Ended | None:
    """The tables' words for a settlement; None if they already say it."""
    group_id = _group_of(one)
    if group_id is None:
        return None
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
        case Redriven():
            status, error, tries = "queued", None, 0
        case Suppressed("no_token"):
            status, error, tries = "no_token", None, 0
        case Suppressed("already_delivered"):
            return None
        case _:
            status, error, tries = "cancelled", None, 0
    again, cancelled = (prepared.again, prepared.cancelled) if prepared else (False, ())
    resent = again and tries > 0
    return Ended(group_id, status, error, tries, one.at, resent=resent, cancelled=cancelled)


def _alerts(ended: Iterable[Ended]) -> list[AlertOpen]:
    """What asks for a person: a payload FCM or we refuse, and the project's own platform keys.

    No retry helps either (ALR-4, CRD-2). One alert for each cause, however many pushes it hit.
    """
    causes: dict[tuple[str, str], str] = {}
    for one in ended:
        reason = one.error_class or ""
        if one.status != "failed":
            continue
        if reason == PLATFORM_CREDENTIALS:
            causes["credential_failure", "fcm:platform"] = "critical"
        elif reason.startswith(_OURS):
            causes["payload_rejected", f"fcm:{reason}"] = "warning"
    return [
        AlertOpen(
            type=type_, organisation_id=None, mentor_id=None, subject=subject, severity=severity
        )
        for (type_, subject), severity in causes.items()
    ]


def _group_of(one: Settled) -> UUID | None:
    """The group the message names; None where it could not be read: that is no group's."""
    message: Any = one.message
    return getattr(message, "group_id", None)


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
