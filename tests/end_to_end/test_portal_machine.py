"""P10 on the real thing: database, portal handler, HTTP and a portal that answers anything."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, ClassVar, Final

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from handlers.commands import VisibilityChanged
from handlers.emulators.portal_faults import Route, Silence
from handlers.ports import DATAVERSE, WEBHOOK
from outbox.health import check_credentials
from outbox.testing import CrashPoint, OutboxHarness
from outbox.testing.crashes import Crashed, at_point
from sagas import coordinator
from tests.end_to_end.scene import Scene
from tests.end_to_end.test_portal import renew, sweep

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from sagas.run import Organisation

pytestmark = pytest.mark.slow

FAULTS: Final[dict[str, dict[str, Any]]] = {
    "queued": {"status": 202, "body": b"", "applied": True},
    "queued_and_lost": {"status": 202, "body": b""},
    "unknown_mentor": {"status": 404, "code": "unknown_mentor"},
    "our_fault": {"status": 422},
    "credentials": {"status": 401},
    "retired": {"status": 410},
    "throttled": {"status": 429, "retry_after": 90},
    "throttled_503": {"status": 503, "retry_after": 5},
    "broken": {"status": 503},
    "lost": {"silence": Silence.DROP},
    "lost_after_it_was_applied": {"silence": Silence.DROP, "applied": True},
    "page": {"status": 200, "html": True},
    "redirect": {"status": 302, "location": "/login"},
}
"""Rows of the answer table that are no state; those that are come from the portal's own truth."""

CHANGES: Final = ("lapse", "renew", "pause", "reactivate", "force_sync")
SYNC: Final = ("portal", "portal_read", "mentor_state", "visibility", "alerts")
POINTS: Final = (
    CrashPoint.BEFORE_CLAIM_COMMIT, CrashPoint.AFTER_CLAIM, CrashPoint.AFTER_CALL,
    CrashPoint.BEFORE_SETTLE_COMMIT, CrashPoint.AFTER_SETTLE,
)  # fmt: skip


