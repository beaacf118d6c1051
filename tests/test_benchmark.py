"""The benchmark: the generator sees what is wrong, the bare server is right, the command tells."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from libwebsockets._benchmark import ffi, lib
from libwebsockets.benchmark import __main__ as command
from libwebsockets.benchmark import chart, codec, generator, loads, machine, report, servers
from libwebsockets.benchmark.generator import Held, Load, LoadError, Measured
from libwebsockets.benchmark.loads import Comparison, Goal, Series

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
SECONDS = 0.1


# ---- a server that can be wrong ----


class Peer:
    """One accepted connection of the wrong server."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.stream = connection.makefile("rb")

    def head(self) -> bytes:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.stream.readline()
            if not line:
                raise ConnectionError
            head += line
        return head

    def upgrade(self) -> None:
        key = re.search(rb"Sec-WebSocket-Key: (\S+)", self.head())
        assert key is not None
        accept = base64.b64encode(hashlib.sha1(key[1] + GUID).digest())
        self.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )

    def frame(self) -> bytes:
        """The payload of a client's frame of at most 125 bytes."""
        start = self.stream.read(6)
        if len(start) < 6:
            raise ConnectionError
        payload = self.stream.read(start[1] & 0x7F)
        return bytes(byte ^ start[2 + at % 4] for at, byte in enumerate(payload))

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)


@pytest.fixture
def wrong() -> Iterator[Callable[[Callable[[Peer], None]], int]]:
    """wrong(behaviour) -> the port of a server that treats every connection so."""
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(behaviour: Callable[[Peer], None]) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def one(connection: socket.socket) -> None:
            with connection:
                try:
                    behaviour(Peer(connection))
                except OSError:
                    return  # the generator has ended the run

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                thread = threading.Thread(target=one, args=(connection,))
                threads.append(thread)
                thread.start()

        thread = threading.Thread(target=accept)
        threads.append(thread)
        thread.start()
        return int(listener.getsockname()[1])

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    for thread in threads:
        thread.join()


def run(load: Load, port: int, seconds: float = SECONDS, server: int = 0) -> Measured:
    return generator.run(load, port, server, seconds, 0.02, machine.processors()[0])


def echo(change: Callable[[bytes, int], bytes]) -> Callable[[Peer], None]:
    """An echo server that changes the frame of each message, by its number."""

    def behaviour(peer: Peer) -> None:
        peer.upgrade()
        number = 0
        while True:
            payload = peer.frame()
            peer.send(change(b"\x82" + bytes([len(payload)]) + payload, number))
            number += 1

    return behaviour


ECHO = Load("echo", "echo", 1, 32)


def test_a_right_server_is_no_error(wrong: Callable[..., int]) -> None:
    measured = run(ECHO, wrong(echo(lambda frame, _: frame)))
    assert measured.count > 0
    assert 0 < measured.p50 <= measured.p99 <= measured.p999


@pytest.mark.parametrize("at", [0, 1, 2, 9, 10, 33])
@pytest.mark.parametrize("message", [0, 3])
def test_every_byte_of_an_echo_is_compared(
    wrong: Callable[..., int], at: int, message: int
) -> None:
    def change(frame: bytes, number: int) -> bytes:
        if number != message:
            return frame
        return frame[:at] + bytes([frame[at] ^ 1]) + frame[at + 1 :]

    with pytest.raises(LoadError, match=f"message {message} differs at byte {at} "):
        run(ECHO, wrong(echo(change)), 5)


def test_an_echo_of_an_earlier_message_is_seen(wrong: Callable[..., int]) -> None:
    first: list[bytes] = []

    def change(frame: bytes, _: int) -> bytes:
        first.append(frame)
        return first[0]

    with pytest.raises(LoadError, match="message 1 differs at byte 9 "):
        run(ECHO, wrong(echo(change)), 5)


def test_bytes_cut_anywhere_are_right(wrong: Callable[..., int]) -> None:
    def behaviour(peer: Peer) -> None:
        peer.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.upgrade()
        while True:
            payload = peer.frame()
            for byte in b"\x82" + bytes([len(payload)]) + payload:
                peer.send(bytes([byte]))

    assert run(ECHO, wrong(behaviour)).count > 0


