"""Real server processes for the tests, and what can be read of them from outside."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from .certificates import Pair, localhost
from .raw import Client, wait_until

HERE = Path(__file__).resolve().parent

# The time limits of the catalogue, divided by 20, so that no row waits longer than it must.
FAST: dict[str, Any] = {
    "handshake_timeout": 0.5,
    "keepalive_timeout": 0.25,
    "send_timeout": 1.5,
    "close_timeout": 0.5,
    "shutdown_grace": 0.5,
    "callback_warn": 0.05,
}

# P6: the runtimes of a sanitized build, preloaded into the server programs alone. Their reports
# stand beside the log; memory figures say nothing then.
PRELOAD = os.environ.get("LWS_TEST_PRELOAD", "")

Record = dict[str, Any]

# With LWS_TEST_TLS=1 every server of a run is encrypted, and so are its clients.
TLS = os.environ.get("LWS_TEST_TLS") == "1"


def sanitizer_environment(reports: Path) -> dict[str, str]:
    """What a sanitized build needs, unless tests/sanitize.py has said it; empty for any other."""
    if not PRELOAD:
        return {}
    if "ASAN_OPTIONS" in os.environ:
        return {"LD_PRELOAD": PRELOAD}
    return {
        "LD_PRELOAD": PRELOAD,
        "PYTHONMALLOC": "malloc",
        "ASAN_OPTIONS": f"detect_leaks=0:handle_segv=0:exitcode=99:log_path={reports}",
        "UBSAN_OPTIONS": f"halt_on_error=1:print_stacktrace=1:log_path={reports}",
    }


def spec_of(app: str | Callable[..., Any]) -> str:
    """`file.py:name` of a callback; a bare name is one of apps.py."""
    if isinstance(app, str):
        return app if ":" in app else f"{HERE / 'apps.py'}:{app}"
    return f"{inspect.getsourcefile(app)}:{app.__name__}"


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def descriptors(pid: int) -> dict[int, str]:
    """The open descriptors of a process and what they are."""
    found = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed while we looked
            found[int(name)] = os.readlink(f"/proc/{pid}/fd/{name}")
    return found


def resident(pid: int) -> int:
    """Resident memory in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """CPU time of the process so far: the scheduler's nanoseconds, finer than clock ticks."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def cpu_seconds_at_rest(pid: int, timeout: float = 5.0) -> float:
    """CPU time of the process once it sleeps: a running one's latest part is not counted yet."""

    def sleeps() -> bool:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"

    wait_until(sleeps, timeout, "the process sleeps")
    return cpu_seconds(pid)


def runnable_seconds(task: str | int) -> float:
    """Seconds that a task was ready to run and had no CPU: the machine's fault, not its own."""
    return int(Path(f"/proc/{task}/schedstat").read_text().split()[1]) / 1e9


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        assert isinstance(port, int)
        return port


def record_of(line: bytes) -> Record:
    try:
        record: Record = json.loads(line)
    except ValueError:
        record = {"e": "OUTPUT", "line": line.decode("utf-8", "replace")}
    return record


