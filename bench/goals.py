"""The figures that speed is judged by: what is to be reached, what was measured, whether it held.

Everything is computed from the kept results; a figure that was not measured is told as such.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.contenders import ALONE, PEERS, WAITING_ALONE
from bench.report import told
from bench.scenarios.draining import EFFECTS
from bench.scenarios.waiting import SHARES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Part:
    """One number of a goal: as told, and whether it is good enough (None: not measured)."""

    told: str
    held: bool | None


@dataclass(frozen=True, slots=True)
class Kept:
    """The kept scenarios, asked for medians by scenario and figure."""

    scenarios: Mapping[str, Any]

    def median(self, scenario: str, figure: str) -> float | None:
        """None where it was not measured."""
        for one in self.scenarios.get(scenario, {}).get("figures", ()):
            if one["name"] == figure and one["values"]:
                return float(one["median"])
        return None

    def term(self, scenario: str, figure: str, name: str) -> float | None:
        """A number that was told with a figure."""
        for one in self.scenarios.get(scenario, {}).get("figures", ()):
            if one["name"] == figure and name in one["terms"]:
                return float(one["terms"][name])
        return None

    def over(self, scenario: str, figure: str, other: str) -> float | None:
        """The ratio of two medians of one scenario."""
        mine, theirs = self.median(scenario, figure), self.median(scenario, other)
        return mine / theirs if mine is not None and theirs else None

    def matching(self, scenario: str, end: str) -> Iterator[tuple[str, float]]:
        """Figures of a scenario whose name ends so."""
        for one in self.scenarios.get(scenario, {}).get("figures", ()):
            if one["name"].endswith(end) and one["values"]:
                yield one["name"], float(one["median"])


@dataclass(frozen=True, slots=True)
class Goal:
    """One row of the table."""

    figure: str
    to_reach: str
    parts: Callable[[Kept], list[Part]]
    stops: Callable[[Kept], str] = lambda _: ""
    """What was measured that keeps it from its goal, where it does not hold."""


def table(scenarios: Mapping[str, Any]) -> Iterator[str]:
    """The goals as lines of Markdown."""
    yield "| figure | to reach | measured | held? |"
    yield "|---|---|---|---|"
    kept = Kept(scenarios)
    stopped = []
    for goal in GOALS:
        parts = goal.parts(kept)
        if all(part.held is None for part in parts):
            parts = [Part(_NOT_MEASURED, None)]
        words = "; ".join(part.told for part in parts)
        yield f"| {goal.figure} | {goal.to_reach} | {words} | {_verdict(parts)} |"
        if any(part.held is False for part in parts) and (why := goal.stops(kept)):
            stopped.append(f"- {goal.figure}: {why}")
    if stopped:
        yield ""
        yield "What keeps a figure from its goal, measured beside it:"
        yield ""
        yield from stopped


def _verdict(parts: list[Part]) -> str:
    if any(part.held is False for part in parts):
        return "**no**"
    return "-" if any(part.held is None for part in parts) else "yes"


def _at_least(value: float | None, bound: float, words: str = "{}") -> Part:
    if value is None:
        return Part(words.format("?"), None)
    return Part(words.format(told(value)), value >= bound)


def _at_most(value: float | None, bound: float, words: str = "{}") -> Part:
    if value is None:
        return Part(words.format("?"), None)
    return Part(words.format(told(value)), value <= bound)


def _drain_beside(effect: str, bounds: Mapping[str, float]) -> Callable[[Kept], list[Part]]:
    def parts(kept: Kept) -> list[Part]:
        mine = f"ours {effect}, drain"
        rate = kept.median("peers_drain", mine)
        found = [
            _at_least(kept.over("peers_drain", mine, f"{peer}, drain"), bound, f"{{}} x {peer}")
            for peer, bound in bounds.items()
        ]
        return [Part(f"{told(rate)}/s", None if rate is None else True), *found]

    return parts


def _share_of_limit(kept: Kept) -> list[Part]:
    return [
        _at_least(kept.median("drain", f"ours {effect} / its limit"), 0.6, f"{{}} {effect}")
        for effect in EFFECTS
    ]


def _publish_many(kept: Kept) -> list[Part]:
    ratio = kept.over("peers_drain", "ours database, bulk", "pgqueuer, bulk")
    return [
        _at_least(ratio, 1.0, "{} x pgqueuer"),
        _at_least(kept.median("publish_many", "publish_many / COPY"), 0.5, "{} of COPY"),
    ]


def _latency(kept: Kept) -> list[Part]:
    """Ours of either effect beside the best peer of the run, p50 and p99 at each rate."""
    parts = []
    for rate in (100, 500):
        for share in SHARES:
            end = f" at {rate}/s, {share}"
            theirs = {
                name.removesuffix(end): value
                for name, value in kept.matching("peers_latency", end)
                if name.removesuffix(end) in PEERS
            }
            for effect in ("database", "idempotent"):
                mine = kept.median("peers_latency", f"ours {effect}{end}")
                if mine is None or not theirs:
                    return []
                best = min(theirs, key=lambda name: theirs[name])
                words = f"{effect}{end}: {told(mine)}, best peer {told(theirs[best])} ({best})"
                parts.append(Part(words, mine <= theirs[best]))
    return parts


def _of_each(
    scenario: str, end: str, bound: float, *, most: bool = False
) -> Callable[[Kept], list[Part]]:
    def parts(kept: Kept) -> list[Part]:
        judge = _at_most if most else _at_least
        return [
            judge(
                value,
                bound,
                f"{{}} {name.removesuffix(end).removeprefix('ours ').strip(', :')}".rstrip(),
            )
            for name, value in kept.matching(scenario, end)
        ]

    return parts


def _hot_key(kept: Kept) -> list[Part]:
    rates = _of_each("keys", ", one hot key", 5_000)(kept)
    return rates + [
        _at_least(value, 0.9, f"{{}} {name}")
        for name, value in kept.matching("keys", "second / first half")
    ]


def _single(scenario: str, figure: str, bound: float, unit: str) -> Callable[[Kept], list[Part]]:
    def parts(kept: Kept) -> list[Part]:
        return [_at_most(kept.median(scenario, figure), bound, f"{{}}{unit}")]

    return parts


def _push_fast(kept: Kept) -> list[Part]:
    return [
        _at_least(kept.median("push", "ours at 0 ms, 100 in flight"), 1_500, "{}/s"),
        _at_least(kept.median("push", "ours / firebase-admin"), 3.0, "{} x firebase-admin"),
    ]


def _night(kept: Kept) -> list[Part]:
    return [
        _at_most(kept.median("nightly", "first run"), 30, "{} s"),
        _at_most(kept.median("nightly", "run again"), 5, "{} s"),
    ]


def _night_memory(kept: Kept) -> list[Part]:
    grown = kept.over("nightly", "peak memory", "peak memory, 10,000 certificates")
    return [
        Part(f"{told(kept.median('nightly', 'peak memory'))} MB", None if grown is None else True),
        _at_most(grown, 1.25, "{} x"),
    ]


def _share_stops(kept: Kept) -> str:
    alone = " and ".join(
        f"{told(kept.median('drain', f'{one.name} / its limit'))} ({one.name})"
        for one in ALONE.values()
    )
    spent = " and ".join(
        f"{told(kept.term('drain', f'ours {effect}', 'worker_cpu_seconds_per_10k'))} ({effect})"
        for effect in EFFECTS
    )
    return (
        f"psycopg, which takes and settles the same rows and neither decodes a message nor calls a "
        f"handler, reaches {alone} of SQL alone. Those two are what is left: one "
        f"process spends {spent} seconds of its one processor on 10,000."
    )


def _publish_stops(kept: Kept) -> str:
    select, row, joined = (
        told(kept.median("publish", f"with {name} / bare"))
        for name in ("a select", "a row of an indexed table", "a message in its statement")
    )
    return (
        f"a `select 1` in the transaction makes it {select} x as long, one row of a table with one "
        f"index {row} x; a publish that answers before the commit is such a statement and writes "
        "two rows with four index entries (DECISIONS.md has each part's share). Published by the "
        f"statement that inserts the row, without a round trip of its own, it is {joined} x."
    )


def _publish_many_stops(kept: Kept) -> str:
    share = told(kept.median("publish_many", "encoded before / COPY"))
    return (
        f"the server alone, given statements whose messages were encoded before, reaches {share} "
        "of COPY, which writes a page of rows at once and commits once; an insert writes each row, "
        "and each thousand is committed."
    )


def _latency_stops(kept: Kept) -> str:
    floors = " and ".join(
        f"{_waited(kept, one.name)} ms ({one.name.removeprefix('psycopg alone, ')})"
        for one in WAITING_ALONE.values()
    )
    return (
        f"psycopg alone, which hears a ring, leases one row and calls nobody, takes {floors}. What "
        "ours adds is a claim that also asks for retries, pauses, holds and notes and writes the "
        "lease, and the Python from the ring to the call (DECISIONS.md has each part's share)."
    )


def _waited(kept: Kept, name: str) -> str:
    return "; ".join(
        f"{told(kept.median('peers_latency', f'{name} at {rate}/s, {share}'))} at {rate}/s, {share}"
        for rate in (100, 500)
        for share in SHARES
    )


def _keys_stops(kept: Kept) -> str:
    keys, heads = (
        " and ".join(
            f"{told(value)} ({name.partition(',')[0]})"
            for name, value in kept.matching("keys", f", SQL alone: {which} over unordered")
        )
        for which in ("keys", "heads")
    )
    return (
        f"SQL alone that also writes and removes a lease of each key keeps {keys} of the unordered "
        f"rate, and {heads} where it then looks for the head of each key, which may have come "
        "after the key was chosen: those two statements are the guard of P5."
    )


GOALS = (
    Goal(
        "drain, DATABASE effect, one relay process",
        "≥ 3.0 x pgqueuer and ≥ 1.1 x graphile-worker",
        _drain_beside("database", {"pgqueuer": 3.0, "graphile-worker": 1.1}),
    ),
    Goal(
        "drain, IDEMPOTENT effect (leased, fenced, receipt)",
        "≥ 2.0 x pgqueuer",
        _drain_beside("idempotent", {"pgqueuer": 2.0}),
    ),
    Goal("share of SQL alone that writes the same rows", "≥ 0.60", _share_of_limit, _share_stops),
    Goal(
        "one message in a transaction that inserts one row",
        "≤ 1.25 x the bare transaction",
        _single("publish", "with a message / bare", 1.25, " x"),
        _publish_stops,
    ),
    Goal(
        "`publish_many`, one route",
        "≥ 1.0 x pgqueuer's bulk, ≥ 0.50 of COPY",
        _publish_many,
        _publish_many_stops,
    ),
    Goal(
        "eight committers, wake-ups on / off",
        "≥ 0.95",
        _of_each("committers", "wake-ups on / off", 0.95),
    ),
    Goal("latency, commit to handler start, ms", "not behind any peer", _latency, _latency_stops),
    Goal(
        "backlog of a million against 50,000",
        "≥ 0.9 of the rate",
        _of_each("backlog", ", large / small backlog", 0.9),
    ),
    Goal(
        "snapshot held: last 20,000 of 200,000 against the first",
        "≥ 0.9",
        _of_each("snapshot", ": last / first", 0.9),
    ),
    Goal("hot key of 100,000", "≥ 5,000/s; second half ≥ 0.9 of the first", _hot_key),
    Goal(
        "100,000 keys against unordered",
        "≥ 0.7",
        _of_each("keys", ", keys / unordered", 0.7),
        _keys_stops,
    ),
    Goal(
        "one destination beside three in trouble (429, hanging, paused)",
        "≥ 0.9 of its rate alone",
        _of_each("isolation", ", beside / alone", 0.9),
    ),
    Goal(
        "push at 300 ms, 200 recipients, ten in flight",
        "≤ 6.5 s",
        _single("push", "200 recipients at 300 ms", 6.5, " s"),
    ),
    Goal(
        "push at 0 ms, 100 in flight, one process",
        "≥ 1,500/s and ≥ 3 x firebase-admin's `send_each_async`",
        _push_fast,
    ),
    Goal("nightly, 100,000 certificates, first run and again", "≤ 30 s, ≤ 5 s", _night),
    Goal("nightly's peak memory, against a tenth of the certificates", "≤ 1.25 x", _night_memory),
    Goal(
        "relay's peak memory, a million waiting",
        "≤ 120 MB",
        _of_each("backlog", ", peak memory", 120, most=True),
    ),
)
