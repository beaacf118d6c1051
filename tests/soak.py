"""Soak: python tests/soak.py --minutes N [--clients N] [--tls] [--deflate] [--plot FILE]

Clients of mixed kinds (versions, sizes, slow, rude, killed) against one server whose callback
raises now and then. Resident memory, descriptors, sessions and timers are sampled each second. In
the end memory did not grow by more than 1 MiB an hour (in a short run: 3 MiB in all, as less cannot
be told from noise), and descriptors, sessions and timers are back to what they were.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from support.deflate import Peer
from support.raw import (
    CLOSE,
    CONTINUATION,
    TEXT,
    Client,
    Ended,
    Response,
    frame,
    get,
    text,
    text76,
    upgrade,
    wait_until,
)
from support.server import Server, alive, descriptors, resident

APP = f"{Path(__file__).resolve().parent / 'support/soaking.py'}:soaking"
MIB = 1 << 20
SLOPE = MIB  # bytes an hour
NOISE = 3 * MIB  # growth that a short run cannot tell from none
NOISE_OF_STATE = 12 * MIB  # the same with TLS or compression, whose memory settles later
SLACK = 12 * MIB  # what may stay when all have gone: the heap's free pages
SIZES = (0, 1, 20, 125, 126, 1000, 4096, 65535, 65536, 200_000)
GARBAGE = (
    frame(TEXT, b"\xff\xfe"),
    frame(3, b"reserved"),
    frame(TEXT, b"x", rsv=4),
    frame(CONTINUATION, b"of nothing"),
    frame(CLOSE, b"\x03"),
    frame(TEXT, b"", length=1 << 62),
)
BAD_REQUESTS = (b"\x16\x03\x01\x02\x00\x01", b"GET  / HTTP/1.1\r\n\r\n", b"GET /" + b"a" * 20_000)


@dataclass(frozen=True)
class Sample:
    seconds: float
    memory: int
    descriptors: int
    sessions: int
    timers: int


class Soak:
    """One server and its clients."""

    def __init__(self, server: Server, options: argparse.Namespace, payload: bytes) -> None:
        self.server = server
        self.options = options
        self.payload = payload
        self.stop = threading.Event()
        self.done: Counter[str] = Counter()
        self.failures: list[str] = []
        self.kinds: list[Callable[[random.Random], None]] = [
            self.echoes, self.echoes, self.pipelined, self.fragments, self.ticks, self.slow_reader,
            self.slow_writer, self.rude, self.killed, self.bad_request, self.requests,
        ]  # fmt: skip
        if options.deflate:
            self.kinds += [self.compressed, self.compressed]

    # -- what a client does, once

    def open(self, rng: random.Random, path: str, version: int = 13, **options: object) -> Client:
        client = self.server.connect(timeout=60, **options)
        try:
            return client.open(path, version=version)
        except BaseException:
            client.close()
            raise

    def content(self, rng: random.Random) -> bytes:
        size = rng.choice(SIZES)
        at = rng.randrange(len(self.payload) - size)
        return self.payload[at : at + size]

    def echoes(self, rng: random.Random) -> None:
        version = rng.choice((76, 7, 8, 13))
        with self.open(rng, "/echo", version) as client:
            for _ in range(rng.randrange(1, 20)):
                client.echo(self.content(rng), version)
            if version != 76:
                client.leave()

    def pipelined(self, rng: random.Random) -> None:
        version = rng.choice((76, 13))
        with self.open(rng, "/echo", version) as client:
            sent = [self.content(rng)[:5000] for _ in range(16)]
            client.send(b"".join(text76(one) if version == 76 else text(one) for one in sent))
            assert [client.message(version) for _ in sent] == sent

    def fragments(self, rng: random.Random) -> None:
        with self.open(rng, "/echo", rng.choice((7, 8, 13))) as client:
            whole = self.content(rng)[:10_000]
            cut = rng.randrange(len(whole) + 1)
            client.send(frame(TEXT, whole[:cut], fin=False))
            client.send(frame(CONTINUATION, whole[cut:]))
            assert client.message() == whole
            client.leave()

    def ticks(self, rng: random.Random) -> None:
        with self.open(rng, "/tick") as client:
            for _ in range(rng.randrange(1, 40)):
                client.message()
            client.leave()

    def slow_reader(self, rng: random.Random) -> None:
        with self.open(rng, "/flood", rcvbuf=4096) as client:
            for _ in range(rng.randrange(20)):
                client.take(1000)
                self.stop.wait(0.02)
            client.reset()

    def slow_writer(self, rng: random.Random) -> None:
        with self.server.connect(timeout=60) as client:
            request = upgrade("/echo")
            for at in range(0, len(request), 10):
                client.send(request[at : at + 10])
                self.stop.wait(0.02)
            reply = client.response()
            assert reply.status == 101, reply
            for byte in text(b"slow"):
                client.send(bytes([byte]))
                self.stop.wait(0.02)
            assert client.message() == b"slow"

    def rude(self, rng: random.Random) -> None:
        with self.open(rng, "/echo", rng.choice((7, 8, 13))) as client:
            client.send(rng.choice(GARBAGE))
            while (got := client.frame()).opcode != CLOSE:
                pass
            assert got.code in (1002, 1007, 1009, 1011), got

    def killed(self, rng: random.Random) -> None:
        with self.server.connect(timeout=60) as client:
            request = upgrade("/echo") + text(b"y" * 3000)
            client.send(request[: rng.randrange(len(request))])
            self.stop.wait(rng.choice((0, 0.01, 0.1)))
            if rng.random() < 0.5:
                client.reset()
            else:
                client.fin()

    def bad_request(self, rng: random.Random) -> None:
        with self.server.connect(timeout=60) as client:
            assert client.send(rng.choice(BAD_REQUESTS)).response().status in (400, 414)

    def requests(self, rng: random.Random) -> None:
        with self.server.connect(timeout=60) as client:
            for _ in range(rng.randrange(1, 8)):
                path = rng.choice(("/file", "/some", "/nothing"))
                reply: Response = client.ask(get(path))
                if reply.status == 500:  # the callback has raised
                    return
                assert reply.status == (404 if path == "/nothing" else 200), reply
                if path == "/file":
                    assert reply.body == self.payload

    def compressed(self, rng: random.Random) -> None:
        with self.server.connect(timeout=60) as client:
            peer = Peer(client)
            for _ in range(rng.randrange(1, 10)):
                peer.echo(self.content(rng))

    # -- all of them

    def client(self, number: int) -> None:
        rng = random.Random(number)
        while not self.stop.is_set():
            kind = rng.choice(self.kinds)
            try:
                kind(rng)
            except (Ended, AssertionError) as error:
                # A callback that has raised closes with 1011 whatever the client was about to do.
                if not self.raised_here(error):
                    self.failures.append(f"{kind.__name__}: {error!r}"[:500])
            except (OSError, TimeoutError) as error:
                self.failures.append(f"{kind.__name__}: {error!r}"[:500])
            self.done[kind.__name__] += 1
            self.stop.wait(rng.random() * 0.2)

    def raised_here(self, error: Exception) -> bool:
        """Whether it is the end that the server's exceptions give: 1011, 500, or ff 00 on 76."""
        told = f"{error!r} {error}"
        return any(end in told for end in ("\\x03\\xf3", "status=500", "(b'\\xff')", "eof after"))

    def state(self) -> dict[str, int]:
        while True:
            with self.server.connect(timeout=60) as client:
                reply = client.ask(get("/state"))
            if reply.status == 200:
                told: dict[str, int] = json.loads(reply.body)
                return told

    def sample(self, start: float) -> Sample:
        state = self.state()
        pid = self.server.pid
        return Sample(
            time.monotonic() - start,
            resident(pid),
            len(descriptors(pid)),
            state["sessions"],
            state["timers"],
        )

    def run(self, seconds: float, clients: int) -> list[Sample]:
        """All clients for that long; a sample each second."""
        threads = [threading.Thread(target=self.client, args=(n,)) for n in range(clients)]
        start = time.monotonic()
        for thread in threads:
            thread.start()
        samples = []
        try:
            while time.monotonic() - start < seconds:
                samples.append(self.sample(start))
                self.stop.wait(1.0)
        finally:
            self.stop.set()
            for thread in threads:
                thread.join(120)
        return samples