def test_a_wrong_accept_key_is_refused(wrong: Callable[..., int]) -> None:
    def behaviour(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 101 Yes\r\nSec-WebSocket-Accept: " + b"A" * 28 + b"\r\n\r\n")
        peer.frame()

    with pytest.raises(LoadError, match=r"handshake was refused: HTTP/1\.1 101 Yes"):
        run(ECHO, wrong(behaviour), 5)


def test_an_early_end_is_an_error(wrong: Callable[..., int]) -> None:
    with pytest.raises(LoadError, match="connection 0: closed by the server"):
        run(ECHO, wrong(Peer.upgrade), 5)


def test_a_closing_handshake_without_a_close_is_an_error(wrong: Callable[..., int]) -> None:
    def behaviour(peer: Peer) -> None:
        peer.upgrade()
        peer.frame()
        peer.send(b"\x81\x00")

    with pytest.raises(LoadError, match="no Close came back"):
        run(Load("handshake", "handshake", 1), wrong(behaviour), 5)


def test_nobody_listening_is_an_error(free_port: int) -> None:
    with pytest.raises(LoadError, match="refused"):
        run(ECHO, free_port, 5)


BODY = bytes(range(200)) * 5


def http(reply: bytes) -> Callable[[Peer], None]:
    def behaviour(peer: Peer) -> None:
        while True:
            peer.head()
            peer.send(reply)

    return behaviour


GET = Load("file", "http", 2, len(BODY), path="/file", body=BODY)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n"


def test_http_replies_are_counted(wrong: Callable[..., int]) -> None:
    assert run(GET, wrong(http(HEAD + b"\r\n" + BODY))).count > 0


def test_http_goes_on_when_a_kept_connection_ends(wrong: Callable[..., int]) -> None:
    def behaviour(peer: Peer) -> None:
        peer.head()
        peer.send(HEAD + b"Connection: close\r\n\r\n" + BODY)

    assert run(GET, wrong(behaviour)).count > 1


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (HEAD + b"\r\n" + BODY[:-1] + b"x", "the body differs"),
        (HEAD + b"\r\n" + BODY + b"x", "bytes behind the body"),
        (HEAD.replace(b"1000", b"999") + b"\r\n" + BODY, "not the reply"),
        (HEAD.replace(b"200", b"404") + b"\r\n" + BODY, "not the reply"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 3000, "head is over 2048 bytes"),
    ],
    ids=["body", "more", "length", "status", "head"],
)
def test_http_replies_are_compared(wrong: Callable[..., int], reply: bytes, message: str) -> None:
    with pytest.raises(LoadError, match=message):
        run(GET, wrong(http(reply)), 5)


# ---- the bare server, and ours ----

SMALL = {
    "text": Load("text", "echo", 5, 32, text=True),
    "many": Load("many", "echo", 5, 125, in_flight=16),
    "tiny": Load("tiny", "echo", 2, 3, in_flight=2),
    "empty": Load("empty", "echo", 1, 0),
    "medium": Load("medium", "echo", 3, 5000, in_flight=7),
    "large": Load("large", "echo", 3, 65536),
    "larger": Load("larger", "echo", 2, 2**20),
    "handshake": Load("handshake", "handshake", 4),
    "file": Load("file", "http", 3, 1024, path="/small.html", body=loads.SMALL_BODY),
    "large file": Load("large file", "http", 2, 2**20, path="/large.html", body=loads.LARGE_BODY),
    "broadcast": Load("broadcast", "broadcast", 9, 125, in_flight=2),
}


