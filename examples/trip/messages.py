"""What is said about a trip: the order that begins it, and commands to the three who serve it."""

from __future__ import annotations

from outbox import Message


class TripOrdered(Message, topic="trip.ordered"):
    """A traveller wants a flight, a room and to pay for both."""

    trip_id: int
    cents: int


class BookFlight(Message, topic="flight.book"):
    """To the airline."""

    trip_id: int


class CancelFlight(Message, topic="flight.cancel"):
    """To the airline: also when there was no booking."""

    trip_id: int


class BookRoom(Message, topic="room.book"):
    """To the hotel."""

    trip_id: int


class CancelRoom(Message, topic="room.cancel"):
    """To the hotel: also when there was no booking."""

    trip_id: int


class ChargeCard(Message, topic="card.charge"):
    """To the bank."""

    trip_id: int
    cents: int


class RefundCard(Message, topic="card.refund"):
    """To the bank: also when nothing was charged."""

    trip_id: int
