"""What the shop tells: facts about orders, by number. Addresses stay in the shop's own tables."""

from __future__ import annotations

from datetime import timedelta
from typing import TypeAlias

from outbox import Message


class OrderPlaced(Message, topic="order.placed", version=1, dedup_window=timedelta(days=7)):
    """Somebody ordered something; nothing is reserved yet."""

    order_id: int


class OrderConfirmed(Message, topic="order.confirmed", version=1):
    """The stock for an order is set aside."""

    order_id: int


class OrderRefused(Message, topic="order.refused", version=1):
    """There was not enough of it."""

    order_id: int


OrderAnswered: TypeAlias = OrderConfirmed | OrderRefused
