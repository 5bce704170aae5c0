"""A reconciliation as one page that an administrator can forward: charts, plain words, no names.

Everything is in the file: styles and charts inline, no script, nothing fetched. What comes from the
database is escaped, and mentors are told by their ids alone.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from datetime import UTC, timedelta
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

import pygal
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from pygal.style import Style

from handlers.texts import TextMissing, key_of, say
from sagas.verdicts import DRIFT, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime, tzinfo

    from jinja2 import Template

    from sagas.reconcile import ReconciliationItem, ReconciliationReport

RUNS_MAX: Final = 30
"""Earlier reports that the page shows the development over."""

ROWS_MAX: Final = 500
"""Differences told one by one; the CSV has all of them."""

LAGS: Final = (
    ("quarter", timedelta(minutes=15)),
    ("hour", timedelta(hours=1)),
    ("six-hours", timedelta(hours=6)),
    ("day", timedelta(days=1)),
    ("longer", timedelta.max),
)
"""How long a difference has lasted, up to and including."""

# pygal leaves a finder behind that Python 3.11 warns of at every import after it
sys.meta_path[:] = [each for each in sys.meta_path if type(each).__name__ != "PluginImportFixer"]

_SCRIPT: Final = re.compile(r"<script\b.*?</script>|<script\b[^>]*/>", re.DOTALL)
_STYLE: Final = Style(
    background="#ffffff",
    plot_background="#ffffff",
    colors=("#2f6f9f", "#b3261e"),
    font_family="system-ui, sans-serif",
    label_font_size=15,
    major_label_font_size=15,
    value_font_size=15,
    legend_font_size=15,
    guide_stroke_color="#e2e8ee",
    major_guide_stroke_color="#e2e8ee",
    guide_stroke_dasharray="none",
    major_guide_stroke_dasharray="none",
)
_COLOURS: Final = {  # as the box above says it: well, in between, somebody should look
    Verdict.IN_SYNC: "#5d9f7a",
    Verdict.IN_SYNC_ABSENT: "#5d9f7a",
    Verdict.PENDING: "#2f6f9f",
    Verdict.LAGGING: "#2f6f9f",
}
_DIFFERENCE: Final = "#b36b00"
_MARKS_MAX: Final = 10
"""Bars whose number and time are written out: more would lie on each other."""
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


@dataclass(frozen=True, slots=True)
class Run:
    """How many differences an earlier report of the organisation counted."""

    at: datetime
    drift: int


def page(
    reports: Sequence[ReconciliationReport],
    runs: Mapping[str, Sequence[Run]],
    *,
    language: str,
    zones: Mapping[str, tzinfo] | None = None,
) -> str:
    """The page of `reports`; `runs` are earlier ones by organisation, oldest first.

    Times are those of the organisation's zone in `zones`, else UTC.
    """
    shown = [
        _shown(
            report,
            runs.get(report.organisation, ()),
            number,
            language,
            (zones or {}).get(report.organisation, UTC),
        )
        for number, report in enumerate(reports)
    ]
    return _template().render(
        reports=shown,
        titles=", ".join(report.organisation for report in reports),
        language=language,
        say=partial(_say, language),
    )


def runs_of(found: Iterable[tuple[datetime, Mapping[str, int]]]) -> list[Run]:
    """Runs from when each report began and its totals."""
    return [Run(at, sum(totals.get(verdict, 0) for verdict in DRIFT)) for at, totals in found]


def is_danger(item: ReconciliationItem) -> bool:
    """Whether somebody who is wanted hidden may be seen."""
    return item.our_visible is False and bool(item.published_visible or item.portal_visible)


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("sagas"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("reconciliation.html")


def _say(language: str, key: str, **arguments: str | int) -> str:
    return say(key, language, **arguments)


def _shown(
    report: ReconciliationReport, runs: Sequence[Run], number: int, language: str, zone: tzinfo
) -> dict[str, Any]:
    told = partial(_say, language)
    drift = sum(report.totals.get(verdict, 0) for verdict in DRIFT)
    danger = sum(is_danger(item) for item in report.items)
    verdicts = [
        {
            "name": told(key_of("verdict", verdict)),
            "meaning": told(key_of("verdict", verdict) + ".meaning"),
            "count": report.totals[verdict],
            "colour": _COLOURS.get(verdict, _DIFFERENCE),
        }
        for verdict in Verdict
        if report.totals.get(verdict)
    ]
    return {
        **{name: getattr(report, name) for name in type(report).model_fields},
        "when": f"{report.started_at.astimezone(zone):%Y-%m-%d %H:%M} ({zone})",
        "drift": drift,
        "danger": danger,
        "mood": "danger" if danger else "good" if report.complete and not drift else "look",
        "verdicts": verdicts,
        "verdicts_chart": _verdicts(verdicts, f"verdicts-{number}"),
        "lag_chart": _lags(report, f"lags-{number}", told),
        "runs_chart": _runs(runs, f"runs-{number}", told, zone),
        "rows": [_row(item, told) for item in report.items[:ROWS_MAX]],
        "left_out": max(0, len(report.items) - ROWS_MAX),
        "duplicates": [
            {
                "mentor_id": each.mentor_id,
                "kind": told(key_of("duplicate", each.kind)),
                "tier": _tier(each.tier, told),
                "count": each.occurrences,
            }
            for each in report.duplicates
        ],
        "credentials": [
            {"name": _integration(name, told), "outcome": told(key_of("credential", outcome))}
            for name, outcome in sorted(report.credential_status.items())
        ],
    }


def _row(item: ReconciliationItem, told: Any) -> dict[str, Any]:
    return {
        "mentor_id": item.mentor_id,
        "danger": is_danger(item),
        "verdict": told(key_of("verdict", item.verdict)),
        "ours": _state(item.our_visible, told),
        "portal": _state(item.portal_visible, told),
        "public": _state(item.published_visible, told),
        "lag": _duration(item.lag_seconds, told),
        "action": told(key_of("action", item.action)),
    }


def _state(visible: bool | None, told: Any) -> str:  # noqa: FBT001 - the value that is shown
    word = {True: "visible", False: "hidden", None: "absent"}[visible]
    return str(told(f"state-{word}"))


def _duration(seconds: int | None, told: Any) -> str:
    if seconds is None:
        return ""
    if seconds < _MINUTE:
        return str(told("duration-moment"))
    for unit, most, length in (("minutes", _HOUR, _MINUTE), ("hours", 2 * _DAY, _HOUR)):
        if seconds < most:
            return str(told(f"duration-{unit}", count=seconds // length))
    return str(told("duration-days", count=seconds // _DAY))


def _tier(tier: str, told: Any) -> str:
    return str(told("tier-days", days=int(tier)) if tier.isdecimal() else told("tier-lapsed"))


def _integration(name: str, told: Any) -> str:
    try:
        return str(told(key_of("integration", name)))
    except TextMissing:  # a newer release may have checked it
        return name


def _verdicts(verdicts: Sequence[Mapping[str, Any]], name: str) -> Markup:
    chart = pygal.HorizontalBar(**_terms(height=90 + 45 * len(verdicts)))
    chart.x_labels = [row["name"] for row in reversed(verdicts)]
    chart.add(
        None,
        [{"value": row["count"], "color": row["colour"]} for row in reversed(verdicts)],
    )
    return _drawn(chart, name)


def _lags(report: ReconciliationReport, name: str, told: Any) -> Markup | None:
    """How long differences have lasted, those of who may wrongly be seen apart."""
    items = [item for item in report.items if item.lag_seconds is not None]
    if not items:
        return None
    counts = {True: [0] * len(LAGS), False: [0] * len(LAGS)}
    for item in items:
        lag = timedelta(seconds=item.lag_seconds or 0)
        place = next(n for n, (_, most) in enumerate(LAGS) if lag <= most)
        counts[is_danger(item)][place] += 1
    chart = pygal.StackedBar(**_terms(height=320, show_legend=True))
    chart.x_labels = [told(f"lag-{label}") for label, _ in LAGS]
    chart.add(told("lag-other"), counts[False], formatter=_unless_none)
    chart.add(told("lag-danger"), counts[True], formatter=_unless_none)
    return _drawn(chart, name)


def _unless_none(count: float | None) -> str:
    return f"{count:.0f}" if count else ""


def _runs(runs: Sequence[Run], name: str, told: Any, zone: tzinfo) -> Markup | None:
    """Differences of each run, the oldest first; one run alone is no development."""
    if len(runs) < 2:  # noqa: PLR2004 - a development has two ends
        return None
    times = [run.at.astimezone(zone) for run in runs]
    a_day_each = len({at.date() for at in times}) == len(times)
    chart = pygal.Bar(
        **_terms(
            height=280,
            print_values=len(runs) <= _MARKS_MAX,
            print_values_position="top",
            x_labels_major_count=min(len(runs), _MARKS_MAX),
            show_minor_x_labels=False,
        )
    )
    chart.x_labels = [at.strftime("%d.%m." if a_day_each else "%d.%m. %H:%M") for at in times]
    bars = [{"value": run.drift, "color": _DIFFERENCE} for run in runs]
    chart.add(told("reconciliation.differences-count"), bars)
    return _drawn(chart, name)


def _terms(**terms: Any) -> dict[str, Any]:
    return {
        "style": _STYLE,
        "js": [],
        "width": 900,
        "show_legend": False,
        "print_values": True,
        "legend_at_bottom": True,
        "margin": 10,
        "truncate_label": -1,
        "truncate_legend": -1,
        "value_formatter": lambda value: "" if value is None else f"{value:.0f}",
        **terms,
    }


def _drawn(chart: Any, name: str) -> Markup:
    """The chart as SVG for the page; pygal escapes its labels, and its script is left out."""
    chart.uuid = name  # its own is random, and the same report should be the same page
    svg = str(chart.render(is_unicode=True, disable_xml_declaration=True))
    return Markup(_SCRIPT.sub("", svg))  # noqa: S704 - labels are escaped by pygal
