"""The trip as a linear flow: flight, room, card; and back again from wherever it fails."""

from __future__ import annotations

from datetime import timedelta

from examples.trip.messages import (
    BookFlight,
    BookRoom,
    CancelFlight,
    CancelRoom,
    ChargeCard,
    RefundCard,
    TripOrdered,
)
from outbox import Steps

TRIP = (
    Steps("trip", TripOrdered, correlate="trip_id")
    .do("flight", BookFlight, within=timedelta(hours=1))
    .undo(CancelFlight)
    .do("room", BookRoom, within=timedelta(hours=1))
    .undo(CancelRoom)
    .do("card", ChargeCard)
    .undo(RefundCard)
    .saga()
)
