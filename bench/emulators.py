"""FCM and the portal in a process of their own, as far from the measured one as in real life.

`python -m bench.emulators LATENCY_SECONDS` prints one line of JSON, the settings that lead there,
and serves until its standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from handlers.emulators.fcm import FcmEmulator, generate_key, service_account
from handlers.emulators.portal import PortalEmulator
from handlers.portal import SigningSecret
from sagas.demo import emulated_settings

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def emulated(latency_seconds: float) -> Iterator[dict[str, Any]]:
    """Start that process and yield the application's settings; it ends with the block."""
    command = [sys.executable, "-m", "bench.emulators", str(latency_seconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            yield json.loads(child.stdout.readline())
        finally:
            child.stdin.close()


async def _serve(latency_seconds: float) -> None:
    key = generate_key()
    async with (
        FcmEmulator(public_key=key.public_key(), latency_seconds=latency_seconds) as fcm,
        PortalEmulator() as portal,
    ):
        account, _ = service_account(fcm.token_url, key=key)
        settings = emulated_settings(fcm, portal, json.dumps(account))
        portal.secrets = (SigningSecret.parse(settings["hlf_portal_webhook_secrets"]),)
        print(json.dumps(settings), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1])))
