"""What the command line loads in tests of its errors."""

from __future__ import annotations

from tests.transport.crowd import Seen, crowd

app = crowd(Seen())
