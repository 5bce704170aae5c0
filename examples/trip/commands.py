"""The trip's own commands, beside the engine's: its tables, and orders."""

from __future__ import annotations

from typing import Annotated

import psycopg
import typer

from examples.trip.messages import TripOrdered
from outbox import publish
from outbox.cli import settings

TABLES = """
create table if not exists flight (trip_id bigint primary key, state text not null);
create table if not exists room (trip_id bigint primary key, state text not null);
create table if not exists card (trip_id bigint primary key, state text not null);
"""

commands = typer.Typer()
trip = typer.Typer(no_args_is_help=True, help="Trips of three bookings.")
commands.add_typer(trip, name="trip")


@trip.command("tables")
def make_tables() -> None:
    """Make the tables of the three who serve a trip, where they are missing."""
    with psycopg.connect(settings().required_database_url()) as conn:
        conn.execute(TABLES)
    typer.echo("flight, room and card are there")


@trip.command("order")
def order_trip(trip_id: int, cents: Annotated[int, typer.Option("--cents", min=1)]) -> None:
    """Order a trip; above 1,000.00 the card refuses, and what was booked is taken back."""
    with psycopg.connect(settings().required_database_url()) as conn:
        ordered = TripOrdered(trip_id=trip_id, cents=cents)
        again = publish(conn, ordered, key=str(trip_id), dedup_key=f"trip:{trip_id}").duplicate
    typer.echo(f"trip {trip_id} {'was ordered before' if again else 'is ordered'}")
