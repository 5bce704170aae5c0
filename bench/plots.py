"""Bars as SVG, drawn from the kept results alone: the same results give the same bytes."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from bench.report import told

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH, _LEFT, _RIGHT, _ROW, _TOP = 860, 300, 90, 24, 44
_OURS, _THEIRS, _LIMIT = "#1f6f8b", "#9aa5ab", "#c9b37e"


@dataclass(frozen=True, slots=True)
class Bar:
    """One quantity with its spread; `kind` is ours, theirs or limit and chooses the colour."""

    label: str
    value: float
    lowest: float
    highest: float
    kind: str


def bars(title: str, unit: str, rows: Sequence[Bar]) -> str:
    """Horizontal bars of the medians, a thin line from the lowest to the highest value."""
    most = max(row.highest for row in rows)
    scale = (_WIDTH - _LEFT - _RIGHT) / most
    height = _TOP + _ROW * len(rows) + 12
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
            f'viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="12">'
        ),
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        (
            f'<text x="12" y="24" font-size="15" fill="#222222">{escape(title)} '
            f'<tspan fill="#777777">({escape(unit)})</tspan></text>'
        ),
    ]
    for place, row in enumerate(rows):
        lines += _bar(row, _TOP + place * _ROW, scale)
    return "\n".join([*lines, "</svg>", ""])


def _bar(row: Bar, top: int, scale: float) -> list[str]:
    colour = {"ours": _OURS, "limit": _LIMIT}.get(row.kind, _THEIRS)
    middle = top + _ROW / 2 - 2
    end = _LEFT + row.value * scale
    low, high = _LEFT + row.lowest * scale, _LEFT + row.highest * scale
    return [
        (
            f'<text x="{_LEFT - 8}" y="{middle + 4:.1f}" text-anchor="end" fill="#222222">'
            f"{escape(row.label)}</text>"
        ),
        (
            f'<rect x="{_LEFT}" y="{top}" width="{end - _LEFT:.1f}" height="{_ROW - 6}" '
            f'fill="{colour}"/>'
        ),
        (
            f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{middle:.1f}" y2="{middle:.1f}" '
            'stroke="#222222"/>'
        ),
        f'<text x="{high + 6:.1f}" y="{middle + 4:.1f}" fill="#222222">{told(row.value)}</text>',
    ]
