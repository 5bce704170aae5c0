"""What travels as an array literal arrives as the values it was made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from hypothesis import given, settings
from hypothesis import strategies as st

from sagas import columns

if TYPE_CHECKING:
    from datetime import date
    from uuid import UUID

WRITABLE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
READ = """
    select %(ids)s::uuid[], %(counts)s::integer[], %(days)s::date[], %(words)s::text[]
"""


def test_every_value_arrives_as_it_left(server_dsn: str) -> None:
    """Braces, quotes, backslashes, commas, the word null and nothing at all."""
    with psycopg.connect(server_dsn, autocommit=True) as conn:

        @settings(max_examples=50, deadline=None)
        @given(
            st.lists(st.uuids()),
            st.lists(st.none() | st.integers(-(2**31), 2**31 - 1)),
            st.lists(st.dates()),
            st.lists(WRITABLE | st.sampled_from(["null", "", "{}", 'a"b', "a\\", "a,b"])),
        )
        def arrives(
            ids: list[UUID], counts: list[int | None], days: list[date], words: list[str]
        ) -> None:
            params = {
                "ids": columns.uuids(ids),
                "counts": columns.numbers(counts),
                "days": columns.dates(days),
                "words": columns.texts(words),
            }
            assert conn.execute(READ, params).fetchone() == (ids, counts, days, words)

        arrives()
