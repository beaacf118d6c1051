"""Each call of the server fails, or falls short, once: the first, the second, and so on until a
run of connect, echo, file and close passes untouched.

No crash, nothing left open, nobody stuck, and the process lives. What passes (EINTR, EAGAIN, a
short count) changes nothing of what clients see; what does not ends one connection at most.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Serve
from support.raw import Ended, close_payload, frame, get, text, wait_until
from support.server import FAST, HERE, PRELOAD, Server, alive, descriptors, resident, spec_of

from faults.faults import SHORT, Faults, build

pytestmark = pytest.mark.skipif(bool(PRELOAD), reason="a sanitizer's runtime has its own malloc")

PROGRAM = HERE / "program.py"
FILE_SIZE = 300_000
LARGE = 150_000
TARGET = 61234  # a uid and gid that nobody has
MOST = 400  # calls of a kind in a run; there are far fewer

OPTIONS = {
    **FAST,
    "handshake_timeout": 3.0,
    "keepalive_timeout": 3.0,
    "close_timeout": 2.0,
    "callback_warn": 5.0,
}

# The calls of the round, what comes of each, and whether clients may notice.
ROUND = [
    ("accept4", errno.EMFILE, False),
    ("accept4", errno.ECONNABORTED, False),
    ("accept4", errno.EINTR, False),
    ("accept4", errno.ENOBUFS, False),
    ("recv", errno.EINTR, False),
    ("recv", SHORT, False),
    ("recv", errno.ECONNRESET, True),
    ("send", errno.EAGAIN, False),
    ("send", errno.ENOBUFS, False),
    ("send", SHORT, False),
    ("send", errno.EPIPE, True),
    ("sendmsg", errno.EAGAIN, False),
    ("sendmsg", SHORT, False),
    ("sendmsg", errno.ECONNRESET, True),
    ("sendfile", errno.EAGAIN, False),
    ("sendfile", SHORT, False),
    ("sendfile", errno.EIO, True),
    ("epoll_wait", errno.EINTR, False),
    ("epoll_wait", SHORT, False),
    ("epoll_ctl", errno.ENOMEM, True),
    ("malloc", errno.ENOMEM, True),
    ("realloc", errno.ENOMEM, True),
]


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def faults(shim: Path, tmp_path: Path) -> Faults:
    return Faults(shim, tmp_path / "control")


def served_file(tmp_path: Path) -> Path:
    path = tmp_path / "file.bin"
    path.write_bytes(bytes(i * 7 & 255 for i in range(FILE_SIZE)))
    return path


def echoes(server: Server) -> None:
    """A session: small and large messages, a message in pieces, pings, the closing handshake."""
    with server.connect() as client:
        client.open("/echo")
        client.echo(b"hello")
        half = b"half " * 2000
        client.send(frame(0x1, half, fin=False) + frame(0x9, b"ping") + frame(0x0, half))
        got = [client.frame() for _ in range(2)]
        assert sorted(one.payload for one in got) == [half + half, b"ping"]
        # Answers that leave together, and one that no socket buffer takes whole.
        client.send(text(b"a") + text(b"b" * 20_000) + text(b"c"))
        client.send(text(b"d" * LARGE))
        for wanted in (b"a", b"b" * 20_000, b"c", b"d" * LARGE):
            assert client.message() == wanted
        client.send(frame(0x8, close_payload(1000)))
        assert client.frame().code == 1000


def echoes76(server: Server) -> None:
    with server.connect() as client:
        client.open("/echo", version=76)
        client.echo(b"old", 76)


def files(server: Server) -> None:
    """A file, a reply of the application's and a refusal, on one connection."""
    with server.connect() as client:
        response = client.ask(get("/file"))
        assert (response.status, len(response.body)) == (200, FILE_SIZE)
        assert response.body[-256:] == bytes(i * 7 & 255 for i in range(FILE_SIZE - 256, FILE_SIZE))
        client.send(get("/x") + get("/y") + get("/missing"))
        client.served("/x")
        client.served("/y")
        assert client.response().status == 404


PARTS: list[Callable[[Server], None]] = [echoes, echoes76, files]


def run(server: Server, *, may_fail: bool) -> int:
    """One run. Returns how many of its parts went wrong; that a part is stuck is a TimeoutError."""
    wrong = 0
    for part in PARTS:
        try:
            part(server)
        except (Ended, ConnectionError, AssertionError):
            if not may_fail:
                raise
            wrong += 1
    return wrong


