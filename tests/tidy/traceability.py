"""`docs/traceability.md`: where each rule of `docs/rules.md` is kept, and by which test.

`./run trace` makes the page from the ids that docstrings, comments and test names hold. A rule of
the process (§10) is kept by a page of `docs/`. The page lists what is open; that list only shrinks,
so neither this program nor the tree's tests let a rule lose the code or the test it had.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING, Final, TypeGuard

from tests.tidy.tree import PACKAGES, ROOT, files, parsed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

PAGE: Final = ROOT / "docs" / "traceability.md"
RULES: Final = ROOT / "docs" / "rules.md"
COMMAND: Final = "./run trace"

FAMILIES: Final = (
    "CFG", "TIER", "ELG", "REC", "GRP", "DED", "NTF", "PUSH", "DSP", "RTY", "RES", "PAU", "SYN",
    "ALR", "RCN", "CRD", "VIS", "SEC", "PII", "LOG", "AUD", "LNK", "SCN", "MIG", "PRF", "OPS",
    "ARC", "DOC",
)  # fmt: skip

_RULE_ID = re.compile(rf"\b(?:(?:{'|'.join(FAMILIES)})-\d+|T[0-4]\.\d+)\b")
_RULE_LINE = re.compile(r"^- \*\*([A-Z]+-\d+)\*\* (.+)$", re.MULTILINE)
_CASE_LINE = re.compile(r"^\| (T\d\.\d+) \| \w+[^|]*\| (.+) \|$", re.MULTILINE)
_PROCESS = re.compile(r"^## 10\..*?(?=^## )", re.MULTILINE | re.DOTALL)
_IN_A_NAME = re.compile(r"(?<![a-z0-9])(t[0-4]|[a-z]{3,4})_(\d+)(?![a-z0-9])")
_OPEN_LINE = re.compile(r"^- without (code|a test): (.*)$", re.MULTILINE)
_MADE: Final = frozenset({RULES, PAGE, ROOT / "docs" / "mutation.md", ROOT / "docs" / "texts.md"})
_PROGRAMS: Final = frozenset({"run", ".ci/run", "pyproject.toml"})
_TITLE_MAX: Final = 110


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, or one case of the catalogue (`T0.1`): its id and how its text begins."""

    id: str
    title: str
    process: bool = False
    """It is kept by a page people read, not by code."""

    @property
    def family(self) -> str:
        """The letters before the number; all cases are `T`."""
        return "T" if self.is_case else self.id.partition("-")[0]

    @property
    def is_case(self) -> bool:
        """A test that the source documents name: it needs a test and no code."""
        return self.id[1].isdigit()


@dataclass(frozen=True, slots=True)
class Found:
    """Where ids stand: by id, the places in code and the tests, each sorted."""

    code: Mapping[str, tuple[str, ...]]
    tests: Mapping[str, tuple[str, ...]]

    def open(self, rules: Iterable[Rule]) -> dict[str, tuple[str, ...]]:
        """The ids of `rules` without `code`, and without `a test`, in the rules' order."""
        given = tuple(rules)
        return {
            "code": tuple(r.id for r in given if not r.is_case and not self.code.get(r.id)),
            "a test": tuple(r.id for r in given if not self.tests.get(r.id)),
        }


def read_rules(text: str) -> list[Rule]:
    """The rules and the cases of the text of `docs/rules.md`, in its order."""
    chapter = _PROCESS.search(text)
    process = set(_RULE_ID.findall(chapter[0])) if chapter else set()
    rules = [Rule(name, _title(words), name in process) for name, words in _RULE_LINE.findall(text)]
    return rules + [Rule(name, _title(words)) for name, words in _CASE_LINE.findall(text)]


def _title(words: str) -> str:
    first = re.split(r"(?<=[a-z\d)`])[.;:] |\s\[", words.replace("**", ""), maxsplit=1)[0]
    if len(first) <= _TITLE_MAX:
        return first.rstrip(".").replace("|", "\\|")
    return first[:_TITLE_MAX].rsplit(" ", 1)[0].replace("|", "\\|") + " …"


def find(rules: Iterable[Rule]) -> Found:
    """Read the whole tree."""
    process = {rule.id for rule in rules if rule.process}
    code: defaultdict[str, set[str]] = defaultdict(set)
    tests: defaultdict[str, set[str]] = defaultdict(set)
    for path in files():
        inside = path.relative_to(ROOT)
        if inside.parts[0] == "tests" and path.suffix == ".py":
            for name, ids in tested(path):
                for each in ids:
                    tests[each].add(f"{'/'.join(inside.parts[1:])}::{name}")
        elif inside.parts[0] in (*PACKAGES, "bench") or str(inside) in _PROGRAMS:
            for place, each in cited(path):
                code[each].add(place)
        elif path.suffix == ".md" and path not in _MADE:
            for each in process.intersection(_RULE_ID.findall(path.read_text(encoding="utf-8"))):
                code[each].add(str(inside))
    return Found(_sorted(code), _sorted(tests))


def _sorted(found: Mapping[str, set[str]]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(sorted(places)) for name, places in found.items()}


def tested(path: Path) -> Iterator[tuple[str, set[str]]]:
    """Each test of a file with the ids that its name, docstring and comments hold."""
    text = path.read_text(encoding="utf-8")
    if not (_RULE_ID.search(text) or _IN_A_NAME.search(text)):
        return
    lines = _comments(path)
    for node in filter(_is_test, ast.walk(parsed(path))):
        words = ast.get_docstring(node) or ""
        words += " ".join(
            text for line, text in lines if node.lineno <= line <= (node.end_lineno or node.lineno)
        )
        if ids := set(_RULE_ID.findall(words)) | ids_in_name(node.name):
            yield node.name, ids


