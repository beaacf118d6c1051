"""Section 9, the rows about time: callbacks that take long, interrupted calls, clock jumps."""

from __future__ import annotations

import hashlib
import json
import mmap
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conftest import Serve
from support.raw import get, text, upgrade, wait_until
from support.server import FAST, Server, alive

SUPPORT = Path(__file__).resolve().parent.parent / "support"
TIMING = f"{SUPPORT / 'timing.py'}:timing"
DAY = 86400

# The event words of a time that was over; none may be logged here.
TIMEOUTS = (
    "handshake-timeout", "keepalive-timeout", "send-timeout", "close-timeout", "ping-timeout",
)  # fmt: skip


def no_timeout(server: Server) -> None:
    fired = [line for word in TIMEOUTS for line in server.logged(word)]
    assert not fired, fired


def order(**command: Any) -> bytes:
    return text(json.dumps(command))


def test_PR_07_callback_that_sleeps(serve: Serve) -> None:
    """Three times as long as every limit: what has come meanwhile is read before any is over."""
    limits = {**FAST, "handshake_timeout": 0.7, "keepalive_timeout": 0.7, "send_timeout": 0.7}
    server = serve("hostile", **limits)
    sleeper = server.connect().open("/command")
    kept = server.connect().send(get("/kept"))
    kept.served("/kept")
    halves = [server.connect() for _ in range(5)]
    echo = server.connect().open("/echo")
    for half in halves:
        half.send(upgrade("/echo")[:50])
    start = time.monotonic()
    sleeper.send(order(do="sleep", seconds=2.1))
    server.wait_event("RECEIVE")
    for half in halves:
        half.send(upgrade("/echo")[50:])
    kept.send(get("/again"))
    late = server.connect().send(upgrade("/echo"))
    echo.echo(b"sent during the sleep")
    assert time.monotonic() - start > 2.0, "it did not sleep"
    for half in (*halves, late):
        assert half.response().status == 101, "over its time, though its bytes were there"
        half.echo(b"in time")
    kept.served("/again")
    no_timeout(server)
    slow = server.wait_logged("callback-slow")
    assert slow["level"] == "WARNING"


def test_PR_07_callback_that_never_returns(serve: Serve) -> None:
    server = serve("hostile", **FAST)
    client = server.connect().open("/command").send(order(do="spin"))
    server.wait_event("RECEIVE")
    start = time.monotonic()
    server.order(do="stop", timeout=0.5)
    status = server.wait_event("STOPPED", 10)["status"]
    took = time.monotonic() - start
    assert 0.4 < took < 5.0, f"{took:.1f} s"
    assert status is not None
    wait_until(lambda: not alive(server.pid), 1.0, "end of the server")
    client.rest()


def messages(seed: int) -> list[bytes]:
    """Texts of all the sizes at which frames and buffers change their kind."""
    rng = random.Random(seed)
    sizes = [0, 1, 125, 126, 127, 4096, 65535, 65536, 300_000, 1 << 20]
    return [bytes(rng.choices(range(0x20, 0x7F), k=size)) for size in sizes]


def test_PR_15_interrupted_system_calls(serve: Serve, tmp_path: Path) -> None:
    served = tmp_path / "large"
    content = random.Random(1).randbytes(8 << 20)
    served.write_bytes(content)
    server = serve(
        TIMING,
        env={"LWS_TEST_FILE": str(served)},
        max_send_buffer=4 << 20,
        handshake_timeout=10,
        keepalive_timeout=10,
    )
    timer = server.connect().open("/itimer")
    timer.echo(b"it runs")
    for version in (76, 7, 8, 13):
        with server.connect(timeout=20).open("/quiet", version=version) as client:
            for payload in messages(version):
                client.echo(payload, version)
    small = server.connect(rcvbuf=4096, timeout=20)  # the kernel takes little at a time
    reply = small.ask(get("/file"))
    assert hashlib.sha1(reply.body).digest() == hashlib.sha1(content).digest()
    many = [server.connect().open("/quiet") for _ in range(50)]
    for number in range(20):
        for client in many:
            client.send(text(b"%d" % number))
        for client in many:
            assert client.message() == b"%d" % number
    count = int(server.connect().ask(get("/alarms")).body)
    assert count > 100, f"interrupted {count} times only"
    no_timeout(server)
    timer.leave()


class WallClock:
    """The offset of a server's wall clock, in the file that the preloaded library maps."""

    def __init__(self, folder: Path, gcc: str) -> None:
        self.shim = folder / "wall_clock.so"
        command = [gcc, "-shared", "-fPIC", "-O1", SUPPORT / "wall_clock.c", "-o", self.shim]
        subprocess.run([*command, "-ldl"], check=True)
        self.path = folder / "offset"
        self.path.write_bytes(bytes(mmap.PAGESIZE))
        self.environment = {"LD_PRELOAD": str(self.shim), "CLOCK_OFFSET": str(self.path)}

    def jump(self, seconds: int) -> None:
        with open(self.path, "r+b", buffering=0) as stream:
            stream.write(seconds.to_bytes(8, "little", signed=True))


def test_PR_16_wall_clock_jumps(
    serve: Serve, tmp_path: Path, need: Callable[[str, str], str]
) -> None:
    clock = WallClock(tmp_path, need("gcc", "gcc"))
    server = serve(
        TIMING, env=clock.environment, handshake_timeout=30, keepalive_timeout=30, send_timeout=30
    )

    def off() -> float:
        return int(server.connect().ask(get("/time")).body) - time.time()

    assert abs(off()) < 60
    ticker = server.connect().open("/tick")
    echo = server.connect().open("/quiet")
    kept = server.connect()
    kept.ask(get("/kept"))
    half = server.connect().send(upgrade("/quiet")[:40])
    for jump in (DAY, -DAY, 0, -DAY, DAY):
        clock.jump(jump)
        assert abs(off() - jump) < 60, "the clock did not jump"
        for number in range(20):
            echo.echo(b"%d" % number)
        begin = time.monotonic()
        first = int(ticker.message())
        while int(ticker.message()) < first + 6:
            pass
        assert time.monotonic() - begin < 3.0, "SEND has stopped"
        kept.ask(get("/kept"))
    half.send(upgrade("/quiet")[40:])
    assert half.response().status == 101
    half.echo(b"its time was not over")
    no_timeout(server)
