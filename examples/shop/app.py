"""Puts the shop together. `outbox --app examples.shop.app:app migrate`, then `relay`.

The engine's commands work on it unchanged; `outbox --app examples.shop.app:app shop` are its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from examples.shop.commands import commands
from examples.shop.mails import MailWebhook
from examples.shop.migrations import HISTORY
from examples.shop.settings import ShopSettings
from examples.shop.stock import STOCK
from outbox import App

if TYPE_CHECKING:
    import httpx

    from outbox import Clock


def build(*, clock: Clock | None = None, transport: httpx.AsyncBaseTransport | None = None) -> App:
    """The application; tests give it a clock of their own and a transport that answers."""
    mails = MailWebhook(transport)
    app = App(
        "shop",
        lifespan=mails.opened,
        histories=(HISTORY,),
        commands=commands,
        clock=clock,
        settings=(ShopSettings,),
    )
    app.add(STOCK)
    app.add(mails.handler())
    return app


app = build()
