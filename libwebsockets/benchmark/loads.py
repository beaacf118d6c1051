"""The loads, what they should reach, and the interleaved runs."""

from __future__ import annotations

import contextlib
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import generator, machine
from .generator import Held, Load, LoadError, Measured
from .servers import Server

__all__ = ["LOADS", "Comparison", "Goal", "Plan", "Series", "Unsupported", "compare", "files"]

MEBIBYTE = 2**20
DESCRIPTORS = 512  # beside those of the connections

SMALL_FILE = "small.html"
LARGE_FILE = "large.html"


class Unsupported(Exception):  # noqa: N818
    """A server cannot take a load; the message says why."""


@dataclass(frozen=True)
class Goal:
    """A load, what is compared of it, and what it should reach."""

    load: Load
    label: str
    metric: str  # rate, latency, handshakes or memory
    target: float

    @property
    def lower_is_better(self) -> bool:
        """Whether the target is an upper bound."""
        return self.metric in ("latency", "memory")

    @property
    def unit(self) -> str:
        """Of a server's value."""
        return {
            "rate": "/s",
            "latency": "µs",
            "handshakes": "/CPU s",
            "memory": "B",
        }[self.metric]


def _pattern(size: int) -> bytes:
    """A file's bytes: no two blocks of it are alike."""
    lines = (b"%08x the quick brown fox jumps over it\n" % line for line in range(size // 40 + 1))
    return b"".join(lines)[:size]


SMALL_BODY = _pattern(1024)
LARGE_BODY = _pattern(MEBIBYTE)

LOADS = (
    Goal(Load("text-32", "echo", 100, 32, text=True), "100 connections, 32 B text", "rate", 0.95),
    Goal(
        Load("binary-125-16", "echo", 100, 125, in_flight=16),
        "100 connections, 125 B, 16 in flight",
        "rate",
        0.50,
    ),
    Goal(Load("binary-64k", "echo", 10, 64 * 1024), "10 connections, 64 KiB", "rate", 0.95),
    Goal(Load("binary-1m", "echo", 2, MEBIBYTE), "2 connections, 1 MiB", "rate", 0.95),
    Goal(Load("latency", "echo", 1, 32, text=True), "1 connection, 32 B: p50", "latency", 1.1),
    Goal(Load("handshake", "handshake", 32), "handshakes, 32 at a time", "handshakes", 0.85),
    Goal(Load("idle", "idle", 10_000), "10 000 idle connections", "memory", 450),
    Goal(
        Load("file-1k", "http", 32, 1024, path=f"/{SMALL_FILE}", body=SMALL_BODY),
        "1 KiB file, 32 connections",
        "rate",
        0.40,
    ),
    Goal(
        Load("file-1m", "http", 8, MEBIBYTE, path=f"/{LARGE_FILE}", body=LARGE_BODY),
        "1 MiB file, 8 connections",
        "rate",
        0.95,
    ),
    Goal(
        Load("broadcast", "broadcast", 1000, 125, in_flight=4),
        "125 B to 1 000 connections",
        "rate",
        0.80,
    ),
)


@dataclass(frozen=True)
class Plan:
    """How long and how often."""

    rounds: int
    seconds: float
    warmup: float


@dataclass
class Series:
    """The runs of one server under one load."""

    server: str
    runs: list[Measured] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    failure: str | None = None

    @property
    def median(self) -> float:
        """Of the metric."""
        return statistics.median(self.values)

    def as_json(self) -> dict[str, Any]:
        """Everything that was measured."""
        report: dict[str, Any] = {"server": self.server}
        if self.failure is not None:
            report["failure"] = self.failure
        if self.values:
            report |= {"median": self.median, "least": min(self.values), "most": max(self.values)}
        if self.runs:
            for name in ("rate", "generator_cpu", "server_cpu", "p50", "p99", "p999"):
                report[name] = statistics.median(getattr(run, name) for run in self.runs)
            report["per_server_second"] = statistics.median(
                run.per_server_second for run in self.runs
            )
        return report


@dataclass
class Comparison:
    """One load, each server's runs; the bare server, where there is one, is the first."""

    goal: Goal
    series: list[Series]

    def ratio(self, series: Series) -> float | None:
        """A server's value by the bare server's: the median over the rounds; None without one."""
        limit = self.series[0]
        if self.goal.metric == "memory" or not limit.values or not series.values:
            return None
        return statistics.median(
            own / least for own, least in zip(series.values, limit.values, strict=False)
        )

    def cpu_ratio(self, series: Series) -> float | None:
        """The same for what each did in a second of its CPU time: other programs on the machine
        disturb it less.
        """
        pairs = [
            own.per_server_second / least.per_server_second
            for own, least in zip(series.runs, self.series[0].runs, strict=False)
            if least.per_server_second
        ]
        return statistics.median(pairs) if pairs else None

    def score(self, series: Series) -> float | None:
        """What the target is for: the ratio, or for memory the value itself."""
        if self.goal.metric == "memory":
            return series.median if series.values else None
        return self.ratio(series)

    def reached(self, series: Series) -> bool | None:
        """Whether the target is met; None if it was not measured."""
        score = self.score(series)
        if score is None:
            return None
        lower = self.goal.lower_is_better
        return score <= self.goal.target if lower else score >= self.goal.target

    def generator_limited(self, series: Series) -> bool:
        """Whether the generator was the limit in most of the runs."""
        limited = [run.generator_limited for run in series.runs]
        return bool(limited) and 2 * sum(limited) > len(limited)

    def as_json(self) -> dict[str, Any]:
        """For --json."""
        goal = self.goal
        return {
            "load": goal.load.name,
            "label": goal.label,
            "metric": goal.metric,
            "unit": goal.unit,
            "target": goal.target,
            "servers": [
                one.as_json()
                | {
                    "ratio": self.ratio(one),
                    "cpu_ratio": self.cpu_ratio(one),
                    "reached": self.reached(one),
                    "generator_limited": self.generator_limited(one),
                }
                for one in self.series
            ],
        }


Starter = Callable[[Load, Path, int], AbstractContextManager[Server]]
Say = Callable[[str], None]


def _value(goal: Goal, measured: Measured) -> float:
    if goal.metric == "latency":
        return measured.p50
    if goal.metric == "handshakes":
        return measured.per_server_second
    return measured.rate


@contextlib.contextmanager
def files() -> Iterator[Path]:
    """A folder with the files that the HTTP loads ask for."""
    with tempfile.TemporaryDirectory(prefix="libwebsockets-benchmark-") as name:
        root = Path(name)
        root.chmod(0o755)
        (root / SMALL_FILE).write_bytes(SMALL_BODY)
        (root / LARGE_FILE).write_bytes(LARGE_BODY)
        yield root


def allow_descriptors(connections: int) -> None:
    """Raises the soft limit of open files as far as it takes. Raises LoadError if it cannot."""
    want = connections + DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < want:
        if hard != resource.RLIM_INFINITY and hard < want:
            raise LoadError(f"{want} open files are needed, {hard} are allowed (ulimit -n)")
        resource.setrlimit(resource.RLIMIT_NOFILE, (want, hard))


def _idle(server: Server, load: Load, processor: int, say: Say) -> float:
    """Resident bytes that each idle connection adds to a server."""
    few = Load(load.name, "idle", 64)
    with Held(few, server.port, server.pid, 0, 0, processor) as held:
        held.wait_open()
    generator.settle(server.pid)
    before = generator.resident(server.pid)
    with Held(load, server.port, server.pid, 0, 0, processor) as held:
        held.wait_open(lambda count: say(f"{server.name}: {count} connections"))
        generator.settle(server.pid, patience=1.0)
        after = generator.resident(server.pid)
    return (after - before) / load.connections


def _measure(
    goal: Goal, server: Server, plan: Plan, processor: int, series: Series, say: Say
) -> None:
    generator.settle(server.pid)
    if goal.load.kind == "idle":
        series.values.append(_idle(server, goal.load, processor, say))
        return
    began = time.monotonic()

    def progress(count: int) -> None:
        say(f"{server.name}: {time.monotonic() - began:.1f} s, {count}")

    measured = generator.run(
        goal.load, server.port, server.pid, plan.seconds, plan.warmup, processor, progress
    )
    series.runs.append(measured)
    series.values.append(_value(goal, measured))


def compare(
    goals: Sequence[Goal],
    starters: Sequence[tuple[str, Starter]],
    plan: Plan,
    say: Say,
    done: Callable[[Comparison], None],
) -> bool:
    """Runs each load against each server, in turn, as often as planned.

    done is handed each comparison, the one that was interrupted too. Returns False if a
    KeyboardInterrupt ended it.
    """
    ours, theirs = machine.processors()
    with files() as root:
        for goal in goals:
            comparison = Comparison(goal, [Series(name) for name, _ in starters])
            try:
                _compare(comparison, starters, plan, (ours, theirs), root, say)
            except KeyboardInterrupt:
                done(comparison)
                return False
            done(comparison)
    return True


def _compare(
    comparison: Comparison,
    starters: Sequence[tuple[str, Starter]],
    plan: Plan,
    processors: tuple[int, int],
    root: Path,
    say: Say,
) -> None:
    goal = comparison.goal
    with contextlib.ExitStack() as stack:
        servers: list[Server | None] = []
        try:
            allow_descriptors(goal.load.connections)
        except LoadError as error:
            for series in comparison.series:
                series.failure = str(error)
            return
        for series, (_, start) in zip(comparison.series, starters, strict=True):
            try:
                servers.append(stack.enter_context(start(goal.load, root, processors[1])))
            except (Unsupported, LoadError) as error:
                series.failure = str(error)
                servers.append(None)
        # Memory that was freed comes back before it is asked for: the first time is the one.
        rounds = 1 if goal.load.kind == "idle" else plan.rounds
        for number in range(rounds):
            for series, server in zip(comparison.series, servers, strict=True):
                if server is None or series.failure is not None:
                    continue
                try:
                    _measure(
                        goal,
                        server,
                        plan,
                        processors[0],
                        series,
                        lambda text, number=number: say(  # type: ignore[misc]
                            f"{goal.label}, round {number + 1} of {rounds}, {text}"
                        ),
                    )
                except LoadError as error:
                    series.failure = str(error)
