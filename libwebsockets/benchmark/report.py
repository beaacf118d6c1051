"""What was measured, as text: tables for a terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from .codec import Row
from .loads import Comparison, Goal, Series

__all__ = ["codec_table", "comparison_lines", "markdown", "number"]


def number(value: float) -> str:
    """A value with three digits that count, thousands apart."""
    if value >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _size(size: int) -> str:
    if size >= 2**20:
        return f"{size >> 20} MiB"
    return f"{size >> 10} KiB" if size >= 1024 else f"{size} B"


def codec_heading() -> str:
    """The line above codec_line's."""
    return (
        f"{'':<18}{'size':>8}{'ns/op':>12}{'GB/s':>8}{'of memcpy':>11}{'Python ns':>13}"
        f"{'faster':>10}"
    )


def codec_line(row: Row) -> str:
    """One row of the codec's part, in fixed columns."""
    speed = f"{row.bytes_per_ns:.1f}" if row.bytes_per_ns is not None else ""
    share = f"{row.of_memcpy:.2f}" if row.of_memcpy is not None else ""
    goal = ""
    if row.target is not None:
        goal = "  reached" if row.reached else f"  missed, {row.target:g} of memcpy was to be"
    size = _size(row.size) if row.size else ""
    return (
        f"{row.name:<18}{size:>8}{number(row.ns):>12}{speed:>8}{share:>11}"
        f"{number(row.python_ns):>13}{number(row.python_ns / row.ns):>9}x{goal}"
    )


def codec_table(rows: Sequence[Row]) -> str:
    """All rows under a heading."""
    return "\n".join([codec_heading(), *map(codec_line, rows)])


def _spread(goal: Goal, series: Series) -> str:
    if len(series.values) < 2:
        return f"{number(series.median)} {goal.unit}"
    return (
        f"{number(series.median)} {goal.unit} "
        f"({number(min(series.values))} to {number(max(series.values))})"
    )


def comparison_lines(comparison: Comparison) -> list[str]:
    """One load: a line for each server, and what is to be known of it."""
    goal = comparison.goal
    lines = [goal.label]
    for series in comparison.series:
        if not series.values:
            lines.append(f"  {series.server:<20} {series.failure or 'not measured'}")
            continue
        line = f"  {series.server:<20} {_spread(goal, series):<44}"
        ratio = comparison.ratio(series)
        if ratio is not None and series is not comparison.series[0]:
            line += f" ratio {ratio:.2f}"
        lines.append(line)
        if series.runs:
            last = series.as_json()
            lines.append(
                f"  {'':<20} p50 {number(last['p50'])} µs, p99 {number(last['p99'])} µs, "
                f"p99.9 {number(last['p999'])} µs; CPU: server {last['server_cpu']:.0%}, "
                f"generator {last['generator_cpu']:.0%}"
            )
            line = f"  {'':<20} {number(last['per_server_second'])} for a second of its CPU time"
            share = comparison.cpu_ratio(series)
            if share is not None and series is not comparison.series[0]:
                line = f"{line:<67} ratio {share:.2f}"
            lines.append(line)
        if comparison.generator_limited(series):
            lines.append(f"  {'':<20} the generator was the limit, not this server")
        if series.failure is not None:
            lines.append(f"  {'':<20} then failed: {series.failure}")
    return lines


def verdict(comparison: Comparison, series: Series) -> str:
    """Whether a server reached the target of a load."""
    goal = comparison.goal
    reached = comparison.reached(series)
    score = comparison.score(series)
    if reached is None or score is None:
        return f"{goal.label}: not measured"
    sign = "≤" if goal.lower_is_better else "≥"
    return (
        f"{goal.label}: {number(score)} ({'reached' if reached else 'missed'}, "
        f"{sign} {goal.target:g})"
    )


def _cell(comparison: Comparison, series: Series) -> str:
    if not series.values:
        return "-"
    score = comparison.score(series)
    assert score is not None or comparison.ratio(series) is None
    if comparison.goal.metric == "memory":
        return f"{number(series.median)} B"
    if score is None:
        return f"{number(series.median)} {comparison.goal.unit}"
    if series is comparison.series[0]:
        return f"{number(series.median)} {comparison.goal.unit}"
    return f"{score:.2f}"


def markdown(comparisons: Sequence[Comparison]) -> str:
    """A table: a line for each load, a column for each server; ratios to the first."""
    names = [series.server for series in comparisons[0].series]
    lines = [
        "| load | target | " + " | ".join(names) + " |",
        "| --- | --- |" + " --- |" * len(names),
    ]
    for comparison in comparisons:
        goal = comparison.goal
        target = f"{'≤' if goal.lower_is_better else '≥'} {goal.target:g}"
        cells = [_cell(comparison, series) for series in comparison.series]
        lines.append(f"| {goal.label} | {target} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
