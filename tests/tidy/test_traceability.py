"""No rule without its code and test is overlooked, and none loses what it had."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from tests.tidy.traceability import (
    COMMAND,
    FAMILIES,
    PAGE,
    RULES,
    Found,
    Rule,
    find,
    ids_in_name,
    lost,
    read_rules,
    render,
)
from tests.tidy.tree import ROOT, at, texts

if TYPE_CHECKING:
    from collections.abc import Mapping

_ID = re.compile(rf"\b(?:(?:{'|'.join(FAMILIES)})-\d+|T\d\.\d+)\b")


@pytest.fixture(scope="module")
def rules() -> list[Rule]:
    """The rules as the page of rules tells them."""
    return read_rules(RULES.read_text(encoding="utf-8"))


def test_the_page_of_rules_holds_every_rule_and_every_case(rules: list[Rule]) -> None:
    """184 rules in 28 families and 54 cases; numbers of a family leave no gap."""
    numbers: defaultdict[str, set[int]] = defaultdict(set)
    for rule in rules:
        prefix, _, number = rule.id.replace(".", "-").partition("-")
        numbers[prefix].add(int(number))

    assert sum(not rule.is_case for rule in rules) == 184
    assert sum(rule.is_case for rule in rules) == 54
    assert set(numbers) == {*FAMILIES, "T0", "T1", "T2", "T3", "T4"}
    assert all(found == set(range(1, len(found) + 1)) for found in numbers.values())


def test_the_table_is_what_the_tree_says(rules: list[Rule]) -> None:
    found = find(rules)
    page = PAGE.read_text(encoding="utf-8")

    assert not lost(page, rules, found)
    assert page == render(rules, found).rstrip("\n") + "\n", f"make it again: {COMMAND}"


def test_no_rule_is_cited_that_does_not_exist(rules: list[Rule]) -> None:
    """A slip of the pen would leave its rule open, or hide that it is."""
    known = {rule.id for rule in rules}
    strange = [
        at(path, text.count("\n", 0, hit.start()) + 1, hit[0])
        for path, text in texts()
        if not path.is_relative_to(ROOT / "tests" / "tidy")
        for hit in _ID.finditer(text)
        if hit[0] not in known
    ]

    assert not strange


def test_names_of_tests_name_rules() -> None:
    assert ids_in_name("test_t0_10_ten_kills_lose_nothing") == {"T0.10"}
    assert ids_in_name("test_ded_7_the_guard_of_20_hours") == {"DED-7"}
    assert ids_in_name("test_small_pages_of_3_find_the_same") == set()


_TWO = [Rule("DED-1", "one"), Rule("T0.1", "two")]


@pytest.mark.parametrize(
    ("code", "tests", "told"),
    [
        ({"DED-1": ("a",)}, {"DED-1": ("t",), "T0.1": ("t",)}, []),
        ({}, {"DED-1": ("t",), "T0.1": ("t",)}, ["DED-1 had code that names it, and has none now"]),
        ({"DED-1": ("a",)}, {"T0.1": ("t",)}, ["DED-1 had a test that names it, and has none now"]),
        ({"DED-1": ("a",)}, {"DED-1": ("t",)}, []),  # it was open already
    ],
)
def test_what_had_code_or_a_test_may_not_lose_it(
    code: Mapping[str, tuple[str, ...]], tests: Mapping[str, tuple[str, ...]], told: list[str]
) -> None:
    page = render(_TWO, Found({"DED-1": ("a",)}, {"DED-1": ("t",)}))

    assert lost(page, _TWO, Found(code, tests)) == told


def test_a_new_rule_may_begin_open() -> None:
    page = render(_TWO, Found({}, {}))

    assert not lost(page, [*_TWO, Rule("DED-2", "three")], Found({}, {}))
