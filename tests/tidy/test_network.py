"""No test leaves this machine, and none needs a credential."""

from __future__ import annotations

import re
import socket

import pytest

from tests.network import LeftTheMachine
from tests.tidy.tree import ROOT, at, texts

_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----\n[A-Za-z0-9+/=]{20}|\bAIza[\w-]{30,}|\bya29\.\w"
)


def test_t4_6_no_test_can_reach_fcm_or_anything_else_outside() -> None:
    """T4.6, T2.8: a connection to another machine is refused in this process before it begins."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as out,
        pytest.raises(LeftTheMachine, match=r"192\.0\.2\.1"),
    ):
        out.connect(("192.0.2.1", 443))


def test_t2_8_what_runs_before_a_change_is_taken_names_no_credential() -> None:
    """T2.8: no secret is handed to the gates, and none lies in the tree."""
    program = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert not re.search(r"secret|FCM_|HLF_PORTAL|SERVICE_ACCOUNT", program)

    lying = [
        at(path, text.count("\n", 0, found.start()) + 1, "a key")
        for path, text in texts()
        for found in _KEY.finditer(text)
    ]
    assert not lying
