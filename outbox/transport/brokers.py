"""The brokers: RabbitMQ with quorum queues and confirms, or Redis, both driven through dramatiq.

Dramatiq is used for what it does well, queues, connections and consumer threads. Its middleware is
left out: retries, age limits and results have one owner, the engine (P7).
"""

from __future__ import annotations

import logging
import socket
import time
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import pika
import pika.exceptions
import redis
from dramatiq import Broker, Consumer
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.brokers.redis import RedisBroker
from dramatiq.errors import BrokerConnectionError, ConnectionClosed
from redis.backoff import NoBackoff
from redis.retry import Retry

from outbox.errors import BrokerUnreachable, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

ACTOR = "outbox_ticket"
"""The one kind of message that is sent."""

ANSWER_SECONDS = 5.0
"""How long a broker may take to answer."""

UNUSED_MS = 7 * 24 * 3600 * 1000
"""How long RabbitMQ keeps a queue that nobody uses: those of versions that are gone."""

QUEUE_ARGUMENTS = MappingProxyType({"x-queue-type": "quorum", "x-expires": UNUSED_MS})
"""What RabbitMQ is told of a queue, by whoever makes it."""

ATTENDED_SECONDS = 5.0
"""How long a worker to whom nothing comes leaves unasked whether its queue knows it."""

RENEWED_SECONDS = 30.0
"""How long a worker to whom nothing comes reads through one channel: about a lease."""

FAILURES = (pika.exceptions.AMQPError, redis.RedisError, BrokerConnectionError, OSError)
"""All that a broker that cannot be reached, or refuses us, raises."""

_PORTS = {"amqp": 5672, "amqps": 5671, "redis": 6379, "rediss": 6379}


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where the broker is. `where` names it without its credentials."""

    url: str = field(repr=False)
    scheme: str
    where: str

    @classmethod
    def of(cls, url: str | None) -> Self:
        """Read BROKER_URL. Raises `ConfigurationError` when it is missing or no broker's."""
        allowed = "amqp:// or amqps:// (RabbitMQ), redis:// or rediss:// (Redis)"
        if not url:
            raise ConfigurationError(
                f"BROKER_URL is not set; give the address of a broker: {allowed}"
            )
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise ConfigurationError(f"BROKER_URL is no address; give {allowed}") from None
        if parts.scheme not in _PORTS:
            raise ConfigurationError(f"BROKER_URL begins with {parts.scheme!r}; give {allowed}")
        if host is None:
            raise ConfigurationError(f"BROKER_URL names no host; give {allowed}")
        where = f"{parts.scheme}://{host}:{port or _PORTS[parts.scheme]}"
        return cls(url, parts.scheme, where)

    @property
    def is_redis(self) -> bool:
        """Whether Redis is behind it; RabbitMQ otherwise."""
        return self.scheme.startswith("redis")


class Wrapped(Consumer):
    """A consumer around another one, to which it passes on what it does not do itself."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __next__(self) -> Any:
        return next(self._inner)

    def ack(self, message: Any) -> None:
        """Pass it on."""
        self._inner.ack(message)

    def nack(self, message: Any) -> None:
        """Pass it on."""
        self._inner.nack(message)

    def requeue(self, messages: Any) -> None:
        """Pass it on."""
        self._inner.requeue(messages)

    def close(self) -> None:
        """Pass it on."""
        self._inner.close()


class Attended(Wrapped):
    """A consumer that, while nothing comes, asks whether its queue knows it, and begins anew.

    A queue that vanishes while it begins to consume tells it nothing; the next one of that name
    would fill with nobody to read it. To one deleted and made again in the same moment it may stay
    attached: counted, and sent what its channel drops as known from the old one.
    """

    after, renew_after = ATTENDED_SECONDS, RENEWED_SECONDS

    def __init__(self, inner: Any, queue: str, prefetch: int, timeout: int) -> None:
        super().__init__(inner)
        self._queue, self._prefetch, self._timeout = queue, prefetch, timeout
        self._asked_at = self._renewed_at = time.monotonic()

    def __next__(self) -> Any:
        found, now = super().__next__(), time.monotonic()
        if found is not None:
            self._renewed_at = now
        elif now - self._asked_at >= self.after:
            self._asked_at = now
            try:
                self._ask()
                if now - self._renewed_at >= self.renew_after and not self._inner.known_tags:
                    self._renewed_at = now
                    self._renew()
            except (pika.exceptions.AMQPConnectionError, pika.exceptions.AMQPChannelError) as error:
                raise ConnectionClosed(error) from None
        return found

    def _ask(self) -> None:
        answer = self._inner.channel.queue_declare(self._queue, passive=True)
        if not answer.method.consumer_count:
            raise ConnectionClosed(LookupError("the queue knows no consumer"))

    def _renew(self) -> None:
        """Go on in a new channel; what the old one was sent and did not tell goes back."""
        old = self._inner.channel
        channel = self._inner.connection.channel()
        channel.basic_qos(prefetch_count=self._prefetch)
        self._inner.channel = channel
        self._inner.iterator = channel.consume(self._queue, inactivity_timeout=self._timeout / 1000)
        old.close()


class QuorumBroker(RabbitmqBroker):
    """RabbitMQ with replicated queues, and neither delay nor dead-letter queues beside them.

    A ticket that is dropped is sent again when its lease is over, so nothing of it need be kept.
    """

    def declare_queue(self, queue_name: str, *, ensure: bool = False) -> None:
        """Know a queue, and with `ensure` make it."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.queues_pending.add(queue_name)
            self.emit_after("declare_queue", queue_name)
        if ensure:
            self._ensure_queue(queue_name)

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        """Read a queue, made first: the broker may have lost it since we last looked."""
        self.queues_pending.add(queue_name)
        inner = super().consume(queue_name, prefetch, timeout)
        return Attended(inner, queue_name, prefetch, timeout)

    def _build_queue_arguments(self, queue_name: str) -> dict[str, Any]:
        del queue_name
        return dict(QUEUE_ARGUMENTS)

    def _declare_dq_queue(self, queue_name: str) -> None:
        pass

    def _declare_xq_queue(self, queue_name: str) -> None:
        pass


