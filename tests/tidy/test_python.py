"""How our Python is cut: a module is one noun, a function fits a screen, what is public speaks."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import tomllib

import pytest

from tests.tidy.tree import PACKAGES, ROOT, at, files, modules, texts

_MODULE_LINES_MAX = 400
_FUNCTION_LINES_MAX = 60
_NAMES_OF_NOTHING = {"util", "utils", "common", "helper", "helpers", "base", "misc", "manager"}
_TITLE_OF_NOTHING = re.compile(r"(Manager|Service|Processor|Helper|Util|Utils)$")


def test_a_module_is_no_longer_than_a_noun_needs() -> None:
    long = [
        at(path, 1, f"{lines} lines")
        for path, _ in modules(*PACKAGES, "bench", "examples")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > _MODULE_LINES_MAX
    ]

    assert not long


def test_a_function_fits_a_screen() -> None:
    long = [
        at(path, node.lineno, f"{node.name}: {lines} lines")
        for path, tree in modules(*PACKAGES, "bench", "examples")
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > _FUNCTION_LINES_MAX
    ]

    assert not long


def test_no_module_and_no_class_is_named_for_nothing() -> None:
    """A thing lives beside its use; a name says what it is."""
    vague = [
        at(path, 1, path.stem) for path, _ in modules(*PACKAGES) if path.stem in _NAMES_OF_NOTHING
    ]
    vague += [
        at(path, node.lineno, node.name)
        for path, tree in modules(*PACKAGES)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and _TITLE_OF_NOTHING.search(node.name)
    ]

    assert not vague


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_documented(package: str) -> None:
    """What a package exports exists, and classes and functions among it say what they promise."""
    module = importlib.import_module(package)
    exported = getattr(module, "__all__", ())
    things = {name: getattr(module, name) for name in exported}

    silent = [
        name
        for name, thing in things.items()
        if (inspect.isclass(thing) or inspect.isroutine(thing)) and not _own_words(thing)
    ]

    assert module.__doc__
    assert not silent


def _own_words(thing: object) -> str | None:
    """The docstring written for this very thing: a dataclass makes one up from its fields."""
    words = getattr(thing, "__doc__", None)
    made_up = inspect.isclass(thing) and str(words).startswith(f"{thing.__name__}(")
    return None if made_up else words


def test_tests_do_not_sleep() -> None:
    """A sleep is either too short on a loaded machine or too long on all others."""
    asleep = [
        at(path, node.lineno, ast.unparse(node))
        for path, tree in modules("tests")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"time.sleep", "asyncio.sleep", "sleep"}
        and not (node.args and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0)
    ]

    assert not asleep


def test_every_rule_switched_off_has_its_reason_beside_it() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lint = tomllib.loads(text)["tool"]["ruff"]["lint"]
    ignored = {*lint["ignore"], *(r for rules in lint["per-file-ignores"].values() for r in rules)}
    bare = [
        line.strip()
        for line in text.splitlines()
        if (rule := re.match(r'\s*"([A-Z]+\d*)",?', line))
        and rule[1] in ignored
        and "#" not in line
    ]

    assert ignored
    assert not bare


def test_every_exception_to_a_rule_says_which_and_why() -> None:
    """`noqa: CODE # reason`, `type: ignore[code]`: a bare one hides the next mistake too."""
    bare = re.compile(r"#\s*(noqa(?!:)|type:\s*ignore(?!\[)|pragma: no cover\s*$)", re.MULTILINE)
    own = ROOT / "tests" / "tidy"
    found = [
        at(path, text.count("\n", 0, hit.start()) + 1, hit[0])
        for path, text in texts()
        if path.suffix == ".py" and not path.is_relative_to(own)
        for hit in bare.finditer(text)
    ]

    assert not found


def test_the_tree_is_read_at_all() -> None:
    """The tests above pass on an empty list, too."""
    assert ROOT / "outbox" / "embedded.py" in files()
    assert not any(".venv" in path.parts for path in files())
