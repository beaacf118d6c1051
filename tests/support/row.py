"""One row of the hostile-input catalogue: a server, a canary beside it, and the checks afterwards.

The postconditions are those of the catalogue: P1 alive with the same pid, P2 a fresh echo within
a second, P3 the canary's worst round trip under 250 ms, P4 descriptors and memory back, P5 CLOSED
once for each ESTABLISHED, P7 at most one clean log line for a connection, P8 an idle second costs
under 50 ms of CPU (checked for all servers of a module in the same second). P6 is the sanitizers'
run.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .raw import Client, Ended, Field, connected, text, wait_until
from .server import (
    PRELOAD,
    TLS,
    Server,
    alive,
    cpu_seconds,
    descriptors,
    resident,
    runnable_seconds,
)

WORST_ROUND_TRIP = 0.250 if not PRELOAD else 5.0  # sanitizers slow it down, and a fork most of all
# In a run over TLS: what OpenSSL frees of a few hundred connections at once, malloc keeps.
TLS_SLACK = 12 << 20 if TLS else 0
MEMORY_SLACK = (2 << 20) + TLS_SLACK
IDLE_CPU = 0.050

LINE = re.compile(r"[\x20-\x7e]*")
PEER = re.compile(r" peer=(\S+)")


class Canary:
    """A connection that echoes all the time, in a thread, and keeps the worst round trip.

    Time that the server or this thread waited for a CPU does not count: other programs took it.
    """

    def __init__(self, server: Server, fields: Sequence[Field]) -> None:
        self.pid = server.pid
        self.client = server.connect(timeout=10).open("/quiet", *fields)
        self.worst = 0.0
        self.count = 0
        self.error: Exception | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stop.wait(0.01):
                begin = time.perf_counter() - self._runnable()
                self.client.echo(b"canary %d" % self.count)
                self.worst = max(self.worst, time.perf_counter() - self._runnable() - begin)
                self.count += 1
        except (OSError, AssertionError) as error:  # told by `stop`
            self.error = error

    def _runnable(self) -> float:
        return runnable_seconds(self.pid) + runnable_seconds("thread-self")

    def stop(self) -> float:
        self._stop.set()
        self._thread.join(15)
        if self.error:
            raise AssertionError(f"the canary died after {self.count} echoes: {self.error!r}")
        return self.worst


class Row:
    """What a test of a row is given."""

    def __init__(self, server: Server, name: str, fields: Sequence[Field] = ()) -> None:
        self.server = server
        self.name = name
        self.pid = server.pid
        self.memory_slack = MEMORY_SLACK
        self._expected: set[str] = set()
        self._allowed: set[str] = {"callback-slow"} if PRELOAD else set()
        self._own: set[str] = set()
        self._clients: list[Client] = []
        self._fields = fields
        self._syncs = 0
        self._beat = server.connect().open("/quiet", *fields)
        self.canary = Canary(server, fields)
        self._warm()
        self.descriptors = len(descriptors(self.pid))
        self.memory = resident(self.pid)
        self.log_start = len(server.logs())
        self._connected = Counter(connected)
        self.mark = server.mark()

    def _warm(self) -> None:
        """What any server does in its first second, so that the memory it takes is not a row's."""
        for version in (13,) if self._fields else (13, 76):
            with self.server.connect() as client:
                client.open("/quiet", *self._fields, version=version)
                client.echo(b"warm" * 4096, version)
        self.barrier()
        before = len(descriptors(self.pid))
        wait_until(lambda: len(descriptors(self.pid)) <= before, 2)

    # -- what a row does

    def connect(self, **options: Any) -> Client:
        """A connection that is closed when the row ends."""
        client = self.server.connect(**options)
        self._clients.append(client)
        return client

    def open(self, path: str = "/echo", version: int = 13, **options: Any) -> Client:
        return self.connect(**options).open(path, version=version)

    def rounds(self) -> None:
        """Returns when the server has looked at all that was sent before: two of its rounds."""
        for _ in range(2):
            self._beat.echo(b"beat")

    def barrier(self) -> None:
        """`rounds`, and its records of them are here."""
        self.rounds()
        self._syncs += 1
        mark = self.server.mark()
        self._beat.echo(b"sync %d" % self._syncs)
        self.server.wait_event("SYNC", 5, mark, number=self._syncs)

    def expect(self, *events: str) -> None:
        """The event words that must be in the log when the row ends; no other warning may be."""
        self._expected.update(events)

    def allow(self, *events: str) -> None:
        """Event words that may be in the log."""
        self._allowed.update(events)

    def wait_event(self, event: str, timeout: float = 5.0, **values: Any) -> dict[str, Any]:
        """The first callback record of that kind since the row began."""
        return self.server.wait_event(event, timeout, self.mark, **values)

    def found(self, event: str) -> list[dict[str, Any]]:
        """The records of that kind since the row began, the support's own sessions left out."""
        found = self.server.found(event, self.mark)
        return [record for record in found if record.get("uri") != "/quiet"]

    def result(self, client: Client, order: bytes | dict[str, Any]) -> Any:
        """Sends a command to a /command session and returns its result."""
        mark = self.server.mark()
        client.send(text(order if isinstance(order, bytes) else json.dumps(order)))
        return self.server.wait_event("RESULT", 10, mark)["value"]

    def ways(
        self,
        data: bytes,
        check: Callable[[Client], object],
        *,
        before: Callable[[Client], object] | None = None,
        cuts: Iterable[int] | None = None,
        bytewise: bool | None = None,
    ) -> None:
        """Sends data in one write, cut in two at each position, and a byte a write, each on a
        connection of its own; `check` looks at the outcome of each.

        Between two writes the server is known to have read the first: `rounds`, not a sleep.
        before:
        what each connection does first (a handshake). cuts: positions for long data, all otherwise.
        bytewise: only up to 600 bytes unless it is said.
        """

        def begin() -> Client:
            client = self.server.connect()
            if before:
                before(client)
            return client

        def look(client: Client, how: str) -> None:
            try:
                with client:
                    check(client)
            except (AssertionError, Ended, TimeoutError) as error:
                raise AssertionError(f"{how}: {error!r} for {data[:300]!r}") from error

        look(begin().send(data), "in one write")
        positions = [
            at for at in (range(1, len(data)) if cuts is None else cuts) if 0 < at < len(data)
        ]
        if PRELOAD:  # the C tests make every cut, under the same sanitizers
            positions = positions[::8]
        for start in range(0, len(positions), 100):
            group = positions[start : start + 100]
            clients = [(at, begin()) for at in group]
            for at, client in clients:
                client.send(data[:at])
            self.rounds()
            for at, client in clients:
                client.send(data[at:])
            for at, client in clients:
                look(client, f"cut at {at}")
        if bytewise if bytewise is not None else len(data) <= (100 if PRELOAD else 600):
            client = begin()
            for at in range(len(data)):
                client.send(data[at : at + 1])
                if client.send_failed:
                    break
                self.rounds()
            look(client, "a byte a write")

    def grown(self, before: int) -> int:
        """Resident memory that the server has taken since it was `before`; 0 under sanitizers."""
        return 0 if PRELOAD else resident(self.pid) - before

    def own(self, *events: str) -> None:
        """Event words of the application's own wrong calls: a line for each call."""
        self._own.update(events)

    # -- afterwards

    def finish(self) -> None:
        """P1 to P5 and P7."""
        for client in self._clients:
            client.close()
        server = self.server
        assert server.pid == self.pid and alive(self.pid), f"P1: the server died\n{self._log()}"
        start = time.perf_counter()
        with server.connect() as fresh:
            fresh.open("/quiet", *self._fields).echo(b"P2")
            took = time.perf_counter() - start
        assert took < 1.0, f"P2: a fresh echo took {took:.3f} s"
        worst = self.canary.stop()
        assert worst < WORST_ROUND_TRIP, f"P3: the canary waited {worst:.3f} s"
        self._descriptors_and_memory()
        self._sessions()
        self._lines()
        self._beat.close()

    def _log(self) -> str:
        return self.server.log_path.read_text()[-3000:]

    def _descriptors_and_memory(self) -> None:
        """P4: back within a second and what a lingering close may take."""
        try:
            wait_until(lambda: len(descriptors(self.pid)) <= self.descriptors, 2.5)
        except AssertionError:
            raise AssertionError(
                f"P4: {self.descriptors} descriptors before, now {descriptors(self.pid)}"
            ) from None
        if PRELOAD:
            return
        limit = self.memory + self.memory_slack
        try:
            wait_until(lambda: resident(self.pid) <= limit, 1.0)
        except AssertionError:
            grown = (resident(self.pid) - self.memory) >> 10
            raise AssertionError(f"P4: resident memory grew by {grown} KiB") from None

    def _sessions(self) -> None:
        """P5; the canary and the barrier are the two sessions that stay."""
        server = self.server
        ids = [record["id"] for record in server.found("ESTABLISHED") if record["uri"] != "/quiet"]

        def left() -> set[int]:
            return set(ids) - {record["id"] for record in server.found("CLOSED")}

        wait_until(lambda: not left(), 5, "P5: CLOSED for every session that was established")
        closed = Counter(record["id"] for record in server.found("CLOSED"))
        again = {number: count for number, count in closed.items() if count != 1}
        assert not again, f"P5: CLOSED more than once: {again}"
        started = {record["id"] for record in server.found("ESTABLISHED")}
        assert not set(closed) - started, f"P5: CLOSED without ESTABLISHED: {set(closed) - started}"
        violations = server.found("VIOLATION")
        assert not violations, f"P5: {violations[:5]}"

    def _lines(self) -> None:
        """P7, and the row's event words."""
        lines = self.server.logs()[self.log_start :]
        seen: Counter[str] = Counter()
        by_peer: Counter[tuple[str, str]] = Counter()
        for line in lines:
            assert "raw" not in line, f"P7: not a log record on standard error: {line}"
            message = line["message"]
            assert LINE.fullmatch(message), f"P7: raw bytes in {message!r}"
            word = message.split(" ", 1)[0]
            seen[word] += 1
            if line["level"] == "DEBUG":
                continue
            asked = self._expected | self._allowed | self._own | {"suppressed"}
            assert word in asked, f"P7: unasked line {line}"
            peer = PEER.search(message)
            if peer and word not in self._own:
                by_peer[word, peer[1]] += 1
        connections = connected - self._connected
        often = {
            key: count for key, count in by_peer.items() if count > max(1, connections[key[1]])
        }
        assert not often, f"P7: more than one line for an event: {often}"
        missing = self._expected - set(seen)
        assert not missing, f"P7: no log line {missing}; there are {dict(seen)}"


class Batch:
    """The servers of a module: stopped together at its end, after one idle second for all (P8)."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def idle(self) -> None:
        """P8 for every row of the module, in the same second."""
        rows = [row for row in self.rows if alive(row.pid)]
        before = {row.name: cpu_seconds(row.pid) for row in rows}
        time.sleep(1.0)
        burnt = {row.name: cpu_seconds(row.pid) - before[row.name] for row in rows}
        for row in self.rows:
            row.server.end()
            if PRELOAD:  # each looks for leaks before it ends: all at once would take too long
                row.server.reap()
        for row in self.rows:
            row.server.reap()
        busy = {name: round(cpu, 3) for name, cpu in burnt.items() if cpu >= IDLE_CPU}
        assert not busy, f"P8: seconds of CPU burnt in an idle second: {busy}"