class Server:
    """A server in a process of its own, started through libwebsocket_create_server.

    pid and port are the server's; parent is the program that called create_server. records are what
    the callback reported so far, in order; logs() the log records.
    """

    def __init__(
        self,
        app: str | Callable[..., Any],
        log: Path,
        *,
        port: int = 0,
        protocol: int = 76,
        user_area_size: int = 16,
        uid: int = -1,
        gid: int = -1,
        env: dict[str, str] | None = None,
        expect_failure: bool = False,
        popen: dict[str, Any] | None = None,
        tls: Pair | bool = TLS,
        **options: Any,
    ) -> None:
        pair = localhost() if tls is True else tls or None
        self.tls = pair.client() if pair and not expect_failure else None
        config = {
            "app": spec_of(app),
            "port": port,
            "protocol": protocol,
            "user_area_size": user_area_size,
            "uid": uid,
            "gid": gid,
            "certificate": str(pair.certificate) if pair else None,
            "key": str(pair.key) if pair else None,
            "options": options,
        }
        self.options = options
        self.log_path = log
        self.records: list[Record] = []
        self.pid = 0
        self.port = 0
        self.status: int | None = None
        self._ended = False
        self._changed = threading.Condition()
        with open(log, "ab") as stderr:
            self.parent = subprocess.Popen(
                [sys.executable, str(HERE / "program.py"), json.dumps(config)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={
                    **os.environ,
                    **sanitizer_environment(log.with_suffix(".report")),
                    **(env or {}),
                },
                **(popen or {}),
            )
        assert self.parent.stdout
        self._reader = threading.Thread(target=self._read, args=(self.parent.stdout,), daemon=True)
        self._reader.start()
        first = self.wait_for(lambda r: r["e"] in ("STARTED", "FAILED", "END"), 20)
        if expect_failure:
            assert first["e"] == "FAILED", first
            self.parent.wait(5)
            return
        assert first["e"] == "STARTED", f"the server did not start:\n{log.read_text()}"
        self.pid, self.port = first["pid"], first["port"]

    def _read(self, stream: IO[bytes]) -> None:
        """Collects the records; ends when no process holds the pipe any more."""
        rest = b""
        with stream:
            while not self._ended:
                select.select([stream], [], [])
                # Read and noted at once, so that nobody finds the pipe empty in between.
                with self._changed:
                    more = os.read(stream.fileno(), 1 << 16)
                    *lines, rest = (rest + more).split(b"\n")
                    self.records.extend(map(record_of, lines))
                    if not more:
                        self.records.append({"e": "END"})
                        self._ended = True
                    self._changed.notify_all()

    def _catch_up(self) -> None:
        """Takes in, with the lock held, what was reported before this call."""
        end = time.monotonic() + 5
        while not self._ended and select.select([self.parent.stdout], [], [], 0)[0]:
            assert time.monotonic() < end, "the records do not end"
            self._changed.wait(0.1)

    def wait_for(
        self, wanted: Callable[[Record], object], timeout: float = 5.0, since: int = 0
    ) -> Record:
        """The first record from index `since` on for which `wanted` is true, waiting for it."""
        end = time.monotonic() + timeout
        with self._changed:
            while True:
                for record in self.records[since:]:
                    if wanted(record):
                        return record
                    since += 1
                left = end - time.monotonic()
                assert left > 0, f"no such record within {timeout} s; last: {self.records[-5:]}"
                self._changed.wait(left)

    def wait_event(self, event: str, timeout: float = 5.0, since: int = 0, **values: Any) -> Record:
        """The first record of that event with those values."""

        def wanted(record: Record) -> bool:
            return record["e"] == event and all(record.get(k) == v for k, v in values.items())

        return self.wait_for(wanted, timeout, since)

    def found(self, event: str, since: int = 0) -> list[Record]:
        """The records of that event that were reported by now, from index `since` on."""
        with self._changed:
            self._catch_up()
            return [record for record in self.records[since:] if record["e"] == event]

    def mark(self) -> int:
        """The index of the next record."""
        with self._changed:
            self._catch_up()
            return len(self.records)

    def logs(self) -> list[Record]:
        """The log records so far; lines that are none come as {"raw": line}."""
        out: list[Record] = []
        for line in self.log_path.read_bytes().splitlines():
            try:
                out.append(json.loads(line))
            except ValueError:
                out.append({"raw": line.decode("utf-8", "replace"), "message": "", "level": ""})
        return out

    def logged(self, event: str) -> list[Record]:
        """The records whose message begins with an event word."""
        return [line for line in self.logs() if line["message"].split(" ", 1)[0] == event]

    def wait_logged(self, event: str, timeout: float = 5.0) -> Record:
        wait_until(lambda: self.logged(event), timeout, f"log line {event}")
        return self.logged(event)[0]

    def connect(self, **options: Any) -> Client:
        return Client(self.port, **{"tls": self.tls, **options})

    def order(self, **command: Any) -> None:
        """Sends a command to the parent program."""
        assert self.parent.stdin
        self.parent.stdin.write(json.dumps(command).encode() + b"\n")
        self.parent.stdin.flush()

    def alive(self) -> bool:
        return alive(self.pid)

    def stop(self, timeout: float = 10.0) -> int | None:
        """Stops through the handle; the exit status of the server as the handle reports it."""
        self.order(do="stop")
        self.status = self.wait_event("STOPPED", timeout)["status"]
        self.parent.wait(timeout)
        return self.status

    def end(self) -> None:
        """Lets go of standard input: the parent stops the server and ends. Does not wait."""
        if self.parent.stdin:
            with contextlib.suppress(OSError):
                self.parent.stdin.close()

    def reap(self, timeout: float = 10.0) -> None:
        """Waits for both processes to be gone; ends by force what is not, and then fails."""
        self.end()
        forced = []
        try:
            self.parent.wait(timeout)
        except subprocess.TimeoutExpired:
            forced.append("parent")
            self.parent.kill()
            self.parent.wait(timeout)
        if self.pid:
            try:
                wait_until(lambda: not alive(self.pid), timeout, "end of the server")
            except AssertionError:
                forced.append("server")
                os.kill(self.pid, signal.SIGKILL)
        self._reader.join(timeout)
        assert not forced, f"had to be killed: {forced}"
        reports = [path.read_text() for path in self.log_path.parent.glob("*.report.*")]
        assert not reports, "P6: " + "\n".join(reports)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.reap()
