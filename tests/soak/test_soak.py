"""A short soak without faults: the program works, and what it asks for holds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_eight_relays_keep_every_promise() -> None:
    """No lease is lost and no deadlock happens where nothing is hurt."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak", "--seconds", "3", "--seed", "3", "--calm"],
        cwd=ROOT, check=False, capture_output=True, text=True,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert "every promise held" in done.stdout
