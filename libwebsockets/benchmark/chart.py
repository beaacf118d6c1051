"""A chart of a comparison as SVG, drawn by hand: one group of bars for each load."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from .loads import Comparison, Series

__all__ = ["draw", "write"]

WIDTH = 760
LEFT = 210  # of labels
RIGHT = 90  # of values
BAR = 16
GAP = 3
GROUP_GAP = 16
TOP = 62
FULL = 1.2  # the ratio at the right end of the axis
COLORS = ("#9aa5b1", "#1f6feb", "#d97706", "#059669", "#b45309", "#7c3aed", "#be185d", "#0891b2")
INK = "#1b1f24"
FAINT = "#57606a"


def _text(
    x: float, y: float, text: str, size: int, color: str, anchor: str = "start", halo: bool = False
) -> str:
    edge = ' stroke="#ffffff" stroke-width="4" paint-order="stroke"' if halo else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{color}" '
        f'text-anchor="{anchor}"{edge}>{escape(text)}</text>'
    )


def _speed(comparison: Comparison, series: Series) -> float | None:
    """A ratio of which more is better: of latencies the inverse."""
    ratio = comparison.ratio(series)
    if ratio is None:
        return None
    return 1 / ratio if comparison.goal.lower_is_better else ratio


def draw(comparisons: Sequence[Comparison], title: str, footer: str) -> str:
    """The chart's text. Speeds are relative to the first server's, which is drawn as a line at 1.

    Loads without a ratio (memory) are left out.
    """
    shown = [
        comparison
        for comparison in comparisons
        if any(_speed(comparison, series) is not None for series in comparison.series)
    ]
    names = list(dict.fromkeys(one.server for each in shown for one in each.series[1:]))
    color = {name: COLORS[(index + 1) % len(COLORS)] for index, name in enumerate(names)}
    scale = (WIDTH - LEFT - RIGHT) / FULL
    parts: list[str] = []
    values: list[str] = []  # on top of the lines
    y = float(TOP + 22 * ((len(names) + 3) // 4))
    axis_top = y - 6
    for comparison in shown:
        bars = [
            (series, speed)
            for series in comparison.series[1:]
            if (speed := _speed(comparison, series)) is not None
        ]
        height = len(bars) * (BAR + GAP)
        parts.append(_text(LEFT - 10, y + height / 2 + 4, comparison.goal.label, 12, INK, "end"))
        goal = comparison.goal.target
        dashes = LEFT + scale * (1 / goal if comparison.goal.lower_is_better else goal)
        for series, speed in bars:
            width = max(1.0, scale * min(speed, FULL))
            parts.append(
                f'<rect x="{LEFT}" y="{y:.1f}" width="{width:.1f}" height="{BAR}" '
                f'fill="{color[series.server]}" rx="2"/>'
            )
            values.append(_text(LEFT + width + 6, y + BAR - 4, f"{speed:.2f}", 12, INK, halo=True))
            y += BAR + GAP
        parts.append(
            f'<line x1="{dashes:.1f}" x2="{dashes:.1f}" y1="{y - height - 2:.1f}" '
            f'y2="{y - GAP + 2:.1f}" stroke="{INK}" stroke-width="1.5" stroke-dasharray="3 2"/>'
        )
        y += GROUP_GAP
    bottom = y - GROUP_GAP + 6
    axis = []
    for tenth in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = LEFT + scale * tenth
        axis.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{axis_top:.1f}" y2="{bottom:.1f}" '
            f'stroke="{FAINT if tenth == 1 else "#d8dee4"}"/>'
        )
        axis.append(_text(x, bottom + 14, f"{tenth:g}", 11, FAINT, "middle"))
    head = [_text(14, 24, title, 16, INK)]
    head.append(
        _text(14, 42, "1 is a bare C epoll server in the same run; dashes are the goal", 12, FAINT)
    )
    for index, name in enumerate(names):
        x, line = 14 + 180 * (index % 4), 62 + 22 * (index // 4)
        head.append(
            f'<rect x="{x}" y="{line - 10}" width="12" height="12" fill="{color[name]}" rx="2"/>'
        )
        head.append(_text(x + 18, line, name, 12, INK))
    height_all = bottom + 44
    head.append(_text(14, height_all - 10, footer, 11, FAINT))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height_all:.0f}" '
        f'width="{WIDTH}" height="{height_all:.0f}" font-family="sans-serif">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n'
        + "\n".join([*axis, *parts, *values, *head])
        + "\n</svg>\n"
    )


def write(path: Path, comparisons: Sequence[Comparison], title: str, footer: str) -> None:
    """Writes the chart to a file."""
    path.write_text(draw(comparisons, title, footer), encoding="utf-8")
