"""Every refusal is a problem document (RFC 9457): status, a code of ours, a sentence, the request.

Nothing that was given is quoted back: a value that was wrong may be personal, or a secret (P12).
"""

from http import HTTPStatus
from typing import Any, Final

from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from sagas.http.sentences import message, spoken

PROBLEM_JSON: Final = "application/problem+json"


class Place(BaseModel):
    """One thing wrong with what was given: where, and by which rule."""

    model_config = ConfigDict(extra="forbid")

    at: list[str | int] = Field(description="The way to it: body, query or path, then names.")
    rule: str = Field(description="The rule it breaks, as a code.")


class Problem(BaseModel):
    """Why a request was not done."""

    model_config = ConfigDict(extra="forbid")

    type: str = "about:blank"
    title: str = Field(description="The status in words.")
    status: int
    code: str = Field(description="What happened, for programs.")
    message: str = Field(description="What to show the person, in the language asked for.")
    detail: str | None = Field(default=None, description="What happened, for developers.")
    request_id: str | None = Field(default=None, description="Under which the logs know it.")
    errors: list[Place] | None = Field(default=None, description="Of a request that was not valid.")


class Refusal(Exception):
    """A request that is not done; `detail` is a sentence of ours."""

    def __init__(
        self,
        status: HTTPStatus,
        code: str,
        detail: str | None = None,
        *,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(code)
        self.status, self.code, self.detail, self.headers = status, code, detail, headers


def not_found(what: str) -> Refusal:
    """There is no such thing, as far as this caller can know."""
    return Refusal(HTTPStatus.NOT_FOUND, "not_found", f"there is no such {what}")


def answer(  # noqa: PLR0913 - the parts of one document
    request_id: str | None,
    status: HTTPStatus,
    code: str,
    detail: str | None = None,
    *,
    errors: list[Place] | None = None,
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """The problem as a response."""
    problem = Problem(
        title=status.phrase,
        status=status.value,
        code=code,
        message=message(status, code),
        detail=detail,
        request_id=request_id,
        errors=errors,
    )
    return JSONResponse(
        problem.model_dump(exclude_none=True),
        status.value,
        headers={"Content-Language": spoken(), "Vary": "Accept-Language", **(headers or {})},
        media_type=PROBLEM_JSON,
    )


def request_id_of(request: Request) -> str | None:
    """The id the frame gave the request."""
    found: str | None = getattr(request.state, "request_id", None)
    return found


_TOLD: Final = {
    HTTPStatus.BAD_REQUEST: "The body cannot be read",
    HTTPStatus.UNAUTHORIZED: "No valid token was given",
    HTTPStatus.FORBIDDEN: "The caller may not do this",
    HTTPStatus.NOT_FOUND: "There is no such thing for this caller",
    HTTPStatus.CONFLICT: "The state of things does not allow it",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large",
    HTTPStatus.UNPROCESSABLE_ENTITY: "What was given is not valid",
    HTTPStatus.INTERNAL_SERVER_ERROR: "A fault of ours",
    HTTPStatus.SERVICE_UNAVAILABLE: "The database or the issuer's keys cannot be reached now",
}
_ALWAYS: Final = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.SERVICE_UNAVAILABLE,
)


def refusals(*more: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """What an endpoint documents beside its success: what any may answer, and `more`."""
    return {
        status.value: {
            "description": _TOLD[status],
            "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in sorted({*_ALWAYS, *more})
    }
