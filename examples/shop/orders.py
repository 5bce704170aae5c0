"""Taking orders: the change and the message about it are one commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from examples.shop.messages import OrderPlaced
from examples.shop.tables import order
from outbox import publish

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def place(session: Session, *, item: str, count: int, email: str) -> int:
    """Take an order and say so; its number. The transaction is the caller's.

    An item that is not sold here, or a count below one, is refused by the tables.
    """
    values = {"item": item, "count": count, "email": email}
    order_id: int = session.execute(
        sa.insert(order).values(values).returning(order.c.id)
    ).scalar_one()
    publish(
        session,
        OrderPlaced(order_id=order_id),
        key=f"order:{order_id}",
        dedup_key=f"placed:{order_id}",
    )
    return order_id
