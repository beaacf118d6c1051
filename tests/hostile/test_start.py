"""Section 9: starting a server and waiting for its end, where what that takes is not to be had."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from conftest import Serve
from support import script
from support.raw import CLOSE, Ended, close_payload, frame, text, wait_until
from support.server import FAST, cpu_seconds

from hostile.test_process import failing, waited

STARVE = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

def starve(free):
    "Leaves so many descriptors to this process."
    taken = []
    try:
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass
    for _ in range(free):
        os.close(taken.pop())
    return taken

def feed(taken):
    while taken:
        os.close(taken.pop())

def numbers():
    return [n for n in range(64) if os.path.exists(f"/proc/self/fd/{n}")]
"""


@pytest.mark.parametrize("how", ["process", "context"])
def test_PR_17_no_descriptors_to_start_with(how: str, tmp_path: Path) -> None:
    """Wherever they run out: -1 with one line, and nothing is left; or else it serves."""
    source = f"""{STARVE}
PATH = {str(tmp_path / "socket")!r}
def make(how, **options):
    if how == "process":
        return create(**options)
    made = libwebsocket_create_context(0, echo, 76, 0, None, None, -1, -1, **options)
    return -1 if made is None else made

started = 0
before = numbers()
for free in range(16):
    taken = starve(free)
    made = make({how!r}, host="127.0.0.1", listen=["unix:" + PATH])
    feed(taken)
    if made == -1:
        assert started == 0, free
        print("failed", free)
    else:
        started += 1
        assert os.path.exists(PATH)
        if {how!r} == "process":
            assert answers(made.port)
            assert made.stop(5) == 0
        else:
            libwebsocket_context_destroy(made)
    assert not os.path.exists(PATH), free
    assert children() == []
    assert numbers() == before, (free, numbers(), before)
assert started
"""
    ran = script.run(tmp_path, source)
    assert ran.returncode == 0, ran.stderr
    errors = [line for line in ran.stderr.splitlines() if line.startswith("ERROR")]
    assert len(errors) == len(ran.stdout.splitlines()) > 2, ran.stderr
    word = "fork-failed" if how == "process" else "context-failed"
    assert {line.split(":")[2].split()[0] for line in errors} == {"bind-failed", word}
    assert all("EMFILE" in line or "errno=24" in line for line in errors), ran.stderr


def test_PR_17_no_descriptors_above_stdio(tmp_path: Path) -> None:
    """Started with 0 to 2 closed: a pipe that cannot be moved away from them is none."""
    source = f"""{STARVE}
handler = logging.FileHandler({str(tmp_path / "log")!r})
logging.getLogger().handlers[:] = [handler]
os.closerange(0, 3)
sys.stdin = sys.stdout = sys.stderr = None
sys.excepthook = lambda *error: logging.critical("", exc_info=error)
with socket.create_server(("127.0.0.1", 0)) as listening:
    os.dup2(listening.fileno(), 40)
failures = 0
for free in range(8):
    before = numbers()
    taken = starve(0)
    for number in (0, 1, 2):
        os.close(number)
        taken.remove(number)
    for _ in range(free):
        os.close(taken.pop())
    server = create(host="fd:40")
    feed(taken)
    if server == -1:
        failures += 1
    else:
        assert answers(server.port)
        assert server.stop(30) == 0
    assert numbers() == before == [handler.stream.fileno(), 40], (free, numbers(), before)
assert 3 <= failures < 7, failures
"""
    ran = script.run(tmp_path, source)
    log = (tmp_path / "log").read_text()
    assert ran.returncode == 0, log
    assert "bind-failed" in log and "fork-failed" in log


def test_PR_09_no_descriptor_to_wait_with(tmp_path: Path) -> None:
    source = f"""{STARVE}
server = create()
again = create()
taken = starve(0)
assert server.wait(0.0) is None
assert server.wait(0.05) is None
os.kill(server.pid, signal.SIGKILL)
assert server.wait(30) == -signal.SIGKILL
assert server.wait(30) == -signal.SIGKILL  # it is known by now
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.close(again)
taken.append(os.open(os.devnull, os.O_RDONLY))  # the one that this has left
assert again.wait(5) == 0  # whoever ignores SIGCHLD gets no status
feed(taken)
assert children() == []
"""
    told = failing(tmp_path, source)
    assert "server-died" in told and "server-status-unknown" in told


