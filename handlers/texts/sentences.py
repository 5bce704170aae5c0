"""The catalogue as its files declare it: each sentence, its reader, its variables and examples.

Comments of the files carry what translators need, and what the page of texts and the tests show:
`## reader: coordinator` opens a group, `# $days (30 | 1): …` stands before a sentence. Bokmål
declares; a line of the other language replaces examples that are words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

from fluent.syntax import FluentParser, ast
from fluent.syntax.visitor import Visitor

from handlers.texts.catalogue import Argument, Language, say, sources

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Examples: TypeAlias = Mapping[str, Sequence[Argument]]

_READER: Final = re.compile(r"reader: (\w+)")
_VARIABLE: Final = re.compile(r"\$(\w+) \((.+)\): ")


class Reader(StrEnum):
    """Who meets a sentence. Operators read of endpoints and credentials; the others never do."""

    MENTOR = "mentor"
    COORDINATOR = "coordinator"
    ADMINISTRATOR = "administrator"
    OPERATOR = "operator"
    EVERYONE = "everyone"


class CatalogueUnreadable(ValueError):
    """A file of the catalogue breaks the form that this module reads: our own mistake."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path.parent.name}/{path.name}: {what}")


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of one language: `key` is what `say` takes, `topic` the name of its file.

    `variables` are those the text really uses, `examples` what its comment declares, `selectors`
    the forms it chooses between, by variable.
    """

    key: str
    topic: str
    reader: Reader
    remark: str
    variables: frozenset[str]
    examples: Examples
    selectors: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def specimens(self, language: Language) -> Iterator[str]:
        """The sentence with the first example of each variable, then with the second, and so on."""
        used = {name: self.examples[name] for name in sorted(self.variables)}
        for turn in range(max((len(values) for values in used.values()), default=1)):
            chosen = {name: values[min(turn, len(values) - 1)] for name, values in used.items()}
            yield say(self.key, language, **chosen)


def sentences(language: Language) -> dict[str, Sentence]:
    """Every sentence of one language by its key, in the order of the files.

    Raises CatalogueUnreadable for a file that is not Fluent, a group without a reader, a key used
    twice.
    """
    declared = {} if language is Language.NB else sentences(Language.NB)
    found: dict[str, Sentence] = {}
    for path in sources(language):
        for sentence in _read(path, declared):
            if sentence.key in found:
                raise CatalogueUnreadable(path, f"{sentence.key} stands twice")
            found[sentence.key] = sentence
    return found


def _read(path: Path, declared: Mapping[str, Sentence]) -> Iterator[Sentence]:
    reader: Reader | None = None
    for entry in FluentParser().parse(path.read_text(encoding="utf-8")).body:
        if isinstance(entry, ast.Junk):
            raise CatalogueUnreadable(path, f"no Fluent: {(entry.content or '').strip()[:60]!r}")
        if isinstance(entry, ast.GroupComment):
            reader = _reader(path, entry.content or "")
        if not isinstance(entry, ast.Message):
            continue
        if reader is None:
            raise CatalogueUnreadable(path, f"{entry.id.name} has no reader")
        remark, examples = _comment(entry.comment.content or "" if entry.comment else "")
        patterns = [(entry.id.name, entry.value)] if entry.value else []
        patterns += [(f"{entry.id.name}.{each.id.name}", each.value) for each in entry.attributes]
        for key, pattern in patterns:
            base = declared.get(key)
            uses = _Uses()
            uses.visit(pattern)
            yield Sentence(
                key=key,
                topic=path.stem,
                reader=reader,
                remark=remark or (base.remark if base else ""),
                variables=frozenset(uses.variables),
                examples={**(base.examples if base else {}), **examples},
                selectors={name: frozenset(forms) for name, forms in uses.forms.items()},
            )


def _reader(path: Path, comment: str) -> Reader:
    found = _READER.fullmatch(comment.strip())
    try:
        return Reader(found[1] if found else "")
    except ValueError:
        raise CatalogueUnreadable(path, f"{comment!r} names no reader") from None


def _comment(text: str) -> tuple[str, Examples]:
    """What a comment says of its sentence, and the examples it gives for the variables."""
    remark: list[str] = []
    examples: dict[str, Sequence[Argument]] = {}
    for line in text.splitlines():
        if given := _VARIABLE.match(line):
            values = given[2].split(" | ")
            numbers = all(value.isdigit() for value in values)
            examples[given[1]] = [int(value) for value in values] if numbers else values
        else:
            remark.append(line)
    return " ".join(remark), examples


class _Uses(Visitor):
    """Collects the variables of a pattern and the forms it chooses between."""

    def __init__(self) -> None:
        self.variables: set[str] = set()
        self.forms: dict[str, set[str]] = {}

    def visit_VariableReference(self, node: ast.VariableReference) -> None:  # noqa: N802 - Fluent's name
        self.variables.add(node.id.name)

    def visit_SelectExpression(self, node: ast.SelectExpression) -> None:  # noqa: N802 - as above
        if isinstance(node.selector, ast.VariableReference):
            forms = self.forms.setdefault(node.selector.id.name, set())
            forms |= {
                each.key.name if isinstance(each.key, ast.Identifier) else each.key.value
                for each in node.variants
            }
        self.generic_visit(node)
