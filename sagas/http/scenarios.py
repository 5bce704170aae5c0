"""Scenario rules as people read them: listed, switched, previewed; raw rules are never answered."""

from datetime import UTC, date, datetime
from http import HTTPStatus
from typing import Annotated, Final, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime, Field, StrictBool

from sagas import scenarios
from sagas.coordinator import Forbidden
from sagas.http import queries
from sagas.http.desk import AtDesk, Person
from sagas.http.fields import Given, Told
from sagas.http.problems import Refusal, not_found, refusals, request_id_of
from sagas.prompt_rules import Activity, InvalidRule, Rule

router = APIRouter(prefix="/scenarios", tags=["scenarios"])

Language = Annotated[Literal["nb", "en"], Query(description="Of the sentences.")]
_FROM: Final = datetime(2000, 1, 1, tzinfo=UTC)
_UNTIL: Final = datetime(2200, 1, 1, tzinfo=UTC)
Instant = Annotated[AwareDatetime, Field(ge=_FROM, lt=_UNTIL)]
"""An instant that a delay may be added to."""

Flag = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]


class Scenario(Told):
    """One rule in a sentence, and how it stands in one organisation.

    `description` null: the stored rule is not valid, and never fires.
    """

    id: UUID
    organisation_id: UUID
    code: str
    name: str
    description: str | None
    enabled: bool
    enabled_at: datetime | None


class Scenarios(Told):
    """Every rule, once for each organisation the caller works for."""

    items: list[Scenario]


class Switch(Given):
    """Where a rule is switched on or off."""

    organisation_id: UUID
    enabled: StrictBool


class Switched(Told):
    """How it stands now; what happened before `enabled_at` is never prompted about (SCN-11)."""

    id: UUID
    organisation_id: UUID
    enabled: bool
    enabled_at: datetime | None


class TrialActivity(Given):
    """An activity to try a rule on; it is written nowhere."""

    kind: Literal["first_contact", "contact", "activity_registered", "activity_completed"]
    occurred_at: Instant
    flags: dict[Flag, StrictBool] = Field(default={}, max_length=32)
    followed_up: StrictBool = False


class Trial(Given):
    """A rule, stored or not, and an activity."""

    rule: Rule
    activity: TrialActivity
    mentor_id: UUID | None = None


class Preview(Told):
    """What a rule would make of an activity (SCN-10): when, to whom, in which words, or why not."""

    description: str
    sends: bool
    sends_on: date | None
    due_on: date
    last_on: date
    reasons: list[str]
    recipient_id: UUID | None
    title: str
    body: str


@router.get("", responses=refusals(HTTPStatus.FORBIDDEN))
async def list_scenarios(desk: AtDesk, caller: Person, language: Language = "nb") -> Scenarios:
    """Rules in words, and whether each is on in the caller's organisations (SCN-8)."""
    items: list[Scenario] = []
    async with desk.sessions.person(caller) as conn:
        reach = await queries.my_reach(conn)
        for place in reach:
            organisation_id = place["organisation_id"]
            items += [
                Scenario(
                    id=each.id,
                    organisation_id=organisation_id,
                    code=each.code,
                    name=each.name,
                    description=each.description,
                    enabled=each.enabled,
                    enabled_at=each.enabled_at,
                )
                for each in await scenarios.listed(conn, organisation_id, language=language)
            ]
    return Scenarios(items=items)


@router.put(
    "/{scenario_id}/enabled",
    responses=refusals(HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
async def switch_scenario(
    request: Request, desk: AtDesk, caller: Person, scenario_id: UUID, wanted: Switch
) -> Switched:
    """Switch a rule on or off: a coordinator or administrator of the organisation, audited."""
    assert caller.user_id is not None, "a person has an id"
    async with desk.sessions.person(caller) as conn:
        places = {each["organisation_id"] for each in await queries.my_reach(conn)}
    try:
        async with desk.sessions.service(caller) as conn:
            stands = await scenarios.set_enabled(
                conn,
                organisation_id=wanted.organisation_id,
                scenario_id=scenario_id,
                enabled=wanted.enabled,
                actor_id=caller.user_id,
                now=desk.now(),
                request_id=request_id_of(request),
            )
    except scenarios.UnknownScenario:
        raise not_found("scenario") from None
    except Forbidden as error:
        if wanted.organisation_id not in places:
            raise not_found("scenario") from None
        raise Refusal(HTTPStatus.FORBIDDEN, "forbidden", f"allowed to {error.who_may}") from None
    except InvalidRule:
        raise Refusal(
            HTTPStatus.CONFLICT, "rule_not_valid", "the stored rule is not valid"
        ) from None
    return Switched(
        id=scenario_id,
        organisation_id=wanted.organisation_id,
        enabled=stands.enabled,
        enabled_at=stands.enabled_at,
    )


@router.post("/preview", responses=refusals(HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND))
async def preview_scenario(
    desk: AtDesk, caller: Person, trial: Trial, language: Language = "nb"
) -> Preview:
    """Show what a rule would make of an activity; writes nothing, sends nothing."""
    async with desk.sessions.person(caller) as conn:
        reach = await queries.my_reach(conn)
        if not reach:
            raise Refusal(
                HTTPStatus.FORBIDDEN, "staff_only", "coordinators and administrators do this"
            )
        if trial.mentor_id is not None and not await queries.sees_mentor(conn, trial.mentor_id):
            raise not_found("mentor")
    activity = Activity(
        kind=trial.activity.kind,
        occurred_at=trial.activity.occurred_at,
        flags=trial.activity.flags,
        followed_up=trial.activity.followed_up,
    )
    shown = scenarios.preview(
        trial.rule,
        activity,
        now=desk.now(),
        zone=ZoneInfo(reach[0]["timezone"]),
        language=language,
        recipient_id=trial.mentor_id,
    )
    return Preview.model_validate(shown.as_json())
