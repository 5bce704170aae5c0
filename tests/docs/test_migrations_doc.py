"""The recipe of the page on migrations, run as it stands there by Alembic."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from alembic import command
from alembic.config import Config

from outbox.dsn import sqlalchemy_url
from outbox.errors import SchemaError
from outbox.migrations import ENGINE
from outbox.readiness import require_schema

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = Path(__file__).parents[2] / "docs" / "migrations.md"
ORDERS = """
from alembic import op

revision, down_revision = "{}", {}


def upgrade():
    op.execute("{}")


def downgrade():
    pass
"""
MADE = """
select c.relname, c.relkind, i.indisvalid, pg_get_indexdef(i.indexrelid) from pg_class as c
left join pg_index as i on i.indexrelid = c.oid
where c.relnamespace = to_regnamespace('outbox') order by 1
"""


@pytest.fixture
def alembic(tmp_path: Path, empty_database: str) -> Config:
    """Another team's history: the page's, with a revision before it and one after."""
    text = PAGE.read_text(encoding="utf-8").replace("REVISION", ENGINE.head())
    blocks = dict(re.findall(r"^```python (\S+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    assert sorted(blocks) == ["env.py", "versions/0002_outbox.py"]
    (tmp_path / "versions").mkdir()
    first = ORDERS.format("0001", None, "create table their_order (id bigint primary key)")
    third = ORDERS.format("0003", "'0002'", "alter table their_order add if not exists note text")
    blocks |= {"versions/0001.py": first, "versions/0003.py": third}
    for name, block in blocks.items():
        (tmp_path / name).write_text(block, encoding="utf-8")
    config = Config()
    config.set_main_option("script_location", str(tmp_path))
    config.set_main_option("path_separator", "os")
    config.set_main_option("sqlalchemy.url", sqlalchemy_url(empty_database).replace("%", "%%"))
    return config


def made(dsn: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as conn:
        return conn.execute(MADE).fetchall()


async def test_the_recipe_makes_what_migrate_makes(
    alembic: Config, empty_database: str, database: str
) -> None:
    command.upgrade(alembic, "head")

    assert made(empty_database) == made(database)
    await require_schema(empty_database)
    with psycopg.connect(empty_database) as conn:
        assert conn.execute("select version_num from alembic_version").fetchall() == [("0003",)]
        assert conn.execute("select note from their_order").fetchall() == []

    ENGINE.upgrade(empty_database)  # as `outbox migrate` does: it finds nothing to do
    assert made(empty_database) == made(database)

    command.downgrade(alembic, "0001")
    assert [name for name, *_ in made(empty_database)] == ["revision", "revision_pkc"]
    assert ENGINE.current(empty_database) is None
    command.upgrade(alembic, "head")
    assert made(empty_database) == made(database)


def test_what_is_there_already_is_left_as_it_is(alembic: Config, empty_database: str) -> None:
    """A team that has used `outbox migrate` so far, or was broken off after an index."""
    ENGINE.upgrade(empty_database, "0004")

    command.upgrade(alembic, "head")

    assert ENGINE.current(empty_database) == ENGINE.head()


def test_the_callers_lock_timeout_is_put_back(alembic: Config, empty_database: str) -> None:
    told = "create table told as select current_setting('lock_timeout') as it"
    _change(alembic, "versions/0002_outbox.py", lambda text: text.replace(
        f'    ENGINE.upgrade_within("{ENGINE.head()}")\n',
        f'    op.execute("set lock_timeout = 1234")\n'
        f'    ENGINE.upgrade_within("{ENGINE.head()}")\n    op.execute("{told}")\n',
    ).replace("from outbox", "from alembic import op\nfrom outbox"))  # fmt: skip

    command.upgrade(alembic, "head")

    with psycopg.connect(empty_database) as conn:
        assert conn.execute("select it from told").fetchall() == [("1234ms",)]


@pytest.mark.parametrize(
    ("file", "before", "after", "says"),
    [
        ("env.py", "engine.connect()", "engine.begin()", "has opened a transaction before conte"),
        ("versions/0002_outbox.py", ENGINE.head(), "9999", "there is no revision '9999'; there"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_made(
    alembic: Config, empty_database: str, file: str, before: str, after: str, says: str
) -> None:
    _change(alembic, file, lambda text: text.replace(before, after))

    with pytest.raises(SchemaError, match=says):
        command.upgrade(alembic, "head")

    assert made(empty_database) == []


def test_on_paper_it_refuses(alembic: Config) -> None:
    _change(alembic, "env.py", lambda _: (
        "from alembic import context\n"
        "context.configure(dialect_name='postgresql')\n"
        "with context.begin_transaction():\n    context.run_migrations()\n"
    ))  # fmt: skip

    with pytest.raises(SchemaError, match="`outbox migrate --sql` prints"):
        command.upgrade(alembic, "head", sql=True)


def _change(alembic: Config, file: str, how: Callable[[str], str]) -> None:
    folder = alembic.get_main_option("script_location")
    assert folder is not None
    path = Path(folder) / file
    changed = how(path.read_text(encoding="utf-8"))
    assert changed != path.read_text(encoding="utf-8")
    path.write_text(changed, encoding="utf-8")
