"""How long a message waits for its handler when nothing else is to be done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import trial
from bench.contenders import ours
from bench.figures import Figure, Gathered

if TYPE_CHECKING:
    from bench.contenders import Contender
    from bench.figures import Scale
    from bench.ground import Ground

SHARES = {"p50": 0.5, "p99": 0.99}


async def latency(ground: Ground, scale: Scale) -> list[Figure]:
    """From the return of the commit to the start of the handler, publisher and relay apart.

    The handler has its default terms; all share the machine's cores.
    """
    got = Gathered("latency")
    for _ in range(scale.runs):
        for effect in ("database",) if scale.quick else ("database", "idempotent"):
            waited(ground, scale, got, ours(f"ours {effect}", effect=effect))
    return got.figures()


def waited(ground: Ground, scale: Scale, got: Gathered, contender: Contender) -> None:
    """Add the percentiles of one contender at each rate."""
    for rate, seconds in scale.latency:
        one = trial.latency(ground, contender, rate, seconds, scale.settle_seconds)
        for name, share in SHARES.items():
            got.add(
                f"{contender.name} at {rate}/s, {name}",
                one.percentile(share),
                "ms",
                seconds=seconds,
                missing=one.wanted - len(one.milliseconds),
                achieved_per_second=one.rate,
            )
