"""The steps of a scheduled run: each ends on its own, what fails is named, and the rest goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from sagas import queries, queries_jobs
from sagas.results import DataQuality, DispatchSummary, OrchestrationResult, SweepResult

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from psycopg import AsyncConnection

    from sagas.run import Organisation, RunContext

log = structlog.get_logger("sagas")

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Stages:
    """One run's steps. `failures` names what went wrong by step: an error class, no text."""

    connect: Callable[[], AbstractAsyncContextManager[AsyncConnection[Any]]]
    progress: Callable[[str, Mapping[str, Any]], None]
    run: RunContext
    failures: dict[str, str] = field(default_factory=dict)

    async def each(
        self,
        stage: str,
        work: Callable[[AsyncConnection[Any], Organisation], Awaitable[_T]],
    ) -> dict[str, _T]:
        """Run `work` for every organisation in a transaction of its own; results by code."""
        results: dict[str, _T] = {}
        for organisation in await self.organisations(stage):

            async def one(organisation: Organisation = organisation) -> _T:
                async with self.connect() as conn, conn.transaction():
                    await queries_jobs.plan_plainly(conn)
                    return await work(conn, organisation)

            found = await self.step(f"{stage}:{organisation.code}", one, None)
            if found is not None:
                results[organisation.code] = found
        return results

    async def organisations(self, stage: str) -> list[Organisation]:
        """Every organisation, by code; none where they cannot be read, which is a failure."""
        nobody: list[Organisation] = []
        return await self.step(f"{stage}:organisations", self._organisations, nobody)

    async def step(self, name: str, work: Callable[[], Awaitable[_T]], otherwise: _T) -> _T:
        """Run one step; a failure is named, logged by class alone, and gives `otherwise`."""
        try:
            found = await work()
        except Exception as error:  # noqa: BLE001 - a step ends here, the run goes on
            self.failures[name] = type(error).__name__
            log.error(  # noqa: TRY400 - a foreign text may quote values
                "run.step_failed",
                run_id=str(self.run.run_id),
                step=name,
                error_class=type(error).__name__,
                sqlstate=getattr(error, "sqlstate", None),
            )
            return otherwise
        self.progress(name, _facts(found))
        return found

    async def _organisations(self) -> list[Organisation]:
        async with self.connect() as conn, conn.transaction():
            return await queries.list_organisations(conn)


def _facts(found: object) -> Mapping[str, Any]:
    """What a terminal may show of a step's result."""
    match found:
        case OrchestrationResult() | SweepResult() | DispatchSummary() | DataQuality():
            return found.as_json()
        case int():
            return {"count": found}
        case dict():
            return found
        case list():
            return {"count": len(found)}
        case _:
            return {}
