"""The runbooks name commands that exist, texts that people really see, and figures that hold."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import typer

from handlers.alerts import KINDS
from handlers.settings import ApplicationSettings
from handlers.texts import Audience, Language, say
from handlers.texts.sentences import sentences
from outbox.cli.frame import engine
from sagas.app import build_app
from sagas.coordinator import CLICKS_WITHIN
from sagas.policy import DEFAULTS
from sagas.verdicts import EXPECTED_SYNC_LAG
from sagas.visibility import CONFIRM_AFTER, ESCALATE_AFTER
from tests.tidy.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGES = {path.name: path for path in sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])}
COORDINATORS = {"koordinator.md": Language.NB, "coordinator.md": Language.EN}
CODE = re.compile(r"```.*?\n(.*?)```|`([^`\n]+)`", re.DOTALL)
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def page(name: str) -> str:
    return PAGES[name].read_text(encoding="utf-8")


def shown(path: Path) -> Iterator[str]:
    """Every command line of a page that begins with `outbox`."""
    for block, inline in CODE.findall(path.read_text(encoding="utf-8")):
        for line in (block or inline).splitlines():
            command = line.strip().removeprefix("$ ")
            if re.match(r"outbox [a-z-]", command):
                yield re.split(r"\s+(?:[>#]|\|\s|&&)", command.replace("\\|", "|"))[0]


def known() -> dict[str, Any]:
    """The engine's commands and the application's, by name."""
    commands = build_app(ApplicationSettings()).commands
    assert commands is not None
    ours: Any = typer.main.get_command(commands)
    engines: Any = typer.main.get_command(engine)
    return {**engines.commands, **ours.commands}


def strangers(line: str, found: dict[str, Any]) -> list[str]:
    """The words of a command line that no command knows."""
    words = re.sub(r"^outbox --app \S+ ", "outbox ", line).split()[1:]
    level, chosen = found, []
    for word in words:
        names = word.split("|")
        if not level or not re.fullmatch(r"[a-z-]+(\|[a-z-]+)*", word):
            break
        if not all(name in level for name in names):
            return [word]
        chosen = [level[name] for name in names]
        level = getattr(chosen[0], "commands", {})
    options = {name for each in chosen for parameter in each.params for name in parameter.opts}
    return [option for option in OPTION.findall(line) if option not in options | {"--app"}]


@pytest.mark.parametrize("name", PAGES)
def test_every_command_shown_exists_with_its_options(name: str) -> None:
    """DOC-1 to DOC-4: nobody should find out at night that a command is called otherwise."""
    found = known()
    wrong = {
        line: unknown
        for line in shown(PAGES[name])
        if not line.startswith("outbox --app examples") and (unknown := strangers(line, found))
    }

    assert not wrong


@pytest.mark.parametrize("line", ["outbox migrat", "outbox dead lst", "outbox relay --fast"])
def test_the_check_for_commands_can_fail(line: str) -> None:
    assert strangers(line, known())


@pytest.mark.parametrize(("name", "quotes"), [("koordinator.md", "«»"), ("coordinator.md", "“”")])
def test_what_coordinators_are_shown_is_what_they_will_read(name: str, quotes: str) -> None:
    """DOC-1: each quotation is a sentence of the catalogue, in the page's language."""
    quoted = re.findall(f"{quotes[0]}([^{quotes[1]}]+){quotes[1]}", page(name))
    language = COORDINATORS[name]
    said = {text for each in sentences(language).values() for text in each.specimens(language)}

    assert len(quoted) > 8
    assert [text for text in quoted if text not in said] == []
    assert say("alert-dynamics-sync-pending", language) in quoted


@pytest.mark.parametrize("name", COORDINATORS)
def test_coordinators_read_no_words_of_the_code(name: str) -> None:
    """DOC-1: no command, no identifier, no JSON."""
    text = re.sub(r"\[[^\]]+\]\(\w+\.md\)", "", page(name))

    assert not re.findall(r"`|\w_\w|[{}]|\boutbox\b|(?i:\b(?:json|uuid|api|token|payload)\b)", text)


@pytest.mark.parametrize("name", COORDINATORS)
def test_the_figures_coordinators_are_told_are_those_of_the_code(name: str) -> None:
    """DOC-1, SYN-15: tiers, the expected lag, and when an alert grows."""
    text = page(name)
    tiers = [DEFAULTS[audience].thresholds for audience in (Audience.COORDINATOR, Audience.MENTOR)]
    listed = [re.sub(r"\D+", " ", line).split() for line in text.splitlines() if "30, 14" in line]

    assert listed == [[str(days) for days in (*tiers[0], *tiers[1])]]
    assert CONFIRM_AFTER == CLICKS_WITHIN
    assert CONFIRM_AFTER.total_seconds() == 60
    assert re.search(rf"\b{EXPECTED_SYNC_LAG.total_seconds() / 60:.0f} minut", text)
    assert re.search(r"\b60 minut", text)
    assert ESCALATE_AFTER.days == 1
    assert re.search("stått i et døgn|After a day it becomes critical", text)


def test_every_alert_has_its_text_and_what_to_do() -> None:
    """ALR-4: the operator's page knows each type, in the words of the dashboard."""
    text = page("alerts.md")
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", text, re.MULTILINE))
    sections = re.findall(r"^## (\w+(?:, \w+)*)$", text, re.MULTILINE)

    assert rows == {type_: kind.text("en") for type_, kind in KINDS.items()}
    assert {name for title in sections for name in title.split(", ")} >= set(KINDS)


LOOKED_INTO = re.compile(r'\blog\.(?:warning|error|exception)\((?:\s*#[^\n]*)?\s*"([\w.]+)"')


def test_every_event_that_wants_a_look_is_explained() -> None:
    """LOG-1: whoever finds a warning or an error in the log finds it on the operator's page."""
    table = page("operations.md").partition("## Log events")[2]
    events = " ".join(re.findall(r"^\|([^|]+)\|", table, re.MULTILINE))
    explained = set(re.findall(r"`([\w.]+)`", events))
    said = {
        event
        for room in ("outbox", "handlers", "sagas")
        for path in (ROOT / room).rglob("*.py")
        if not {"testing", "emulators"} & {*path.parts}
        for event in LOOKED_INTO.findall(path.read_text(encoding="utf-8"))
    }

    assert len(said) > 40
    assert said - explained == set()


def test_what_is_not_done_is_written_down() -> None:
    """DOC-3, CFG-4: grace periods and rules for further types above all."""
    text = page("out-of-scope.md")

    assert "**Grace periods**" in text
    assert "**Rules of their own for further certificate types**" in text


def test_a_change_of_policies_has_two_readers() -> None:
    """VIS-10: a matter of process, so the page of roll-out says it."""
    assert "Two persons read a change of policies (row-level security)" in page("rollout.md")


def test_rotation_has_steps_and_an_agreement() -> None:
    """DOC-2, CRD-3: new in, proved, old out; and who tells whom."""
    text = page("credentials.md")

    assert "**New one in, proved, old one out.**" in text
    for word in ("Notice", "Overlap", "Transport", "End dates", "Contacts", "Incident"):
        assert f"- **{word}.**" in text


def test_who_takes_a_release_back_does_not_do_it_alone_or_twice() -> None:
    """MIG-5, DOC-4: rollback and hotfix are led by one person, and the app's team comes first."""
    text = page("rollout.md")

    assert "One person leads; rollback and hotfix never run at the same time" in text
    assert "App first: does its hotfix need a column of ours?" in text
