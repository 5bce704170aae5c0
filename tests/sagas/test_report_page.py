"""RCN-4: the page of a reconciliation stands alone, names nobody, and says what matters first."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from handlers.settings import ApplicationSettings
from handlers.texts import Language, key_of
from handlers.texts.sentences import sentences
from sagas.app import build_app
from sagas.reconcile import DuplicateFound, ReconciliationItem, ReconciliationReport
from sagas.report_page import ROWS_MAX, Run, page
from sagas.verdicts import Action, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = datetime(2026, 3, 2, 0, 20, tzinfo=UTC)
DANGER, BEHIND = UUID(int=1), UUID(int=2)
RUNS = [Run(NOW - timedelta(hours=n), n) for n in range(3, 0, -1)]


def report(**changes: Any) -> ReconciliationReport:
    """A report with one dangerous difference and a harmless one."""
    items = (
        ReconciliationItem(
            mentor_id=DANGER, verdict=Verdict.NOT_PUBLISHED, our_version=5, our_visible=False,
            portal_version=5, portal_visible=False, published_visible=True, lag_seconds=7_200,
            action=Action.RESENT, event_id=6,
        ),
        ReconciliationItem(
            mentor_id=BEHIND, verdict=Verdict.BEHIND, our_version=5, our_visible=True,
            portal_version=4, portal_visible=True, published_visible=True, lag_seconds=600,
        ),
    )  # fmt: skip
    given: dict[str, Any] = {
        "report_id": UUID(int=9),
        "organisation": "HLF",
        "started_at": NOW,
        "finished_at": NOW,
        "complete": True,
        "dry_run": False,
        "totals": {"in_sync": 40, "not_published": 1, "behind": 1},
        "repaired": 1,
        "items": items,
        "duplicates": (
            DuplicateFound(
                kind="pause", audience="coordinator", mentor_id=BEHIND, recipient_id=None,
                certification_id=None, tier="lapsed", occurrences=2,
            ),
        ),
        "unknown_pushes": 0,
        "failed_pushes": 2,
        "open_alerts": 3,
        "credential_status": {"portal": "accepted"},
        **changes,
    }  # fmt: skip
    return ReconciliationReport(**given)


def shown(found: ReconciliationReport, language: str = "en", runs: list[Run] = RUNS) -> str:
    """The page of one report."""
    return page([found], {found.organisation: runs}, language=language)


class Read(HTMLParser):
    """Tags and attributes of a page, and what stands open at its end."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.values: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.values += attrs


def test_the_page_fetches_nothing_and_runs_nothing() -> None:
    """One file that can be forwarded: no script, no address that a browser would ask."""
    read = Read(shown(report()))

    assert read.tags.count("svg") == 3
    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & set(read.tags)
    asked = [
        value for name, value in read.values if name in {"src", "href", "xlink:href", "action"}
    ]
    assert all(value is None or value.startswith("#") for value in asked)
    assert not [name for name, _ in read.values if name.startswith("on")]
    policy = [value for name, value in read.values if name == "content" and value]
    assert any("default-src 'none'" in value for value in policy)
    assert "@import" not in shown(report())
    assert "url(" not in shown(report())


def test_the_danger_is_told_first_and_in_words() -> None:
    """RCN-8: in the summary, in the first row, and in a colour of its own."""
    told = shown(report())

    assert "1 peer mentor should be hidden and is visible." in told
    assert "2 peer mentors are not shown as intended." in told
    assert told.index(str(DANGER)) < told.index(str(BEHIND))
    (row,) = [line for line in told.splitlines() if 'tr class="danger"' in line]
    assert str(DANGER) in row
    assert "Not published" in row
    assert "2 h" in row
    assert "Sent again" in row


def test_danger_stands_in_the_box_that_is_seen_first() -> None:
    """RCN-8: before how many differ, and before everything that may be scrolled to."""
    told = shown(report())

    (box,) = re.findall(r'<div class="state danger">.*?</div>', told, re.DOTALL)
    assert box.index("should be hidden") < box.index("not shown as intended")
    assert "should be hidden" not in told.split("</div>", 1)[1].split("<table>", 1)[0]


