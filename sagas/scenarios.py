"""The rules of scenario prompts as people handle them: listed in words, previewed, switched on.

Changes own their transaction: give an idle connection. A refusal is audited and committed before
`Forbidden` is raised.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from handlers.texts import Audience, Kind, item_text
from sagas import audit, queries_access, queries_prompts
from sagas.audit import AuditEntry
from sagas.coordinator import Forbidden
from sagas.operator import OF_ALL
from sagas.prompt_rules import InvalidRule, Reason, Rule, judge
from sagas.prompt_words import describe, reason_text
from sagas.tiers import local_date

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, datetime
    from uuid import UUID
    from zoneinfo import ZoneInfo

    from psycopg import AsyncConnection

    from sagas.prompt_rules import Activity
    from sagas.queries_prompts import Scenario

MAY_SWITCH: Final = frozenset({"hlf_admin", "org_admin", "chapter_admin", "coordinator"})
"""Coordinators choose which prompts their organisation's mentors get."""
WHO_MAY_SWITCH: Final = "a coordinator or administrator of the organisation"
WHO_MAY_DEFINE: Final = "an administrator of all organisations"


class UnknownScenario(LookupError):
    """There is no such rule. Nothing was changed."""

    def __init__(self, scenario: object) -> None:
        super().__init__(f"there is no scenario {scenario}")
        self.scenario = scenario


@dataclass(frozen=True, slots=True)
class Described:
    """One rule as a person reads it, and how it stands in the organisation.

    `description` None: the stored form is not valid, so the rule says nothing and never fires.
    """

    id: UUID
    code: str
    name: str
    description: str | None
    enabled: bool
    enabled_at: datetime | None


@dataclass(frozen=True, slots=True)
class Preview:
    """What a rule would make of an activity (SCN-10); nothing was written and nothing is sent.

    `sends_on` is the day the prompt would be sent, None: never. `reasons` are sentences: why not,
    or why not today. `title` and `body` are what the mentor `recipient_id` (None: whoever the
    activity belongs to) would read.
    """

    description: str
    due_on: date
    last_on: date
    sends_on: date | None
    reasons: tuple[str, ...]
    title: str
    body: str
    recipient_id: UUID | None = None

    def as_json(self) -> dict[str, Any]:
        """The preview as one JSON document."""
        return {
            "description": self.description,
            "sends": self.sends_on is not None,
            "sends_on": self.sends_on and self.sends_on.isoformat(),
            "due_on": self.due_on.isoformat(),
            "last_on": self.last_on.isoformat(),
            "reasons": list(self.reasons),
            "recipient_id": self.recipient_id and str(self.recipient_id),
            "title": self.title,
            "body": self.body,
        }


def preview(  # noqa: PLR0913 - the rule, the activity, and where and when they meet
    rule: Rule,
    activity: Activity,
    *,
    now: datetime,
    zone: ZoneInfo,
    language: str,
    enabled_at: datetime | None = None,
    recipient_id: UUID | None = None,
) -> Preview:
    """Show what `rule` would do about `activity`, decided as a run decides it, without any I/O.

    `enabled_at` None asks as if the rule had been on for long: possible before it is.
    """
    judged = judge(rule, activity, now=now, zone=zone, enabled_at=enabled_at)
    waits = not set(judged.reasons) - {Reason.NOT_YET}
    text = item_text(
        Kind.SCENARIO_PROMPT, audience=Audience.MENTOR, tier=None, reason=None, language=language
    )
    return Preview(
        description=describe(rule, language),
        due_on=judged.due_on,
        last_on=judged.last_on,
        sends_on=max(judged.due_on, local_date(now, zone)) if waits else None,
        reasons=tuple(reason_text(each, language) for each in judged.reasons),
        title=text.title,
        body=text.body,
        recipient_id=recipient_id,
    )


