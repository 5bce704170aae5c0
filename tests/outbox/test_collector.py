"""The garbage collector of a daemon, and of a publisher: left as it was found."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

from outbox.collector import OBJECTS_BETWEEN, calm_collector, uncollected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Whatever a test does to this process's collector is undone."""
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()
    gc.enable()


def test_it_is_calm_until_the_last_of_several_daemons_has_ended() -> None:
    gc.set_threshold(701, 11, 12)
    first, second = calm_collector(), calm_collector()

    first.__enter__()
    second.__enter__()
    assert gc.get_threshold() == (OBJECTS_BETWEEN, 11, 12)
    first.__exit__(None, None, None)
    assert gc.get_threshold() == (OBJECTS_BETWEEN, 11, 12)
    second.__exit__(None, None, None)

    assert gc.get_threshold() == (701, 11, 12)
    assert gc.get_freeze_count() == 0


def test_what_is_loaded_is_looked_through_no_more() -> None:
    with calm_collector():
        assert gc.get_freeze_count() > 0


@pytest.mark.parametrize("switch", [gc.enable, gc.disable])
def test_nothing_is_collected_inside_and_outside_all_is_as_before(
    switch: Callable[[], None],
) -> None:
    switch()
    before = gc.isenabled()

    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled() is before


def test_it_is_on_again_after_an_error() -> None:
    with pytest.raises(ValueError, match="refused"), uncollected():
        raise ValueError("refused")

    assert gc.isenabled()
