"""What endpoints are given: the application, its transactions, and who calls."""

from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import SecretStr

from sagas.http.jobs import Jobs
from sagas.http.problems import Refusal
from sagas.http.sessions import Sessions
from sagas.http.tokens import Caller, Role
from sagas.wiring import Application

_bearer = HTTPBearer(auto_error=False, bearerFormat="JWT", description="A token of the issuer.")


@dataclass(frozen=True, slots=True)
class Desk:
    """The parts behind the endpoints."""

    app: Application
    sessions: Sessions
    jobs: Jobs
    hook_secret: SecretStr | None = None

    def now(self) -> datetime:
        """This instant, by the application's one clock."""
        return self.app.clock.now()


def _desk(request: Request) -> Desk:
    found: Desk = request.app.state.desk
    return found


def _caller(
    request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
) -> Caller:
    caller: Caller | None = request.state.caller
    if caller is None:  # the frame lets nobody else in; this is the second lock
        raise Refusal(HTTPStatus.UNAUTHORIZED, "token_missing")
    return caller


def _person(caller: Annotated[Caller, Depends(_caller)]) -> Caller:
    if caller.role is not Role.PERSON:
        raise Refusal(HTTPStatus.FORBIDDEN, "persons_only", "a person does this, no service")
    return caller


def _service(caller: Annotated[Caller, Depends(_caller)]) -> Caller:
    if caller.role is not Role.SERVICE:
        raise Refusal(HTTPStatus.FORBIDDEN, "service_only", "only the service role starts jobs")
    return caller


AtDesk = Annotated[Desk, Depends(_desk)]
Person = Annotated[Caller, Depends(_person)]
Service = Annotated[Caller, Depends(_service)]
