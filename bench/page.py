"""`RESULTS.md` and its plots, made from the kept results and from nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import goals
from bench.plots import Bar, bars
from bench.report import told

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PAGE = Path(__file__).parent / "RESULTS.md"
PLOTS = Path(__file__).parent / "results"
OPEN = (
    "Inline handlers beside dramatiq on RabbitMQ and Redis: the transport does not exist yet.",
    "Peers that need another toolchain (River, Oban for Elixir) are not measured.",
)
_PLOTS = (
    ("drain", "peers_drain", ", drain", "No-op jobs drained, one worker process"),
    ("bulk", "peers_drain", ", bulk", "Published in bulk"),
    ("one", "peers_publish", ", one per transaction", "Published one per transaction"),
    ("latency-100-p50", "peers_latency", " at 100/s, p50", "Commit to handler at 100/s, median"),
    (
        "latency-100-p99",
        "peers_latency",
        " at 100/s, p99",
        "Commit to handler at 100/s, 99th percentile",
    ),
    ("limits", "drain", "", "Ours beside SQL alone"),
)
_PER_FIGURE = ("why", "settings", "versions", "stopped_after")


def write(scenarios: Mapping[str, Any]) -> None:
    """Write the plots and the page again."""
    plots = dict(_plots(scenarios))
    for stale in PLOTS.glob("*.svg"):
        stale.unlink()
    for name, text in plots.items():
        (PLOTS / f"{name}.svg").write_text(text, "utf-8")
    PAGE.write_text("\n".join(markdown(scenarios, list(plots))) + "\n", "utf-8")


def markdown(scenarios: Mapping[str, Any], plots: Sequence[str]) -> Iterator[str]:
    """The page, line by line."""
    yield "# Results"
    yield ""
    yield "Written by `./run bench` from `results/latest.json`; not edited by hand. Compare ratios,"
    yield "not absolute figures, with another machine's."
    yield ""
    yield from goals.table(scenarios)
    yield ""
    for name in plots:
        yield f"![{name}](results/{name}.svg)"
        yield ""
    yield "## Where it was measured"
    yield ""
    yield from _grounds(scenarios)
    for name, one in scenarios.items():
        yield from _scenario(name, one)
    yield "## Open"
    yield ""
    for text in OPEN:
        yield f"- {text}"


def _grounds(scenarios: Mapping[str, Any]) -> Iterator[str]:
    """Each machine and server once, with the scenarios measured there."""
    places: dict[str, list[str]] = {}
    for name, one in scenarios.items():
        facts = {"machine": {**one["machine"], "load_before": None}}
        facts |= {word: one[word] for word in ("versions", "server")}
        places.setdefault(json.dumps(facts), []).append(name)
    for text, names in places.items():
        facts = json.loads(text)
        machine, server = facts["machine"], dict(facts["server"])
        whose = "embedded server" if server.pop("embedded") else "server of DATABASE_URL"
        version = server.pop("server_version")
        settings = ", ".join(f"{name} {value}" for name, value in server.items())
        versions = ", ".join(f"{name} {value}" for name, value in facts["versions"].items())
        yield f"{', '.join(names)}:"
        yield ""
        yield (
            f"- {machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
            f"{machine['system']} {machine['architecture']}; server and clients share it"
        )
        yield f"- PostgreSQL {version} ({whose}): {settings}"
        yield f"- {versions}"
        yield ""


def _scenario(name: str, one: Mapping[str, Any]) -> Iterator[str]:
    yield f"## {name}"
    yield ""
    yield one["told"]
    yield ""
    yield (
        f"{one['measured_at']}, commit {one['commit']}, {one['runs']} runs, load "
        f"{one['machine']['load_before']} before."
    )
    yield ""
    yield "| figure | median | lowest | highest | unit |"
    yield "|---|--:|--:|--:|---|"
    for figure in one["figures"]:
        values = [told(figure[word]) for word in ("median", "lowest", "highest")]
        yield f"| {figure['name']} | {' | '.join(values)} | {figure['unit']} |"
    yield ""
    yield from _notes(one["figures"])


def _notes(figures: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What was measured, once for all figures; what is true of one figure only, by its name."""
    shared = dict(figures[0]["terms"]) if figures else {}
    for one in figures:
        shared = {name: value for name, value in shared.items() if one["terms"].get(name) == value}
    words = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in shared.items())
    if words:
        yield f"Measured: {words}."
        yield ""
    notes = []
    for one in figures:
        own = {name: one["terms"][name] for name in _PER_FIGURE if name in one["terms"]}
        if own and not set(own) <= set(shared) and one["unit"] != "ratio":
            notes.append(f"- {one['name']}: " + "; ".join(_note(*item) for item in own.items()))
    yield from [*notes, ""] if notes else []


def _note(name: str, value: Any) -> str:
    match name:
        case "versions":
            return ", ".join(f"{package} {version}" for package, version in value.items())
        case "stopped_after":
            return f"stopped, after {value:,} handler starts"
        case _:
            return str(value).replace("\n", " ")


def _plots(scenarios: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, scenario, end, title in _PLOTS:
        found = [
            figure
            for figure in scenarios.get(scenario, {}).get("figures", ())
            if figure["values"] and figure["unit"] != "ratio" and figure["name"].endswith(end)
        ]
        if found:
            rows = [_bar(figure, end) for figure in found]
            falling = not found[0]["unit"].startswith("ms")
            rows.sort(key=lambda row: row.value, reverse=falling)
            yield name, bars(title, found[0]["unit"], rows)


def _bar(figure: Mapping[str, Any], end: str) -> Bar:
    label = figure["name"].removesuffix(end) if end else figure["name"]
    kind = "ours" if label.startswith("ours") else "theirs"
    if label.startswith("SQL alone"):
        kind = "limit"
    return Bar(label, figure["median"], figure["lowest"], figure["highest"], kind)