def _is_test(
    node: ast.AST,
) -> TypeGuard[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return node.name.startswith("test_")
    return isinstance(node, ast.ClassDef) and node.name.endswith("Machine")


def ids_in_name(name: str) -> set[str]:
    """`test_t0_10_ten_kills` names T0.10, `test_ded_7_the_guard` DED-7."""
    found = {
        f"{letters.upper()}.{number}" if letters[1].isdigit() else f"{letters.upper()}-{number}"
        for letters, number in _IN_A_NAME.findall(name)
    }
    return {each for each in found if _RULE_ID.fullmatch(each)}


def cited(path: Path) -> Iterator[tuple[str, str]]:
    """Each id in docstrings and comments of a file of ours, with the place that holds it."""
    inside = str(path.relative_to(ROOT))
    text = path.read_text(encoding="utf-8") if path.suffix in {"", ".py", ".sql", ".toml"} else ""
    if not _RULE_ID.search(text):
        return
    if path.suffix == ".py":
        for place, words in _spoken(path):
            yield from ((f"{inside}{place and '::'}{place}", i) for i in _RULE_ID.findall(words))
        return
    sign = "--" if path.suffix == ".sql" else "#"
    for line in text.splitlines():
        if sign in line or "comment on" in line or line.lstrip().startswith("'"):
            yield from ((inside, each) for each in _RULE_ID.findall(line))


def _spoken(path: Path) -> Iterator[tuple[str, str]]:
    """The docstrings and comments of a module, each with its innermost function or class."""
    named = sorted(_named(parsed(path)))
    for node in ast.walk(parsed(path)):
        value = getattr(node, "value", None)
        if isinstance(node, ast.Expr) and isinstance(value, ast.Constant):
            yield _inside(named, node.lineno), str(value.value)
    for line, text in _comments(path):
        yield _inside(named, line), text


def _named(tree: ast.AST, outer: str = "") -> Iterator[tuple[int, int, str]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{outer}{node.name}"
            yield node.lineno, node.end_lineno or node.lineno, name
            yield from _named(node, f"{name}.")
        else:
            yield from _named(node, outer)


def _inside(named: Iterable[tuple[int, int, str]], line: int) -> str:
    return next((n for first, last, n in reversed([*named]) if first <= line <= last), "")


@cache
def _comments(path: Path) -> tuple[tuple[int, str], ...]:
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline)
    return tuple((t.start[0], t.string) for t in tokens if t.type == tokenize.COMMENT)


def listed_open(page: str) -> dict[str, set[str]]:
    """What a page lists as open: ids without `code`, and without `a test`."""
    told: dict[str, set[str]] = {"code": set(), "a test": set()}
    for what, ids in _OPEN_LINE.findall(page):
        told[what].update(_RULE_ID.findall(ids))
    return told


def lost(page: str, rules: Iterable[Rule], found: Found) -> list[str]:
    """Sentences about each rule of `page` that has lost code or tests since it was made."""
    before = listed_open(page)
    known = set(re.findall(r"^\| ([A-Z]+-\d+|T\d\.\d+) \|", page, re.MULTILINE))
    return [
        f"{each} had {'a test' if what == 'a test' else 'code'} that names it, and has none now"
        for what, ids in found.open(rules).items()
        for each in ids
        if each in known and each not in before[what]
    ]


def render(rules: list[Rule], found: Found) -> str:
    """The page's text."""
    return "\n".join([*_opening(), *_open(rules, found), *_tables(rules, found)]) + "\n"


def _opening() -> Iterator[str]:
    yield "# Traceability"
    yield ""
    yield f"Made by `{COMMAND}` from the ids in docstrings, comments and names of tests; edit"
    yield "those, not this page. The rules' full words are in [rules.md](rules.md). Paths of tests"
    yield "are below `tests/`. A rule of the process is kept by a page that people read."
    yield ""


def _open(rules: list[Rule], found: Found) -> Iterator[str]:
    yield "## Open"
    yield ""
    yield "This list only shrinks: a rule that is not here may not lose its code or its test."
    yield ""
    for family, group in groupby(rules, lambda rule: rule.family):
        gaps = {what: ids for what, ids in found.open(group).items() if ids}
        if gaps:
            yield f"**{family}**"
            yield ""
            yield from (f"- without {what}: {', '.join(ids)}" for what, ids in gaps.items())
            yield ""


def _tables(rules: list[Rule], found: Found) -> Iterator[str]:
    for family, group in groupby(rules, lambda rule: rule.family):
        yield f"## {'Cases of the catalogue' if family == 'T' else family}"
        yield ""
        yield "| case | given, expected | tests |" if family == "T" else "| rule | | code | tests |"
        yield "|---|---|---|" if family == "T" else "|---|---|---|---|"
        for rule in group:
            cells = [rule.id, rule.title]
            cells += [] if rule.is_case else [_cell(found.code.get(rule.id, ()))]
            cells += [_cell(found.tests.get(rule.id, ()))]
            yield f"| {' | '.join(cells)} |"
        yield ""


def _cell(places: Iterable[str]) -> str:
    return "<br>".join(f"`{place}`" for place in places) or "**open**"


def main() -> int:
    """Write the page; 1 and a sentence each if that would hide that something was lost."""
    rules = read_rules(RULES.read_text(encoding="utf-8"))
    found = find(rules)
    before = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    if told := lost(before, rules, found):
        sys.stderr.write("\n".join(told) + "\n")
        return 1
    PAGE.write_text(render(rules, found).rstrip("\n") + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
