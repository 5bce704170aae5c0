"""The shop's tables, in a schema of their own: `outbox` is the engine's."""

from __future__ import annotations

import sqlalchemy as sa

SCHEMA = "shop"

metadata = sa.MetaData(schema=SCHEMA)

stock = sa.Table(
    "stock",
    metadata,
    sa.Column("item", sa.Text, primary_key=True),
    sa.Column("available", sa.Integer, nullable=False),
    sa.CheckConstraint("available >= 0", name="stock_not_below_zero"),
)

order = sa.Table(
    "order",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("item", sa.Text, sa.ForeignKey(stock.c.item), nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("email", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False, server_default="placed"),
    sa.Column("mail", sa.Text),
    sa.CheckConstraint("count > 0", name="order_of_something"),
    sa.CheckConstraint("status in ('placed', 'confirmed', 'refused')", name="order_status_known"),
)