class PlainRedisBroker(RedisBroker):
    """Redis without delay queues: no ticket is ever delayed."""

    def declare_queue(self, queue_name: str) -> None:
        """Know a queue."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.emit_after("declare_queue", queue_name)


def open_broker(address: BrokerAddress) -> Broker:
    """A broker that answers. Blocks; raises `BrokerUnreachable`."""
    _hush()
    try:
        if address.is_redis:
            client = redis.Redis.from_url(
                address.url, socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS,
                retry=Retry(NoBackoff(), 0),
            )  # fmt: skip
            client.ping()
            return PlainRedisBroker(client=client, namespace="outbox", middleware=[])
        broker = QuorumBroker(url=address.url, middleware=[])
        broker.parameters = parameters_of(address)
        pika.BlockingConnection(parameters=broker.parameters).close()
    except FAILURES as error:
        raise BrokerUnreachable(address.where, reason_of_failure(error)) from error
    except ValueError as error:  # what the drivers make of a strange address
        raise ConfigurationError(
            f"BROKER_URL ({address.where}) cannot be used: {type(error).__name__}"
        ) from None
    else:
        return broker


def parameters_of(address: BrokerAddress) -> pika.URLParameters:
    """How to connect with RabbitMQ; whoever does not answer in time has failed."""
    parameters = pika.URLParameters(address.url)
    parameters.socket_timeout = parameters.stack_timeout = ANSWER_SECONDS
    parameters.blocked_connection_timeout = ANSWER_SECONDS
    return parameters


def reason_of_failure(error: BaseException) -> str:
    """Why a broker did not do what it was asked, in words of ours."""
    causes = list(_causes(error))
    told = " ".join(str(cause) for cause in causes)
    for sign in ("ACCESS_REFUSED", "WRONGPASS", "NOAUTH", "invalid username-password"):
        if sign in told:
            return "the user or password is wrong"
    if any(isinstance(cause, redis.AuthenticationError) for cause in causes):
        return "the user or password is wrong"
    for kind, reason in (
        (pika.exceptions.ProbableAuthenticationError, "the user or password is wrong"),
        (pika.exceptions.ProbableAccessDeniedError, "this user has no such virtual host"),
        (socket.gaierror, "the host name is unknown"),
        (ConnectionRefusedError, "nothing listens there"),
        ((TimeoutError, redis.TimeoutError), "it did not answer in time"),
        (pika.exceptions.ConnectionBlockedTimeout, "it takes no messages for want of resources"),
    ):
        if any(isinstance(cause, kind) for cause in causes):
            return reason
    if "NOT_ALLOWED" in told:
        return "this user has no such virtual host"
    if "name or service not known" in told.lower() or "name resolution" in told.lower():
        return "the host name is unknown"
    return "the connection failed"


def _causes(error: BaseException | None, depth: int = 6) -> Iterator[BaseException]:
    """An error and what it was raised from: drivers hide the cause in arguments, too."""
    if error is None or not depth:
        return
    yield error
    for inner in (
        error.__cause__,
        error.__context__,
        *error.args,
        getattr(error, "exception", None),
        *getattr(error, "exceptions", ()),
    ):
        if isinstance(inner, BaseException):
            yield from _causes(inner, depth - 1)


def _hush() -> None:
    """Keep the drivers quiet: they quote addresses, and what matters is told by us."""
    for name in ("dramatiq", "pika"):
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
        logger.propagate = False