@pytest.mark.parametrize("start", [servers.limit, servers.ours], ids=["bare", "ours"])
@pytest.mark.parametrize("load", SMALL.values(), ids=SMALL)
def test_each_load_against_each_server(load: Load, start: loads.Starter) -> None:
    processor = machine.processors()[1]
    with loads.files() as root, start(load, root, processor) as server:
        measured = run(load, server.port, server=server.pid)
        again = run(load, server.port, server=server.pid)
    for one in (measured, again):
        assert one.count > 0
        assert 0 < one.server_cpu <= 1.1
        assert 0 < one.generator_cpu <= 1.1
        assert 0 < one.p50 <= one.p99 <= one.p999 < 20e6


def test_idle_connections_are_held_until_the_block_ends() -> None:
    load = Load("idle", "idle", 50)
    with loads.files() as root, servers.ours(load, root, machine.processors()[1]) as server:
        with Held(load, server.port, server.pid, 0, 0, machine.processors()[0]) as held:
            held.wait_open()
            descriptors = len(os.listdir(f"/proc/{server.pid}/fd"))
            assert descriptors > 50
            assert generator.resident(server.pid) > 2**20
        generator.settle(server.pid)
        assert len(os.listdir(f"/proc/{server.pid}/fd")) <= descriptors - 50


def test_the_bare_server_ends_with_its_parent(tmp_path: Path) -> None:
    source = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from libwebsockets.benchmark import servers\n"
        "from libwebsockets.benchmark.generator import Load\n"
        "with servers.limit(Load('x', 'echo', 1), Path('/'), 0) as server:\n"
        "    print(server.pid, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", source],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=tmp_path,
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        descriptor = os.pidfd_open(pid)
        parent.kill()
    ended, _, _ = select.select([descriptor], [], [], 30)
    os.close(descriptor)
    assert ended, "the bare server outlived its parent"


# ---- the codec ----


class Memory:
    """A payload with the room that bench_codec wants."""

    def __init__(self, payload: bytes) -> None:
        self.size = len(payload)
        self.bytes = bytearray(16) + bytearray(payload) + bytearray(128 + len(payload))
        self.pointer = ffi.from_buffer("uint8_t[]", self.bytes, require_writable=True) + 16

    def turn(self, kind: int, times: int = 1) -> None:
        assert lib.bench_codec(kind, self.pointer, self.size, times) >= 0

    @property
    def payload(self) -> bytes:
        return bytes(self.bytes[16 : 16 + self.size])


@pytest.mark.parametrize("size", [1, 125, 126, 65535, 65536])
def test_the_loops_do_what_they_say(size: int) -> None:
    data = bytes(at * 7 & 0xFF for at in range(size))
    masked = bytes(byte ^ codec.MASK[at % 4] for at, byte in enumerate(data))
    memory = Memory(data)
    memory.turn(lib.BENCH_MASK)
    assert memory.payload == masked
    memory.turn(lib.BENCH_MASK)
    memory.turn(lib.BENCH_DECODE)
    assert memory.payload == masked
    memory.turn(lib.BENCH_MEMCPY)
    copy = 16 + (size + 127 & ~63)
    assert memory.bytes[copy : copy + size] == masked
    memory.turn(lib.BENCH_ENCODE)
    header = (
        bytes([0x82, size])
        if size < 126
        else struct.pack("!BBH", 0x82, 126, size)
        if size < 65536
        else struct.pack("!BBQ", 0x82, 127, size)
    )
    assert bytes(memory.bytes[16 - len(header) : 16]) == header
    memory.turn(lib.BENCH_ENCODE76)
    assert (memory.bytes[15], memory.bytes[16 + size]) == (0x00, 0xFF)


def test_an_unknown_loop_is_refused() -> None:
    assert lib.bench_codec(99, Memory(b"x").pointer, 1, 1) == -1


@pytest.mark.parametrize("sample", [codec.ASCII, codec.MIXED, codec.CJK])
@pytest.mark.parametrize("size", [1, 2, 32, 125, 1024])
def test_texts_have_their_size_and_are_utf8(sample: str, size: int) -> None:
    text = codec.text_of(sample, size)
    assert len(text) == size
    assert text.decode()[:1] in (sample[0], ".")