async def listed(
    conn: AsyncConnection[Any], organisation_id: UUID, *, language: str
) -> list[Described]:
    """Every rule in words, and how it stands in the organisation; raw rules are never shown."""
    return [
        _described(each, language)
        for each in await queries_prompts.list_scenarios(conn, organisation_id)
    ]


async def set_enabled(  # noqa: PLR0913 - one switch, all of it named
    conn: AsyncConnection[Any],
    *,
    organisation_id: UUID,
    scenario_id: UUID,
    enabled: bool,
    actor_id: UUID,
    now: datetime,
    request_id: str | None = None,
) -> Scenario:
    """Switch a rule on or off for an organisation; how it stands now.

    What happened before it was switched on is never prompted about (SCN-11). Raises `Forbidden`,
    `UnknownScenario` or, for a rule without a valid form that is to be switched on, `InvalidRule`.
    """
    async with conn.transaction():
        scenario = await queries_prompts.lock_scenario(conn, organisation_id, scenario_id)
        if scenario is None:
            raise UnknownScenario(scenario_id)
        role = await queries_access.widest_role(conn, actor_id, organisation_id=organisation_id)
        entry = AuditEntry(
            at=now,
            action="scenario.enable" if enabled else "scenario.disable",
            actor_id=actor_id,
            actor_role=audit.NO_ROLE,
            organisation_id=organisation_id,
            subject={"scenario_id": str(scenario_id), "code": scenario.code},
            before={"enabled": scenario.enabled},
            after={"outcome": "refused"},
            request_id=request_id,
        )
        if role is not None and role in MAY_SWITCH:
            if enabled:
                Rule.of(scenario.rule)
            since = await queries_prompts.put_scenario_setting(
                conn, organisation_id, scenario_id, enabled=enabled, actor_id=actor_id, now=now
            )
            await audit.record(conn, _done(entry, role, {"enabled": enabled}))
            return _standing(scenario, enabled=enabled, since=since)
        await audit.record(conn, entry)
    raise Forbidden(what=f"switching scenario {scenario.code}", who_may=WHO_MAY_SWITCH)


async def define(  # noqa: PLR0913 - one rule, all of it named
    conn: AsyncConnection[Any],
    *,
    code: str,
    name: str,
    rule: Rule,
    actor_id: UUID,
    now: datetime,
    request_id: str | None = None,
) -> UUID:
    """Write a rule for all organisations under `code`; its id. It is on nowhere by that alone.

    A rule that was there keeps its id, and what it has prompted about stays prompted. Raises
    `Forbidden`.
    """
    async with conn.transaction():
        role = await queries_access.widest_role(conn, actor_id, organisation_id=None)
        entry = AuditEntry(
            at=now,
            action="scenario.define",
            actor_id=actor_id,
            actor_role=audit.NO_ROLE,
            subject={"code": code},
            after={"outcome": "refused"},
            request_id=request_id,
        )
        if role is not None and role in OF_ALL:
            scenario_id, before = await queries_prompts.put_scenario(
                conn, code=code, name=name, rule=rule, now=now
            )
            after = {"name": name, "rule": rule.as_json()}
            await audit.record(conn, _done(entry, role, after, before))
            return scenario_id
        await audit.record(conn, entry)
    raise Forbidden(what=f"defining scenario {code}", who_may=WHO_MAY_DEFINE)


def _described(scenario: Scenario, language: str) -> Described:
    try:
        words: str | None = describe(Rule.of(scenario.rule), language)
    except InvalidRule:
        words = None
    return Described(
        scenario.id, scenario.code, scenario.name, words, scenario.enabled, scenario.enabled_at
    )


def _done(
    entry: AuditEntry,
    role: str,
    after: Mapping[str, Any],
    before: Mapping[str, Any] | None = None,
) -> AuditEntry:
    return replace(entry, actor_role=role, before=entry.before or before, after=after)


def _standing(scenario: Scenario, *, enabled: bool, since: datetime | None) -> Scenario:
    return replace(scenario, enabled=enabled, enabled_at=since)
