"""python -m libwebsockets.benchmark: what it measures is told by --help."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from . import chart, codec, machine, report
from .loads import LOADS, Comparison, Goal, Plan, compare
from .servers import limit, ours

STARTERS = (("bare C", limit), ("libwebsockets", ours))
FULL = Plan(rounds=5, seconds=1.5, warmup=0.3)
QUICK = Plan(rounds=3, seconds=0.3, warmup=0.1)
CODEC_SECONDS, CODEC_SECONDS_QUICK = 0.1, 0.02
INTERRUPTED = 130

DESCRIPTION = """\
Measures the C hot path over memory, each operation beside memcpy of as many bytes and the
plain-Python way; then a server made with libwebsocket_create_server on the loopback, beside a bare
C epoll server in the same run. The load generator checks every byte that comes back. It has a
processor of its own, the servers take turns on another.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m libwebsockets.benchmark",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--json", metavar="FILE", type=Path, help="write all figures to FILE")
    made.add_argument("--chart", metavar="FILE", type=Path, help="draw the ratios to FILE, as SVG")
    made.add_argument("--quick", action="store_true", help="short runs, for a first look")
    made.add_argument("--rounds", type=int, help="runs of each server under each load, 3 or more")
    made.add_argument("--seconds", type=float, help="of each run")
    names = [goal.load.name for goal in LOADS]
    made.add_argument(
        "--only",
        action="append",
        choices=["codec", *names],
        metavar="NAME",
        help="one part alone, may be repeated: codec, " + ", ".join(names),
    )
    return made


def plan_of(arguments: argparse.Namespace) -> Plan:
    """How long and how often. Raises ValueError with the number that is wrong."""
    base = QUICK if arguments.quick else FULL
    rounds = base.rounds if arguments.rounds is None else arguments.rounds
    seconds = base.seconds if arguments.seconds is None else arguments.seconds
    if rounds < 3:
        raise ValueError(f"--rounds must be 3 or more, not {rounds}: a median needs them")
    if not 0.05 <= seconds <= 3600:
        raise ValueError(f"--seconds must be from 0.05 to 3600, not {seconds:g}")
    return Plan(rounds, seconds, base.warmup)


class Progress:
    """One line on the terminal that is written over; nothing if stderr is none."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()

    def say(self, text: str) -> None:
        """Shows what is being done."""
        if self._shown:
            sys.stderr.write(f"\r\033[K{text[:110]}")
            sys.stderr.flush()

    def clear(self) -> None:
        """Makes room for output."""
        if self._shown:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()


def measure_codec(seconds: float, progress: Progress, rows: list[codec.Row]) -> bool:
    """Measures the codec and prints it; False if it was interrupted."""
    print(report.codec_heading(), flush=True)
    try:
        for row in codec.measure(seconds, progress.say):
            rows.append(row)
            progress.clear()
            print(report.codec_line(row), flush=True)
    except KeyboardInterrupt:
        return False
    finally:
        print()
    return True


def measure_loads(
    goals: Sequence[Goal], plan: Plan, progress: Progress, comparisons: list[Comparison]
) -> bool:
    """Measures the loads and prints each; False if it was interrupted."""

    def done(comparison: Comparison) -> None:
        progress.clear()
        if any(series.values or series.failure for series in comparison.series):
            comparisons.append(comparison)
            print("\n".join(report.comparison_lines(comparison)), flush=True)

    return compare(goals, STARTERS, plan, progress.say, done)


def footer(about: dict[str, str]) -> str:
    """Machine and date in one line."""
    return " · ".join(about.values())


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command. Returns 0; 1 if a load failed; 130 after Ctrl-C."""
    made = parser()
    arguments = made.parse_args(argv)
    try:
        plan = plan_of(arguments)
    except ValueError as error:
        made.error(str(error))
    machine.processors()
    about = {"libwebsockets": metadata.version("libwebsockets"), **machine.describe()}
    only = arguments.only or ["codec", *(goal.load.name for goal in LOADS)]
    goals = [goal for goal in LOADS if goal.load.name in only]
    rows: list[codec.Row] = []
    comparisons: list[Comparison] = []
    progress = Progress()
    complete = True
    print(f"libwebsockets {footer(about)}\n", flush=True)
    if machine.processors()[0] == machine.processors()[1]:
        print("One processor alone: generator and server share it, and figures mean little.\n")
    if "codec" in only:
        seconds = CODEC_SECONDS_QUICK if arguments.quick else CODEC_SECONDS
        complete = measure_codec(seconds, progress, rows)
    if complete and goals:
        complete = measure_loads(goals, plan, progress, comparisons)
    progress.clear()
    if comparisons:
        print("\nRatios to the bare server:")
        for comparison in comparisons:
            print(f"  {report.verdict(comparison, comparison.series[-1])}")
    if not complete:
        print("\nInterrupted: this is what was measured.")
    if arguments.json is not None:
        arguments.json.write_text(as_json(about, complete, rows, comparisons), encoding="utf-8")
    if arguments.chart is not None:
        chart.write(arguments.chart, comparisons, "Speed of libwebsockets", footer(about))
    if not complete:
        return INTERRUPTED
    failed = any(series.failure for each in comparisons for series in each.series)
    return 1 if failed else 0


def as_json(
    about: dict[str, str],
    complete: bool,
    rows: Sequence[codec.Row],
    comparisons: Sequence[Comparison],
) -> str:
    """Everything that was measured."""
    whole: dict[str, Any] = {
        "machine": about,
        "complete": complete,
        "codec": [row.as_json() for row in rows],
        "loads": [comparison.as_json() for comparison in comparisons],
    }
    return json.dumps(whole, indent=1) + "\n"


if __name__ == "__main__":
    sys.exit(main())
