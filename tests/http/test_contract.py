"""The OpenAPI document is the truth: schemathesis asks what it allows, and what it does not.

It asks the process that `outbox serve` is, with a fixed seed, as a coordinator who administers his
organisation, about a mentor he follows up; then as the service role about jobs. No answer is a
server error, or of a status, form or body that is not documented.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.end_to_end.scene import Scene
from tests.http.front import login, token
from tests.http.test_serve import served

if TYPE_CHECKING:
    from uuid import UUID

PROGRAM: Final = Path(sys.executable).parent / "schemathesis"
SEED: Final = "20260302"
CHECKS: Final = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance",
    "response_schema_conformance", "response_headers_conformance", "negative_data_rejection",
    "missing_required_header", "unsupported_method",
)  # fmt: skip

REFUSALS: Final = """
[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "409", "413", "422"]
"""
"""What is not valid may also be too large, or not the caller's, before anybody looks at it."""


def asked(port: int, bearer: str, folder: Path, *options: str) -> str:
    """What schemathesis has to say against the surface; empty if nothing."""
    done = subprocess.run(
        [
            str(PROGRAM), "--config-file", str(folder / "schemathesis.toml"), "run",
            f"http://127.0.0.1:{port}/openapi.json", "--header", f"Authorization: Bearer {bearer}",
            "--seed", SEED, "--generation-deterministic", "--request-timeout", "60",
            "--checks", ",".join(CHECKS), "--phases", "coverage,fuzzing", "--no-shrink",
            "--no-color", "--warnings", "off", *options,
        ],
        cwd=folder, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    return "" if done.returncode == 0 else done.stdout + done.stderr


async def someone(scene: Scene) -> tuple[UUID, UUID]:
    """A mentor with something of everything, and the coordinator who administers as well."""
    organisation = await scene.world.organisation()
    mentor, coordinator = await scene.followed_mentor(organisation, days=-1)
    await scene.world.coordinator(organisation, role="org_admin", user=coordinator, device=False)
    await scene.night()
    await scene.stage.reconcile()
    return mentor, coordinator


@pytest.mark.slow
async def test_schemathesis_finds_no_answer_that_is_not_documented(
    database: str, tmp_path: Path
) -> None:
    async with Scene.on(database) as scene:
        mentor, coordinator = await someone(scene)
        ids = {
            "mentor_id": mentor,
            "report_id": await scene.world.value("select id from reconciliation_reports"),
            "log_id": await scene.world.value("select id from cert_notification_log limit 1"),
        }
    lines = [f'"path.{name}" = "{value}"' for name, value in ids.items()]
    (tmp_path / "schemathesis.toml").write_text("\n".join(["[parameters]", *lines, REFUSALS]))

    with served(login(database), tmp_path) as found:
        person = await asyncio.to_thread(
            asked, found.port, token(coordinator), tmp_path, "--max-examples", "5",
            "--exclude-path-regex", "^/internal/jobs",
        )  # fmt: skip
        service = await asyncio.to_thread(
            asked, found.port, token(None), tmp_path, "--max-examples", "3",
            "--include-path-regex", "^/internal",
        )  # fmt: skip
        ended = found.process.poll()

    assert found.log()  # every line of it is JSON
    assert not person, person
    assert not service, service
    assert ended is None
