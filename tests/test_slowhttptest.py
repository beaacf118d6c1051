"""slowhttptest against a server that serves others meanwhile: the others do not feel it.

Four attacks, 200 connections each: slow head (-H), slow body (-B), slow read (-X) and many
overlapping ranges (-R). The limits of time are the defaults of the server.
"""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Serve
from support.raw import get, wait_until
from support.server import Server, alive, descriptors, runnable_seconds

SECONDS = 15
CONNECTIONS = 200
P99 = 0.250
SIZE = 8 << 20

MODES = {
    "slow head": ("-H", "-i", "3", "-t", "GET", "-x", "24"),
    "slow body": ("-B", "-i", "3", "-s", "8192", "-x", "24"),
    "slow read": ("-X", "-w", "1", "-y", "64", "-n", "2", "-z", "32", "-k", "3"),
    "ranges": ("-R", "-a", "10", "-b", "3000", "-t", "GET"),
}


class Others:
    """What honest clients see meanwhile: an echo on an old connection, a file on a new one.

    Time that the server or this thread waited for a CPU does not count: other programs took it.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.times: list[float] = []
        self.error: Exception | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _waited(self) -> tuple[float, float]:
        return runnable_seconds(self.server.pid), runnable_seconds("thread-self")

    def _timed(self, act: Callable[[], object]) -> None:
        waited, begin = self._waited(), time.perf_counter()
        act()
        took = time.perf_counter() - begin
        # Both may have waited at the same time: the longer wait is what is surely not the server's.
        longer = max(now - then for now, then in zip(self._waited(), waited, strict=True))
        self.times.append(max(0.0, took - longer))

    def _run(self) -> None:
        try:
            client = self.server.connect(timeout=20).open("/quiet")
            while not self._stop.wait(0.02):
                self._timed(lambda: client.echo(b"still here"))
                self._timed(self._fresh)
            client.leave()
        except (OSError, AssertionError) as error:  # told by `stop`
            self.error = error

    def _fresh(self) -> None:
        with self.server.connect(timeout=20) as fresh:
            fresh.ask(get("/fresh"))

    def stop(self) -> list[float]:
        """All the round trips, in seconds."""
        self._stop.set()
        self._thread.join(60)
        if self.error:
            raise AssertionError(f"after {len(self.times)} round trips: {self.error!r}")
        return sorted(self.times)


@pytest.mark.parametrize("mode", MODES)
def test_slowhttptest(
    serve: Serve, tmp_path: Path, need: Callable[[str, str], str], mode: str
) -> None:
    command = need("slowhttptest", "slowhttptest")
    served = tmp_path / "large"
    served.write_bytes(b"z" * SIZE)
    server = serve("hostile", env={"LWS_TEST_FILE": str(served)})
    before = len(descriptors(server.pid))
    others = Others(server)
    url = f"http://127.0.0.1:{server.port}/file"
    sizes = ("-c", str(CONNECTIONS), "-r", str(CONNECTIONS), "-l", str(SECONDS), "-p", "5")
    try:
        ran = subprocess.run(
            [command, *MODES[mode], *sizes, "-u", url, "-v", "1"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS * 4,
        )
    finally:
        times = others.stop()
    said = re.sub(r"\x1b\[[0-9;]*m", "", ran.stdout)
    probes = re.findall(r"service available:\s+(\w+)", said)
    assert probes and probes[-1] == "YES", said
    p99 = times[int(len(times) * 0.99)]
    print(f"{mode}: {len(times)} round trips of others, p99 {p99 * 1000:.1f} ms")
    # An attack whose requests are all answered or refused is over before its time.
    assert len(times) > 20, f"{len(times)} round trips of others only"
    assert p99 < P99, f"p99 of the others {p99:.3f} s"
    assert alive(server.pid)
    wait_until(lambda: len(descriptors(server.pid)) <= before, 15, "descriptors back")
