"""What the tables share: the metadata, the type of an instant, the defaults the server fills in."""

from __future__ import annotations

from typing import Final

from sqlalchemy import DateTime, MetaData, text

metadata: Final = MetaData(schema="public")
INSTANT: Final = DateTime(timezone=True)
RANDOM_ID: Final = text("gen_random_uuid()")
NOW: Final = text("now()")
