"""One recipient's push: devices combined, retries decided, results counted."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.commands import PushRequested
from handlers.emulators.fcm import Outage
from handlers.fcm import (
    DispatchOutcome,
    PostgresPushStore,
    PushHandler,
    RecipientOutcome,
    dispatch_result,
    retry_policy,
)
from handlers.fcm.answers import (
    Accepted,
    Ambiguous,
    AuthRejected,
    BadAddress,
    BadPayload,
    PlatformAuth,
    SendResult,
    Throttled,
    Transient,
)
from handlers.fcm.combine import combine
from handlers.fcm.handler import Prepared, delay
from outbox.errors import CredentialsRejected, DestinationHeld, TransientFailure
from outbox.handler import Effect
from outbox.outcome import Dead, Done, Retry, Suppressed, Unknown
from outbox.retry import after_failure
from tests.handlers.fcm.tables import request
from tests.handlers.fcm.wire import push

if TYPE_CHECKING:
    from outbox.handler import Attempt
    from tests.handlers.fcm.wire import Wire

MENTOR = UUID("9c4a3a51-4b7e-49be-8f24-5d6a77f3c0aa")
ANSWERS: list[SendResult] = [
    Accepted("projects/p/messages/1"),
    BadAddress("unregistered"),
    BadPayload("message.data[0].value"),
    AuthRejected(401, refresh=True),
    PlatformAuth(),
    Throttled(timedelta(seconds=60)),
    Transient("fcm_unavailable", timedelta(seconds=7)),
    Ambiguous("http_502"),
]


@pytest.fixture
def handler(wire: Wire) -> PushHandler:
    return PushHandler(wire.client, PostgresPushStore(), wire.time.now)


def _attempt(*addresses: str, number: int = 1) -> tuple[PushRequested, Attempt]:
    message, attempt = request(uuid4(), number=number)
    return message, attempt._replace(prepared=Prepared(tuple(map(push, addresses))))


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        ([], Suppressed("no_token")),
        ([BadAddress("unregistered")], Dead("address_unregistered")),
        ([BadAddress("malformed"), PlatformAuth()], Dead("platform_credentials")),
        ([BadPayload("message.android.ttl")], Dead("payload_refused:message.android.ttl")),
        ([BadAddress("x"), BadPayload(None), PlatformAuth()], Dead("payload_refused")),
        ([Transient("fcm_internal"), Ambiguous("http_504")], Unknown("http_504")),
    ],
)
def test_several_devices_make_one_outcome(answers: list[SendResult], verdict: object) -> None:
    assert combine(answers) == verdict


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ([Transient("a", timedelta(seconds=7)), Transient("b", timedelta(seconds=9))],
         TransientFailure("a", timedelta(seconds=9))),
        ([Transient("fcm_internal"), Throttled(timedelta(seconds=30))],
         DestinationHeld("fcm_throttled", timedelta(seconds=30))),
        ([BadAddress("x"), AuthRejected(403, refresh=False)],
         CredentialsRejected("fcm_rejected_credentials", "HTTP 403")),
    ],
)  # fmt: skip
def test_what_may_still_work_is_raised_for_the_engine(
    answers: list[SendResult], error: Exception
) -> None:
    verdict = combine(answers)

    assert (type(verdict), vars(verdict)) == (type(error), vars(error))


@given(st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=5))
def test_accepted_beats_ambiguous_beats_everything_else(answers: list[SendResult]) -> None:
    """No order of devices turns a push that may have arrived into one that is sent again."""
    verdict = combine(answers)
    if any(isinstance(answer, Accepted) for answer in answers):
        assert isinstance(verdict, Done)
    elif any(isinstance(answer, Ambiguous) for answer in answers):
        assert isinstance(verdict, Unknown)
    else:
        assert not isinstance(verdict, (Done, Unknown))


async def test_every_device_is_sent_to(handler: PushHandler, wire: Wire) -> None:
    outcome = await handler.call(*_attempt("down-1", "ok-1", "apns-1", "ok-2"))

    assert isinstance(outcome, Done)
    assert outcome.receipt["devices"] == 4
    assert outcome.receipt["accepted"] == 2
    ids = outcome.receipt["message_ids"]
    assert isinstance(ids, list)
    assert len(ids) == 2
    assert wire.fcm.sends == 4


async def test_a_throttled_project_ends_the_round(handler: PushHandler, wire: Wire) -> None:
    """The next device would be refused as well, and each refusal costs quota."""
    with pytest.raises(DestinationHeld) as caught:
        await handler.call(*_attempt("quota-1", "ok-1"))

    assert caught.value.retry_after == timedelta(seconds=60)
    assert wire.fcm.calls_of("ok-1") == 0


async def test_credentials_lost_on_the_way_do_not_undo_a_delivery(
    handler: PushHandler, wire: Wire
) -> None:
    """The first phone rang: trouble with the token afterwards must not ring it again."""

    class Failing:
        async def send(self, one: Any) -> SendResult:
            if one.device.address == "ok-2":
                raise CredentialsRejected("token_request_rejected")
            return await wire.client.send(one)

    broken = replace(handler, fcm=Failing())  # type: ignore[arg-type]

    assert isinstance(await broken.call(*_attempt("ok-1", "ok-2")), Done)


async def test_no_send_begins_that_the_call_has_no_time_for(
    handler: PushHandler, wire: Wire
) -> None:
    message, attempt = _attempt("int-1", "ok-1")
    wire.time.advance(19)

    with pytest.raises(TransientFailure):
        await handler.call(message, attempt)

    assert wire.fcm.calls_of("ok-1") == 0


async def test_t4_3_two_failures_then_success_are_exactly_three_calls(
    handler: PushHandler, wire: Wire
) -> None:
    """T4.3, RTY-1, RTY-5: three calls, and waits that are due dates, not sleeps."""
    policy = retry_policy()
    waits: list[timedelta] = []
    outcome: object = None
    for number in (1, 2, 3):
        try:
            outcome = await handler.call(*_attempt("flaky2-1", number=number))
        except TransientFailure as error:
            again = after_failure(
                error, attempt=number, age=timedelta(0), policy=policy, jitter=0.0
            )
            assert isinstance(again, Retry)
            assert again.after is not None
            waits.append(again.after)

    assert isinstance(outcome, Done)
    assert wire.fcm.calls_of("flaky2-1") == 3
    assert len(wire.fcm.deliveries) == 1
    assert waits == [timedelta(seconds=10), timedelta(seconds=20)]


@pytest.mark.parametrize(("floor", "expected"), [(0, [2, 4]), (10, [10, 20]), (3, [3, 6])])
def test_t4_4_the_backoff_sequence_is_exact(floor: float, expected: list[int]) -> None:
    """T4.4, RTY-2, RTY-4: 2 s and 4 s as first asked for; 10 s and 20 s as Google wants it."""
    policy = retry_policy(floor)
    error = TransientFailure("fcm_unavailable")
    decided = [
        after_failure(error, attempt=n, age=timedelta(0), policy=policy, jitter=0.0)
        for n in (1, 2, 3)
    ]

    waits = [timedelta(seconds=seconds) for seconds in expected]
    assert decided[:2] == [Retry(wait, "fcm_unavailable") for wait in waits]
    assert decided[2] == Dead("attempts_exhausted:fcm_unavailable")
    assert [delay(n, floor=floor) for n in (1, 2)] == waits


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 300))
def test_t4_4_jitter_is_added_and_retry_after_is_a_floor(jitter: float, asked: int) -> None:
    """T4.4, RTY-2: never below the receiver's wish, at most a fifth above."""
    error = TransientFailure("fcm_unavailable", timedelta(seconds=asked))
    again = after_failure(error, attempt=1, age=timedelta(0), policy=retry_policy(), jitter=jitter)

    least = delay(1, floor=10, retry_after=timedelta(seconds=asked))
    assert isinstance(again, Retry)
    assert again.after is not None
    assert least <= again.after <= least * 1.2


