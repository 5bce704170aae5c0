"""The shop's own commands, beside the engine's."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import sqlalchemy as sa
import typer
from rich.table import Table
from sqlalchemy.orm import Session

from examples.shop import orders, tables
from outbox.cli import AsJson, out, print_json, settings
from outbox.dsn import sqlalchemy_url
from outbox.errors import OutboxError

if TYPE_CHECKING:
    from collections.abc import Iterator

commands = typer.Typer()
shop = typer.Typer(no_args_is_help=True, help="Stock and orders of the shop.")
commands.add_typer(shop, name="shop")


class OrderRefused(OutboxError):
    """An order that cannot be taken; nothing was written."""


@contextmanager
def session_opened() -> Iterator[Session]:
    """A session in a transaction that commits at the end."""
    engine = sa.create_engine(sqlalchemy_url(settings().required_database_url()))
    try:
        with Session(engine) as session, session.begin():
            yield session
    finally:
        engine.dispose()


@shop.command()
def stock(item: str, count: Annotated[int, typer.Argument(min=0)]) -> None:
    """Put `count` pieces of an item on the shelf."""
    with session_opened() as session:
        there = sa.select(tables.stock.c.item).where(tables.stock.c.item == item)
        if session.execute(there).first() is None:
            session.execute(sa.insert(tables.stock).values(item=item, available=count))
        else:
            more = tables.stock.c.available + count
            session.execute(
                sa.update(tables.stock).where(tables.stock.c.item == item).values(available=more)
            )
    typer.echo(f"{item}: {count} more")


@shop.command()
def place(item: str, email: str, count: Annotated[int, typer.Option("--count", min=1)] = 1) -> None:
    """Take an order."""
    with session_opened() as session:
        sold = sa.select(tables.stock.c.item).where(tables.stock.c.item == item)
        if session.execute(sold).first() is None:
            raise OrderRefused(f"{item!r} is not sold here; `outbox shop stock` puts it on sale")
        order_id = orders.place(session, item=item, count=count, email=email)
    typer.echo(f"order {order_id} is placed")


@shop.command(name="orders")
def list_orders(*, as_json: AsJson = False) -> None:
    """The orders and what became of them, without addresses."""
    shown = [tables.order.c[name] for name in ("id", "item", "count", "status", "mail")]
    with session_opened() as session:
        rows = session.execute(sa.select(*shown).order_by(tables.order.c.id)).mappings().all()
    if as_json:
        print_json([dict(row) for row in rows])
        return
    table = Table("order", "item", "count", "status", "mail")
    for row in rows:
        table.add_row(*(str(value or "-") for value in row.values()))
    out().print(table)
