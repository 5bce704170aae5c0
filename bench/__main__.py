"""Measure what is asked for, show it, keep it, and write the page from all that is kept."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from bench import kept, page, report
from bench.contenders import PEERS
from bench.figures import FULL, QUICK
from bench.ground import Ground, server
from bench.scenarios import (
    draining,
    isolation,
    night,
    peers,
    publishing,
    pushing,
    sagas,
    transports,
    waiting,
)
from outbox.logs import configure_logs

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from bench.figures import Figure, Scale

    Scenario = Callable[[Ground, Scale], Coroutine[Any, Any, list[Figure]]]

SCENARIOS: dict[str, Scenario] = {
    "drain": draining.drain,
    "publish": publishing.publish,
    "publish_many": publishing.publish_in_bulk,
    "latency": waiting.latency,
    "committers": publishing.committers,
    "shapes": draining.shapes,
    "keys": draining.keys,
    "isolation": isolation.isolation,
    "sagas": sagas.sagas,
    "snapshot": draining.snapshot,
    "backlog": draining.backlog,
    "transports": transports.transports,
    "push": pushing.push,
    "prf1": night.prf1,
    "nightly": night.many_certificates,
}
IN_QUICK = ("drain", "publish", "publish_many", "latency")
BESIDE_PEERS: dict[str, Callable[..., Coroutine[Any, Any, list[Figure]]]] = {
    "peers_drain": peers.drain,
    "peers_publish": peers.publish,
    "peers_latency": peers.latency,
}


def main(arguments: Sequence[str]) -> int:
    """Measure the scenarios asked for, all of them if none is named."""
    options = _parsed(arguments)
    configure_logs(logging.CRITICAL)
    scale = _scale(options)
    given = os.environ.get("DATABASE_URL")
    measured: dict[str, Any] = {}
    with server(given) as dsn:
        ground = Ground(dsn, embedded=not given)
        for name, scenario in _asked(options):
            began = time.perf_counter()
            facts = ground.facts()
            try:
                figures = asyncio.run(scenario(ground, scale))
            except Exception as error:  # noqa: BLE001 - the other scenarios are still worth having
                print(f"{name}: failed: {type(error).__name__}: {error}", file=sys.stderr)
                measured[name] = None
                continue
            took = time.perf_counter() - began
            print(f"{name}: measured in {took:.0f} s", file=sys.stderr)
            measured[name] = kept.scenario(
                figures, facts, scale, words=_words(scenario), seconds=took
            )
            if not scale.quick and not options.no_keep:
                kept.merge({name: measured[name]})
                page.write(kept.load())
    done = {name: one for name, one in measured.items() if one is not None}
    if options.json:
        print(json.dumps(kept.document(done), indent=2))
    else:
        report.show(done)
    return 0 if len(done) == len(measured) else 1


def _words(scenario: Scenario) -> str:
    """What a scenario measures, as its docstring says."""
    told = getattr(scenario, "func", scenario).__doc__ or ""
    return " ".join(told.split())


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="drain, publishing and latency within a minute"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument(
        "--peers", nargs="*", metavar="NAME", help=f"install and measure {', '.join(PEERS)}"
    )
    parser.add_argument("--runs", type=int, help="how often each figure is measured")
    parser.add_argument("--count", type=int, help="how many deliveries are drained")
    parser.add_argument("--no-keep", action="store_true", help="leave results and page as they are")
    parser.add_argument("--page", action="store_true", help="only write the page again")
    every = ", ".join(SCENARIOS | BESIDE_PEERS)
    parser.add_argument("scenario", nargs="*", metavar="SCENARIO", help=every)
    options = parser.parse_args(arguments)
    if set(options.scenario) & set(BESIDE_PEERS) and options.peers is None:
        options.peers = []
    for words, known in (
        (options.scenario, SCENARIOS | BESIDE_PEERS),
        (options.peers or (), PEERS),
    ):
        unknown = sorted(set(words) - set(known))
        if unknown:
            parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(known)}")
    if options.page:
        page.write(kept.load())
        sys.exit(0)
    return options


def _scale(options: argparse.Namespace) -> Scale:
    scale = QUICK if options.quick else FULL
    if options.runs:
        scale = replace(scale, runs=options.runs)
    if options.count:
        scale = replace(scale, deliveries=options.count)
    return scale


def _asked(options: argparse.Namespace) -> Iterator[tuple[str, Scenario]]:
    """What is named, and the peers if they are asked for; nothing named is all of ours."""
    everything = IN_QUICK if options.quick else tuple(SCENARIOS)
    names = list(options.scenario)
    if options.peers is not None and not set(names) & set(BESIDE_PEERS):
        names += BESIDE_PEERS
    names = names or list(everything)
    for name, beside in BESIDE_PEERS.items():  # first: what all else is judged beside
        if name in names:
            yield name, partial(beside, names=options.peers)
    yield from ((name, scenario) for name, scenario in SCENARIOS.items() if name in names)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