@pytest.mark.parametrize("address", ["unreg-1", "badtok-1", "mismatch-1", "apns-1"])
async def test_what_is_permanent_fails_at_once(
    handler: PushHandler, wire: Wire, address: str
) -> None:
    """RTY-3."""
    outcome = await handler.call(*_attempt(address))

    assert isinstance(outcome, Dead)
    assert wire.fcm.calls_of(address) == 1


async def test_an_outage_that_delivers_is_never_sent_again(
    handler: PushHandler, wire: Wire
) -> None:
    """P4: the phone rang, the answer was lost; the outcome is stored as unknown."""
    wire.fcm.outage = Outage(502, html=True, delivers=True)

    assert await handler.call(*_attempt("ok-1")) == Unknown("http_502")
    assert len(wire.fcm.deliveries) == 1


async def test_a_check_proves_token_and_project(handler: PushHandler, wire: Wire) -> None:
    """CRD-1: a fresh token and a harmless call."""
    await handler.check()
    await handler.check()

    assert wire.fcm.tokens.issued == 2
    assert wire.fcm.deliveries == ()


@pytest.mark.parametrize(
    ("outage", "error"),
    [
        (Outage(503), TransientFailure),
        (Outage(429), TransientFailure),
        (Outage(502, html=True), TransientFailure),
    ],
)
async def test_a_check_that_cannot_know_says_so(
    handler: PushHandler, wire: Wire, outage: Outage, error: type[Exception]
) -> None:
    wire.fcm.outage = outage

    with pytest.raises(error):
        await handler.check()


