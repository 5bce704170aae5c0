"""Scenario prompts: what is due is claimed and told, once per mentor, rule and activity (SCN-1).

A claim, its group and its message are one transaction, so an overlapping run finds the history and
sends nothing (DED-9, SCN-6). Inbox and push go the way of every notification, and the push handler
writes each prompt's outcome with its own settlement (SCN-4): a push that fails is kept as failed, a
save that fails is repeated without the push, and neither stops the others (SCN-3).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import structlog
from psycopg import DatabaseError

from handlers.commands import NotificationRequested
from outbox import Publication, apublish_many
from sagas import notices, queries_prompts
from sagas.prompt_rules import Activity, InvalidRule, Rule, judge, reach
from sagas.queries_prompts import DuePrompt
from sagas.reminders import PERMANENT
from sagas.results import DispatchSummary

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from zoneinfo import ZoneInfo

    from psycopg import AsyncConnection

    from sagas.queries_prompts import Candidate, EnabledScenario
    from sagas.run import Organisation, RunContext

log = structlog.get_logger("sagas")

JOB: Final = "prompts"
CLAIMED, DISPATCHED, FAILED = "claimed", "dispatched", "failed"
"""Words of `prompt_history.status`."""

PER_MENTOR_MAX: Final = 100
_BEFORE_ALL: Final = (UUID(int=0), UUID(int=0))


@dataclass(frozen=True, slots=True)
class Found:
    """What one look came to: due (mentor, activity) pairs, and what was done about them.

    `skipped` were prompted for before; `refused` could not be claimed; `unusable` are rules whose
    form nobody understands, by code.
    """

    due: int = 0
    claimed: int = 0
    retried: int = 0
    skipped: int = 0
    refused: int = 0
    unusable: tuple[str, ...] = ()

    def __add__(self, other: Found) -> Found:
        """Sum both, field by field."""
        mine, theirs = asdict(self), asdict(other)
        return Found(**{name: mine[name] + theirs[name] for name in mine})


@dataclass(frozen=True, slots=True)
class PromptsResult:
    """One run: how its prompts ended (SCN-5), and what it found before.

    `waiting` are told and not settled: a push that waits for its next attempt, or whose outcome
    could not be written yet.
    """

    summary: DispatchSummary
    found: Found
    waiting: int

    def as_json(self) -> dict[str, Any]:
        """The result by name; the summary under the names clients know."""
        return {
            **self.summary.as_json(),
            **asdict(self.found),
            "unusable": list(self.found.unusable),
            "waiting": self.waiting,
        }


def result_of(found: Found, outcomes: Mapping[str, int]) -> PromptsResult:
    """The counts of a run from what it found and how its prompts stand in the history.

    (dispatched, failed, skipped): skipped were prompted for before, had no device, or were no
    longer true when the push was to leave.
    """
    summary = DispatchSummary(
        success_count=outcomes.get(DISPATCHED, 0),
        failure_count=outcomes.get(FAILED, 0) + found.refused,
        skipped_count=outcomes.get("skipped", 0) + found.skipped,
    )
    return PromptsResult(summary, found, outcomes.get(CLAIMED, 0))


async def claim_due(
    conn: AsyncConnection[Any], organisation: Organisation, run: RunContext
) -> Found:
    """Claim what is due in one organisation and ask for each prompt, in the caller's transaction.

    Repeating it claims nothing. A rule that has no valid form is logged and left out. Raises only
    when the transaction itself is lost.
    """
    found = Found()
    for scenario in await queries_prompts.enabled_scenarios(conn, organisation.id):
        try:
            rule = Rule.of(scenario.rule)
        except InvalidRule as refused:
            log.error(  # noqa: TRY400 - the places of the faults say all
                "scenario.refused",
                organisation=organisation.code,
                scenario=scenario.code,
                problems=refused.problems,
            )
            found += Found(unusable=(scenario.code,))
            continue
        look = _Look(conn, organisation, scenario, rule, run)
        async for page in look.pages():
            found += await look.take(page)
    log.info(
        "prompts.claimed",
        run_id=str(run.run_id),
        organisation=organisation.code,
        **asdict(found),
    )
    return found


async def claim_for_mentor(
    conn: AsyncConnection[Any],
    organisation: Organisation,
    scenario_id: UUID,
    mentor_id: UUID,
    run: RunContext,
) -> Found | None:
    """What `claim_due` does, for one rule and one mentor; None if the rule is not on, or not valid.

    At most `PER_MENTOR_MAX` of his activities are looked at.
    """
    for scenario in await queries_prompts.enabled_scenarios(conn, organisation.id):
        if scenario.id != scenario_id:
            continue
        try:
            rule = Rule.of(scenario.rule)
        except InvalidRule:
            return None
        page = await queries_prompts.due_activities(
            conn, organisation.id, scenario.id, rule,
            between=reach(rule, now=run.now, zone=organisation.zone),
            after=(mentor_id, _BEFORE_ALL[1]),
            run=replace(run, page_size=PER_MENTOR_MAX),
        )  # fmt: skip
        look = _Look(conn, organisation, scenario, rule, run)
        return await look.take([each for each in page if each.mentor_id == mentor_id])
    return None


@dataclass(frozen=True, slots=True)
class _Look:
    """One rule of one organisation on one run."""

    conn: AsyncConnection[Any]
    organisation: Organisation
    scenario: EnabledScenario
    rule: Rule
    run: RunContext

    async def pages(self) -> AsyncIterator[Sequence[Candidate]]:
        """The activities in reach, page by page."""
        between, after = reach(self.rule, now=self.run.now, zone=self._zone), _BEFORE_ALL
        while True:
            page = await queries_prompts.due_activities(
                self.conn, self.organisation.id, self.scenario.id, self.rule,
                between=between, after=after, run=self.run,
            )  # fmt: skip
            if page:
                yield page
            if len(page) < self.run.page_size:
                return
            after = (page[-1].mentor_id, page[-1].activity_id)

    async def take(self, page: Sequence[Candidate]) -> Found:
        """Judge one page; claim what is new, try again what failed, leave what was told."""
        fresh: list[DuePrompt] = []
        before: list[Candidate] = []
        for each in page:
            judged = judge(
                self.rule,
                activity_of(each),
                now=self.run.now,
                zone=self._zone,
                enabled_at=self.scenario.enabled_at,
            )
            if judged.fires and each.prompt_id is None:
                fresh.append(DuePrompt(each.mentor_id, each.activity_id, judged.due_on))
            elif judged.fires:
                before.append(each)
        claimed, refused = await self._claim(fresh)
        again = await self._again(before)
        return Found(
            due=len(fresh) + len(before),
            claimed=claimed,
            retried=again,
            skipped=len(fresh) - claimed - refused + len(before) - again,
            refused=refused,
        )

    async def _claim(self, fresh: Sequence[DuePrompt]) -> tuple[int, int]:
        """Claim in bulk, one by one where the bulk fails; how many are ours, and were refused."""
        if not fresh:
            return 0, 0
        try:
            async with self.conn.transaction():
                return await self._claim_these(fresh), 0
        except DatabaseError as error:
            notices.raise_if_lost(error)
        claimed = refused = 0
        for each in fresh:
            try:
                async with self.conn.transaction():
                    claimed += await self._claim_these([each])
            except DatabaseError as error:
                notices.raise_if_lost(error)
                refused += 1
                log.error(  # noqa: TRY400 - a foreign text may quote values
                    "prompt.record_failed",
                    run_id=str(self.run.run_id),
                    mentor_id=str(each.mentor_id),
                    scenario=self.scenario.code,
                    sqlstate=error.sqlstate,
                )
        return claimed, refused

    async def _claim_these(self, due: Sequence[DuePrompt]) -> int:
        groups = await queries_prompts.claim_prompts(
            self.conn, self.organisation.id, self.scenario.id, due, run=self.run
        )
        asked = [Publication(message=NotificationRequested(group_id=group)) for group in groups]
        await apublish_many(self.conn, asked)
        return len(groups)

    async def _again(self, before: Sequence[Candidate]) -> int:
        """Ask for the push of failed prompts once more; their inbox rows exist (SCN-12)."""
        failed = [
            each.prompt_id
            for each in before
            if each.prompt_id is not None and each.prompt_status == FAILED
        ]
        if not failed:
            return 0
        groups = await queries_prompts.retry_prompts(
            self.conn, failed, permanent=PERMANENT, run=self.run
        )
        await notices.send_again(self.conn, groups)
        return len(groups)

    @property
    def _zone(self) -> ZoneInfo:
        return self.organisation.zone


def activity_of(found: Candidate) -> Activity:
    """The facts a rule is judged by."""
    return Activity(
        kind=found.kind,
        occurred_at=found.occurred_at,
        flags=found.flags,
        followed_up=found.followed_up,
        overtaken=found.overtaken,
        mentor_status=found.mentor_status,
    )