class PortalMachine(RuleBasedStateMachine):
    """One mentor of a scene that all examples share; the others of it are at rest."""

    runner: ClassVar[asyncio.Runner]
    scene: ClassVar[Scene]
    organisation: ClassVar[Organisation]

    def __init__(self) -> None:
        super().__init__()
        self.mentor, self.person = self._run(self.scene.known_mentor(self.organisation))
        self.harness = OutboxHarness(self.scene.stage.app, self.scene.stage.dsn)
        self.harness.relay = self.scene.stage.relay  # one process, driven by both

    def _run(self, work: Awaitable[Any]) -> Any:
        async def waited() -> Any:
            return await work

        return self.runner.run(waited())

    @rule(what=st.sampled_from(CHANGES), fault=st.sampled_from([None, *FAULTS]))
    def change(self, what: str, fault: str | None) -> None:
        """Somebody changes the mentor, and the next call meets `fault`."""
        if fault is not None:
            routes = (Route.SET, Route.READ)
            self.scene.portal.script(routes=routes, mentor=self.mentor, **FAULTS[fault])
        self._run(self._change(what))
        self._run(self.scene.drain())

    @rule(what=st.sampled_from(CHANGES), at=st.sampled_from(POINTS), of=st.sampled_from(SYNC))
    def die(self, what: str, at: CrashPoint, of: str) -> None:
        """A process dies at a point of a handler's work, if the work comes there."""
        self._run(self._change(what))
        self._run(self._die(at, of))

    @rule(seconds=st.sampled_from([1, 60, 900, 3_600]))
    def later(self, seconds: int) -> None:
        """Time passes, and what is due is done."""
        self._run(self.scene.later(seconds=seconds))

    @rule(by=st.sampled_from([0, 1, 7]), visible=st.booleans())
    def edit_portal(self, by: int, visible: bool) -> None:  # noqa: FBT001 - drawn
        """Somebody edits the portal behind our back."""
        version = self._run(self._state())[0] + by
        self.scene.portal.store.put(
            self.mentor, version=version, visible=visible, now=self.scene.stage.clock.now()
        )

    @rule()
    def forget(self) -> None:
        """The portal loses him."""
        self.scene.portal.store.remove(self.mentor)

    @rule(back=st.integers(0, 2))
    def say_again(self, back: int) -> None:
        """An old message comes once more."""
        version = max(1, self._run(self._state())[0] - back)
        message = VisibilityChanged(mentor_id=self.mentor, version=version)
        self._run(self.harness.publish(message, key=f"mentor:{self.mentor}"))
        self._run(self.scene.drain())

    @rule()
    def reconcile(self) -> None:
        """The hourly comparison, whatever is under way."""
        self._run(self.scene.stage.reconcile())

    def teardown(self) -> None:
        """Faults stop: one health check, the waits of the ladder, one reconciliation."""
        self._run(self._rest())

    async def _change(self, what: str) -> None:
        scene, mentor = self.scene, self.mentor
        match what:
            case "lapse":
                yesterday = scene.world.day(self.organisation, -1)
                await scene.world.conn.execute(
                    "update certifications set expiry_date = %s where mentor_id = %s",
                    [yesterday, mentor],
                )
                await sweep(scene)
            case "renew":
                await renew(scene, mentor)
            case "pause":
                await scene.pause(mentor)
            case "reactivate":
                await scene.world.value(
                    "select changed from app.reactivate_mentor(%s, %s)", mentor, self.person
                )
            case _:
                async with scene.stage.opened() as conn:
                    await coordinator.force_sync(
                        conn, mentor_id=mentor, actor_id=self.person, now=scene.stage.clock.now()
                    )

    async def _die(self, at: CrashPoint, of: str) -> None:
        others = asyncio.all_tasks()
        try:
            with at_point(at, handler=of):
                for handler in SYNC:
                    await self.harness.run_once(handler)
        except Crashed:
            late = asyncio.all_tasks() - others
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self.scene.later(seconds=31)

    async def _rest(self) -> None:
        scene = self.scene
        scene.portal.heal()
        await check_credentials(scene.stage.app, scene.stage.dsn)
        for minutes in (1, 15, 60, 60):
            await scene.later(minutes=minutes)
        await sweep(scene)
        await scene.stage.reconcile()
        if await self._is_held():
            await scene.pass_time(days=1)
            await scene.stage.reconcile()
        await scene.later(minutes=2)
        version, visible = await self._state()
        row = scene.portal.row(self.mentor)
        if row is None:
            assert not visible
        else:
            assert (row.stored.version, row.stored.visible) == (version, visible)
        assert await self._alerts() == set()
        watching = "select count(*) from outbox.saga where key = %s and ended_at is null"
        assert await scene.world.value(watching, f"mentor:{self.mentor}") == 0

    async def _is_held(self) -> bool:
        """Whether the portal is ahead a second time today: a person looks, and is told to."""
        version, visible = await self._state()
        row = self.scene.portal.row(self.mentor)
        if row is None or (row.stored.version, row.stored.visible) == (version, visible):
            return False
        assert ("portal_ahead", "critical") in await self._alerts()
        return True

    async def _alerts(self) -> set[tuple[str, str]]:
        found = await self.scene.alerts()
        mine = [each for each in found if each["mentor_id"] in {self.mentor, None}]
        return {(each["type"], each["severity"]) for each in mine}

    async def _state(self) -> tuple[int, bool]:
        (row,) = await self.scene.world.rows(
            "select visibility_version, app.visible(id, %s) as visible from peer_mentors"
            " where id = %s",
            *(self.scene.stage.clock.now(), self.mentor),
        )
        return row["visibility_version"], row["visible"]


async def _open(stack: AsyncExitStack, database: str, channel: str) -> tuple[Scene, Organisation]:
    scene = await stack.enter_async_context(Scene.on(database, channel=channel))
    return scene, await scene.world.organisation()


@pytest.mark.parametrize("channel", [WEBHOOK, DATAVERSE])
def test_when_faults_stop_the_portal_equals_us_and_no_alert_is_left(
    database: str, channel: str
) -> None:
    """P10, SYN-1: in any order, with a death at any point; one health check, one reconciliation."""
    stack = AsyncExitStack()
    with asyncio.Runner() as runner:
        PortalMachine.runner = runner
        PortalMachine.scene, PortalMachine.organisation = runner.run(
            _open(stack, database, channel)
        )
        try:
            run_state_machine_as_test(
                PortalMachine,
                settings=settings(
                    max_examples=8,
                    stateful_step_count=8,
                    deadline=None,
                    derandomize=True,
                    phases=(Phase.generate,),
                ),
            )
        finally:
            runner.run(stack.aclose())