@pytest.mark.parametrize(("call", "error", "may_fail"), ROUND)
def test_round(
    serve: Serve, faults: Faults, tmp_path: Path, call: str, error: int, may_fail: bool
) -> None:
    """RX-04, RX-07, PR-15: each call of a run, one after the other, in one server."""
    env = {**faults.env, "LWS_TEST_FILE": str(served_file(tmp_path))}
    server = serve("hostile", env=env, **OPTIONS)
    assert run(server, may_fail=False) == 0
    assert run(server, may_fail=False) == 0
    before, memory = len(descriptors(server.pid)), resident(server.pid)
    for nth in range(MOST):
        faults.plan(call, nth, error)
        wrong = run(server, may_fail=may_fail)
        untouched = faults.fired == 0
        faults.none()
        assert alive(server.pid)
        # A failure is one connection's: what came after it in the run went well.
        assert wrong <= (1 if not untouched else 0), f"{call} {nth}: {wrong} parts went wrong"
        with server.connect() as fresh:
            fresh.open("/quiet").echo(b"still here")
        if untouched:
            break
    else:
        pytest.fail(f"over {MOST} calls of {call} in one run")
    assert nth > 0, f"{call} was never made"
    wait_until(lambda: len(descriptors(server.pid)) <= before, 5, "descriptors back")
    assert resident(server.pid) - memory < 4 << 20
    with server.connect() as client:  # its answer comes behind all records
        client.open("/quiet").echo(b"sync 1")
    server.wait_event("SYNC", number=1)
    assert not server.found("VIOLATION")
    wait_until(lambda: len(server.found("ESTABLISHED")) == len(server.found("CLOSED")), 5, "pairs")
    assert server.stop() == 0


START = [
    ("fork", errno.EAGAIN),
    ("listen", errno.ENOBUFS),
    ("malloc", errno.ENOMEM),
    ("realloc", errno.ENOMEM),
    ("epoll_ctl", errno.ENOMEM),
    ("setuid", errno.EAGAIN),
    ("setgid", errno.EPERM),
    ("setgroups", errno.EPERM),
]


@pytest.mark.parametrize(("call", "error"), START)
def test_start(serve: Serve, faults: Faults, tmp_path: Path, call: str, error: int) -> None:
    """PR-17, PV-03: what fails before the server serves is create_server's failure, and an ERROR
    line; no process is left, and nobody is served by one that kept its rights."""
    path = tmp_path / "socket"
    proxies = ["127.0.0.1", "2001:db8::/32"]
    options = dict(OPTIONS, listen=[f"unix:{path}"], trusted_proxies=proxies)
    if call.startswith("set"):
        if os.geteuid() != 0:
            pytest.skip("needs root")
        options.update(uid=TARGET, gid=TARGET)
    for nth in range(20):
        faults.plan(call, nth, error)
        started, errors = start_and_stop(faults, options)
        assert "Traceback" not in errors
        assert call.startswith("set") or not path.exists()
        if faults.fired == 0:
            assert started
            break
        # The tries to have root again after the drop: that they fail is what is wanted.
        assert not started or call.startswith("set"), f"{call} {nth} failed, and nobody noticed"
        assert started or '"ERROR"' in errors
    else:
        pytest.fail(f"{call} fails for ever")
    assert nth > 0, f"{call} was never made"
    faults.none()
    server = serve("hostile", env=faults.env, **options)
    with server.connect() as client:
        client.open("/echo").echo(b"untouched")
    if call.startswith("set"):
        told = Path(f"/proc/{server.pid}/status").read_text()
        assert f"Uid:\t{TARGET}\t{TARGET}\t{TARGET}\t{TARGET}\n" in told
    assert server.stop() == 0


def start_and_stop(faults: Faults, options: dict[str, Any]) -> tuple[bool, str]:
    """Whether a server started (it is stopped at once), and its log; nothing is left running."""
    config = {
        "app": spec_of("hostile"),
        "port": 0,
        "protocol": 76,
        "user_area_size": 16,
        "certificate": None,
        "key": None,
        "uid": options.get("uid", -1),
        "gid": options.get("gid", -1),
        "options": {key: options[key] for key in options if key not in ("uid", "gid")},
    }
    program = subprocess.Popen(
        [sys.executable, str(PROGRAM), json.dumps(config)],
        env={**os.environ, **faults.env},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout
    first = {"e": ""}
    while first["e"] not in ("STARTED", "FAILED"):  # callbacks may report before
        line = program.stdout.readline()
        assert line, "neither"
        first = json.loads(line)
    faults.none()  # what is called from here on is of its end
    _, errors = program.communicate(timeout=30)
    assert program.returncode == 0, errors
    if first["e"] == "STARTED":
        assert not alive(first["pid"])
    return first["e"] == "STARTED", errors
