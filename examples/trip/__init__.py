"""A trip of three bookings, each taken back when a later one cannot be had."""

from examples.trip.app import app, build
from examples.trip.flow import TRIP

__all__ = ["TRIP", "app", "build"]
