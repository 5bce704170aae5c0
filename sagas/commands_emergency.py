"""`outbox break-glass`: the command for the day on which the configured credentials do not work."""

from __future__ import annotations

import asyncio
import json
import stat
import sys
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID  # noqa: TC003 - typer reads it

import typer
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError, field_validator
from rich.table import Table

from handlers.addresses import kept_private
from outbox.cli import AsJson, out, print_json, settings
from outbox.errors import AttemptError, ConfigurationError, CredentialsRejected
from sagas import break_glass
from sagas.break_glass import Person
from sagas.commands import Actor, Refused, application, refusals_told, side
from sagas.wiring import open_checked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagas.break_glass import BreakGlassReport
    from sagas.queries_emergency import Chosen
    from sagas.wiring import Application

STDIN: Final = Path("-")
_OTHERS_MAY: Final = stat.S_IRWXG | stat.S_IRWXO


class GivenCredentials(BaseModel):
    """What a credentials file may hold, as JSON; what it leaves out is taken from the settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str | None = None
    token_url: str | None = None
    client_id: str | None = None
    client_secret: SecretStr | None = None
    scope: str | None = None
    webhook_secrets: SecretStr | None = None

    @field_validator("base_url", "token_url")
    @classmethod
    def _nobody_reads_on_the_way(cls, value: str | None) -> str | None:
        return kept_private(value)

    def replacing(self) -> dict[str, str]:
        """Those that are given, by name."""
        found = {name: getattr(self, name) for name in type(self).model_fields}
        return {
            name: value.get_secret_value() if isinstance(value, SecretStr) else value
            for name, value in found.items()
            if value is not None
        }


def break_glass_command(  # noqa: PLR0913, PLR0917 - the options of one command
    context: typer.Context,
    actor: Actor,
    why: Annotated[str, typer.Option("--why", help="Kept in the audit log; name no people.")],
    mentor: Annotated[
        list[UUID] | None, typer.Option("--mentor", help="One mentor; may be repeated.")
    ] = None,
    everybody: Annotated[bool, typer.Option("--all", help="Every mentor.")] = False,
    organisation: Annotated[
        str | None, typer.Option("--organisation", help="Code; only mentors of this one.")
    ] = None,
    credentials: Annotated[
        Path | None,
        typer.Option("--credentials", help="File with credentials as JSON, or - for stdin."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say whom; send nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before sending.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send visibility to the portal by hand, with credentials given for this run only.

    They are asked for, or read from a file; never from the command line, and kept nowhere.
    """
    if bool(mentor) == everybody:
        raise ConfigurationError("give --mentor ID (once or more) or --all, and not both")
    app = application(context)
    person = Person(actor, why, app.clock.now())
    with refusals_told():
        chosen = asyncio.run(_choose(person, mentor or None, organisation))
    channel = _one_channel(chosen)
    if dry_run or not chosen:
        _print(break_glass.plan(chosen), as_json=as_json)
        return
    given = _asked(channel) if credentials is None else _read(credentials)
    if not yes:
        danger = sum(one.danger for one in chosen)
        question = f"Send {len(chosen)} mentors to the portal, {danger} of them in danger? [y/N]: "
        if _answer(question).lower() not in {"y", "yes"}:
            raise Refused("nothing was sent")
    report = asyncio.run(_send(app, person, chosen, channel, given))
    _print(report, as_json=as_json)
    if not report.ok:
        raise typer.Exit(1)


async def _choose(
    person: Person, mentors: list[UUID] | None, organisation: str | None
) -> list[Chosen]:
    async with open_checked(settings().required_database_url()) as conn:
        found = await break_glass.choose(conn, person, mentors=mentors, organisation=organisation)
    missing = set(mentors or ()) - {one.mentor_id for one in found}
    if missing:
        unknown = ", ".join(sorted(map(str, missing)))
        raise ConfigurationError(f"no mentor of an organisation with a portal has the id {unknown}")
    return found


