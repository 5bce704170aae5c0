"""A small application for commands that need one: a shop with a mailer, in real time."""

from __future__ import annotations

from outbox import App
from tests.outbox.shop import mailer

app = App("shop")
app.add(mailer())
