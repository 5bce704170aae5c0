"""Jobs asked for over HTTP: the same entry points as the commands, outliving their requests.

Each takes its own lease, so asking twice works once. The server ends when the jobs under way have.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import structlog

from sagas import jobs
from sagas.wiring import Application, job_parts

if TYPE_CHECKING:
    from collections.abc import Mapping

log = structlog.get_logger("sagas.http")


class JobName(StrEnum):
    """What may be asked for."""

    NIGHTLY = "nightly"
    SWEEP = "sweep"
    CREDENTIALS = "credentials"
    RECONCILE = "reconcile"
    RECONCILE_LIGHT = "reconcile_light"
    PROMPTS = "prompts"


class Jobs:
    """Runs jobs on the database at `dsn`, whose sessions are under the service role."""

    def __init__(self, app: Application, dsn: str) -> None:
        self._app, self._dsn = app, dsn
        self._running: set[asyncio.Task[Mapping[str, Any] | None]] = set()

    def start(self, name: JobName) -> tuple[UUID, asyncio.Task[Mapping[str, Any] | None]]:
        """Begin a run; its id, and the task that gives its summary, or None where it failed."""
        run_id = uuid4()
        task = asyncio.create_task(self._ended(name, run_id), name=f"job {name.value}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return run_id, task

    async def aclose(self) -> None:
        """Wait for the jobs under way."""
        while self._running:
            await asyncio.wait(self._running)

    async def _ended(self, name: JobName, run_id: UUID) -> Mapping[str, Any] | None:
        try:
            summary = await self._run(name, run_id)
        except Exception:
            log.exception("job.failed", job=name.value, run_id=str(run_id))
            return None
        log.info("job.completed", job=name.value, run_id=str(run_id))
        return summary

    async def _run(self, name: JobName, run_id: UUID) -> Mapping[str, Any]:
        parts = job_parts(self._app, self._dsn, lambda _stage, _facts: None)
        done = await jobs.run(name.value, parts, run_id=run_id)
        return {"outcome": done.outcome, **done.summary, "failures": dict(done.failures)}