async def test_a_check_tells_rejected_credentials(handler: PushHandler, wire: Wire) -> None:
    wire.fcm.project_id = "another"
    with pytest.raises(CredentialsRejected, match="fcm_rejected_credentials"):
        await handler.check()

    wire.fcm.tokens.reject = True
    with pytest.raises(CredentialsRejected, match="token_request_rejected"):
        await handler.check()


def test_the_declaration_is_an_ambiguous_handler(handler: PushHandler) -> None:
    declared = handler.handler(PushRequested)

    assert (declared.name, declared.effect, declared.concurrency) == ("fcm", Effect.AMBIGUOUS, 10)
    assert declared.retry.attempts_max == 3


def _outcome(status: str, error: str | None = None, attempts: int = 0) -> RecipientOutcome:
    return RecipientOutcome(uuid4(), status, error, attempts)


def test_t4_5_one_recipient_without_device_is_no_failure() -> None:
    """T4.5, RES-3: the worked example; Bo has no device, Anna and Cid were reached."""
    result = dispatch_result(
        "mentor_paused",
        MENTOR,
        [_outcome("delivered"), _outcome("no_token"), _outcome("delivered", attempts=3)],
    )

    assert result.as_json() == {
        "event": "mentor_paused",
        "mentorId": str(MENTOR),
        "outcome": "all_success",
        "recipientCount": 3,
        "successCount": 2,
        "failureCount": 0,
        "noTokenCount": 1,
        "failures": [],
    }


def test_t4_5_a_partial_failure_names_who_was_not_reached() -> None:
    """T4.5."""
    failed, unknown = _outcome("failed", "fcm_unavailable", 3), _outcome("unknown", None, 1)

    result = dispatch_result("mentor_paused", MENTOR, [_outcome("delivered"), failed, unknown])

    assert result.outcome is DispatchOutcome.PARTIAL_FAILURE
    assert result.as_json()["failures"] == [
        {"recipientId": str(failed.recipient_id), "errorClass": "fcm_unavailable", "attempts": 3},
        {"recipientId": str(unknown.recipient_id), "errorClass": "unknown", "attempts": 1},
    ]


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([], DispatchOutcome.NO_RECIPIENTS),
        (["no_token"], DispatchOutcome.NO_DEVICES),
        (["failed", "no_token"], DispatchOutcome.ALL_FAILED),
        (["delivered"], DispatchOutcome.ALL_SUCCESS),
    ],
)
def test_t4_5_the_other_outcomes(statuses: list[str], expected: DispatchOutcome) -> None:
    """T4.5: nobody resolved, nobody with a device, nobody reached, everybody reached."""
    result = dispatch_result("mentor_paused", MENTOR, map(_outcome, statuses))

    assert result.outcome is expected
    assert result.recipient_count == len(statuses)