def slope(samples: Sequence[Sample]) -> float:
    """Bytes an hour: the line of least squares through the samples after the warm-up."""
    line = statistics.linear_regression(
        [one.seconds for one in samples], [float(one.memory) for one in samples]
    )
    return float(line.slope) * 3600


def check(samples: Sequence[Sample], before: Sample, after: Sample, noise: int) -> list[str]:
    """What is not as it must be."""
    wrong = []
    warm = [one for one in samples if one.seconds > samples[-1].seconds / 3]
    if len(warm) < 2:
        return ["too short: no slope"]
    span = warm[-1].seconds - warm[0].seconds
    limit = max(SLOPE, noise / span * 3600)
    told = slope(warm)
    print(
        f"memory: {told / MIB:+.2f} MiB an hour over {span:.0f} s; the limit is {limit / MIB:.1f}"
    )
    if told > limit:
        wrong.append("memory grows")
    for name in ("descriptors", "sessions", "timers"):
        first, last = getattr(before, name), getattr(after, name)
        most = max(getattr(one, name) for one in samples)
        print(f"{name}: {first} before, at most {most}, {last} in the end")
        # The connection of the sample itself may be counted in one of the two and not in the other.
        if last > first + (name == "descriptors"):
            wrong.append(f"{last} {name} in the end, {first} before")
    first, last = before.memory, after.memory
    most = max(one.memory for one in samples)
    print(f"memory: {first // 1024} KiB before, at most {most // 1024}, {last // 1024} in the end")
    if last > warm[0].memory + SLACK:
        wrong.append("memory is not given back in the end")
    return wrong


