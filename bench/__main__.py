"""`python -m bench [--quick] [SCENARIO ...]`: measure, print a table, keep the figures as JSON."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bench import report
from bench.drain import drain
from bench.figures import FULL, QUICK
from bench.ground import Ground
from bench.night import prf1
from bench.publishing import publish, publish_in_bulk
from outbox.embedded import database_url_or_embedded
from outbox.logs import configure_logs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from bench.figures import Figure, Scale

SCENARIOS: dict[str, Callable[[Ground, Scale], Awaitable[list[Figure]]]] = {
    "prf1": prf1,
    "drain": drain,
    "publish": publish,
    "publish_many": publish_in_bulk,
}


def main(arguments: Sequence[str]) -> int:
    """Measure the scenarios asked for, all of them if none is named."""
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of everything, under a minute")
    parser.add_argument("scenario", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.scenario) - set(SCENARIOS))
    if unknown:
        parser.error(f"no scenario {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    configure_logs(logging.CRITICAL)
    scale = QUICK if options.quick else FULL
    names = [name for name in SCENARIOS if name in (options.scenario or SCENARIOS)]
    given = os.environ.get("DATABASE_URL")
    with database_url_or_embedded(given) as dsn:
        ground = Ground(dsn, embedded=not given)
        document: dict[str, Any] = {
            "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "quick": scale.quick,
            "runs": scale.runs,
            **ground.facts(),
            "figures": asyncio.run(_measure(ground, scale, names)),
        }
    report.show(document["figures"])
    report.write(document, page=names == list(SCENARIOS) and not scale.quick)
    return 0


async def _measure(ground: Ground, scale: Scale, names: Sequence[str]) -> list[dict[str, Any]]:
    figures: list[dict[str, Any]] = []
    for name in names:
        began = time.perf_counter()
        figures += [figure.as_json() for figure in await SCENARIOS[name](ground, scale)]
        print(f"{name}: measured in {time.perf_counter() - began:.0f} s", file=sys.stderr)
    return figures


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
