"""`outbox prompts`: rules in words, what they would do, who gets them, and a run by hand."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path  # noqa: TC003 - Typer reads the annotation
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import typer

from handlers.texts import Language
from outbox.cli import AsJson, out, print_json, settings
from outbox.errors import ConfigurationError
from sagas import queries_prompts, scenarios
from sagas.commands import Actor, application, instant_of
from sagas.commands_frame import organisation_called, told
from sagas.commands_jobs import run_command
from sagas.prompt_rules import KINDS, Activity, InvalidRule, Rule
from sagas.prompt_words import describe
from sagas.wiring import open_checked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sagas.queries_prompts import Scenario

prompt_commands = typer.Typer(no_args_is_help=True, help="Scenario prompts.")

Code = Annotated[str, typer.Argument(metavar="ORG", help="Code of the organisation, e.g. HLF.")]
ScenarioCode = Annotated[str, typer.Argument(metavar="SCENARIO", help="Code of the rule.")]
InLanguage = Annotated[Language, typer.Option("--language", help="Of the sentences.")]


@prompt_commands.command("run")
def run_prompts_command(
    context: typer.Context,
    as_of: Annotated[str | None, typer.Option("--as-of", help="Instant with zone.")] = None,
    as_json: AsJson = False,
) -> None:
    """Prompt about what is due, in all organisations; safe to run again."""
    run_command(context, "prompts", as_of, as_json)


@prompt_commands.command("list")
def list_command(
    organisation: Code, language: InLanguage = Language.NB, as_json: AsJson = False
) -> None:
    """Every rule in words, and whether it is on."""

    async def act() -> list[scenarios.Described]:
        async with organisation_called(organisation) as (conn, found):
            return await scenarios.listed(conn, found.id, language=language)

    found = asyncio.run(act())
    if as_json:
        print_json(found)
        return
    if not found:
        out().print("there are no rules; `outbox prompts define` makes one")
    for each in found:
        state = f"on since {each.enabled_at:%Y-%m-%d %H:%M}Z" if each.enabled else "off"
        out().print(f"{each.code} ({state}): {each.description or 'NOT VALID'}", markup=False)


@prompt_commands.command("preview")
def preview_command(  # noqa: PLR0913, PLR0917 - the options of one command
    context: typer.Context,
    rule: Annotated[
        Path | None, typer.Option("--rule", help="File with a rule as JSON; needs no database.")
    ] = None,
    scenario: Annotated[
        str | None, typer.Option("--scenario", help="Code of a stored rule instead.")
    ] = None,
    occurred_at: Annotated[
        str | None, typer.Option("--occurred-at", help="Instant of the test activity; else now.")
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", help="Kind of the test activity; else the rule's.")
    ] = None,
    flag: Annotated[
        list[str] | None, typer.Option("--flag", help="A flag of it; may be repeated.")
    ] = None,
    followed_up: Annotated[bool, typer.Option("--followed-up")] = False,
    mentor: Annotated[UUID | None, typer.Option("--mentor", help="Whose it would be.")] = None,
    timezone: Annotated[str, typer.Option("--timezone")] = "Europe/Oslo",
    language: InLanguage = Language.NB,
    as_json: AsJson = False,
) -> None:
    """Show what a rule would make of a test activity; writes nothing, sends nothing."""
    if (rule is None) == (scenario is None):
        raise ConfigurationError("give one of --rule FILE or --scenario CODE")
    now = application(context).clock.now()
    with told(InvalidRule):
        found = (
            Rule.of(_json_of(rule))
            if rule is not None
            else Rule.of(asyncio.run(_stored(scenario or "")))
        )
    activity = Activity(
        kind=kind or KINDS[found.anchor][0],
        occurred_at=instant_of(occurred_at) or now,
        flags=dict.fromkeys(flag or [], True),
        followed_up=followed_up,
    )
    shown = scenarios.preview(
        found, activity, now=now, zone=ZoneInfo(timezone), language=language, recipient_id=mentor
    )
    if as_json:
        print_json(shown.as_json())
        return
    for line in _lines(shown):
        out().print(line, markup=False)


@prompt_commands.command("enable")
def enable_command(
    context: typer.Context, organisation: Code, scenario: ScenarioCode, actor: Actor
) -> None:
    """Switch a rule on for an organisation; it looks at what happens from now on."""
    _switch(application(context).clock.now(), organisation, scenario, actor, enabled=True)


@prompt_commands.command("disable")
def disable_command(
    context: typer.Context, organisation: Code, scenario: ScenarioCode, actor: Actor
) -> None:
    """Switch a rule off for an organisation."""
    _switch(application(context).clock.now(), organisation, scenario, actor, enabled=False)


@prompt_commands.command("define")
def define_command(
    context: typer.Context,
    scenario: ScenarioCode,
    rule: Annotated[Path, typer.Option("--rule", help="File with the rule as JSON.")],
    name: Annotated[str, typer.Option("--name", help="What people call it.")],
    actor: Actor,
) -> None:
    """Write a rule for all organisations; it is on nowhere until somebody switches it on."""
    now = application(context).clock.now()

    async def act(found: Rule) -> UUID:
        async with open_checked(settings().required_database_url()) as conn:
            return await scenarios.define(
                conn, code=scenario, name=name, rule=found, actor_id=actor, now=now
            )

    with told(InvalidRule):
        found = Rule.of(_json_of(rule))
        scenario_id = asyncio.run(act(found))
    out().print(f"{scenario} ({scenario_id}): {describe(found, 'en')}", markup=False)


def _switch(now: datetime, code: str, scenario: str, actor: UUID, *, enabled: bool) -> None:
    async def act() -> Scenario:
        async with organisation_called(code) as (conn, organisation):
            found = await queries_prompts.list_scenarios(conn, organisation.id, code=scenario)
            await conn.commit()
            if not found:
                raise _no_scenario(scenario)
            return await scenarios.set_enabled(
                conn, organisation_id=organisation.id, scenario_id=found[0].id, enabled=enabled,
                actor_id=actor, now=now,
            )  # fmt: skip

    with told(InvalidRule):
        stands = asyncio.run(act())
    state = f"on since {stands.enabled_at:%Y-%m-%d %H:%M}Z" if stands.enabled else "off"
    out().print(f"{scenario} in {code}: {state}", markup=False)


def _no_scenario(code: str) -> ConfigurationError:
    return ConfigurationError(
        f"there is no scenario {code!r}; `outbox prompts list ORG` shows what there is"
    )


async def _stored(code: str) -> Any:
    async with open_checked(settings().required_database_url()) as conn:
        found = await queries_prompts.list_scenarios(conn, UUID(int=0), code=code)
    if not found:
        raise _no_scenario(code)
    return found[0].rule


def _json_of(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(f"{path} is no JSON") from error


def _lines(shown: scenarios.Preview) -> Iterator[str]:
    yield shown.description
    if shown.sends_on is None:
        yield "  would not be sent"
    else:
        days = f"due {shown.due_on}, at the latest {shown.last_on}"
        yield f"  would be sent on {shown.sends_on} ({days})"
        whom = shown.recipient_id or "the mentor of the activity"
        yield f"  to {whom}: {shown.title}: {shown.body}"
    for reason in shown.reasons:
        yield f"  {reason}"