async def _send(
    app: Application,
    person: Person,
    chosen: list[Chosen],
    channel: str,
    given: Mapping[str, str],
) -> BreakGlassReport:
    async with open_checked(settings().required_database_url()) as conn:
        try:
            async with app.by_hand.opened(channel, given) as hands:
                await _checked(hands)
                return await break_glass.send(conn, person, chosen, hands)
        except KeyError:
            raise ConfigurationError(
                f"no address is set for the channel {channel!r}; give base_url in the file"
            ) from None


async def _checked(hands: break_glass.Hands) -> None:
    """Nothing is sent with credentials that do not even pass the harmless call."""
    try:
        await hands.check()
    except CredentialsRejected as error:
        told = f"{error.reason}{f' ({error.hint})' if error.hint else ''}"
        raise Refused(f"the portal does not accept these credentials: {told}") from None
    except AttemptError as error:
        raise Refused(f"the portal cannot be asked now: {error.reason}") from None


def _one_channel(chosen: list[Chosen]) -> str:
    channels = sorted({one.channel for one in chosen})
    if len(channels) > 1:
        raise ConfigurationError(
            f"these mentors are on {len(channels)} portals ({', '.join(channels)}), and one set of "
            "credentials is for one of them; choose with --organisation CODE"
        )
    return channels[0] if channels else ""


def _asked(channel: str) -> dict[str, str]:
    """Ask a person; what is secret is not shown, and nothing but the terminal sees it."""
    if not sys.stdin.isatty():
        raise ConfigurationError("there is no terminal to ask at; give --credentials FILE, or -")
    asked = {
        "client_id": _answer("Client id (empty: as configured): "),
        "client_secret": getpass("Client secret (empty: as configured): "),
    }
    if channel == "webhook":
        question = "Signing secrets, whsec_..., comma-separated (empty: as configured): "
        asked["webhook_secrets"] = getpass(question)
    return {name: value for name, value in asked.items() if value}


def _answer(question: str) -> str:
    """One line from the terminal; stdout is the report's alone."""
    typer.echo(question, nl=False, err=True)
    return sys.stdin.readline().strip()


def _read(path: Path) -> dict[str, str]:
    """Read a credentials file. Raises `ConfigurationError`, which never quotes it."""
    try:
        if path == STDIN:
            text = typer.get_text_stream("stdin").read()
        else:
            mode = path.stat().st_mode
            if stat.S_ISREG(mode) and mode & _OTHERS_MAY:
                raise ConfigurationError(
                    f"{path} may be read by others than its owner; `chmod 600 {path}` first"
                )
            text = path.read_text(encoding="utf-8")
        return GivenCredentials.model_validate(json.loads(text)).replacing()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({type(error).__name__})") from None
    except ValidationError as error:
        wrong = ", ".join(map(_wrong, error.errors(include_input=False, include_url=False)))
        known = ", ".join(GivenCredentials.model_fields)
        raise ConfigurationError(
            f"{path} holds what is no credential ({wrong}); there are {known}"
        ) from None
    except ValueError:  # its text would quote the file
        raise ConfigurationError(f"{path} is no JSON object") from None


def _wrong(each: Mapping[str, Any]) -> str:
    place = ".".join(map(str, each["loc"]))
    return f"{place}: {each['ctx']['error']}" if each["type"] == "value_error" else place


def _print(report: BreakGlassReport, *, as_json: bool) -> None:
    if as_json:
        print_json(report.as_json())
        return
    table = Table("mentor", "organisation", "ours", "danger", "answer", "hint")
    for line in report.lines:
        table.add_row(
            str(line.mentor_id),
            line.organisation,
            side(line.version, line.visible),
            "DANGER" if line.danger else "",
            line.answer,
            line.hint or "",
        )
    if report.lines:
        out().print(table)
    totals: dict[str, Any] = report.totals
    counts = ", ".join(f"{count} {answer}" for answer, count in sorted(totals.items()))
    out().print(counts or "nobody to send")
