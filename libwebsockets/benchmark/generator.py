"""The load generator, as a call from Python: one load, one result."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .._benchmark import ffi, lib
from . import machine

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Held", "Load", "LoadError", "Measured", "cpu_seconds", "resident", "run", "settle"]

POLL = 0.2  # seconds between two looks at the progress

KINDS = {
    "echo": lib.BENCH_ECHO,
    "handshake": lib.BENCH_HANDSHAKE,
    "idle": lib.BENCH_IDLE,
    "http": lib.BENCH_HTTP,
    "broadcast": lib.BENCH_BROADCAST,
}


class LoadError(Exception):
    """The server did not give back what it should have; the message says what was wrong."""


@dataclass(frozen=True)
class Load:
    """What is asked of a server. Sizes are bytes."""

    name: str
    kind: str  # of KINDS
    connections: int
    size: int = 0  # of a message's payload, or of an HTTP reply's body
    text: bool = False
    in_flight: int = 1  # messages on their way on each connection
    path: str = "/"
    body: bytes | None = field(default=None, repr=False)  # of an HTTP reply


@dataclass(frozen=True)
class Measured:
    """What one run gave."""

    count: int  # messages, handshakes or replies
    seconds: float
    generator_cpu: float  # share of a processor
    server_cpu: float
    p50: float  # microseconds
    p99: float
    p999: float

    @property
    def rate(self) -> float:
        """Counts a second."""
        return self.count / self.seconds if self.seconds else 0.0

    @property
    def per_server_second(self) -> float:
        """Counts for each second of the server's CPU time."""
        used = self.server_cpu * self.seconds
        return self.count / used if used else 0.0

    @property
    def generator_limited(self) -> bool:
        """Whether the generator was at its end and the server was not."""
        return self.generator_cpu >= 0.95 > self.server_cpu


Progress = Callable[[int], None]


def run(
    load: Load,
    port: int,
    server: int,
    seconds: float,
    warmup: float,
    processor: int,
    progress: Progress | None = None,
) -> Measured:
    """Puts a load on 127.0.0.1:port for some seconds after a warm-up.

    server is the process whose CPU time is read (0: none), processor the one that the generator
    runs on. progress is called now and then with the count so far. A KeyboardInterrupt ends the
    run and is raised again once the generator has stopped.

    Raises LoadError if something came back wrong or not at all.
    """
    with Held(load, port, server, seconds, warmup, processor) as held:
        while not held.wait(POLL):
            if progress is not None:
                progress(held.count)
    return held.measured()


class Held:
    """A load that is running: idle connections are held until the block ends."""

    def __init__(
        self, load: Load, port: int, server: int, seconds: float, warmup: float, processor: int
    ) -> None:
        self._path = ffi.new("char[]", load.path.encode())
        self._body = ffi.from_buffer(load.body) if load.body is not None else ffi.NULL
        self._load = ffi.new(
            "struct bench_load *",
            {
                "kind": KINDS[load.kind],
                "port": port,
                "connections": load.connections,
                "in_flight": load.in_flight,
                "size": load.size,
                "text": load.text,
                "warmup_ms": round(warmup * 1000),
                "run_ms": round(seconds * 1000),
                "server": server,
                "path": self._path,
                "body": self._body,
            },
        )
        self._result = ffi.new("struct bench_result *")
        self._processor = processor
        self._outcome = -1
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        machine.pin(0, self._processor)
        self._outcome = lib.bench_run(self._load, self._result)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._result.stop = not self._ended()
        self._thread.join()

    def _ended(self) -> bool:
        return not self._thread.is_alive()

    def wait(self, seconds: float) -> bool:
        """Waits for the end, at most so long. Returns whether it is over."""
        self._thread.join(seconds)
        return self._ended()

    def wait_open(self, progress: Progress | None = None) -> None:
        """Waits until every connection is open. Raises LoadError if that fails."""
        while self._result.phase < lib.BENCH_MEASURING and not self.wait(0.02):
            if progress is not None:
                progress(self._result.open)
        if self._ended():
            raise LoadError(self._error())

    @property
    def count(self) -> int:
        """What was counted so far."""
        return int(self._result.count)

    def _error(self) -> str:
        return str(ffi.string(self._result.error).decode(errors="backslashreplace"))

    def measured(self) -> Measured:
        """The result, once it is over. Raises LoadError."""
        if self._outcome != 0:
            raise LoadError(self._error())
        result = self._result
        elapsed = result.elapsed_ns or 1
        p50, p99, p999 = (
            lib.bench_percentile(result.latency, share) / 1000 for share in (0.5, 0.99, 0.999)
        )
        return Measured(
            count=int(result.count),
            seconds=elapsed / 1e9,
            generator_cpu=result.generator_ns / elapsed,
            server_cpu=result.server_ns / elapsed,
            p50=p50,
            p99=p99,
            p999=p999,
        )


def resident(process: int) -> int:
    """The resident bytes of a process, of its own memory and of what it shares."""
    for line in Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise LoadError(f"no Rss of process {process}")


def cpu_seconds(process: int) -> float:
    """The CPU time that a process has used."""
    # The kernel's clock of another process, as clock_getcpuclockid(3) makes it.
    return time.clock_gettime((~process << 3) | 2)


def settle(process: int, quiet: float = 0.06, patience: float = 5.0) -> None:
    """Waits until a process does next to nothing: what the last load left is done with then."""
    end = time.monotonic() + patience
    used = cpu_seconds(process)
    while time.monotonic() < end:
        time.sleep(quiet)
        before, used = used, cpu_seconds(process)
        if used - before < quiet / 50:
            return
