"""The page of texts: every sentence a person can meet, as it reads.

`python -m handlers.texts.page` writes `docs/texts.md`; the check of the tree fails where that is
stale.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from handlers.texts.catalogue import Language
from handlers.texts.sentences import Reader, sentences

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from handlers.texts.sentences import Sentence

PAGE: Final = Path(__file__).parents[2] / "docs" / "texts.md"

_TOPICS: Final = {
    "notices": "Pushes and inbox",
    "prompts": "Rules of follow-up, in words",
    "alerts": "Alerts",
    "reports": "Reports",
    "errors": "Answers and errors",
}
_READERS: Final = {
    Reader.MENTOR: "For mentors",
    Reader.COORDINATOR: "For coordinators",
    Reader.ADMINISTRATOR: "For administrators",
    Reader.OPERATOR: "For operators",
    Reader.EVERYONE: "For everyone",
}
_HEAD: Final = """\
# Texts

Every sentence a person can meet, in Norwegian bokmål and English, with examples where it varies.
Made from the catalogue (`handlers/texts`) by `python -m handlers.texts.page`; not edited by hand.

Who reads it is told above each table. A recipient reads the language of the organisation; a request
may ask for another. The commands of operators and the logs are English alone and are not here:
[operations](operations.md) has them.
"""


def markdown() -> str:
    """The page, whole."""
    return _HEAD + "".join(_topics())


def _topics() -> Iterator[str]:
    bokmaal, english = sentences(Language.NB), sentences(Language.EN)
    for topic, title in _TOPICS.items():
        yield f"\n## {title}\n"
        for reader, heading in _READERS.items():
            chosen = [
                each for each in bokmaal.values() if each.topic == topic and each.reader is reader
            ]
            if chosen:
                yield f"\n### {heading}\n\n| key | bokmål | English | |\n|---|---|---|---|\n"
                yield from (_row(each, english) for each in chosen)


def _row(sentence: Sentence, english: Mapping[str, Sentence]) -> str:
    cells = (
        f"`{sentence.key}`",
        _cell(sentence.specimens(Language.NB)),
        _cell(english[sentence.key].specimens(Language.EN)),
        sentence.remark,
    )
    return "| " + " | ".join(cells) + " |\n"


def _cell(specimens: Iterator[str]) -> str:
    """Each different reading once, in the order of the examples."""
    return "<br>".join(dict.fromkeys(specimens)).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(markdown(), encoding="utf-8")
