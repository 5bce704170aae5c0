"""Mails through a webhook: an effect outside, at a receiver that knows a repeat by its key."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx

from examples.shop import queries
from examples.shop.messages import OrderAnswered, OrderConfirmed, OrderRefused
from examples.shop.settings import ShopSettings
from outbox import (
    Attempt,
    CredentialsRejected,
    DestinationHeld,
    Done,
    Effect,
    Exponential,
    Handler,
    Order,
    Outcome,
    PermanentFailure,
    RetryPolicy,
    Settled,
    Suppressed,
    TransientFailure,
    parse_retry_after,
)
from outbox.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from psycopg import AsyncConnection

TIMEOUT = timedelta(seconds=20)
"""Of one call, as the engine bounds it; the client gives up earlier and says why."""

THROTTLED = timedelta(seconds=30)
"""How long everybody waits when the receiver is busy and names no time itself."""


class MailWebhook:
    """Asks for one mail per answered order.

    Idempotence: the receiver takes an `Idempotency-Key` and sends one mail per key; the key is the
    message's id, the same in every attempt. A receiver without such a key would make this handler
    AMBIGUOUS.
    Failures: 429 holds the receiver for everybody; 401 and 403 open the credential circuit; other
    refusals are final; what is left (5xx, no connection, no answer) is worth another try.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._transport, self._client = transport, httpx.AsyncClient()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """The application's lifespan: a client for as long as handlers are called."""
        settings: ShopSettings = load_settings(ShopSettings)
        token = settings.mail_token.get_secret_value()
        async with httpx.AsyncClient(
            base_url=str(settings.mail_url),
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=TIMEOUT.total_seconds() / 2,
            transport=self._transport,
        ) as self._client:
            yield

    async def prepare(
        self, conn: AsyncConnection[Any], items: Sequence[tuple[OrderAnswered, Attempt]]
    ) -> Mapping[int, queries.Letter | Outcome]:
        """Read what the mails of a batch say, in one statement; addresses travel in no message."""
        found = await queries.letters(conn, [message.order_id for message, _ in items])
        return {
            attempt.delivery_id: found.get(message.order_id) or Suppressed("order_is_gone")
            for message, attempt in items
        }

    async def call(self, message: OrderAnswered, attempt: Attempt) -> Outcome:
        """Ask for one mail."""
        del message
        letter: queries.Letter = attempt.prepared
        try:
            answer = await self._client.post(
                "",
                headers={"Idempotency-Key": str(attempt.message_id)},
                json={"to": letter.email, "template": letter.status, "item": letter.item},
            )
        except httpx.TransportError as error:
            raise TransientFailure("mail_unreachable") from error
        match answer.status_code:
            case 429:
                asked = parse_retry_after(answer.headers.get("Retry-After"), now=attempt.now)
                wait = THROTTLED if asked is None else asked
                raise DestinationHeld("mail_throttled", retry_after=wait)
            case 401 | 403:
                raise CredentialsRejected("mail_credentials", hint="is SHOP_MAIL_TOKEN current?")
            case status if status >= httpx.codes.INTERNAL_SERVER_ERROR:
                raise TransientFailure(f"mail_{status}")
            case status if not answer.is_success:
                raise PermanentFailure(f"mail_{status}")
            case status:
                return Done({"status": status})

    async def record(self, conn: AsyncConnection[Any], settled: Sequence[Settled]) -> None:
        """Keep the order's own word on its mail in step with every settlement."""
        ends = {
            one.message.order_id: type(one.outcome).__name__.lower()
            for one in settled
            if isinstance(one.message, OrderConfirmed | OrderRefused)
        }
        await queries.note_mails(conn, ends)

    def handler(self) -> Handler:
        """The terms on which the engine calls this."""
        return Handler(
            name="mail",
            messages=(OrderConfirmed, OrderRefused),
            effect=Effect.IDEMPOTENT,
            call=self.call,
            prepare=self.prepare,
            record=self.record,
            order=Order.KEYED,
            timeout=TIMEOUT,
            retry=RetryPolicy(attempts_max=8, backoff=Exponential(first=timedelta(seconds=5))),
        )
