"""The endpoints put together: what is documented is what is answered."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import psycopg
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from psycopg_pool import PoolTimeout
from starlette.exceptions import HTTPException

from handlers.http import ReopeningTransport
from outbox.errors import ConfigurationError
from sagas.coordinator import NoChannel, UnknownMentor
from sagas.http import configuration, dispatches, internal, me, mentors, reports, scenarios
from sagas.http.desk import Desk
from sagas.http.frame import Frame
from sagas.http.jobs import Jobs
from sagas.http.keys import PublishedKeySet
from sagas.http.problems import Place, Problem, Refusal, answer, request_id_of
from sagas.http.sessions import Sessions, service_url
from sagas.http.tokens import Verifier

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import Request
    from fastapi.responses import JSONResponse

    from sagas.http.settings import ApiSettings
    from sagas.wiring import Application

log = structlog.get_logger("sagas.http")

ROUTERS: Final = (
    me.router,
    mentors.router,
    dispatches.router,
    reports.router,
    configuration.router,
    scenarios.router,
    internal.router,
)
_VERSION: Final = "1"


def build_api(app: Application, settings: ApiSettings, dsn: str) -> FastAPI:
    """The surface of `app` over the database at `dsn`; nothing is connected before it starts.

    Raises `ConfigurationError` if the settings name nobody whose tokens could be believed.
    """
    verifier, keys = _verifier(settings)

    @asynccontextmanager
    async def lifespan(api: FastAPI) -> AsyncIterator[None]:
        async with Sessions.opened(
            dsn, app.clock, connections_max=settings.api_connections
        ) as sessions:
            jobs = Jobs(app, service_url(dsn))
            api.state.desk = Desk(app, sessions, jobs, settings.api_hook_secret)
            try:
                yield
            finally:
                await jobs.aclose()
                if keys is not None:
                    await keys.aclose()

    api = _Api(
        title="Peer-mentor certification",
        version=_VERSION,
        lifespan=lifespan,
        docs_url=None,  # its pages load programs from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        # its spans hold addresses with their queries, its records the texts of errors (P12)
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    for router in ROUTERS:
        api.include_router(router)
    api.add_middleware(Frame, verifier=verifier)
    _add_refusals(api)
    return api


class _Api(FastAPI):
    """FastAPI with the one form that all refusals have in its document."""

    def openapi(self) -> dict[str, Any]:
        """The document, made once."""
        if self.openapi_schema is None:
            document = get_openapi(title=self.title, version=self.version, routes=self.routes)
            schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            components = document.setdefault("components", {}).setdefault("schemas", {})
            components.update(schema.pop("$defs"))
            components["Problem"] = schema
            for unused in ("HTTPValidationError", "ValidationError"):
                components.pop(unused, None)
            self.openapi_schema = document
        return self.openapi_schema


def _verifier(settings: ApiSettings) -> tuple[Verifier, PublishedKeySet | None]:
    if settings.api_jwt_issuer is None:
        raise ConfigurationError(
            "API_JWT_ISSUER is not set; give the `iss` of the tokens to believe"
        )
    if settings.api_jwt_secret is None and settings.api_jwks_url is None:
        raise ConfigurationError(
            "neither API_JWT_SECRET nor API_JWKS_URL is set; give one of them to verify tokens with"
        )
    keys = None
    if settings.api_jwks_url is not None:
        keys = PublishedKeySet(
            settings.api_jwks_url, ReopeningTransport(connections_max=2), monotonic=time.monotonic
        )
    verifier = Verifier(
        issuer=settings.api_jwt_issuer,
        audience=settings.api_jwt_audience,
        secret=settings.api_jwt_secret,
        keys=keys,
    )
    return verifier, keys


def _add_refusals(api: FastAPI) -> None:
    """Every error that may leave an endpoint, as a problem document."""

    @api.exception_handler(Refusal)
    def refused(request: Request, error: Refusal) -> JSONResponse:
        request_id = request_id_of(request)
        return answer(request_id, error.status, error.code, error.detail, headers=error.headers)

    @api.exception_handler(UnknownMentor)
    def unknown(request: Request, _: UnknownMentor) -> JSONResponse:
        return answer(
            request_id_of(request), HTTPStatus.NOT_FOUND, "not_found", "there is no such mentor"
        )

    @api.exception_handler(NoChannel)
    def without_channel(request: Request, _: NoChannel) -> JSONResponse:
        return answer(
            request_id_of(request),
            HTTPStatus.CONFLICT,
            "no_channel",
            "the mentor's organisation shows nobody on a portal",
        )

    @api.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        places = [Place(at=list(each["loc"]), rule=each["type"]) for each in error.errors()]
        return answer(
            request_id_of(request),
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "not_valid",
            "what was given is not valid",
            errors=places,
        )

    @api.exception_handler(HTTPException)
    def raised(request: Request, error: HTTPException) -> JSONResponse:
        status = HTTPStatus(error.status_code)
        code = status.name.lower()
        headers = None if error.headers is None else dict(error.headers)
        return answer(request_id_of(request), status, code, headers=headers)

    @api.exception_handler(psycopg.OperationalError)
    @api.exception_handler(PoolTimeout)
    def unreachable(request: Request, error: Exception) -> JSONResponse:
        log.warning("http.database_failed", error_class=type(error).__name__)
        return answer(
            request_id_of(request),
            HTTPStatus.SERVICE_UNAVAILABLE,
            "database_unavailable",
            "the database did not answer; try again",
            headers={"Retry-After": "5"},
        )
