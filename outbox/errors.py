"""Every error of the engine, and who acts on it.

    OutboxError
    ├── UsageError                the programmer's mistake, told at start or before any SQL
    │   ├── MessageClassInvalid
    │   ├── HandlerInvalid, PolicyInvalid
    │   ├── SagaInvalid, AppInvalid
    │   ├── HandlerTaken              another application on this database has the name
    │   └── ConfigurationError        a setting; exit code 2
    ├── PublishError              the caller's mistake; its transaction is untouched
    │   ├── HandleUnusable, AutocommitHandle, TransactionFailed, TransactionReadOnly
    │   ├── PayloadInvalid, PayloadTooLarge
    │   └── NaiveDatetime, KeyInvalid, TermInvalid
    ├── SchemaError               the database does not fit this code
    │   ├── SchemaMissing, SchemaTooNew, SchemaTooOld
    ├── HandlerMissing            an act on deliveries of a handler that this program does not have
    ├── DatabaseUnreachable       the server cannot be reached or refuses us
    ├── BrokerUnreachable         the broker cannot; what was to go there stays due
    └── AttemptError              raised by a handler; the engine translates it to an outcome
        ├── TransientFailure          Retry by the handler's policy, an attempt is spent
        ├── PermanentFailure          Dead
        ├── OutcomeUnknown            Unknown: the call may have happened
        ├── DestinationHeld           the whole destination waits, no attempt is spent
        └── CredentialsRejected       the destination's circuit opens, no attempt is spent

Retries have one owner, the engine. A `reason` is a short code of ours (`upstream_unavailable`): it
is stored and shown, so it never carries foreign text or personal data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from outbox.outcome import code_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta


class OutboxError(Exception):
    """Root of every error this package raises on purpose. Its text is safe to store and to show."""


class UsageError(OutboxError):
    """The program is put together wrongly; said at start, before anything is touched."""


class ConfigurationError(UsageError):
    """A setting is missing or unusable. Exit code 2."""


class MessageClassInvalid(UsageError):
    """A message class cannot be used as declared."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"message class {name}: {problem}")
        self.name, self.problem = name, problem


class HandlerInvalid(UsageError):
    """A handler cannot be registered as declared."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"handler {name!r}: {problem}")
        self.name, self.problem = name, problem


class PolicyInvalid(UsageError):
    """A retry policy, breaker or rate cannot work as declared."""


class SagaInvalid(UsageError):
    """A saga's declaration leaves a case open."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"saga {name!r}: {problem}")
        self.name, self.problem = name, problem


class AppInvalid(UsageError):
    """An application cannot be put together as declared."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"application {name!r}: {problem}")
        self.name, self.problem = name, problem


class HandlerTaken(UsageError):
    """Handlers of this name belong to another application on this database.

    `owners` is handler -> application. Nothing was registered.
    """

    def __init__(self, application: str, owners: Mapping[str, str]) -> None:
        told = ", ".join(f"{handler!r} to {owner!r}" for handler, owner in owners.items())
        super().__init__(
            f"application {application!r} has handlers that belong to another application on this "
            f"database: {told}; give them names of their own. If {application!r} is that "
            f"application under a new name, `outbox adopt {' '.join(owners)} "
            f"--from {next(iter(owners.values()))}` passes them on"
        )
        self.application, self.owners = application, dict(owners)


class PublishError(OutboxError):
    """A message was refused before anything was written; the caller's transaction is as it was."""


class HandleUnusable(PublishError):
    """What was given is not a connection or session this call can join."""

    def __init__(self, given: str, advice: str) -> None:
        super().__init__(f"cannot publish through {given}: {advice}")
        self.given = given


class AutocommitHandle(PublishError):
    """A handle in autocommit has no transaction that the message could share with the change."""

    def __init__(self) -> None:
        super().__init__(
            "the handle is in autocommit, so the message could not commit or vanish with your "
            "change; "
            "open a transaction first (`with conn.transaction():`) or turn autocommit off"
        )


class TransactionFailed(PublishError):
    """The caller's transaction has already failed."""

    def __init__(self) -> None:
        super().__init__(
            "the transaction has failed; roll it back (or to a savepoint) before you publish"
        )


