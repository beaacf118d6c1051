"""Section 7: resource exhaustion. RX-04 and RX-07 need system calls and allocations that fail:
they are in tests/c/test_service_faults.c and in the runs with a preloaded library, by these names.
"""

from __future__ import annotations

import contextlib
import resource
import selectors
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support.raw import (
    CLOSE,
    Client,
    Ended,
    close_payload,
    frame,
    text,
    upgrade,
    wait_until,
)
from support.row import TLS_SLACK, Row
from support.server import PRELOAD, cpu_seconds, descriptors

TESTS = Path(__file__).resolve().parent.parent
SLACK = (8 << 20) + TLS_SLACK  # rows of this section may leave the allocator's pages behind
OWN = 2  # sessions of the row itself: the canary and the beat


@pytest.fixture(autouse=True)
def many_descriptors() -> None:
    """Room for a few thousand connections in this process and in the servers that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < 4096:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))


def turned_away(client: Client) -> bool:
    """Whether the server refused: by 503, or by closing at once."""
    client.send(upgrade("/quiet"))
    try:
        status = client.response().status
    except Ended:
        return True
    assert status in (101, 503), status
    return status == 503


plain = pytest.mark.server(tls=False)  # what a row looks at lies before any handshake


@pytest.mark.server(max_connections=1000, tls=False)
def test_RX_01_more_than_max_connections(row: Row) -> None:
    row.memory_slack = SLACK
    row.expect("conn-limit")
    row.own("conn-limit")  # a line has no peer: no connection was made
    room = 1000 - OWN
    clients = [row.open("/quiet") for _ in range(room)]
    for _ in range(50):
        with row.server.connect() as extra:
            assert turned_away(extra)
    for number, client in enumerate(clients):
        client.echo(b"%d" % number)

    for client in clients[:5]:  # a place that is free is taken again
        client.leave()
        freed = time.monotonic()
        while True:
            fresh = row.connect()
            if not turned_away(fresh):
                break
            assert time.monotonic() - freed < 0.1, "the place is not free within 100 ms"
            fresh.close()
        fresh.echo(b"in its place")
    for client in clients[5:]:
        client.close()
    wait_until(lambda: len(descriptors(row.pid)) <= row.descriptors + 5, 5)


@pytest.mark.server(max_connections_per_ip=12, tls=False)
def test_RX_02_more_than_one_address_may_have(row: Row) -> None:
    row.expect("conn-limit-ip")
    row.own("conn-limit-ip")

    clients = [row.open("/quiet") for _ in range(12 - OWN)]
    for _ in range(10):
        with row.server.connect() as extra:
            assert turned_away(extra)
    for number, client in enumerate(clients):
        client.echo(b"%d" % number)
    with socket.create_connection(
        ("127.0.0.1", row.server.port), 5, source_address=("127.0.0.2", 0)
    ) as other:
        other.sendall(upgrade("/quiet"))
        assert other.recv(12) == b"HTTP/1.1 101", "another address is refused"
    clients[0].leave()

    def let_in() -> bool:
        client = row.connect()
        return not turned_away(client)

    wait_until(let_in, 1, "the place that became free")
    for client in clients[1:]:
        client.leave()


@plain
def test_RX_03_no_descriptors_left(row: Row) -> None:
    row.memory_slack = SLACK
    row.expect("accept-emfile")
    row.own("accept-emfile")
    live = row.open("/quiet")
    open_now = descriptors(row.pid)
    limits = resource.prlimit(row.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(row.pid, resource.RLIMIT_NOFILE, (max(open_now) + 1, limits[1]))
    waiting = [row.connect().send(upgrade("/quiet")) for _ in range(50)]
    row.server.wait_logged("accept-emfile")
    before, start = cpu_seconds(row.pid), time.monotonic()
    count = row.canary.count
    wait_until(lambda: row.canary.count > count + 60)
    spent = (cpu_seconds(row.pid) - before) / (time.monotonic() - start)
    assert spent < 0.25, f"{spent:.2f} of a CPU while nothing can be accepted"
    live.echo(b"those that were there go on")
    lines = row.server.logged("accept-emfile")
    assert len(lines) <= 2 + (time.monotonic() - start), f"{len(lines)} lines"
    live.leave()  # one descriptor is free: one of those that wait comes in
    with selectors.DefaultSelector() as ready:
        for client in waiting:
            ready.register(client.sock, selectors.EVENT_READ, client)
        answered = ready.select(5)
        assert answered, "nobody was accepted after a descriptor was free"
        client = answered[0][0].data
    assert client.response().status == 101
    client.echo(b"in its place")
    resource.prlimit(row.pid, resource.RLIMIT_NOFILE, limits)
    for other in waiting:
        if other is not client:
            assert other.response().status == 101
            other.echo(b"served in the end")


@pytest.mark.server(handshake_timeout=5.0, tls=False)
def test_RX_05_connect_and_reset(row: Row) -> None:
    row.memory_slack = SLACK
    for number in range(5000):
        client = row.server.connect()
        if number % 3 == 1:
            client.send(upgrade()[:50])
        elif number % 3 == 2:
            client.send(upgrade("/quiet"))
        client.reset()
    row.barrier()
    wait_until(lambda: len(descriptors(row.pid)) <= row.descriptors, 5)
    lines = len(row.server.logs()) - row.log_start
    assert lines < 100, f"{lines} log lines for 5000 connections"


@pytest.mark.server(handshake_timeout=2.0, tls=False)
def test_RX_06_idle_before_the_handshake(row: Row) -> None:
    row.memory_slack = SLACK
    row.allow("handshake-timeout")
    with selectors.DefaultSelector() as ready:
        born: dict[int, tuple[float, float]] = {}
        for _ in range(1000):
            begin = time.monotonic()
            client = row.connect()
            ready.register(client.sock, selectors.EVENT_READ, client)
            born[client.sock.fileno()] = begin, time.monotonic()
        row.rounds()
        before, start = cpu_seconds(row.pid), time.monotonic()
        count = row.canary.count
        assert not ready.select(0), "closed before its time"
        wait_until(lambda: row.canary.count > count + 30)
        spent = (cpu_seconds(row.pid) - before) / (time.monotonic() - start)
        assert spent < 0.25, f"{spent:.2f} of a CPU with 1000 idle connections"
        while born:
            found = ready.select(4)
            assert found, f"{len(born)} are still open"
            now = time.monotonic()
            for key, _ in found:
                begin, end = born.pop(key.fd)
                # The server counts from accept, which lies anywhere after the connect began.
                assert now - begin > 1.9, f"closed after {now - begin:.2f} s"
                assert now - end < 3.0 or PRELOAD, f"open for {now - end:.2f} s"
                assert key.data.rest() == b""
                ready.unregister(key.data.sock)


def test_RX_08_flood_of_tiny_messages(row: Row) -> None:
    """What one connection may take of a turn is bounded: the canary and `other` do not wait."""
    row.memory_slack = SLACK
    flooder = row.open("/quiet", timeout=10)
    other = row.open("/quiet")
    done = threading.Event()
    data = text("x") * 20_000

    def flood() -> None:
        with contextlib.suppress(OSError):
            while not done.is_set():
                flooder.sock.sendall(data)

    answered = 0

    def read() -> None:
        nonlocal answered
        with contextlib.suppress(OSError):
            while got := flooder.sock.recv(1 << 18):
                answered += len(got) // 3

    threads = [threading.Thread(target=flood), threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    try:
        worst = 0.0
        wait_until(lambda: answered > 1000, 5)
        for number in range(50):
            begin = time.perf_counter()
            other.echo(b"%d" % number)
            worst = max(worst, time.perf_counter() - begin)
        wait_until(lambda: answered > 20_000, 20)
    finally:
        done.set()
        flooder.reset()
        for thread in threads:
            thread.join(10)
    assert worst < 0.5, f"an echo beside the flood took {worst:.3f} s"


@pytest.mark.server(callback_warn=0.005)
def test_RX_09_flood_of_closes_with_slow_callbacks(row: Row) -> None:
    row.memory_slack = SLACK
    row.expect("callback-slow")
    row.allow("ws-control")
    ticker = row.open("/tick")
    arrivals: list[float] = []
    for _ in range(3):
        ticker.message()
    begin = time.monotonic()
    while time.monotonic() - begin < 1.5:
        client = row.open("/closed-slow")
        client.send(frame(CLOSE, close_payload(1000)) * 50)  # what comes behind it is nothing
        client.closing(1000)
        client.close()
        ticker.sock.setblocking(False)
        with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
            while ticker.fill():
                pass
        ticker.sock.settimeout(5)
        while ticker.buffer:
            ticker.message()
            arrivals.append(time.monotonic())
    closed = [record for record in row.found("CLOSED") if record["uri"] == "/closed-slow"]
    assert len(closed) > 20, "no flood"
    period = (arrivals[-1] - begin) / len(arrivals)
    assert period < 2 * 0.05 or PRELOAD, f"SEND every {period * 1000:.0f} ms"


def test_RX_10_soak() -> None:
    """A few seconds of the soak, so that it is known to work; CI runs its minutes."""
    ran = subprocess.run(
        [sys.executable, TESTS / "soak.py", "--seconds", "8", "--clients", "24"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stdout
