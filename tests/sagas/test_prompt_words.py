"""T3.7: every rule has a sentence, and every sentence one rule."""

from __future__ import annotations

import re

import pytest
from hypothesis import given

from sagas.prompt_rules import Anchor, Reason, Rule
from sagas.prompt_words import describe, reason_text
from tests.sagas.test_prompt_rules import RULES, rule

AFTER, ETTER = "Send 3 days after first contact", "Send 3 dager etter første kontakt"
AKTIVITET = "gjennomføring av en aktivitet"
CONCERN = {"conditions": [{"flag": "wellbeing_concern", "is": True}]}


def test_t3_7_the_example_reads_as_it_was_asked_for() -> None:
    """SCN-8: the sentence of the requirement, to the letter."""
    assert describe(rule(**CONCERN), "en") == (
        "Send 3 days after first contact if wellbeing concern was flagged"
    )
    assert describe(rule(**CONCERN), "nb") == (
        "Send 3 dager etter første kontakt hvis bekymring for trivsel ble meldt"
    )


@pytest.mark.parametrize(
    ("parts", "english", "norwegian"),
    [
        (
            {"delay_days": 0},
            "Send on the day of first contact",
            "Send samme dag som første kontakt",
        ),
        ({"delay_days": 1}, "Send 1 day after first contact", "Send 1 dag etter første kontakt"),
        (
            {"anchor": "activity_completed", "unless": [{"event": "follow_up_registered"}]},
            "Send 3 days after completion of an activity unless a follow-up has been registered",
            f"Send 3 dager etter {AKTIVITET} med mindre en oppfølging er registrert",
        ),
        (
            {
                "conditions": [
                    {"flag": "wellbeing_concern", "is": True},
                    {"flag": "needs_ride", "is": False},
                ]
            },
            f"{AFTER} if wellbeing concern was flagged and “needs ride” was not flagged",
            f"{ETTER} hvis bekymring for trivsel ble meldt og «needs ride» ikke ble meldt",
        ),
    ],
)
def test_t3_7_rules_read_as_sentences(
    parts: dict[str, object], english: str, norwegian: str
) -> None:
    """SCN-8: the grammar, in both languages; an unknown language reads Norwegian."""
    assert describe(rule(**parts), "en") == english
    assert describe(rule(**parts), "nb") == describe(rule(**parts), "se") == norwegian


ANCHORS = {
    "first contact": Anchor.FIRST_CONTACT,
    "last contact": Anchor.LAST_CONTACT,
    "registration of an activity": Anchor.ACTIVITY_REGISTERED,
    "completion of an activity": Anchor.ACTIVITY_COMPLETED,
    "første kontakt": Anchor.FIRST_CONTACT,
    "siste kontakt": Anchor.LAST_CONTACT,
    "registrering av en aktivitet": Anchor.ACTIVITY_REGISTERED,
    "gjennomføring av en aktivitet": Anchor.ACTIVITY_COMPLETED,
}
FLAGS = {
    "wellbeing concern": "wellbeing_concern",
    "wish for follow-up": "follow_up_wanted",
    "difficult conversation": "difficult_conversation",
    "referral to others": "referred_onwards",
    "bekymring for trivsel": "wellbeing_concern",
    "ønske om oppfølging": "follow_up_wanted",
    "vanskelig samtale": "difficult_conversation",
    "henvisning videre": "referred_onwards",
}
SENTENCES = {
    "en": re.compile(
        r"Send (?:on the day of|(?P<days>\d+) days? after)"
        r" (?P<anchor>[a-z ]+? (?:contact|activity))"
        r"(?: if (?P<conditions>.+? flagged))?(?P<unless> unless a follow-up has been registered)?"
    ),
    "nb": re.compile(
        r"Send (?:samme dag som|(?P<days>\d+) dag(?:er)? etter)"
        r" (?P<anchor>[a-zæøå ]+? (?:kontakt|aktivitet))"
        r"(?: hvis (?P<conditions>.+? meldt))?(?P<unless> med mindre en oppfølging er registrert)?"
    ),
}
CONDITION = {
    "en": re.compile(r"(?P<flag>“[^”]+”|[a-z -]+?) was (?P<no>not )?flagged(?: and |$)"),
    "nb": re.compile(r"(?P<flag>«[^»]+»|[a-zæøå -]+?) (?P<no>ikke )?ble meldt(?: og |$)"),
}


def understood(sentence: str, language: str) -> Rule:
    """The rule a reader takes from a sentence: the grammar read backwards, written by hand."""
    found = SENTENCES[language].fullmatch(sentence)
    assert found is not None, sentence
    conditions = [
        {
            "flag": FLAGS.get(one["flag"]) or one["flag"].strip("“”«»").replace(" ", "_"),
            "is": one["no"] is None,
        }
        for one in CONDITION[language].finditer(found["conditions"] or "")
    ]
    return rule(
        anchor=ANCHORS[found["anchor"]],
        delay_days=int(found["days"] or 0),
        conditions=conditions,
        unless=[{"event": "follow_up_registered"}] if found["unless"] else [],
    )


@pytest.mark.parametrize("language", ["nb", "en"])
@given(given_rule=RULES)
def test_t3_7_a_sentence_can_be_read_back_into_its_rule(language: str, given_rule: Rule) -> None:
    """SCN-8: one to one. What can be read back is no other rule's sentence."""
    sentence = describe(given_rule, language)
    assert understood(sentence, language) == given_rule
    assert "{" not in sentence
    assert "_" not in sentence


def test_a_flag_cannot_pass_itself_off_as_grammar() -> None:
    """Two flags, and one whose code spells them out, do not read the same."""
    two = rule(conditions=[{"flag": "a", "is": True}, {"flag": "b", "is": True}])
    one = rule(conditions=[{"flag": "a_was_flagged_and_b", "is": True}])
    for language in ("nb", "en"):
        assert describe(two, language) != describe(one, language)


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("language", ["nb", "en"])
def test_scn_10_each_reason_is_a_sentence(reason: Reason, language: str) -> None:
    text = reason_text(reason, language)
    assert text[0].isupper()
    assert text.endswith(".")
    assert reason.value not in text
