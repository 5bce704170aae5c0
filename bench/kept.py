"""What has been measured, scenario by scenario: `results/latest.json` and how runs join it."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.environments import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.figures import Figure, Scale

LATEST = Path(__file__).parent / "results" / "latest.json"


def scenario(
    figures: Sequence[Figure],
    facts: Mapping[str, Any],
    scale: Scale,
    *,
    words: str,
    seconds: float,
) -> dict[str, Any]:
    """One scenario as it is kept: its figures, and all that a reader needs to judge them."""
    return {
        "told": words,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "quick": scale.quick,
        "runs": scale.runs,
        "seconds": round(seconds),
        **facts,
        "figures": [figure.as_json() for figure in figures],
    }


def document(scenarios: Mapping[str, Any]) -> dict[str, Any]:
    """The scenarios, and on top the medians of all ratios by scenario and name."""
    return {"ratios": dict(_ratios(scenarios)), "scenarios": dict(scenarios)}


def load() -> dict[str, Any]:
    """The scenarios kept so far, by name."""
    if not LATEST.is_file():
        return {}
    found: dict[str, Any] = json.loads(LATEST.read_text("utf-8")).get("scenarios", {})
    return found


def merge(scenarios: Mapping[str, Any]) -> None:
    """Replace these scenarios and keep the others."""
    LATEST.parent.mkdir(exist_ok=True)
    text = json.dumps(document(load() | dict(scenarios)), indent=1)
    LATEST.write_text(text + "\n", encoding="utf-8")


def _ratios(scenarios: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, one in scenarios.items():
        for figure in one["figures"]:
            if figure["unit"] == "ratio" and figure["values"]:
                yield f"{name}: {figure['name']}", figure["median"]


def _commit() -> str:
    """The commit measured, with a `+` where files were changed since."""
    head = _git("rev-parse", "--short=12", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", "outbox", "sagas",
                   "handlers", "schema", "bench/peers", "bench/scenarios")  # fmt: skip
    return f"{head}+" if changed else head or "unknown"


def _git(*words: str) -> str:
    try:
        done = subprocess.run(
            ["git", *words],  # noqa: S607 - the git of whoever measures
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