class TransactionReadOnly(PublishError):
    """The caller's transaction may not write."""

    def __init__(self) -> None:
        super().__init__(
            "the transaction is read-only; publish from one that may write (not from a replica)"
        )


class PayloadInvalid(PublishError):
    """The payload cannot be stored as jsonb."""

    def __init__(self, topic: str, problem: str) -> None:
        super().__init__(f"payload of {topic} cannot be stored: {problem}")
        self.topic, self.problem = topic, problem


class PayloadTooLarge(PublishError):
    """The payload does not fit a message. Never retried."""

    def __init__(self, *, topic: str, size_bytes: int, bytes_max: int) -> None:
        super().__init__(
            f"payload of {topic} is {size_bytes} bytes, the most is {bytes_max}; "
            "store it elsewhere and publish its key"
        )
        self.topic, self.size_bytes, self.bytes_max = topic, size_bytes, bytes_max


class NaiveDatetime(PublishError):
    """A datetime without a zone names no instant."""

    def __init__(self, field: str) -> None:
        super().__init__(
            f"{field} is a datetime without a zone; give an aware one, e.g. datetime.now(UTC)"
        )
        self.field = field


class KeyInvalid(PublishError):
    """An ordering or dedup key that cannot serve as one."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field} {problem}; give a non-empty text without NUL, or leave it out")
        self.field = field


class TermInvalid(PublishError):
    """Another term of a publication that the database would refuse."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field} {problem}")
        self.field = field


class SchemaError(OutboxError):
    """The database's schema does not fit this code."""


class SchemaMissing(SchemaError):
    """The database was never migrated."""

    def __init__(self) -> None:
        super().__init__("this database has no outbox tables; run `outbox migrate` on it first")


class SchemaTooOld(SchemaError):
    """The database is behind this code."""

    def __init__(self, found: str, wanted: str) -> None:
        super().__init__(
            f"the database is at revision {found}, this code needs {wanted}; run `outbox migrate`"
        )
        self.found, self.wanted = found, wanted


class SchemaTooNew(SchemaError):
    """The database was migrated by a newer version that this code cannot work with."""

    def __init__(self, found: str) -> None:
        super().__init__(
            f"the database is at revision {found}, which this version does not know; "
            "install the newer version"
        )
        self.found = found


class DatabaseUnreachable(OutboxError):
    """No session with the server; the reason is told without the address's password."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(
            f"cannot reach the database at {where}: {reason}; "
            "check DATABASE_URL, the server and the credentials"
        )
        self.where, self.reason = where, reason


class HandlerMissing(OutboxError):
    """Nobody here could tell the handler's own tables, so nothing was changed."""

    def __init__(self, handler: str, app: str) -> None:
        super().__init__(
            f"the application {app!r} has no handler {handler!r}; name the one that has it "
            "with --app module:attribute"
        )
        self.handler, self.app = handler, app


class BrokerUnreachable(OutboxError):
    """The broker did not take or give what it should; told without the address's password."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(
            f"cannot reach the broker at {where}: {reason}; "
            "check BROKER_URL, the server and the credentials"
        )
        self.where, self.reason = where, reason


class AttemptError(OutboxError):
    """Raised by a handler to say how its attempt ended.

    `reason` is a short code, `upstream_busy`; a sentence becomes `reason_unfit` (`code_of`).
    """

    def __init__(self, reason: str) -> None:
        reason = code_of(reason)
        super().__init__(reason)
        self.reason = reason


class TransientFailure(AttemptError):
    """It may work later. `retry_after` is a lower bound for the backoff."""

    def __init__(self, reason: str, retry_after: timedelta | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class PermanentFailure(AttemptError):
    """It will never work: the delivery becomes a dead letter."""


class OutcomeUnknown(AttemptError):
    """The call may or may not have happened. Only AMBIGUOUS handlers have this to say."""


class DestinationHeld(AttemptError):
    """The receiver asks everybody to wait `retry_after`; the attempt is not spent."""

    def __init__(self, reason: str, retry_after: timedelta) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class CredentialsRejected(AttemptError):
    """The receiver does not accept who we are; no more calls until the handler's check passes.

    `hint` is one line of ours for a human ("clock skew 412 s").
    """

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint
