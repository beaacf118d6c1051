"""Section 9: faults of the process and of the callback."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import Serve
from support import script
from support.raw import CLOSE, Client, Ended, close_payload, frame, get, text, upgrade, wait_until
from support.row import Row
from support.server import FAST, Server, alive

ROOT = os.geteuid() == 0
NOBODY = 65534


def tracebacks(server: Server, name: str = "ValueError") -> int:
    return sum(line.get("exception") == name for line in server.logged("callback-error"))


def waited(server: Server, timeout: float = 5.0) -> Any:
    """The exit status that the handle's wait() gives in the parent."""
    mark = server.mark()
    server.order(do="wait", timeout=timeout)
    return server.wait_event("WAITED", timeout + 1, mark)["status"]


def test_PR_01_callback_raises(row: Row) -> None:
    row.expect("callback-error")
    client = row.connect().send(upgrade("/raise/ESTABLISHED/ValueError"))
    assert client.response().status == 101
    client.closing(1011)
    client.send(frame(CLOSE, close_payload(1011)))
    assert client.rest() == b""
    assert tracebacks(row.server) == 1

    client = row.open("/raise/RECEIVE/ValueError").send(text("one") + text("two") + text("three"))
    client.closing(1011)
    client.send(frame(CLOSE, close_payload(1011)))
    assert client.rest() == b""
    assert tracebacks(row.server) == 2, "messages were delivered behind the exception"

    client = row.open("/raise/SEND/ValueError")
    client.closing(1011)
    count = row.canary.count
    wait_until(lambda: row.canary.count > count + 20)
    assert tracebacks(row.server) == 3, "SEND's exception repeats"
    client.send(frame(CLOSE, close_payload(1011)))
    assert client.rest() == b""

    row.open("/raise/CLOSED/ValueError").leave()
    wait_until(lambda: tracebacks(row.server) == 4)

    row.connect().send(get("/raise/HTTP/ValueError") + get("/next")).refused(500)
    client = row.connect().send(get("/raise/after"))
    assert client.response().status == 200
    assert client.rest() == b""
    assert tracebacks(row.server) == 6


@pytest.mark.parametrize("name, status", [("KeyboardInterrupt", 130), ("SystemExit3", 3)])
@pytest.mark.parametrize("reason", ["RECEIVE", "ESTABLISHED", "HTTP", "SEND"])
def test_PR_02_exceptions_that_end_the_server(
    serve: Serve, name: str, status: int, reason: str
) -> None:
    server = serve("hostile", **FAST)
    other = server.connect().open("/echo")
    path = f"/raise/{reason}/{name}"
    client = server.connect()
    client.send(get(path) if reason == "HTTP" else upgrade(path) + text("x"))
    other.closing(1001)
    other.send(frame(CLOSE, close_payload(1001)))
    assert other.rest() == b""
    assert waited(server) == status
    assert not server.alive()
    server.wait_logged("shutdown")


def test_PR_02_exceptions_that_do_not(row: Row) -> None:
    row.expect("callback-error")
    for name in ("MemoryError", "RecursionError", "GeneratorExit"):
        client = row.open(f"/raise/RECEIVE/{name}").send(text("x"))
        client.closing(1011)
        client.send(frame(CLOSE, close_payload(1011)))
        assert client.rest() == b""
        assert tracebacks(row.server, name) == 1
        row.connect().send(get(f"/raise/HTTP/{name}")).refused(500)


def test_PR_03_callback_returns_odd_values(row: Row) -> None:
    row.expect("callback-error")
    client = row.open("/return/RECEIVE/none")
    client.send(text("x") + frame(9, b"still"))
    assert client.frame().payload == b"still"
    for key, codes in (
        ("str", (1011,)), ("nan", (1011,)), ("list", (1011,)),
        ("big", (1000, 1011)), ("one", (1000,)), ("true", (1000,)), ("minus", (1000,)),
    ):  # fmt: skip
        client = row.open(f"/return/RECEIVE/{key}").send(text("x"))
        got = client.frame()
        assert got.opcode == CLOSE and got.code in codes, (key, got)
        client.send(frame(CLOSE, got.payload[:2]))
        assert client.rest() == b""
    row.connect().send(get("/return/HTTP/str")).refused(500)
    row.barrier()
    errors = [line["exception"] for line in row.server.logged("callback-error")]
    assert set(errors) == {"TypeError"} and len(errors) in (4, 5)


def test_PR_04_callback_closes(row: Row) -> None:
    row.own("write-refused", "close-refused")
    client = row.open("/command")
    assert row.result(client, {"do": "close", "times": 3}) == [0, 0, 0]
    client.closing(1000)
    client.send(frame(CLOSE, close_payload(1000)))
    assert client.rest() == b""

    client = row.open("/command")
    assert row.result(client, {"do": "close-then-write"}) == -1
    client.closing(1000)
    client.send(frame(CLOSE, close_payload(1000)))
    assert client.rest() == b"", "the late message was sent"

    for with_self in (False, True):
        clients = [row.open("/echo") for _ in range(20)]
        closer = row.open("/command")
        for one in clients:  # messages that lie in the same round as the close
            one.send(text("x") * 5)
        order = text(json.dumps({"do": "close-others", "self": with_self}))
        closer.send(order)
        for one in clients:
            while (got := one.frame()).opcode != CLOSE:
                assert got.payload == b"x"
            one.send(frame(CLOSE, close_payload(1000)))
            assert one.rest() == b""
        if with_self:
            closer.closing(1000)
        closer.close()


def inert(answers: dict[str, Any]) -> None:
    assert answers == {"write": -1, "uri": None, "close": -1, "file": -1, "repr": True}, answers


def test_PR_05_handle_used_where_it_must_not_be(row: Row) -> None:
    row.memory_slack = 8 << 20  # the interpreter's for a first thread, its stack and its heap
    row.own("write-refused", "close-refused", "uri-refused", "file-refused", "serve-refused")
    client = row.open("/command")
    other = row.open("/command")
    row.result(client, {"do": "keep"})
    inert(row.result(client, {"do": "use-from-thread"}))
    inert(row.result(client, {"do": "use-after-fork"}))
    client.send(frame(9, b"still"))
    assert client.frame().payload == b"still"
    client.leave()
    row.wait_event("CLOSED")
    inert(row.result(other, {"do": "use-wsi"}))
    # and it never names the connection that has the place now
    fresh = [row.open("/echo") for _ in range(3)]
    inert(row.result(other, {"do": "use-wsi"}))
    for one in fresh:
        one.echo(b"untouched")


def test_PR_06_message_kept(row: Row) -> None:
    row.memory_slack = 4 << 20  # three messages are kept, each with the memory around it
    client = row.open("/command")
    for size in (40, 3000, 700_000):  # in the arena; larger; in a buffer of its own
        order = json.dumps({"do": "keep", "fill": "k" * size}).encode()
        row.result(client, order)
        other = row.open("/echo")
        for number in range(50):
            other.echo(b"%d" % number * 500)
        other.leave()
        shown = row.result(client, {"do": "use-view"})
        assert shown["view"] == "ValueError", shown
        assert shown["derived"] in (order[1:3].hex(), "ValueError"), shown
        assert shown["copy"] == order[:64].hex()
    client.leave()


def test_PR_08_callback_forks(row: Row) -> None:
    client = row.open("/command")
    pid = row.result(client, {"do": "fork", "way": "exit"})
    assert not alive(pid)
    mark = row.server.mark()
    assert isinstance(row.result(client, {"do": "fork", "way": "return"}), int)
    copy = row.server.wait_event("FORKED", 5, mark)["pid"]
    wait_until(lambda: not alive(copy), 2, "end of the forked copy")
    for number in range(10):
        with row.server.connect() as fresh:
            fresh.open("/echo").echo(b"%d" % number)
    # standard streams and the listing's own descriptor: no socket of the server goes to a program
    assert row.result(client, {"do": "subprocess"}) == 4
    client.leave()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_PR_09_server_is_killed(serve: Serve, number: int, tmp_path: Path) -> None:
    server = serve("hostile", **FAST)
    client = server.connect().open("/echo")
    os.kill(server.pid, number)
    start = time.monotonic()
    assert waited(server, 1.0) == -number
    assert time.monotonic() - start < 1.0
    assert not Path(f"/proc/{server.pid}").exists(), "a zombie is left"
    with pytest.raises((Ended, AssertionError)):
        client.echo(b"x")
    client.close()
    server.wait_logged("server-died")
    again = serve("hostile", port=server.port)
    again.connect().open("/echo").echo(b"the port is free")


def test_PR_10_parent_is_killed(serve: Serve) -> None:
    for uid, gid in ((-1, -1), (NOBODY, NOBODY)):
        if uid != -1 and not ROOT:
            continue
        server = serve("hostile", uid=uid, gid=gid, **FAST)
        client = server.connect().open("/echo")
        server.parent.kill()
        wait_until(lambda pid=server.pid: not alive(pid), 1.0, "end of the server")
        client.closing(1001)
        assert server.wait_logged("parent-died")


@pytest.mark.parametrize("ids", [(-1, -1), (NOBODY, NOBODY)])
def test_PR_10_parent_dies_before_the_server_is_set_up(
    ids: tuple[int, int], tmp_path: Path
) -> None:
    if ids[0] != -1 and not ROOT:
        pytest.skip("needs root")
    source = f"""
def told():
    os.write(1, b"%d\\n" % os.getpid())

def die():
    os.kill(os.getpid(), signal.SIGKILL)

os.register_at_fork(after_in_child=told, after_in_parent=die)
create(gid={ids[1]}, uid={ids[0]})
"""
    process = script.start(tmp_path, source)
    assert process.stdout
    pid = int(process.stdout.readline())
    assert process.wait(10) == -signal.SIGKILL
    wait_until(lambda: not alive(pid), 1.0, "end of the server")
    process.communicate()


def test_PR_11_thread_that_made_the_server_ends(tmp_path: Path) -> None:
    source = """
made = []
thread = threading.Thread(target=lambda: made.append(create()))
thread.start()
thread.join()
server = made[0]
end = time.monotonic() + 1.0
while time.monotonic() < end:
    assert answers(server.port)
    assert server.wait(0.1) is None
assert server.stop(5) == 0
"""
    script.passed(tmp_path, source)


def test_PR_12_sigterm_idle_and_with_clients(serve: Serve) -> None:
    for count in (0, 100):
        server = serve("hostile", **FAST)
        clients = [server.connect().open("/echo") for _ in range(count)]
        start = time.monotonic()
        os.kill(server.pid, signal.SIGTERM)
        for client in clients:
            client.closing(1001)
            client.send(frame(CLOSE, close_payload(1001)))
        for client in clients:
            assert client.rest() == b""
        assert waited(server) == 0
        assert time.monotonic() - start < FAST["shutdown_grace"] + 0.4
        server.wait_logged("shutdown")
        assert len(server.found("CLOSED")) == count
        with pytest.raises(ConnectionRefusedError):
            server.connect()


def test_PR_12_sigterm_with_clients_that_do_nothing(serve: Serve) -> None:
    server = serve("hostile", **{**FAST, "close_timeout": 20.0, "handshake_timeout": 20.0})
    silent = [server.connect().open("/echo") for _ in range(5)]
    half = server.connect().send(upgrade()[:40])
    silent[0].echo(b"barrier")
    start = time.monotonic()
    os.kill(server.pid, signal.SIGTERM)
    for client in silent:
        client.closing(1001)
    assert waited(server) == 0
    assert time.monotonic() - start < FAST["shutdown_grace"] + 1.0
    half.rest()
    assert len(server.found("CLOSED")) == 5, "CLOSED for what was reset"


def test_PR_12_a_callback_destroys_the_context(serve: Serve) -> None:
    server = serve("hostile", **FAST)
    client = server.connect().open("/command")
    client.send(text('{"do": "destroy"}'))
    client.closing(1001)
    client.send(frame(CLOSE, close_payload(1001)))
    assert waited(server) == 0
    assert "libwebsocket_context_destroy" in server.wait_logged("shutdown")["message"]


def test_PR_12_sigterm_during_a_file_and_a_callback(serve: Serve, tmp_path: Path) -> None:
    size = 24 << 20  # more than the kernel's buffers hold
    served = tmp_path / "large"
    served.write_bytes(b"f" * size)
    options = {**FAST, "shutdown_grace": 5.0, "send_timeout": 5.0}
    server = serve("hostile", env={"LWS_TEST_FILE": str(served)}, **options)
    reader = server.connect(rcvbuf=65536).send(get("/file") + get("/late"))
    head = reader.until(b"\r\n\r\n")
    assert b" 200 " in head.split(b"\r\n")[0]
    sleeper = server.connect().open("/command")
    sleeper.send(text(json.dumps({"do": "sleep", "seconds": 0.3})))
    os.kill(server.pid, signal.SIGTERM)
    body = reader.take(size)
    assert body == b"f" * size, "the reply under way is finished"
    assert b"/late" not in reader.rest()
    sleeper.closing(1001)
    sleeper.send(frame(CLOSE, close_payload(1001)))
    assert sleeper.rest() == b""
    assert waited(server) == 0


def test_PR_12_second_sigterm(serve: Serve) -> None:
    options = {**FAST, "shutdown_grace": 30.0, "close_timeout": 30.0}
    server = serve("hostile", **options)
    silent = server.connect().open("/echo")
    os.kill(server.pid, signal.SIGTERM)
    silent.closing(1001)
    start = time.monotonic()
    os.kill(server.pid, signal.SIGTERM)
    silent.rest()
    wait_until(lambda: not server.alive(), 2, "end of the server")
    assert time.monotonic() - start < 1.0
    waited(server)
    server.wait_event("CLOSED")


def test_PR_13_no_signal_reaches_another_process(tmp_path: Path) -> None:
    source = """
import subprocess
caught = []
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCONT):
    signal.signal(number, lambda *what: caught.append(what[0]))
bystander = subprocess.Popen(["sleep", "60"])

def leaves(wsi, reason, user, in_, length):
    if reason == LWS_CALLBACK_HTTP:
        raise SystemExit(0)

# it ends by itself, by an error at the start, by a kill, by its parent
server = create(callback=leaves)
with socket.create_connection(("127.0.0.1", server.port)) as sock:
    sock.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    assert server.wait(5) == 0
assert create(port=server.port, host="203.0.113.7") == -1
killed = create()
os.kill(killed.pid, signal.SIGKILL)
assert killed.wait(5) == -signal.SIGKILL
assert create().stop(5) == 0
assert os.getpgid(bystander.pid) == os.getpgid(0) == os.getpid()
assert bystander.poll() is None
assert caught == [], caught
bystander.kill()
bystander.wait()
"""
    script.passed(tmp_path, source, start_new_session=True)


def test_PR_14_ctrl_c_to_the_whole_group(serve: Serve) -> None:
    server = serve("hostile", popen={"start_new_session": True}, **FAST)
    client = server.connect().open("/echo")
    os.killpg(server.parent.pid, signal.SIGINT)
    client.closing(1001)
    client.send(frame(CLOSE, close_payload(1001)))
    assert client.rest() == b""
    wait_until(lambda: not server.alive(), 2, "end of the server")
    assert len(server.logged("shutdown")) + len(server.logged("parent-died")) in (1, 2)
    assert len(server.logged("shutdown")) <= 1
    assert not server.logged("server-died")


def test_PR_14_other_signals(row: Row) -> None:
    row.allow("tls-reload")  # SIGHUP, in a run over TLS
    client = row.open("/echo")
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGPIPE, signal.SIGCHLD):
        os.kill(row.pid, number)
        client.echo(b"after %d" % number)
    # writes to connections that are gone: EPIPE kills nothing
    for _ in range(20):
        row.open("/tick").reset()
        row.connect().send(get("/file") * 20).reset()
    client.echo(b"after EPIPE")
    commander = row.open("/command")
    assert row.result(commander, {"do": "subprocess"}) == 4  # reaped by its owner
    commander.leave()


def failing(tmp_path: Path, source: str, **popen: Any) -> str:
    """Runs a script that looks at failures; its standard error, which holds the log."""
    ran = script.run(tmp_path, source, **popen)
    assert ran.returncode == 0, ran.stderr
    return ran.stderr


def test_PR_17_port_in_use_and_bad_addresses(tmp_path: Path) -> None:
    source = """
taken = socket.socket()
taken.bind(("127.0.0.1", 0))
taken.listen()
port = taken.getsockname()[1]
assert create(port=port, host="127.0.0.1") == -1
assert create(port=port) == -1
assert create(host="203.0.113.7") == -1
for port in (-1, 65536, 2**70):
    try:
        create(port=port)
    except ValueError as error:
        assert str(port) in str(error), error
    else:
        raise AssertionError(port)
assert children() == []
server = create(port=0)
assert 0 < server.port < 65536 and answers(server.port)
assert server.stop(5) == 0
"""
    told = failing(tmp_path, source)
    lines = [line for line in told.splitlines() if "bind-failed" in line]
    assert len(lines) == 3 and all(line.startswith("ERROR") for line in lines), told
    assert "EADDRINUSE" in lines[0] and "EADDRINUSE" in lines[1], told
    assert "EADDRNOTAVAIL" in lines[2], told


needs_root = pytest.mark.skipif(not ROOT, reason="needs root")


@needs_root
def test_PR_17_privileged_port_and_no_process_left(tmp_path: Path) -> None:
    source = """
import ctypes, resource
CLONE_NEWNET = 0x40000000
assert ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) == 0  # there, 1023 is privileged
os.setgroups([])
os.setgid(61234)
os.setuid(61234)
assert create(port=1023) == -1
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
assert create() == -1
assert children() == []
"""
    told = failing(tmp_path, source)
    lines = [line for line in told.splitlines() if line.startswith("ERROR")]
    assert len(lines) == 2, told
    assert "bind-failed" in lines[0] and "ermission" in lines[0], told
    assert "fork" in lines[1] and "navailable" in lines[1], told


def test_PR_18_connect_at_once(tmp_path: Path) -> None:
    source = """
for turn in range(200):
    server = create()
    assert answers(server.port), turn
    assert server.stop(5) == 0
assert children() == []
"""
    script.passed(tmp_path, source, timeout=60)


SERVING = """
server = create(port=int(sys.argv[1]))
assert server != -1
with open(sys.argv[2], "w") as stream:
    stream.write(f"{server.pid}\\n")
threading.Event().wait()
"""


@pytest.mark.parametrize("where", ["/dev/full", "closed pipe", "all closed", "full disk"])
def test_PR_19_log_that_cannot_be_written(where: str, free_port: int, tmp_path: Path) -> None:
    told = tmp_path / "told"
    first = ""
    stderr = subprocess.DEVNULL
    if where == "/dev/full":
        stderr = os.open("/dev/full", os.O_WRONLY)
    elif where == "closed pipe":
        reader, stderr = os.pipe()
        os.close(reader)
    elif where == "all closed":
        first = "os.closerange(0, 3)\nsys.stdin = sys.stdout = sys.stderr = None\n"
    else:
        first = "logging.getLogger().addHandler(logging.FileHandler('/dev/full'))\n"
    process = script.start(
        tmp_path, first + SERVING, free_port, told,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr,
    )  # fmt: skip
    if stderr >= 0:
        os.close(stderr)
    try:
        pid = int(script.read_when_written(told))
        for _ in range(3):
            with Client(free_port) as client:
                client.send(b"GET / HTTP/1.1\r\nbad header\r\n\r\n").refused(400)
            with Client(free_port) as client:
                client.open("/echo").echo(b"hello")
                client.send(frame(1, b"unmasked", mask=None)).failed(1002)
        assert alive(pid)
    finally:
        script.end(process)
    wait_until(lambda: not alive(pid), 3, "end of the server")


def test_PR_20_threads_unflushed_output_and_hooks(tmp_path: Path) -> None:
    source = """
import atexit
atexit.register(lambda: print("hook"))
print("once", end=" ")  # not flushed
stop = threading.Event()
lock = threading.Lock()

def busy():
    while not stop.is_set():
        with lock:
            logging.getLogger("other").debug("x")

threads = [threading.Thread(target=busy) for _ in range(4)]
for thread in threads:
    thread.start()
servers = [create() for _ in range(2)]
assert servers[0].port != servers[1].port
for turn in range(5):
    for server in servers:
        assert answers(server.port)
for server in servers:
    assert server.stop(5) == 0
stop.set()
"""
    out = script.passed(tmp_path, source, python=("-W", "error"))
    assert out.split() == ["once", "hook"], out


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_PR_20_multiprocessing(method: str, tmp_path: Path) -> None:
    source = f"""
import multiprocessing

def work(pipe):
    server = create()
    pipe.send(server.port)
    pipe.recv()
    assert server.stop(5) == 0

if __name__ == "__main__":
    context = multiprocessing.get_context("{method}")
    here, there = context.Pipe()
    process = context.Process(target=work, args=(there,))
    process.start()
    assert answers(here.recv())
    here.send(None)
    process.join(10)
    assert process.exitcode == 0
"""
    script.passed(tmp_path, source)


def test_PR_17_port_zero_is_told(serve: Serve) -> None:
    server = serve("hostile")
    with socket.create_connection(("::1", server.port), 5):
        pass
    with socket.create_connection(("127.0.0.1", server.port), 5):
        pass
