"""docs/prompts.md: its rule is one, its sentence is the rule's, its words are those of the code."""

from __future__ import annotations

import json
import re
from pathlib import Path

from sagas.prompt_rules import CATCH_UP, DELAY_DAYS_MAX, KINDS, RUNS_MAX, Anchor, Event, Rule
from sagas.prompt_words import describe

PAGE = (Path(__file__).parents[2] / "docs" / "prompts.md").read_text(encoding="utf-8")


def test_scn_8_the_sentence_shown_is_the_rules_own() -> None:
    """SCN-7, SCN-8: the rule is valid, and what opens the page is its sentence."""
    found = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    rule = Rule.of(json.loads(found[1]))
    without = rule.model_copy(update={"unless": ()})

    assert f"*{describe(without, 'en')}*" in PAGE


def test_the_words_of_the_page_are_those_the_rules_go_by() -> None:
    """SCN-7, SCN-11, SCN-12: kinds of activity, anchors, days and runs."""
    table = PAGE.partition("## Bringing in")[0]
    told = {
        word
        for row in re.findall(r"(?m)^\| (`.*?) \|", table)
        for word in re.findall(r"`(\w+)`", row)
    }
    known = {kind for kinds in KINDS.values() for kind in kinds} | {each.value for each in Event}

    assert told == known
    assert all(f"`{anchor.value}`" in table for anchor in Anchor)
    assert f"0 to {DELAY_DAYS_MAX} days" in table
    assert (CATCH_UP.days, RUNS_MAX) == (3, 3)
    assert "within three days more" in table
    assert "three in all" in table


def test_scn_9_no_rule_is_brought_in_without_a_coordinators_look() -> None:
    """SCN-9: the checklist stands between preview and storing, and asks for a record."""
    preview, review, store = (
        PAGE.index(words)
        for words in (
            "outbox prompts preview",
            "Sit down with a coordinator",
            "outbox prompts define",
        )
    )

    assert preview < review < store
    assert "who looked at it and when" in PAGE[review:store]
