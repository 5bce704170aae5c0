"""The benchmark measures and tells: no figure is asserted, only that there are some."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import structlog

import bench.__main__ as program
from bench import goals, kept
from bench.environments import Environment, NotInstalled
from bench.figures import QUICK, Figure
from bench.ground import Ground
from bench.scenarios import draining, peers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Server

TINY = replace(
    QUICK, deliveries=1_000, transactions=20, rows_in_bulk=1_000, latency=((50, 0.4),),
    settle_seconds=1, published=20,
)  # fmt: skip


@pytest.fixture
def logs_as_before() -> Iterator[None]:
    """The benchmark silences the log; the tests after this one listen to it."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.mark.slow
@pytest.mark.usefixtures("logs_as_before")
def test_a_quick_run_is_one_document_with_ratios(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One effect stands for all here; drain and publishing are told beside their limits."""
    monkeypatch.setenv("DATABASE_URL", server.dsn)
    monkeypatch.setattr(program, "QUICK", TINY)
    monkeypatch.setattr(draining, "EFFECTS", ("idempotent",))
    before = kept.LATEST.read_bytes()

    code = program.main(["--quick", "--json", "drain", "publish"])

    document = json.loads(capsys.readouterr().out)
    assert code == 0
    assert set(document["scenarios"]) == {"drain", "publish"}
    assert set(document["ratios"]) == {
        "drain: ours idempotent / its limit",
        "publish: with a message / bare",
        "publish: with a message in its statement / bare",
        "publish: with a row of an indexed table / bare",
        "publish: with a select / bare",
    }
    assert all(value > 0 for value in document["ratios"].values())
    assert kept.LATEST.read_bytes() == before
    assert not list(_stopped(document))


async def test_a_peer_that_cannot_be_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a line in the results, not a failure."""

    def refuse(_: Environment) -> None:
        raise NotInstalled("no such package")

    monkeypatch.setattr(Environment, "make", refuse)
    monkeypatch.setattr("bench.scenarios.peers.OURS", {})

    figures = await peers.drain(Ground("", embedded=False), TINY, ["pgqueuer"])

    assert [(one.name, one.unit, one.terms["why"]) for one in figures] == [
        ("pgqueuer", "not installed", "no such package")
    ]


def test_a_goal_is_judged_from_what_is_kept() -> None:
    """Held, missed, and not measured are three different answers."""
    figures = [
        Figure("publish", "with a message / bare", "ratio", (1.2, 1.3, 1.1)),
        Figure("committers", "wake-ups on / off", "ratio", (0.5,)),
    ]
    found = {one.scenario: {"figures": [one.as_json()], "machine": {}} for one in figures}

    rows = dict(_row(line) for line in list(goals.table(found))[2:])

    assert rows["one message in a transaction that inserts one row"] == "yes"
    assert rows["eight committers, wake-ups on / off"] == "**no**"
    assert rows["100,000 keys against unordered"] == "-"


def test_a_run_leaves_the_other_scenarios_as_they_are(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "LATEST", tmp_path / "latest.json")
    kept.merge({"drain": {"figures": []}, "latency": {"figures": [], "runs": 1}})

    kept.merge({"latency": {"figures": [], "runs": 2}})

    assert kept.load() == {"drain": {"figures": []}, "latency": {"figures": [], "runs": 2}}


def _row(line: str) -> tuple[str, str]:
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    return cells[0], cells[-1]


def _stopped(document: dict[str, Any]) -> Iterator[str]:
    for scenario in document["scenarios"].values():
        for figure in scenario["figures"]:
            if "stopped_after" in figure["terms"]:
                yield figure["name"]
