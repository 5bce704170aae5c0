"""`outbox demo` on a machine where nothing is set up."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.end_to_end.cli import ROOT, SCRIPT

pytestmark = pytest.mark.slow


def test_the_demo_holds_and_leaves_nothing_behind() -> None:
    """The whole story with a server of its own: every promise held, no process and no file left."""
    with tempfile.TemporaryDirectory(prefix="outbox-demo-") as folder:
        place = Path(folder)
        place.chmod(0o755)  # the server's account must reach its home in it
        bare = {"PATH": os.defpath, "LANG": "C.UTF-8", "TMPDIR": folder}
        command = [str(SCRIPT), "demo", "--json", "--mentors", "60"]
        ran = subprocess.run(command, cwd=ROOT, env=bare, capture_output=True, check=False)

        assert ran.returncode == 0, ran.stderr
        story = json.loads(ran.stdout)
        assert story["ok"] is True
        assert all(story["checks"].values())
        assert {"ok", "counts", "timeline"} <= set(story)
        assert len(story["timeline"]) > 10
        assert story["counts"]["told"]["inbox_rows"] > 0
        assert list(place.iterdir()) == []
        assert processes_about(folder) == []


def processes_about(word: str) -> list[str]:
    """Command lines that name `word`; empty where there is no /proc to read."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it ended while we looked
        if word in line:
            found.append(line)
    return found