def plot(samples: Sequence[Sample], path: Path) -> None:
    """Memory, descriptors and sessions over the time, as SVG."""
    width, height, left = 900, 180, 90
    last = samples[-1].seconds or 1.0
    rows = (("memory", "MiB", 1 / MIB), ("descriptors", "", 1.0), ("sessions", "", 1.0))
    parts = []
    for number, (name, unit, scale) in enumerate(rows):
        values = [getattr(one, name) * scale for one in samples]
        top, base = max(values) * 1.1 or 1.0, number * (height + 40) + height + 20
        points = " ".join(
            f"{left + one.seconds / last * width:.1f},{base - value / top * height:.1f}"
            for one, value in zip(samples, values, strict=True)
        )
        parts.append(
            f'<rect x="{left}" y="{base - height}" width="{width}" height="{height}" '
            'fill="none" stroke="#ccc"/>'
            f'<polyline points="{points}" fill="none" stroke="#1f6feb"/>'
            f'<text x="{left - 6}" y="{base - height + 10}" text-anchor="end">{top:.0f}</text>'
            f'<text x="{left - 6}" y="{base}" text-anchor="end">0</text>'
            f'<text x="{left + 6}" y="{base - height + 14}">{name} {unit}</text>'
            f'<text x="{left + width}" y="{base + 14}" text-anchor="end">{last / 60:.1f} min</text>'
        )
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 20}" '
        f'height="{len(rows) * (height + 40) + 20}" font-family="sans-serif" font-size="11">'
        + "".join(parts)
        + "</svg>\n"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="The soak")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seconds", type=float, help="in place of --minutes")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--deflate", action="store_true")
    parser.add_argument("--plot", type=Path, help="an SVG file")
    options = parser.parse_args()
    seconds = options.seconds or options.minutes * 60
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        payload = bytes(random.Random(0).choices(range(0x20, 0x7F), k=300_000))
        served = Path(folder) / "file"
        served.write_bytes(payload)
        with Server(
            APP,
            Path(folder) / "log",
            tls=options.tls,
            env={"LWS_TEST_FILE": str(served)},
            deflate=options.deflate,
            max_send_buffer=4 * MIB,
            handshake_timeout=60,
            keepalive_timeout=60,
            close_timeout=10,
        ) as server:
            soak = Soak(server, options, payload)
            soak.state()
            before = soak.sample(time.monotonic())
            base = before.descriptors
            samples = soak.run(seconds, options.clients)
            wait_until(lambda: len(descriptors(server.pid)) <= base, 30, "descriptors back")
            after = soak.sample(time.monotonic())
            state = soak.state()
            noise = NOISE_OF_STATE if options.tls or options.deflate else NOISE
            wrong = check(samples, before, after, noise)
            if not alive(server.pid):
                wrong.append("the server died")
            violations = server.found("VIOLATION")
            raised = len(server.logged("callback-error"))
        if options.plot:
            plot(samples, options.plot)
    total = sum(soak.done.values())
    print(f"{total} sessions of clients: {dict(sorted(soak.done.items()))}")
    print(f"the server: {state}, {raised} exceptions logged")
    if not raised and seconds >= 60:
        wrong.append("no callback has raised")
    if violations or total == 0:
        wrong.append(f"{violations or 'no session'}")
    if soak.failures:
        wrong.append(f"{len(soak.failures)} sessions failed, such as {soak.failures[:5]}")
    for line in wrong:
        print(f"WRONG: {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
