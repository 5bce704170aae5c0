"""What an organisation runs on: its reminder settings per audience."""

from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Request
from pydantic import Field, StrictBool

from handlers.texts import Audience
from sagas import policies
from sagas.coordinator import Forbidden
from sagas.http import queries
from sagas.http.desk import AtDesk, Person
from sagas.http.fields import Given, Told
from sagas.http.problems import Refusal, not_found, refusals, request_id_of
from sagas.policy import (
    THRESHOLD_DAYS_MAX,
    THRESHOLDS_MAX,
    Cadence,
    Grouping,
    InDoubt,
    InvalidPolicy,
)

router = APIRouter(tags=["configuration"])

OrganisationId = Annotated[UUID, Path(description="The organisation.")]


class Settings(Given):
    """Settings of one audience; what is left out stays as it is (CFG-1)."""

    thresholds: list[Annotated[int, Field(ge=1, le=THRESHOLD_DAYS_MAX)]] | None = Field(
        default=None,
        min_length=1,
        max_length=THRESHOLDS_MAX,
        description="Days before expiry, strictly descending.",
    )
    lapsed: StrictBool | None = None
    cadence: Cadence | None = None
    per_run_date_tiers: (
        list[Annotated[str, Field(pattern=r"^([1-9][0-9]{0,2}|lapsed)$")]] | None
    ) = Field(default=None, max_length=THRESHOLDS_MAX + 1)
    grouping: Grouping | None = None
    in_doubt: InDoubt | None = None
    lapsed_lookback_days: int | None = Field(default=None, ge=0, le=3_650)
    guard_hours: int | None = Field(default=None, ge=0, le=168)


class Standing(Told):
    """What runs go by, what the organisation configured itself, and whether that takes effect.

    `refused` is the rule that its own settings break: the defaults apply then (CFG-5).
    """

    audience: Audience
    in_force: dict[str, Any]
    own: dict[str, Any] | None
    overrides: bool
    refused: str | None


@router.get(
    "/organisations/{organisation_id}/policies/{audience}",
    responses=refusals(HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND),
)
async def show_policy(
    desk: AtDesk, caller: Person, organisation_id: OrganisationId, audience: Audience
) -> Standing:
    """How one audience of the caller's organisation stands."""
    async with desk.sessions.person(caller) as conn:
        if organisation_id not in {
            each["organisation_id"] for each in await queries.my_reach(conn)
        }:
            raise not_found("organisation")
        await desk.sessions.promote(conn, caller)
        found = await policies.standings(conn, organisation_id, now=desk.now())
    return Standing(**found[audience].as_json())


@router.put(
    "/organisations/{organisation_id}/policies/{audience}",
    responses=refusals(HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND),
)
async def change_policy(  # noqa: PLR0913, PLR0917 - what one request is made of
    request: Request,
    desk: AtDesk,
    caller: Person,
    organisation_id: OrganisationId,
    audience: Audience,
    wanted: Settings,
) -> Standing:
    """Change settings of one audience: an administrator of the organisation, audited."""
    assert caller.user_id is not None, "a person has an id"
    values = wanted.model_dump(mode="json", exclude_none=True)
    try:
        async with desk.sessions.service(caller) as conn:
            await policies.set_policy(
                conn,
                organisation_id=organisation_id,
                audience=audience,
                values=values,
                actor_id=caller.user_id,
                now=desk.now(),
                request_id=request_id_of(request),
            )
            found = await policies.standings(conn, organisation_id, now=desk.now())
    except InvalidPolicy as error:
        raise Refusal(
            HTTPStatus.UNPROCESSABLE_ENTITY, "policy_not_valid", f"the rule is: {error.rule}"
        ) from None
    except policies.UnknownOrganisation:
        raise not_found("organisation") from None
    except Forbidden as error:
        async with desk.sessions.person(caller) as conn:
            staffed = {each["organisation_id"] for each in await queries.my_reach(conn)}
        if organisation_id not in staffed:
            raise not_found("organisation") from None
        raise Refusal(HTTPStatus.FORBIDDEN, "forbidden", f"allowed to {error.who_may}") from None
    return Standing(**found[audience].as_json())