def test_times_are_those_of_the_organisation() -> None:
    """A page that says 00:20 where people's clocks said 01:20 is misread."""
    one = report()
    told = page([one], {"HLF": RUNS}, language="nb", zones={"HLF": ZoneInfo("Europe/Oslo")})

    assert "2026-03-02 01:20 (Europe/Oslo)" in told
    assert "02.03. 00:20" in told
    assert "2026-03-02 00:20 (UTC)" in shown(one)


@pytest.mark.parametrize(
    ("seconds", "nb", "en"),
    [
        (0, "under 1 min", "under 1 min"),
        (3_599, "59 min", "59 min"),
        (7_200, "2 t", "2 h"),
        (200_000, "2 døgn", "2 days"),
    ],
)
def test_how_long_it_lasted_is_said_in_the_reader_s_units(seconds: int, nb: str, en: str) -> None:
    items = (report().items[0].model_copy(update={"lag_seconds": seconds}),)
    for language, said in (("nb", nb), ("en", en)):
        assert f'<td class="lag">{said}</td>' in shown(report(items=items), language)


def test_what_it_takes_to_read_it_stands_on_it() -> None:
    """Who the ids are, what happens by itself, what a duplicate is, and which credentials."""
    told = shown(report(credential_status={"fcm": "accepted", "of tomorrow": "accepted"}))

    for sentence in (
        "told by id and not by name", "put right without help", "more than once",
        "<td>Pushes to phones</td>", "of tomorrow", "Lapsed",
    ):  # fmt: skip
        assert sentence in told


def test_whatever_proves_who_we_are_has_a_name() -> None:
    """The credentials of the page are those that are checked (CRD-1)."""
    given: Mapping[str, Any] = {"_env_file": None}
    handlers = build_app(ApplicationSettings(**given)).handlers.values()
    checked = {one.name for one in handlers if one.check is not None}

    named = {key for key in sentences(Language.NB) if key.startswith("integration-")}
    assert named == {key_of("integration", name) for name in checked}


def test_many_runs_are_still_read() -> None:
    """Thirty labels and thirty numbers would lie on each other."""
    runs = [Run(NOW - timedelta(days=n), 1_000 + n) for n in range(30, 0, -1)]
    few, many = shown(report(), runs=runs[-3:]), shown(report(), runs=runs)

    assert ">1003</text>" in few
    assert ">1030</text>" not in many
    assert len(re.findall(r">\d\d\.\d\d\.</text>", many)) <= 11


def test_an_incomplete_listing_is_not_called_right() -> None:
    """Nothing is known of what it lacks."""
    told = shown(report(complete=False, items=(), totals={"in_sync": 3}))

    assert "listing was not complete" in told
    assert "The portal shows what it should." not in told
    assert "Nobody who should be hidden" not in told


def test_the_same_in_bokmaal() -> None:
    told = shown(report(), "nb")

    assert '<html lang="nb">' in told
    assert "1 likeperson skulle vært skjult, men er synlig." in told
    assert "Avstemming med portalen" in told


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"complete": False}, "listing was not complete"),
        ({"dry_run": True}, "Dry run: nothing was sent."),
        ({"items": (), "totals": {"in_sync": 3}}, "The portal shows what it should."),
    ],
)
def test_what_the_report_is_worth_is_said(changes: dict[str, Any], sentence: str) -> None:
    assert sentence in shown(report(**changes))


def test_a_report_without_differences_has_no_empty_charts() -> None:
    told = shown(report(items=(), totals={"in_sync": 3}, duplicates=()), runs=[])

    assert Read(told).tags.count("svg") == 1
    assert 'class="state good"' in told


def test_what_comes_from_the_database_is_escaped() -> None:
    """A code is ours; an organisation's is whatever somebody typed."""
    told = shown(report(organisation="<script>alert(1)</script>"))

    assert "<script" not in told
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in told


def test_a_long_list_is_cut_and_says_so() -> None:
    one = report().items[1]
    items = tuple(one.model_copy(update={"mentor_id": UUID(int=n)}) for n in range(ROWS_MAX + 7))

    told = shown(report(items=items))

    assert told.count('td class="id"') == ROWS_MAX + 1  # and the duplicate's
    assert "7 more differences stand in the CSV file." in told


def test_the_same_report_is_the_same_page() -> None:
    assert shown(report()) == shown(report())


def test_no_word_of_the_code_stands_in_it() -> None:
    """An administrator reads sentences; codes stay in the CSV."""
    told = shown(report())

    for code in ("not_published", "in_sync", "resent", "raise_requested"):
        assert code not in told
