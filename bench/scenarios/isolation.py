"""How fast one destination is served while three others are in trouble (P8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import trial
from bench.contenders import ours
from bench.figures import Figure, Gathered

if TYPE_CHECKING:
    from bench.figures import Scale
    from bench.ground import Ground


async def isolation(ground: Ground, scale: Scale) -> list[Figure]:
    """A drain of one handler, alone and beside three destinations in trouble, in one process.

    One answers 429 with `Retry-After: 5`, one hangs until its calls are cut off, one is paused;
    each has as many deliveries waiting as the healthy one.
    """
    got = Gathered("isolation", deliveries=scale.deliveries)
    for _ in range(scale.runs):
        for effect in ("database", "idempotent"):
            for words, beside in (("alone", 0), ("beside three in trouble", 1)):
                terms = ours(words, effect=effect, batch=500, concurrency=500, beside=beside)
                one = trial.drain(ground, terms, scale.deliveries, seconds_max=scale.seconds_max)
                got.add(f"{effect}, {words}", one.rate, "deliveries/s", settings=one.settings)
    shares = [
        figure
        for effect in ("database", "idempotent")
        for figure in got.ratio(
            f"{effect}, beside / alone", f"{effect}, beside three in trouble", f"{effect}, alone"
        )
    ]
    return got.figures(*shares)
