"""P10 in memory: whatever happens, in any order, when faults stop both sides agree in silence."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from handlers.mentor_state import RAISE_MAX
from outbox.testing.lab_replies import Crash
from tests.sagas.portal_world import FAULTS, MENTORS, PortalWorld

if TYPE_CHECKING:
    from uuid import UUID

    from tests.sagas.portal_world import Mentor

CRASHES_MAX = 2
"""Of one delivery: at the fourth it would be poison, which is for people."""

mentors = st.sampled_from(MENTORS)
faults = st.sampled_from([None, None, *FAULTS])


class VisibilityMachine(RuleBasedStateMachine):
    """Lapse, renewal, manual pause and reactivation, and a portal that answers anything.

    Deliveries are tried in any order that ordering keys allow, messages come twice and late,
    processes die before and after calls. At the end faults stop, and there is one reconciliation.
    """

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self.world = PortalWorld()
        self._crashed: Counter[int] = Counter()

    @rule(
        who=mentors, what=st.sampled_from(["lapse", "renew", "pause", "reactivate", "force_sync"])
    )
    def change(self, who: UUID, what: str) -> None:
        """Somebody changes a mentor, or forces a new version."""
        self._runner.run(self.world.change(who, what))

    @rule(who=mentors, by=st.sampled_from([0, 1, 7, RAISE_MAX + 1]), visible=st.booleans())
    def edit_portal(self, who: UUID, by: int, visible: bool) -> None:  # noqa: FBT001 - drawn
        """The portal gets ahead of us, or contradicts us."""
        self.world.edit_portal(who, ahead_by=by, visible=visible)

    @rule(who=mentors)
    def forget(self, who: UUID) -> None:
        """The portal loses a mentor."""
        self.world.forget(who)

    @precondition(lambda self: self.world.lab.due())
    @rule(data=st.data(), fault=faults)
    def deliver(self, data: st.DataObject, fault: str | None) -> None:
        """One delivery is tried, whichever; a call to the portal meets `fault`."""
        delivery_id = data.draw(st.sampled_from(self.world.lab.due()), label="delivery")
        self._deliver(delivery_id, fault)

    @precondition(lambda self: self.world.lab.due())
    @rule(data=st.data(), at=st.sampled_from(Crash), fault=faults)
    def die(self, data: st.DataObject, at: Crash, fault: str | None) -> None:
        """The process that tries a delivery dies; what it wrote to our database goes with it."""
        lab = self.world.lab
        delivery_id = data.draw(st.sampled_from(lab.due()), label="delivery")
        if self._crashed[delivery_id] == CRASHES_MAX:
            return
        self._crashed[delivery_id] += 1
        handler = lab.handler_of(delivery_id)
        lab.crash(handler, at if handler in {"portal", "portal_read"} else Crash.BEFORE_CALL)
        self._deliver(delivery_id, fault)

    @precondition(lambda self: self.world.said)
    @rule(data=st.data())
    def say_again(self, data: st.DataObject) -> None:
        """A message comes a second time, however late."""
        message = data.draw(st.sampled_from(self.world.said), label="again")
        self._runner.run(self.world.say(message))

    @rule(seconds=st.sampled_from([1, 31, 60, 900, 3_600, 86_400]))
    def wait(self, seconds: int) -> None:
        """Time passes and nobody works."""
        self.world.lab.advance(timedelta(seconds=seconds))
        self._runner.run(self.world.lab.expire())

    @rule()
    def reconcile(self) -> None:
        """The hourly comparison, whatever is under way."""
        self._runner.run(self.world.reconcile())

    @rule()
    def retry_by_hand(self) -> None:
        """A coordinator brings back what was given up."""
        self._runner.run(self.world.lab.redrive("portal"))

    @rule(fault=faults)
    def five_minutes(self, fault: str | None) -> None:
        """Everybody works while the portal answers like this: who differs by now has an alert."""
        self.world.fault = fault
        self._runner.run(self.world.lab.elapse(timedelta(minutes=5)))
        self.world.fault = None
        for mentor in self.world.mentors.values():
            if not self.world.agrees(mentor) and mentor.id not in self.world.unseen:
                assert self.world.open_alerts(mentor.id), "an alert is missing"

    @invariant()
    def no_saga_died(self) -> None:
        """P9: late, doubled and out of order is decided, not raised."""
        traces = self._runner.run(self.world.lab.traces("visibility"))
        assert {trace.reason for trace in traces if trace.outcome == "dead"} == set()

    def teardown(self) -> None:
        """Faults stop: retries, one reconciliation, and all is equal and quiet."""
        try:
            self._runner.run(self._rest())
        finally:
            self._runner.close()

    def _deliver(self, delivery_id: int, fault: str | None) -> None:
        self.world.fault = fault
        self._runner.run(self.world.lab.deliver(delivery_id))
        self.world.fault = None

    async def _rest(self) -> None:
        world = self.world
        await self._heal()
        held = [one for one in world.mentors.values() if not world.agrees(one)]
        for mentor in held:
            assert self._is_for_people(mentor), "not equal, and nobody may say why"
            assert ("portal_ahead", "critical") in world.open_alerts(mentor.id)
        if held:
            await world.lab.elapse(timedelta(days=1))
            await self._heal()
        for mentor in world.mentors.values():
            if self._is_too_far(mentor):
                continue
            assert world.agrees(mentor), (mentor, world.row(mentor))
            assert world.open_alerts(mentor.id) == set()
            assert not await world.is_watched(mentor.id)

    async def _heal(self) -> None:
        """The ladder's longest wait, then one reconciliation, then what it sends."""
        await self.world.lab.elapse(timedelta(hours=2))
        await self.world.reconcile()
        await self.world.lab.elapse(timedelta(minutes=2))

    def _is_too_far(self, mentor: Mentor) -> bool:
        row = self.world.row(mentor)
        return row is not None and row.version + 1 - mentor.version > RAISE_MAX

    def _is_for_people(self, mentor: Mentor) -> bool:
        return mentor.raised_on == self.world.lab.now.date() or self._is_too_far(mentor)


TestVisibility = VisibilityMachine.TestCase
TestVisibility.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
)