def test_the_plain_python_ways_agree_with_the_standards() -> None:
    # RFC 6455, section 1.3; draft-ietf-hybi-thewebsocketprotocol-00, section 1.2.
    assert codec._python_accept() == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert codec._python_head()[b"upgrade"] == b"websocket"
    assert codec._python_mask(b"Hello")() == bytes.fromhex("7f9f4d5158")
    assert codec._python_encode(b"Hello")() == b"\x82\x05Hello"


def test_a_codec_row_knows_whether_it_is_fast_enough() -> None:
    assert codec.Row("mask", 1000, 100, 90, 1, 0.8).reached is True
    assert codec.Row("mask", 1000, 100, 70, 1, 0.8).reached is False
    # Text that is no ASCII may reach its share of memcpy, or 4 GB/s.
    assert codec.Row("text", 1000, 200, 20, 1, 0.3, 4.0).reached is True
    assert codec.Row("text", 1000, 300, 20, 1, 0.3, 4.0).reached is False
    assert codec.Row("mask", 1000, 100, 90, 1).reached is None
    assert codec.Row("head", 1000, 100, None, 1, 0.8).reached is None


# ---- figures ----


def test_percentiles_are_exact_to_a_thirtysecond() -> None:
    latency = ffi.new("uint32_t[]", lib.BENCH_BUCKETS)
    assert lib.bench_percentile(latency, 0.5) == 0
    values = []
    for bucket in range(lib.BENCH_BUCKETS):
        latency[bucket] = 1
        values.append(lib.bench_percentile(latency, 0.5))
        latency[bucket] = 0
    assert values[:32] == list(range(32))
    for smaller, larger in itertools.pairwise(values[32:]):
        assert 0 < larger - smaller <= larger / 31
    latency[100], latency[200], latency[300] = 98, 1, 1
    assert lib.bench_percentile(latency, 0.5) == values[100]
    assert lib.bench_percentile(latency, 0.985) == values[200]
    assert lib.bench_percentile(latency, 0.999) == values[300]


def measured(rate: float, generator_cpu: float = 0.5, server_cpu: float = 1.0) -> Measured:
    return Measured(round(rate), 1.0, generator_cpu, server_cpu, 10, 20, 30)


def comparison(metric: str, target: float, limit: list[float], ours: list[float]) -> Comparison:
    goal = Goal(Load("x", "echo", 1), "a load", metric, target)
    runs = [[measured(value) for value in values] for values in (limit, ours)]
    return Comparison(
        goal, [Series("bare C", runs[0], list(limit)), Series("libwebsockets", runs[1], list(ours))]
    )


def test_ratios_are_of_the_same_round() -> None:
    # A machine that slows down in the second round slows both.
    rate = comparison("rate", 0.9, [1000, 100, 1000], [950, 95, 950])
    assert rate.ratio(rate.series[1]) == pytest.approx(0.95)
    assert rate.cpu_ratio(rate.series[1]) == pytest.approx(0.95)
    assert rate.reached(rate.series[1]) is True
    rate = comparison("rate", 0.96, [1000], [950])
    assert rate.reached(rate.series[1]) is False


def test_of_latency_and_memory_less_is_better() -> None:
    latency = comparison("latency", 1.1, [100], [105])
    assert latency.reached(latency.series[1]) is True
    latency = comparison("latency", 1.1, [100], [115])
    assert latency.reached(latency.series[1]) is False
    memory = comparison("memory", 450, [100], [440])
    assert memory.ratio(memory.series[1]) is None
    assert memory.reached(memory.series[1]) is True
    memory = comparison("memory", 450, [100], [460])
    assert memory.reached(memory.series[1]) is False


def test_a_generator_at_its_end_is_named() -> None:
    assert measured(1, 0.97, 0.8).generator_limited
    assert not measured(1, 0.97, 0.99).generator_limited
    assert not measured(1, 0.9, 0.8).generator_limited
    one = comparison("rate", 0.9, [100], [95])
    one.series[1].runs = [measured(1, 0.97, 0.8)] * 2 + [measured(1)]
    text = "\n".join(report.comparison_lines(one))
    assert text.count("the generator was the limit") == 1


