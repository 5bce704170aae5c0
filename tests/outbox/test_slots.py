"""How much is claimed beside what is under way."""

from __future__ import annotations

import pytest

from outbox.slots import CLAIM_MAX, Slots


@pytest.mark.parametrize(("most", "free"), [(10, 10), (CLAIM_MAX, CLAIM_MAX), (5_000, CLAIM_MAX)])
async def test_one_claim_takes_no_more_than_its_statement_is_planned_for(
    most: int, free: int
) -> None:
    """The rest of the slots is filled by the next claim."""
    slots = Slots(most)

    assert slots.free(0) == free
    assert slots.free(most) == 0
