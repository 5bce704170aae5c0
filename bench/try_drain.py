"""`python -m bench.try_drain NAME ...`: drain by a few contenders, for whoever works on the engine.

Nothing is kept. One line per drain: rate, CPU seconds of worker and server per 10,000, peak memory.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace

from bench import trial
from bench.contenders import OURS, PEERS
from bench.ground import Ground, server


def main() -> int:
    """Run the drains in turns."""
    known = OURS | PEERS
    parser = argparse.ArgumentParser(prog="python -m bench.try_drain", description=__doc__)
    parser.add_argument("name", nargs="+", choices=list(known), metavar="NAME")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--held", action="store_true", help="another session holds a snapshot")
    parser.add_argument("--backlog", type=int, default=0, help="this many wait behind the count")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="of ours")
    options = parser.parse_args()
    more = dict(one.split("=", 1) for one in options.set)
    given = os.environ.get("DATABASE_URL")
    with server(given) as dsn:
        ground = Ground(dsn, embedded=not given)
        for _ in range(options.runs):
            for name in options.name:
                contender = known[name]
                contender.make()
                if name in OURS:
                    contender = replace(contender, settings={**contender.settings, **more})
                one = trial.drain(
                    ground, contender, options.count, backlog=options.backlog, held=options.held
                )
                print(f"{name:18} {told(one)}", flush=True)
    return 0


def told(one: trial.Drained) -> str:
    """One drain in a line."""
    tens = max(one.count, 1) / 10_000
    return (
        f"{one.rate:>8,.0f}/s  worker {one.worker_cpu_seconds / tens:.2f}  "
        f"server {one.server_cpu_seconds / tens:.2f} CPU s/10k  {one.peak_mb:.0f} MB  "
        f"bulk {one.filled_per_second:,.0f}/s{'  STOPPED' if one.stopped else ''}"
    )


if __name__ == "__main__":
    sys.exit(main())
