"""firebase-admin's `send_each_async` against the emulator, in an environment of its own.

Standard input is one line of JSON: the service account, the address that stands for FCM's, how many
messages, and how many of them go into one call (500 is its most).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import firebase_admin
from firebase_admin import credentials, messaging
from google.oauth2 import service_account

from bench.peers import harness


class Narrow(credentials.Base):  # type: ignore[misc] # of a package that is not in ours
    """The service account with the one scope that sending needs; its own asks for six."""

    def __init__(self, account: dict[str, Any]) -> None:
        super().__init__()
        self.project_id = account["project_id"]
        self._credential = service_account.Credentials.from_service_account_info(  # type: ignore[no-untyped-call] # google-auth has no types
            account, scopes=["https://www.googleapis.com/auth/firebase.messaging"]
        )

    def get_credential(self) -> Any:
        """What google-auth signs with."""
        return self._credential


async def main(terms: dict[str, Any]) -> None:
    """Send everything; the clock runs from the first call to the last answer."""
    # the only place where it keeps FCM's address; it offers no setting
    messaging._MessagingService.FCM_URL = (  # noqa: SLF001 - as said
        terms["base_url"] + "/v1/projects/{0}/messages:send"
    )
    firebase_admin.initialize_app(Narrow(json.loads(terms["account"])))
    await _send(terms["warm_up"], terms["per_call"])
    began = time.monotonic_ns()
    sent = await _send(terms["count"], terms["per_call"])
    harness.emit({"sent": sent, "seconds": (time.monotonic_ns() - began) / 1e9})


async def _send(count: int, per_call: int) -> int:
    sent = 0
    for begin in range(0, count, per_call):
        messages = [
            messaging.Message(
                notification=messaging.Notification(title="Certificate", body="It ends soon."),
                data={"deep_link": f"app://certificate/{number}"},
                token=f"ok-{number}",
            )
            for number in range(begin, min(begin + per_call, count))
        ]
        answers = await messaging.send_each_async(messages)
        sent += answers.success_count
    return sent


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.stdin.readline())))