def test_the_chart_is_svg_with_a_bar_for_each_server() -> None:
    drawn = chart.draw([comparison("rate", 0.9, [100], [80])], "A <title>", "a & footer")
    tree = ElementTree.fromstring(drawn)
    space = "{http://www.w3.org/2000/svg}"
    texts = [element.text for element in tree.iter(f"{space}text")]
    assert {"A <title>", "a & footer", "a load", "0.80", "libwebsockets"} <= set(texts)
    bars = [bar for bar in tree.iter(f"{space}rect") if bar.get("height") == str(chart.BAR)]
    assert [float(bar.get("width", 0)) for bar in bars] == pytest.approx(
        [0.8 * (chart.WIDTH - chart.LEFT - chart.RIGHT) / chart.FULL], abs=0.1
    )


def test_the_table_has_a_column_for_each_server() -> None:
    table = report.markdown([comparison("rate", 0.9, [100], [80])])
    assert table.splitlines()[0] == "| load | target | bare C | libwebsockets |"
    assert table.splitlines()[2] == "| a load | ≥ 0.9 | 100 /s | 0.80 |"


# ---- the command ----


def benchmark(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "libwebsockets.benchmark", *arguments]


def test_the_command_measures_and_reports(tmp_path: Path) -> None:
    figures, drawing = tmp_path / "out.json", tmp_path / "out.svg"
    only = ("--only", "latency", "--only", "file-1k")
    ran = subprocess.run(
        benchmark("--seconds", "0.05", "--quick", *only, "--json", figures, "--chart", drawing),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=tmp_path,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    written = json.loads(figures.read_text())
    assert written["complete"] is True
    assert [load["load"] for load in written["loads"]] == ["latency", "file-1k"]
    for load in written["loads"]:
        bare, ours = load["servers"]
        assert (bare["server"], ours["server"]) == ("bare C", "libwebsockets")
        assert 0 < ours["least"] <= ours["median"] <= ours["most"]
        assert ours["ratio"] > 0
        assert bare["ratio"] == 1
    assert "1 KiB file, 32 connections" in drawing.read_text()
    assert re.search(r"1 KiB file, 32 connections: [\d.]+ \((reached|missed), ≥ 0.4\)", ran.stdout)


def test_ctrl_c_keeps_what_was_measured(tmp_path: Path) -> None:
    figures = tmp_path / "out.json"
    with subprocess.Popen(
        benchmark("--only", "codec", "--only", "latency", "--json", str(figures)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    ) as running:
        assert running.stdout is not None
        while not running.stdout.readline().startswith("mask"):
            assert running.poll() is None
        running.send_signal(signal.SIGINT)
        out, errors = running.communicate(timeout=60)
    assert running.returncode == 130, out + errors
    assert "Interrupted" in out
    assert errors == ""
    written = json.loads(figures.read_text())
    assert written["complete"] is False
    assert written["codec"][0]["name"] == "mask"
    assert written["codec"][0]["ns"] > 0
    assert written["loads"] == []


def test_ctrl_c_keeps_the_rounds_of_a_load(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = iter([measured(100), measured(90), measured(100)])

    def run(*_: object) -> Measured:
        try:
            return next(runs)
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr(generator, "run", run)
    done: list[Comparison] = []
    starters = (("bare C", servers.limit), ("libwebsockets", servers.ours))
    goal = next(goal for goal in loads.LOADS if goal.load.name == "text-32")
    plan = loads.Plan(5, 0.1, 0.1)
    complete = loads.compare([goal, goal], starters, plan, lambda _: None, done.append)
    assert complete is False
    (one,) = done
    assert [series.values for series in one.series] == [[100, 100], [90]]
    assert one.ratio(one.series[1]) == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rounds", "2"], "--rounds must be 3 or more, not 2"),
        (["--seconds", "0"], "--seconds must be from 0.05 to 3600, not 0"),
        (["--only", "nothing"], "invalid choice"),
    ],
)
def test_wrong_arguments_are_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(arguments)
    assert message in capsys.readouterr().err
