"""The two places whose coverage the source documents ask for, each measured by its own tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]


def branches_covered(tmp_path: Path, modules: Sequence[str], tests: Sequence[str]) -> float:
    """The share of the branches of `modules` that `tests` alone go through."""
    report = tmp_path / "coverage.json"
    ours = {
        name: value for name, value in os.environ.items() if not name.startswith(("COV_", "PYTEST"))
    }
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", *tests),
            f"--cov={modules[0].partition('/')[0]}",
            *("--cov-fail-under=0", f"--cov-report=json:{report}"),
        ],
        cwd=ROOT,
        env=ours | {"COVERAGE_FILE": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-2_000:]
    found = [json.loads(report.read_text())["files"][name]["summary"] for name in modules]
    covered, all_ = (
        sum(int(each[n]) for each in found) for n in ("covered_branches", "num_branches")
    )
    return covered / all_


@pytest.mark.slow
def test_t0_8_the_dispatch_loop_has_nine_branches_of_ten_covered(tmp_path: Path) -> None:
    """T0.8, PRF-5: by the push handler's own tests alone."""
    covered = branches_covered(
        tmp_path,
        ["handlers/fcm/handler.py", "handlers/fcm/combine.py", "handlers/dispatch.py"],
        [f"tests/handlers/fcm/test_push_{name}.py" for name in ("handler", "tables", "relay")],
    )

    assert covered >= 0.9


@pytest.mark.slow
def test_t2_7_the_orchestrators_core_has_nine_branches_of_ten_covered(tmp_path: Path) -> None:
    """T2.7, PRF-5: what fires, for whom, in which bundle; by the tests of reminders alone."""
    covered = branches_covered(
        tmp_path,
        [
            f"sagas/{name}.py"
            for name in ("tiers", "eligibility", "recipients", "grouping", "reminders", "notices")
        ],
        [
            f"tests/sagas/test_{name}.py"
            for name in ("tiers", "eligibility", "recipients", "grouping", "reminders")
        ],
    )

    assert covered >= 0.9
