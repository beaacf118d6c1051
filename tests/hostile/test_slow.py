"""Hostile rows of section 8: slow and dead peers, with all times a twentieth.

SL-03 is with the files.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.raw import BINARY, PING, PONG, frame, text, wait_until
from support.row import TLS_SLACK, Row
from support.server import descriptors

SUPPORT = Path(__file__).resolve().parent.parent / "support"

pytestmark = [pytest.mark.server(handshake_timeout=0.5, linger_timeout=0.2)]

SLACK = (8 << 20) + TLS_SLACK  # sections 6 to 8


@pytest.fixture(autouse=True)
def slack(row: Row) -> None:
    row.memory_slack = SLACK


def open_now(row: Row) -> int:
    return len(descriptors(row.pid))


def test_SL_01_slow_heads(row: Row) -> None:
    """200 connections that send a head a few bytes at a time, as slowhttptest -H does."""
    before = open_now(row)
    clients = [row.connect() for _ in range(200)]
    start = time.monotonic()
    for client in clients:
        client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
    left = clients
    number = 0
    while left and time.monotonic() - start < 5:
        number += 1
        for client in left:
            client.send(b"X-%d: a\r\n" % number)
        readable, _, _ = select.select([client.sock for client in left], [], [], 0.05)
        left = [c for c in left if c.sock not in readable and not c.send_failed]
    assert not left
    for client in clients:
        with contextlib.suppress(ConnectionError):
            assert client.response().status == 408
        client.close()
    wait_until(lambda: open_now(row) <= before, 3)
    row.expect("handshake-timeout")


def test_SL_02_slow_body(row: Row) -> None:
    client = row.connect()
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
    start = time.monotonic()
    client.send(head + b"a")
    assert client.response().status == 413
    while time.monotonic() - start < 5 and not client.send_failed:
        client.send(b"a")
        readable, _, _ = select.select([client.sock], [], [], 0.02)
        if readable and not client.fill():
            break
    assert time.monotonic() - start < 2
    row.expect("http-body-refused")


@pytest.mark.server(send_timeout=0.5, max_send_buffer=1 << 18)
def test_SL_04_a_peer_that_never_reads(row: Row) -> None:
    """SEND writes to it each tick; the others get each of theirs."""
    deaf = row.open("/flood", rcvbuf=4096)
    other = row.open("/tick")
    row.wait_event("CLOSED", 10, uri="/flood", code=1006)
    counts = [int(other.message()) for _ in range(10)]
    assert counts == list(range(counts[0], counts[0] + 10))
    # What did arrive begins with a whole frame's header: 64 KiB of text.
    with contextlib.suppress(ConnectionError):
        assert deaf.take(4) == b"\x81\x7f\x00\x00"
    other.leave()
    row.expect("send-timeout")
    row.allow("send-overflow")


PING_TIMES = {"ping_interval": 0.3, "pong_timeout": 0.3}


@pytest.mark.server(**PING_TIMES)
def test_SL_05_a_silent_peer(row: Row) -> None:
    """It reads, but answers no ping: 1011, then the end."""
    start = time.monotonic()
    client = row.open("/sink")
    ping = client.frame()
    assert ping.opcode == PING and ping.fin
    client.closing(1011)
    row.wait_event("CLOSED", uri="/sink", code=1006)
    assert 0.55 < time.monotonic() - start < 0.6 + 1.0
    assert client.rest() == b""
    row.expect("ping-timeout")


@pytest.mark.server(**PING_TIMES)
def test_SL_05_a_peer_that_answers(row: Row) -> None:
    """Pongs keep it; so does anything else that it says in time. A pong of other bytes does not."""
    client = row.open("/sink")
    for _ in range(4):
        ping = client.frame()
        assert ping.opcode == PING
        client.send(frame(PONG, ping.payload))
    client.leave()
    wrong = row.open("/sink")
    ping = wrong.frame()
    wrong.send(frame(PONG, ping.payload + b"x") + frame(PONG, b"") + text("no pong"))
    wrong.closing(1011)
    row.expect("ping-timeout")


def test_SL_05_a_peer_that_vanishes() -> None:
    """Its network goes away without a FIN; in namespaces of the test's own."""
    if os.geteuid() != 0:
        pytest.skip("needs root: run the tests as root")
    done = subprocess.run(
        ["unshare", "-n", sys.executable, SUPPORT / "vanishing.py"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    assert 0.55 < float(done.stdout) < 0.6 + 1.0
    assert "ping-timeout" in done.stderr


@pytest.mark.server(send_timeout=5.0)
def test_SL_06_a_message_through_a_narrow_pipe(row: Row) -> None:
    """A byte now and then, then all: no byte is lost, and no pong lands inside a frame."""
    client = row.open("/binary", rcvbuf=2048, timeout=20)
    payload = os.urandom(1 << 19) * 2
    client.send(frame(BINARY, payload))
    row.wait_event("RECEIVE")
    for number in range(50):
        client.send(frame(PING, b"%d" % number))
        client.buffer += client.sock.recv(1)
        row.barrier()
    while (got := client.frame()).opcode == PONG:
        pass
    assert got.payload == payload
    client.send(frame(PING, b"last"))
    while (pong := client.frame()).payload != b"last":
        assert pong.opcode == PONG
    client.leave()


STOPPED = """
import sys
from raw import Client, text
client = Client(int(sys.argv[1]), timeout=20).open("/echo")
print("open", flush=True)
sys.stdin.readline()
for n in range(300):
    client.send(text(b"%d " % n * 50))
for n in range(300):
    assert client.message() == b"%d " % n * 50, n
client.leave()
print("right", flush=True)
"""


# Its client is a program of its own, without TLS.
@pytest.mark.server(handshake_timeout=0.5, linger_timeout=0.2, tls=False)
def test_SL_07_a_peer_that_is_stopped(row: Row) -> None:
    """A client process is stopped for a while and goes on: nothing lost, nothing twice."""
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED, str(row.server.port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=SUPPORT,
    ) as process:
        assert process.stdin and process.stdout
        assert process.stdout.readline() == "open\n"
        process.stdin.write("go\n")
        process.stdin.flush()
        row.wait_event("RECEIVE")
        process.send_signal(signal.SIGSTOP)
        end = time.monotonic() + 0.25  # five seconds, divided by 20
        while time.monotonic() < end:
            row.barrier()
        process.send_signal(signal.SIGCONT)
        assert process.stdout.readline() == "right\n"
