"""`outbox policy` in processes of its own: what it says, how it ends, what it leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from tests.end_to_end.cli import Terminal
from tests.sagas.world import World

if TYPE_CHECKING:
    from pathlib import Path

BARE = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}


async def test_policies_from_the_command_line(database: str, tmp_path: Path) -> None:
    """CFG-1, CFG-3, CFG-5: shown, changed, let take effect; what is wrong ends in 2."""
    async with World.on(database) as world:
        organisation = await world.organisation("HLF")
        admin = await world.coordinator(organisation, role="org_admin")
        desk = Terminal(tmp_path, {**BARE, "DATABASE_URL": database})

        plain = await desk.run("policy", "show")
        set_ = await desk.run(
            "policy", "set", "HLF", "coordinator", "--thresholds", "60,30,14,7",
            "--per-run-date-tiers", "7,lapsed", "--actor", admin,
        )  # fmt: skip
        waiting = await desk.run("policy", "show", "HLF")
        enabled = await desk.run("policy", "enable", "HLF", "--actor", admin, "--why", "pilot")
        shown = await desk.run("policy", "show", "HLF", "--json")

        assert plain.code == set_.code == waiting.code == enabled.code == 0
        assert plain.out.startswith("HLF mentor: thresholds 60/30/7, lapsed yes, cadence once")
        assert "not in force: run `outbox policy enable HLF --actor USER`" in set_.out
        assert "own policy, not in force: thresholds 60/30/14/7" in waiting.out
        assert enabled.out == "own policies of HLF: in force\n"
        mentor, coordinator = shown.document()["HLF"]
        assert mentor["own"] is None
        assert coordinator["in_force"] == coordinator["own"]
        assert coordinator["in_force"]["thresholds"] == [60, 30, 14, 7]
        assert coordinator["in_force"]["per_run_date_tiers"] == ["7", "lapsed"]

        wrong = await desk.run(
            "policy", "set", "HLF", "mentor", "--thresholds", "7,30", "--actor", admin
        )
        words = await desk.run(
            "policy", "set", "HLF", "mentor", "--thresholds", "often", "--actor", admin
        )
        nothing = await desk.run("policy", "set", "HLF", "mentor", "--actor", admin)
        nowhere = await desk.run("policy", "show", "XYZ")
        stranger = await desk.run("policy", "disable", "HLF", "--actor", uuid4())

        assert (wrong.code, wrong.complaint()) == (
            2, "policy refused: thresholds strictly descend; given (7, 30)"
        )  # fmt: skip
        assert (words.code, words.complaint()[:36]) == (2, "--thresholds 'often' is no list of d")
        assert (nothing.code, "at least one setting" in nothing.complaint()) == (2, True)
        assert (nowhere.code, nowhere.complaint()) == (
            2,
            "no organisation has the code 'XYZ'; there are HLF",
        )
        assert (stranger.code, "not allowed" in stranger.complaint()) == (1, True)
        assert await world.value("select enabled from feature_flags")

        disabled = await desk.run("policy", "disable", "HLF", "--actor", admin)
        assert disabled.out == "own policies of HLF: not in force, the defaults apply\n"
