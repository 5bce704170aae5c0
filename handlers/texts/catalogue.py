"""Formats the sentences of the catalogue: one function, two languages, nothing left to guess.

Fluent itself answers a missing word or argument with a placeholder and goes on. A person would read
it, so here both are errors; a test formats every sentence and checks every call in the code.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from fluent.runtime import FluentBundle, FluentResource

if TYPE_CHECKING:
    from collections.abc import Iterator

Argument: TypeAlias = str | int
"""What may stand for a variable. Numbers choose plural forms; dates come formatted."""

FOLDER: Final = Path(__file__).parent
_KEPT_MAX: Final = 4096
"""Formatted sentences kept: a night says few different ones, thousands of times."""


class Language(StrEnum):
    """The languages of the catalogue; bokmål is what is read where nothing else is known."""

    NB = "nb"
    EN = "en"


class TextMissing(LookupError):
    """The catalogue has no such sentence: our own mistake."""

    def __init__(self, *, key: str, language: Language) -> None:
        super().__init__(f"the catalogue has no {key!r} in {language.value}")
        self.key, self.language = key, language


class TextIncomplete(ValueError):
    """A sentence cannot be told with the arguments given: our own mistake."""

    def __init__(self, *, key: str, language: Language, faults: int) -> None:
        super().__init__(f"{key!r} in {language.value} cannot be formatted: {faults} faults")
        self.key, self.language, self.faults = key, language, faults


def say(key: str, language: str, /, **arguments: Argument) -> str:
    """The sentence `key` (`message` or `message.attribute`) in `language`.

    An unknown language reads bokmål. Raises TextMissing or TextIncomplete.
    """
    return _said(key, language_of(language), tuple(sorted(arguments.items())))


def language_of(code: str | None) -> Language:
    """The language of the catalogue that `code` means; bokmål where it means none."""
    return Language.EN if code == Language.EN else Language.NB


def negotiate(accepted: str | None, *, otherwise: str = Language.NB) -> Language:
    """The best language for an Accept-Language header; `otherwise` where it names none of ours.

    Nynorsk and plain Norwegian read bokmål. What cannot be read is left out, never refused.
    """
    ranked = sorted(_ranges(accepted or ""), key=lambda found: -found[0])
    return next((language for _, language in ranked), language_of(otherwise))


def key_of(*words: str) -> str:
    """The catalogue's key for stored codes: `alert`, `portal_ahead` is `alert-portal-ahead`."""
    return "-".join(words).replace("_", "-")


def sources(language: Language) -> tuple[Path, ...]:
    """The catalogue's files of one language, in the order of their names."""
    return tuple(sorted((FOLDER / language.value).glob("*.ftl")))


_READ_AS: Final = {
    "nb": Language.NB,
    "no": Language.NB,
    "nn": Language.NB,
    "en": Language.EN,
}


def _ranges(accepted: str) -> Iterator[tuple[float, Language]]:
    for part in accepted.split(","):
        tag, _, terms = part.strip().partition(";")
        language = _READ_AS.get(tag.strip().lower().split("-")[0])
        name, _, weight = terms.strip().partition("=")
        try:
            quality = float(weight) if name.strip() == "q" else 1.0
        except ValueError:
            continue
        if language is not None and 0 < quality <= 1:
            yield quality, language


@cache
def _bundle(language: Language) -> FluentBundle:
    bundle = FluentBundle([language.value], use_isolating=False)
    for path in sources(language):
        bundle.add_resource(FluentResource(path.read_text(encoding="utf-8")))
    return bundle


@lru_cache(maxsize=_KEPT_MAX)
def _said(key: str, language: Language, arguments: tuple[tuple[str, Argument], ...]) -> str:
    name, _, attribute = key.partition(".")
    bundle = _bundle(language)
    if not bundle.has_message(name):
        raise TextMissing(key=key, language=language)
    message = bundle.get_message(name)
    pattern = message.attributes.get(attribute) if attribute else message.value
    if pattern is None:
        raise TextMissing(key=key, language=language)
    said, faults = bundle.format_pattern(pattern, dict(arguments))
    if faults or not isinstance(said, str):
        raise TextIncomplete(key=key, language=language, faults=len(faults))
    return said
