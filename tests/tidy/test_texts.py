"""The page of texts is made from the catalogue, and shows it as it is."""

from __future__ import annotations

from handlers.texts.catalogue import FOLDER, Language
from handlers.texts.page import PAGE, markdown
from handlers.texts.sentences import sentences
from tests.tidy.tree import at, modules


def test_the_page_of_texts_is_fresh() -> None:
    """`python -m handlers.texts.page` makes it."""
    assert PAGE.read_text(encoding="utf-8") == markdown()


def test_the_page_shows_every_sentence() -> None:
    shown = PAGE.read_text(encoding="utf-8")

    assert [key for key in sentences(Language.NB) if f"| `{key}` |" not in shown] == []


def test_sentences_lie_in_the_catalogue_alone() -> None:
    """Bokmål in a Python file would be a sentence that no page shows and no test reads."""
    written = [
        at(path, number, line.strip())
        for path, _ in modules("handlers", "sagas")
        if not path.is_relative_to(FOLDER) and path.name != "seed.py"  # names of places
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if any(letter in line.replace("bokmål", "") for letter in "æøåÆØÅ")
    ]

    assert not written
