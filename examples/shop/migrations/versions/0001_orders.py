"""Stock and orders.

Revision ID: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the two tables."""
    op.create_table(
        "stock",
        sa.Column("item", sa.Text, primary_key=True),
        sa.Column("available", sa.Integer, nullable=False),
        sa.CheckConstraint("available >= 0", name="stock_not_below_zero"),
        schema="shop",
    )
    op.create_table(
        "order",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("item", sa.Text, sa.ForeignKey("shop.stock.item"), nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False, server_default="placed"),
        sa.Column("mail", sa.Text),
        sa.CheckConstraint("count > 0", name="order_of_something"),
        sa.CheckConstraint(
            "status in ('placed', 'confirmed', 'refused')", name="order_status_known"
        ),
        schema="shop",
    )


def downgrade() -> None:
    """Drop them again."""
    op.drop_table("order", schema="shop")
    op.drop_table("stock", schema="shop")
