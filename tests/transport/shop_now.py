"""The example shop as it is released today; its mails are answered in the process."""

from __future__ import annotations

import httpx

from examples.shop.app import build

app = build(transport=httpx.MockTransport(lambda _: httpx.Response(202)))