@pytest.mark.parametrize(
    ("code", "status", "told"), [("", 0, ""), ("'words'", 1, "words"), ("256 + 7", 7, "")]
)
def test_PR_02_codes_of_system_exit(code: str, status: int, told: str, tmp_path: Path) -> None:
    """As the interpreter ends by them."""
    source = f"""
def leaves(wsi, reason, user, in_, length):
    if reason == LWS_CALLBACK_HTTP:
        raise SystemExit({code})

server = create(callback=leaves)
with socket.create_connection(("127.0.0.1", server.port)) as sock:
    sock.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    assert server.wait(30) == {status}
"""
    lines = failing(tmp_path, source).splitlines()
    assert [line for line in lines if not line.startswith("INFO")] == told.split()


def test_PR_14_ctrl_c_that_comes_after_the_parents_goodbye(serve: Serve) -> None:
    """The parent was first to act on it: both are one request to stop, and it stays graceful."""
    server = serve("hostile", **{**FAST, "shutdown_grace": 5.0, "close_timeout": 5.0})
    client = server.connect().open("/echo")
    server.order(do="stop")
    client.closing(1001)
    os.kill(server.pid, signal.SIGINT)
    pending = f"/proc/{server.pid}/status"
    wait_until(lambda: "SigPnd:\t0000000000000000" in Path(pending).read_text(), 5, "delivery")
    client.send(frame(CLOSE, close_payload(1001)))
    assert client.rest() == b""
    client.close()
    server.wait_event("CLOSED", code=1001)
    assert server.wait_event("STOPPED")["status"] == 0


def test_PR_09_sigchld_is_ignored(tmp_path: Path) -> None:
    source = """
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
server = create()
os.kill(server.pid, signal.SIGKILL)
while os.path.exists(f"/proc/{server.pid}"):
    time.sleep(0.001)
assert server.wait(30) == 0
assert server.stop() == 0
"""
    assert "server-status-unknown" in failing(tmp_path, source)


def test_PR_09_server_ends_before_it_serves(tmp_path: Path) -> None:
    source = """
def leaves(wsi, reason, user, in_, length):
    if reason == LWS_CALLBACK_PROTOCOL_INIT:
        os._exit(3)

server = create(callback=leaves)
assert server == -1 and repr(server) == "<libwebsocket_server -1>"
for refused in (server.stop, server.wait, server.__enter__):
    try:
        refused()
    except ValueError:
        pass
    else:
        raise AssertionError(refused)
assert children() == []
server = create()
assert repr(server) == f"<libwebsocket_server port {server.port} pid {server.pid}>"
os.close(server)  # as a C program would
assert server.stop(30) == 0
"""
    assert 'cause="it ended before it served"' in failing(tmp_path, source)


def test_PR_13_signal_while_the_server_starts(tmp_path: Path) -> None:
    """What a handler of the parent's raises comes out of create_server, and nothing runs on."""
    source = """
class Alarm(Exception):
    pass

def alarm(*_):
    raise Alarm

def slow(wsi, reason, user, in_, length):
    if reason == LWS_CALLBACK_PROTOCOL_INIT:
        time.sleep(30)

before = os.listdir("/proc/self/fd")
signal.signal(signal.SIGALRM, alarm)
signal.setitimer(signal.ITIMER_REAL, 0.3)
try:
    create(callback=slow)
except Alarm:
    pass
else:
    raise AssertionError("no alarm")
assert children() == []
assert os.listdir("/proc/self/fd") == before
"""
    script.passed(tmp_path, source)


def test_PR_13_the_handler_of_a_signal_destroys_the_context(tmp_path: Path) -> None:
    """In the server it is a request to stop, with the log line of one."""
    source = """
import libwebsockets

def callback(wsi, reason, user, in_, length):
    if reason == LWS_CALLBACK_PROTOCOL_INIT:
        context = libwebsockets.libwebsocket_get_context(wsi)
        destroy = libwebsockets.libwebsocket_context_destroy
        signal.signal(signal.SIGUSR1, lambda *_: destroy(context))

server = create(callback=callback)
os.kill(server.pid, signal.SIGUSR1)
status = server.wait(30)
assert status == 0, status
"""
    assert "cause=libwebsocket_context_destroy" in failing(tmp_path, source)


def test_PR_12_two_requests_to_stop_and_a_callback_that_never_returns(serve: Serve) -> None:
    server = serve("hostile", **FAST)
    client = server.connect().open("/command")
    before = cpu_seconds(server.pid)
    client.send(text('{"do": "spin"}'))
    wait_until(lambda: cpu_seconds(server.pid) > before + 0.1, 20.0, "the callback")
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(server.pid, number)
    assert waited(server, 30.0) == 0
    assert any(
        "a callback does not return" in line["message"] for line in server.logged("shutdown")
    )
    with pytest.raises(Ended):
        client.frame()
