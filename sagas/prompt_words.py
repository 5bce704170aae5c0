"""A rule as a sentence, and why it does not fire as another: what coordinators read (SCN-8).

Equal rules read the same and different rules differently: each part of a rule has its own words in
the catalogue, and a flag that the catalogue does not know stands in quotation marks, which no code
can contain.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

from handlers.texts import TextMissing, key_of, say

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sagas.prompt_rules import Condition, Reason, Rule


def describe(rule: Rule, language: str) -> str:
    """The rule in plain words; an unknown language reads Norwegian."""
    anchor = say(key_of("prompt", "anchor", rule.anchor.value), language)
    sentence = say("prompt-when", language, days=rule.delay_days, anchor=anchor)
    if rule.conditions:
        met = _joined((_condition(each, language) for each in rule.conditions), language)
        sentence = say("prompt-if", language, sentence=sentence, conditions=met)
    if rule.unless:
        happened = (
            say(key_of("prompt", "event", each.event.value), language) for each in rule.unless
        )
        events = _joined(happened, language)
        sentence = say("prompt-unless", language, sentence=sentence, events=events)
    return sentence


def reason_text(reason: Reason, language: str) -> str:
    """Why nothing is sent, in a sentence."""
    return say(key_of("prompt", "reason", reason.value), language)


def _condition(condition: Condition, language: str) -> str:
    flag = _flag(condition.flag, language)
    if condition.is_:
        return say("prompt-flagged", language, flag=flag)
    return say("prompt-not-flagged", language, flag=flag)


def _flag(code: str, language: str) -> str:
    try:
        return say(key_of("prompt", "flag", code), language)
    except TextMissing:
        return say("prompt-quoted-flag", language, code=code.replace("_", " "))


def _joined(parts: Iterable[str], language: str) -> str:
    return reduce(
        lambda first, second: say("prompt-both", language, first=first, second=second), parts
    )
