"""The machine that figures are measured on, and which processor does what."""

from __future__ import annotations

import datetime
import functools
import os
import platform
from pathlib import Path

__all__ = ["describe", "pin", "processors"]


@functools.cache
def processors() -> tuple[int, int]:
    """The processor of the load generator and that of the server; the same if there is only one.

    Asked for the first time before anything is pinned.
    """
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


def pin(process: int, processor: int) -> None:
    """Keeps every thread of a process (0: only the calling thread) on one processor."""
    if process == 0:
        os.sched_setaffinity(0, {processor})
        return
    for thread in Path(f"/proc/{process}/task").iterdir():
        try:
            os.sched_setaffinity(int(thread.name), {processor})
        except ProcessLookupError:
            continue  # it ended meanwhile


def describe() -> dict[str, str]:
    """Processor, kernel, Python and date, for the heading of a report."""
    release = platform.release().partition("-")[0]
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "kernel": f"{platform.system()} {release}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
