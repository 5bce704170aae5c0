"""Every sentence a person can meet: whole in both languages, and readable by whom it is for."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from handlers.alerts import KINDS
from handlers.texts import (
    Audience,
    Kind,
    Language,
    TextIncomplete,
    TextMissing,
    digest_text,
    item_text,
    key_of,
    language_of,
    may_arrive_again,
    negotiate,
    say,
)
from handlers.texts.sentences import CatalogueUnreadable, Reader, Sentence, _read, sentences
from sagas.recipients import Step
from sagas.verdicts import Action, Verdict
from tests.tidy.tree import ROOT, at, modules

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CATALOGUE = {language: sentences(language) for language in Language}
BOTH = pytest.mark.parametrize("language", list(Language))
CODE_WORDS = re.compile(
    r"""\w_\w                                # snake_case
    | [a-z][A-Z]                             # camelCase
    | \w\.\w                                 # dotted.names, files, addresses
    | [{}<>\[\]`$=\\]                        # JSON, templates, markup
    | [0-9a-f]{8}-[0-9a-f]{4}                # identifiers
    | (?i:\b(?:json|uuid|null|https?|api|fcm|token|payload|endpoint|timeout|sql|rls)\b)
    """,
    re.VERBOSE,
)


def every(language: Language) -> Iterator[tuple[Sentence, str]]:
    for sentence in CATALOGUE[language].values():
        for said in sentence.specimens(language):
            yield sentence, said


def test_both_languages_say_the_same_things_to_the_same_people() -> None:
    """NTF-4: a sentence or a variable missing in one of them fails here."""
    bokmaal, english = CATALOGUE[Language.NB], CATALOGUE[Language.EN]

    def shape(each: Sentence) -> tuple[str, str, Reader, frozenset[str]]:
        return each.key, each.topic, each.reader, each.variables

    assert list(map(shape, bokmaal.values())) == list(map(shape, english.values()))


@BOTH
def test_every_variable_is_declared_with_examples_and_no_other(language: Language) -> None:
    for sentence in CATALOGUE[language].values():
        message = sentence.key.partition(".")[0]
        siblings = [
            each for each in CATALOGUE[language].values() if each.key.partition(".")[0] == message
        ]
        used = frozenset[str]().union(*(each.variables for each in siblings))

        assert set(sentence.examples) == used, sentence.key


@BOTH
def test_every_sentence_can_be_told(language: Language) -> None:
    """Nothing of Fluent's own stays in what people read."""
    for sentence, said in every(language):
        assert said.strip() == said, sentence.key
        assert said, sentence.key
        assert not re.search(r"[{}$\u2068\u2069]|\?\?\?|  ", said), (sentence.key, said)


@BOTH
def test_a_sentence_without_one_of_its_arguments_is_refused(language: Language) -> None:
    """Fluent would tell it all the same, with a placeholder."""
    whole = 0
    for sentence in CATALOGUE[language].values():
        given = {name: sentence.examples[name][0] for name in sentence.variables}
        for missing in given:
            whole += 1
            rest = {name: value for name, value in given.items() if name != missing}
            with pytest.raises(TextIncomplete):
                say(sentence.key, language, **rest)

    assert whole > 20


@BOTH
@pytest.mark.parametrize("key", ["nothing", "alert-portal-ahead.nothing", "digest-title.title", ""])
def test_a_sentence_nobody_wrote_is_refused(key: str, language: Language) -> None:
    with pytest.raises(TextMissing, match="the catalogue has no"):
        say(key, language)


@BOTH
def test_a_choice_by_number_has_a_plural_and_a_fallback(language: Language) -> None:
    """`*[other]` for what is many; `[one]` unless zero alone differs."""
    for sentence in CATALOGUE[language].values():
        for name, forms in sentence.selectors.items():
            if isinstance(sentence.examples[name][0], int):
                assert "other" in forms, sentence.key
                assert forms & {"one", "0"}, sentence.key


@pytest.mark.parametrize(
    ("key", "arguments", "bokmaal", "english"),
    [
        ("digest-tier", {"count": 2, "days": 1}, "2 innen 1 dag", "2 within 1 day"),
        ("digest-tier", {"count": 1, "days": 14}, "1 innen 14 dager", "1 within 14 days"),
        ("digest-paused", {"count": 1}, "1 er satt på pause.", "1 has been paused."),
        ("digest-paused", {"count": 2}, "2 er satt på pause.", "2 have been paused."),
        ("digest-reactivated", {"count": 1}, "1 er aktiv igjen.", "1 is active again."),
        ("digest-reactivated", {"count": 2}, "2 er aktive igjen.", "2 are active again."),
        (
            "reconciliation-alerts",
            {"count": 0},
            "Ingen varsler venter på oppfølging.",
            "No alert waits for somebody.",
        ),
        (
            "reconciliation-drift",
            {"count": 1200},
            "1\N{NO-BREAK SPACE}200 likepersoner vises ikke som de skal.",
            "1,200 peer mentors are not shown as intended.",
        ),
    ],
)
def test_one_is_one_and_two_are_more(
    key: str, arguments: dict[str, Any], bokmaal: str, english: str
) -> None:
    assert say(key, "nb", **arguments) == bokmaal
    assert say(key, "en", **arguments) == english


@BOTH
def test_nobody_reads_the_words_of_the_code(language: Language) -> None:
    """No identifier, JSON or code word in any example; only operators may read of endpoints."""
    read = [
        f"{sentence.key}: {said}"
        for sentence, said in every(language)
        if CODE_WORDS.search(said) and sentence.reader is not Reader.OPERATOR
    ]

    assert not read


@pytest.mark.parametrize(
    "said",
    ["mentor_paused", "sagas.app", '{"a": 1}', "9c4a3a51-4b7e", "visibilityVersion", "the payload"],
)
def test_the_check_for_words_of_the_code_can_fail(said: str) -> None:
    assert CODE_WORDS.search(said)


@BOTH
def test_no_kind_of_notice_is_without_words(language: Language) -> None:
    """NTF-4, PUSH-2: by kind, tier, reader and reason; a digest is no single fact."""
    singles = [kind for kind in Kind if kind is not Kind.COORDINATOR_DIGEST]
    for audience in Audience:
        for kind in singles:
            for reason in (None, "certificate_lapsed", "holiday"):
                tiers = (
                    ["60", "30", "14", "7", "1"] if kind is Kind.CERT_EXPIRY_REMINDER else [None]
                )
                for tier in tiers:
                    text = item_text(
                        kind, audience=audience, tier=tier, reason=reason, language=language
                    )
                    assert text.title
                    assert text.body
    with pytest.raises(TextMissing):
        item_text(
            Kind.COORDINATOR_DIGEST,
            audience=Audience.COORDINATOR,
            tier=None,
            reason=None,
            language=language,
        )


def test_the_last_week_reads_as_urgent() -> None:
    """NTF-4: the text follows the tier."""

    def title(tier: str) -> str:
        return item_text(
            Kind.CERT_EXPIRY_REMINDER,
            audience=Audience.MENTOR,
            tier=tier,
            reason=None,
            language="nb",
        ).title

    assert title("60") == title("30") == "Sertifikatet ditt utløper snart"
    assert title("7") == "Sertifikatet ditt utløper om få dager"


def test_a_digest_counts_per_tier_most_urgent_first() -> None:
    """GRP-1, PUSH-5: counts, never a list; a mentor with two certificates is one mentor."""
    text = digest_text(
        {"30": 2, "7": 1, "14": 0, "lapsed": 1},
        people=3,
        changed={Kind.MENTOR_REACTIVATED: 1, Kind.MENTOR_PAUSED: 2},
        language="en",
    )

    assert text.title == "Certificates about to expire"
    assert text.body == (
        "3 peer mentors need follow-up (2 urgent): 1 expired, 1 within 7 days, 2 within 30 days. "
        "2 have been paused. 1 is active again."
    )


@BOTH
def test_every_code_a_report_or_alert_shows_has_its_words(language: Language) -> None:
    """ALR-4, RCN-2: what the tables hold as codes is never what a person reads."""
    findings = (
        "missing_coordinator", "mentor_without_chapter", "mentor_without_certificate",
        "unknown_at_portal", "other",
    )  # fmt: skip
    keys = [
        *(
            f"{key_of('alert', type_)}{part}"
            for type_ in KINDS
            for part in ("", ".meaning", ".action")
        ),
        *(f"{key_of('verdict', each)}{part}" for each in Verdict for part in ("", ".meaning")),
        *(key_of("action", each) for each in Action),
        *(key_of("step", str(each.number)) for each in Step),
        *(key_of("finding", each) for each in findings),
        *(key_of("credential", each) for each in ("accepted", "rejected", "unavailable")),
        *(key_of("duplicate", each) for each in ("reminder", "push", "pause")),
    ]

    assert all(say(key, language) for key in keys)


def test_the_repeat_says_so_in_both_languages() -> None:
    """DED-12: both texts in one place."""
    assert may_arrive_again("nb") == "Denne meldingen kan komme to ganger."
    assert may_arrive_again("en") == "This message may reach you twice."
    assert may_arrive_again("fi") == may_arrive_again("nb")


def test_every_call_in_the_code_names_a_sentence_and_its_arguments() -> None:
    """A key misspelt or an argument left out is found here, not by a reader."""
    known = CATALOGUE[Language.NB]
    wrong, calls = [], 0
    for path, tree in modules("handlers", "sagas"):
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and ast.unparse(node.func).endswith("say")):
                continue
            if not (node.args and isinstance(node.args[0], ast.Constant)):
                continue
            calls += 1
            key = node.args[0].value
            given = {keyword.arg for keyword in node.keywords}
            if key not in known or (None not in given and given != known[key].variables):
                wrong.append(at(path, node.lineno, ast.unparse(node)))

    assert calls >= 5
    assert not wrong


TEMPLATE_CALL = re.compile(r"""\bsay\("([a-z.-]+)"((?:, ?\w+=[\w.]+)*)\)""")


def test_every_call_in_a_template_names_a_sentence_and_its_arguments() -> None:
    known = CATALOGUE[Language.NB]
    calls = [
        (path.name, call[1], frozenset(re.findall(r"(\w+)=", call[2])))
        for path in sorted((ROOT / "sagas").glob("**/templates/*.html"))
        for call in TEMPLATE_CALL.finditer(path.read_text(encoding="utf-8"))
    ]

    assert len(calls) > 10
    assert not [
        call for call in calls if call[1] not in known or call[2] != known[call[1]].variables
    ]


FAMILIES = {
    "action", "alert", "column", "credential", "digest", "duplicate", "duration", "error",
    "finding", "integration", "lag", "prompt", "state", "step", "verdict",
    *(key_of(kind) for kind in Kind),
}  # fmt: skip
"""How keys begin that are put together from codes; other tests hold each family to its codes."""


def test_no_sentence_is_one_that_nobody_can_meet() -> None:
    """The page of texts shows what people read, not what was once planned."""
    code = "".join(
        path.read_text(encoding="utf-8")
        for folder in ("handlers", "sagas")
        for path in sorted((ROOT / folder).glob("**/*"))
        if path.suffix in {".py", ".html"}
    )
    written = set(re.findall(r"""["']([a-z]+(?:-[a-z0-9]+)*(?:\.[a-z-]+)?)["']""", code))

    assert not [
        key
        for key in CATALOGUE[Language.NB]
        if key not in written and not any(key.startswith(f"{family}-") for family in FAMILIES)
    ]


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        (None, Language.NB),
        ("", Language.NB),
        ("en", Language.EN),
        ("en-GB,en;q=0.9,nb;q=0.8", Language.EN),
        ("nb-NO,en;q=0.5", Language.NB),
        ("nn, en;q=0.9", Language.NB),
        ("no;q=0.1,en;q=0.2", Language.EN),
        ("de, fr;q=0.9, en;q=0.1", Language.EN),
        ("de, *", Language.NB),
        ("en;q=0", Language.NB),
        ("en;q=high", Language.NB),
        (";;=,,", Language.NB),
    ],
)
def test_a_request_is_answered_in_the_best_language(
    accepted: str | None, language: Language
) -> None:
    assert negotiate(accepted) is language


def test_a_request_without_a_language_reads_that_of_its_organisation() -> None:
    assert negotiate(None, otherwise="en") is Language.EN
    assert negotiate("nb", otherwise="en") is Language.NB


def test_the_organisations_languages_are_those_of_the_catalogue(database: str) -> None:
    with psycopg.connect(database) as conn:
        row = conn.execute(
            "select pg_get_constraintdef(oid) from pg_constraint"
            " where conname = 'organisations_language_is_known'"
        ).fetchone()
    assert row is not None

    assert set(re.findall(r"'(\w+)'", row[0])) == {each.value for each in Language}
    assert language_of(None) is language_of("fi") is Language.NB


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("## reader: mentor\n\nbroken = {\n", "no Fluent"),
        ("orphan = A sentence\n", "orphan has no reader"),
        ("## reader: nobody\n\nx = y\n", "names no reader"),
    ],
)
def test_a_file_that_breaks_the_form_is_refused(tmp_path: Path, written: str, says: str) -> None:
    path = tmp_path / "x.ftl"
    path.write_text(written, encoding="utf-8")

    with pytest.raises(CatalogueUnreadable, match=says):
        list(_read(path, {}))
