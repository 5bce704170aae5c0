"""FCM, the portal and Dataverse on the loopback for a developer, with settings that lead there."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from handlers.emulators.dataverse import DataverseEmulator
from handlers.emulators.fcm import FcmEmulator, service_account
from handlers.emulators.google_token import generate_key
from handlers.emulators.portal import PortalEmulator
from handlers.portal import SigningSecret
from sagas.demo import SIGNING_SECRET, emulated_settings

if TYPE_CHECKING:
    from collections.abc import Mapping


async def serve_emulators(fcm_port: int, portal_port: int, dataverse_port: int) -> None:
    """Serve the emulators until interrupted; prints the settings that lead to them."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    key = generate_key()
    async with (
        FcmEmulator(public_key=key.public_key(), port=fcm_port) as fcm,
        PortalEmulator(secrets=[SigningSecret.parse(SIGNING_SECRET)], port=portal_port) as portal,
        DataverseEmulator(port=dataverse_port) as dataverse,
    ):
        account, _ = service_account(fcm.token_url, key=key)
        with tempfile.TemporaryDirectory(prefix="outbox-emulate-") as folder:
            file = Path(folder) / "service-account.json"
            file.write_text(json.dumps(account), encoding="utf-8")
            file.chmod(0o600)
            settings: Mapping[str, Any] = {
                **emulated_settings(fcm, portal, ""),
                **emulated_settings(fcm, dataverse, ""),
            }
            for name, value in settings.items():
                if name != "fcm_service_account_json":
                    sys.stdout.write(f"export {name.upper()}='{value}'\n")
            sys.stdout.write(f"export FCM_SERVICE_ACCOUNT_FILE='{file}'\n")
            sys.stdout.flush()
            await stop.wait()
