"""Python's garbage collector, kept from looking through what its last user will free anyway."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

OBJECTS_BETWEEN = 100_000
"""New objects, freed ones taken off, between two looks; Python's own default is 700.

The batches under way are tens of thousands of objects: with 700 each look walks through them and
finds nothing, which was a fifth of a relay's processor time (`bench.try_drain`).
"""


@dataclass
class _Calm:
    """How many want it calm, and what the thresholds were before the first of them."""

    users: int = 0
    before: tuple[int, int, int] = (0, 0, 0)


_calm = _Calm()


@contextmanager
def calm_collector() -> Iterator[None]:
    """Look through what is loaded by now never again, and through the rest seldom.

    Several at once in one process are as one: when the last of them ends, all is as before.
    """
    if not _calm.users:
        _calm.before = gc.get_threshold()
        gc.set_threshold(OBJECTS_BETWEEN, *_calm.before[1:])
    gc.freeze()
    _calm.users += 1
    try:
        yield
    finally:
        _calm.users -= 1
        if not _calm.users:
            gc.set_threshold(*_calm.before)
            gc.unfreeze()


@contextmanager
def uncollected() -> Iterator[None]:
    """Collect nothing while many small objects are made, all of them wanted: some milliseconds.

    Whoever has turned the collector off keeps it off. Of several threads, the first to begin turns
    it on again.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
