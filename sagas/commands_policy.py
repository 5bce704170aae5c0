"""`outbox policy`: what organisations run on, shown and changed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from handlers.texts import Audience  # noqa: TC001 - typer reads it
from outbox.cli import AsJson, out, print_json, settings
from outbox.errors import ConfigurationError
from sagas import policies, queries
from sagas.commands import Actor, application
from sagas.commands_frame import NO_ORGANISATION, one_called, organisation_called, told
from sagas.policy import Cadence, Grouping, InDoubt, InvalidPolicy
from sagas.wiring import open_checked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime


policy = typer.Typer(no_args_is_help=True, help="Thresholds and the like, per organisation.")

Code = Annotated[str, typer.Argument(metavar="ORG", help="Code of the organisation, e.g. HLF.")]
Why = Annotated[str | None, typer.Option("--why", help="Kept in the audit log.")]


@policy.command("show")
def show_command(
    context: typer.Context,
    organisation: Annotated[
        str | None, typer.Argument(metavar="[ORG]", help="Code; else all organisations.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what each audience runs on, and what the organisation itself has configured."""
    found = asyncio.run(_standings(application(context).clock.now(), organisation))
    if as_json:
        print_json({code: [one.as_json() for one in each] for code, each in found.items()})
        return
    if not found:
        out().print(NO_ORGANISATION)
    for code, each in found.items():
        for line in _lines(code, each):
            out().print(line, markup=False)


@policy.command("set")
def set_command(  # noqa: PLR0913, PLR0917 - the options of one command
    context: typer.Context,
    organisation: Code,
    audience: Annotated[Audience, typer.Argument(help="Whom the reminders are for.")],
    actor: Actor,
    thresholds: Annotated[
        str | None, typer.Option("--thresholds", help="Days before expiry, e.g. 60,30,7.")
    ] = None,
    lapsed: Annotated[
        bool | None, typer.Option("--lapsed/--no-lapsed", help="Tell of a lapse too.")
    ] = None,
    cadence: Annotated[Cadence | None, typer.Option("--cadence")] = None,
    per_run_date_tiers: Annotated[
        str | None, typer.Option("--per-run-date-tiers", help="Tiers told each night, e.g. 7.")
    ] = None,
    grouping: Annotated[Grouping | None, typer.Option("--grouping")] = None,
    in_doubt: Annotated[InDoubt | None, typer.Option("--in-doubt")] = None,
    lapsed_lookback_days: Annotated[int | None, typer.Option("--lapsed-lookback-days")] = None,
    guard_hours: Annotated[int | None, typer.Option("--guard-hours")] = None,
    as_json: AsJson = False,
) -> None:
    """Change settings of one audience; those not named stay. Checked, and audited."""
    given = {
        "thresholds": _numbers(thresholds),
        "lapsed": lapsed,
        "cadence": cadence,
        "per_run_date_tiers": _labels(per_run_date_tiers),
        "grouping": grouping,
        "in_doubt": in_doubt,
        "lapsed_lookback_days": lapsed_lookback_days,
        "guard_hours": guard_hours,
    }
    values = {name: value for name, value in given.items() if value is not None}
    if not values:
        raise ConfigurationError("give at least one setting, e.g. --thresholds 60,30,7")
    now = application(context).clock.now()

    async def act() -> policies.PolicyChange:
        async with organisation_called(organisation) as (conn, found):
            return await policies.set_policy(
                conn, organisation_id=found.id, audience=audience, values=values,
                actor_id=actor, now=now,
            )  # fmt: skip

    with told(InvalidPolicy):
        change = asyncio.run(act())
    if as_json:
        print_json(
            {
                "before": None if change.before is None else dict(change.before),
                "after": change.after.as_json(),
                "overrides": change.overrides,
            }
        )
        return
    out().print(f"{organisation} {audience.value}: {_words(change.after.as_json())}", markup=False)
    if not change.overrides:
        out().print(
            f"not in force: run `outbox policy enable {organisation} --actor USER` to let it be"
        )


@policy.command("enable")
def enable_command(
    context: typer.Context, organisation: Code, actor: Actor, why: Why = None
) -> None:
    """Let an organisation's own policies take effect; until then the defaults apply."""
    _switch(application(context).clock.now(), organisation, actor, why, enabled=True)


@policy.command("disable")
def disable_command(
    context: typer.Context, organisation: Code, actor: Actor, why: Why = None
) -> None:
    """Let the defaults apply again; what is configured is kept."""
    _switch(application(context).clock.now(), organisation, actor, why, enabled=False)


def _switch(now: datetime, code: str, actor: Any, why: str | None, *, enabled: bool) -> None:
    async def act() -> bool:
        async with organisation_called(code) as (conn, found):
            return await policies.set_overrides(
                conn, organisation_id=found.id, enabled=enabled, actor_id=actor, now=now, reason=why
            )

    with told(InvalidPolicy):
        changed = asyncio.run(act())
    state = "in force" if enabled else "not in force, the defaults apply"
    out().print(f"own policies of {code}: {state}{'' if changed else ' (as before)'}")


async def _standings(now: datetime, code: str | None) -> dict[str, list[policies.Standing]]:
    async with open_checked(settings().required_database_url()) as conn:
        if code is None:
            organisations = await queries.list_organisations(conn)
        else:
            organisations = [await one_called(conn, code)]
        return {
            one.code: [*(await policies.standings(conn, one.id, now=now)).values()]
            for one in organisations
        }


def _lines(code: str, each: list[policies.Standing]) -> Iterator[str]:
    for one in each:
        yield f"{code} {one.audience.value}: {_words(one.in_force.as_json())}"
        if one.refused is not None:
            yield f"  own policy NOT VALID ({one.refused.rule}); the defaults apply"
        elif one.own is not None and not one.overrides:
            yield f"  own policy, not in force: {_words(one.own)}"
        elif one.own is None:
            yield "  the defaults; nothing of its own"


def _words(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_word(value)}" for name, value in values.items())


def _word(value: Any) -> str:
    if isinstance(value, list):
        return "/".join(map(str, value)) or "none"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(each) for each in text.split(",")]
    except ValueError:
        raise ConfigurationError(
            f"--thresholds {text!r} is no list of days; write it like 60,30,7"
        ) from None


def _labels(text: str | None) -> list[str] | None:
    return None if text is None else [each.strip() for each in text.split(",") if each.strip()]
