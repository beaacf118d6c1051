"""Writes the hand-made seeds: one right example of each kind, for the fuzzer to break."""

from __future__ import annotations

import base64
import itertools
import struct
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

HEADS = {
    "get": b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
    "head10": b"HEAD /x?y=%20 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "absolute": b"GET http://h:80/p HTTP/1.1\r\nHost: [::1]:8080\r\nExpect: 100-continue\r\n\r\n",
    "query": b"GET WSS://h?a=10%&b HTTP/1.1\r\nHost: h\r\nExpect: , 100-continue,\r\n\r\n",
    "codings": b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x;a=b, ,chunked,\r\n\r\n",
    "hixie-empty-path": (
        b"GET ws://h?% HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nOrigin: o\r\n"
        b"Sec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\nUpgrade: WebSocket\r\n"
        b"Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\n\r\n^n:ds[4U"
    ),
    "hybi": (
        b"\r\nGET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket, x\r\n"
        b"Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat, superchat\r\n"
        b"Origin: http://a\r\n\r\n"
    ),
    "hixie": (
        b"GET /demo HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\nUpgrade: WebSocket\r\n"
        b"Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\nContent-Length: 8\r\n"
        b"Origin: http://example.com\r\n\r\n^n:ds[4U"
    ),
    "body": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "length": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n a: b\r\nA@: c\r\n\r\n",
    "options": b"OPTIONS * HTTP/1.1\r\nHost: a-b\r\nE:\ta-b ,A-B\t\r\n\r\n",
}
KEYS = [
    (b"18x 6]8vM;54 *(5:  {   U1]8  z [  8", b"1_ tx7X d  <  nw  334J702) 7]o}` 0", b"Tm[K T2u"),
    (b"4 @1  46546xW%0l 1 5", b"12998 5 Y3 1  .P00", b"^n:ds[4U"),
    (b"42949672950 ", b"1 8446744073709551615", b"\0" * 8),
]
PROXIES = {
    "tcp4": b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\nGET /",
    "tcp6": b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n",
    "unknown": b"PROXY UNKNOWN ffff::1 x\r\n",
    "v2-tcp4": b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\1\2\3\4\5\6\7\x08\1\2\3\4",
    "v2-tcp6": b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24" + bytes(range(36)),
    "v2-long": b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff" + bytes(4096),
    "v2-local": b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
}
TEXTS = [
    b"plain ascii, long enough to go wide: 0123456789012345678901234567890123456789",
    "κόσμε € 𐍈 grüße".encode() * 3,
    b"\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf\xf0\x90\x80\x80",
    b"x" * 33 + b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xc0\x80",
]


def frame(opcode: int, payload: bytes, fin: bool = True, rsv1: bool = False) -> bytes:
    first = opcode | (0x80 if fin else 0) | (0x40 if rsv1 else 0)
    size = len(payload)
    if size < 126:
        head = bytes([first, 0x80 | size])
    elif size < 65536:
        head = struct.pack(">BBH", first, 0xFE, size)
    else:
        head = struct.pack(">BBQ", first, 0xFF, size)
    key = b"\x01\x02\x03\x04"
    return head + key + bytes(b ^ k for b, k in zip(payload, itertools.cycle(key), strict=False))


def long_frame(opcode: int, size: int, byte: int) -> bytes:
    """A masked frame of a size, for link_expand: key 0, the byte repeated."""
    head = bytes([0x80 | opcode, 0xFF]) + struct.pack(">Q", size) + b"\0\0\0\0"
    times, rest = divmod(size, 65025)
    return head + bytes([0xEB, 255, byte]) * times + bytes([0xEB, 1, byte]) * rest


FRAMES = {
    "echo": frame(1, b"hello") + frame(2, bytes(range(200))) + frame(8, b"\x03\xe8bye"),
    "fragments": frame(1, "a€".encode()[:2], fin=False)
    + frame(9, b"ping")
    + frame(0, "a€".encode()[2:])
    + frame(8, b""),
    "deflate": frame(1, b"\xf2\x48\xcd\xc9", rsv1=True) + frame(10, b"unasked"),
    "long": long_frame(2, 65025 * 2, 0x41) + frame(1, b"after"),
    "faults": frame(1, b"\xff\xfe"),
    "unmasked": b"\x81\x05hello",
    "close1": frame(8, b"\x03\xe7"),
    "empty": frame(1, b"", fin=False) + frame(0, b"", fin=False) + frame(0, b""),
}
FRAMES76 = {
    "echo": b"\x00hello\xff\x00" + "€".encode() + b"\xff\xff\x00",
    "counted": b"\x80\x05abcde\x00x\xff\x81\x81\x00" + b"y" * 128,
    "skipped": b"\x01abc\xff\x7f\xff\x00\xff",
    "endless": b"\x80\x80\x80\x80\x80\x80\x80",
    "long": b"\x00\xeb\xc8a\xff\x00after\xff",
    "bad": b"\x00\xc3\x28\xff",
}


def op(code: int, which: int = 0, a: int = 0, b: int = 0) -> bytes:
    first = bytes([code | which << 4])
    return first if code == 0 else first + bytes([a, b])


CONNECT, ROUND = op(0), op(1)
TWO = ROUND + ROUND
UP13, UP8, UP76 = (CONNECT + op(6, 0, v, 1) + TWO for v in (0, 1, 3))


def policy(value: int) -> bytes:
    return b"".join(op(2, which, value, 1) for which in range(16))


def server(options: int, more: int, end: int, *ops: bytes) -> bytes:
    return bytes([options, more, end]) + b"".join(ops)


SERVER = {
    "echo": server(0, 0, 0, UP13, op(8, 0, 1, 100), TWO, op(8, 0, 0x41, 250), op(9, 0, 2, 9), TWO),
    "echo8": server(0, 0, 1, UP8, op(8, 0, 0x8D, 60), TWO, op(9, 0, 0, 9), TWO),
    "echo76": server(0, 0, 0, UP76, op(8, 0, 1, 100), TWO, op(8, 0, 0x81, 9), op(9, 0, 2), TWO),
    "pieces": server(0, 1, 2, UP13, op(8, 0, 0x99, 200), TWO, op(8, 0, 0x80, 130), TWO),
    "http": server(
        0, 0, 0, CONNECT, *(policy(p) + op(7, 0, p & 1) + TWO for p in (1, 0x11, 2, 0x12, 5, 0x15))
    ),
    "pipeline": server(32, 0, 0, CONNECT, op(7), op(7, 0, 1), op(7), op(7, 0, 2), TWO, TWO),
    "window": server(
        0,
        0,
        0,
        UP13,
        op(12, 0, 10, 10),
        op(8, 0, 0x81, 100),
        TWO,
        op(9, 0, 0, 5),
        op(9, 0, 0, 6),
        TWO,
        op(12, 0, 50, 50),
        TWO,
        op(12, 0, 255),
        TWO,
    ),
    "file": server(
        0, 0, 0, CONNECT, policy(2), op(13, 0, 0, 99), op(12, 0, 200, 100), op(7), TWO, TWO
    ),
    "broadcast": server(
        0, 0, 0, UP13, CONNECT, op(6, 1, 0), TWO, policy(0x37), op(8, 1, 1, 9), TWO, op(12, 0, 9, 9)
    )
    + op(8, 1, 1, 9)
    + TWO,
    "flow": server(64, 0, 0, UP13, policy(8), op(8, 0, 1, 9), TWO, op(8, 0, 1, 9), TWO),
    "fragments": server(0, 0, 0, UP13, policy(0x16), op(8, 0, 1, 9), TWO, op(8, 0, 1, 9), TWO),
    "close": server(0, 0, 0, UP13, policy(4), op(8, 0, 1, 9), TWO, op(9, 0, 2, 5), TWO),
    "stop": server(0, 0, 0, UP13, op(8, 0, 1, 9), TWO, op(5, 0, 6, 255), TWO),
    "pings": server(128, 0, 0, UP13, *(op(3, 0, 4) + ROUND for _ in range(6))),
    "timeouts": server(0, 0, 0, CONNECT, op(3, 0, 6), TWO, CONNECT, op(7, 1), op(3, 0, 6), TWO),
    "faults": server(0, 0, 0, UP13, op(4, 13, 2), op(8, 0, 0x8D, 90), TWO, op(4, 7), TWO),
    "accept": server(16, 0, 0, op(4, 0, 0, 1), *(CONNECT for _ in range(5)), TWO, op(3, 0, 4), TWO),
    "fin": server(0, 0, 0, UP13, op(8, 0, 1, 9), op(14), TWO, CONNECT, op(7, 1), op(14, 1, 129)),
    "raw": server(0, 0, 0, UP13, op(10, 0, 12) + frame(1, b"hi") + b"\x83\x00\x00\x00", TWO),
    "writable": server(0, 0, 0, UP13, policy(9), op(8, 0, 1, 9), TWO, op(12, 0, 1, 1), TWO),
    # The answers to six clients' pings fill the arena; the send that makes room fails.
    **{
        f"flood{after}": server(
            0,
            0,
            0,
            *(CONNECT for _ in range(6)),
            *(op(6, p) for p in range(6)),
            TWO,
            *(op(9, p, 255, 255) for p in range(6)),
            op(10, 5, 4) + b"\xff\xff\xff\xff",
            op(4, 7, after),
            TWO,
            TWO,
            TWO,
        )
        for after in range(8)
    },
}


def write(target: str, name: str, content: bytes) -> None:
    folder = HERE / "seeds" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def main() -> None:
    for name, head in HEADS.items():
        write("head", name, b"\xff\xff\xff\xff\x00\x00\x07" + head)
        write("head", f"{name}-small", b"\x04\x03\x05\x20\x03\x00\x03" + head)
    for number, (key1, key2, key3) in enumerate(KEYS):
        write("key76", f"keys{number}", key1 + b"\0" + key2 + key3)
    for nonce in (b"0123456789abcdef", b"odd", b"even"):
        write("key76", f"base64-{len(nonce)}", base64.b64encode(nonce))
    write("key76", "base64-loose", b"AQIDBAUGBwgJCgsMDQ4PEC==")
    for number, text in enumerate(TEXTS):
        write("utf8", f"text{number}", b"\x05\x03" + text)
    for length in (3, 40, 300):
        key = bytes([length & 63, 0, 0, 0, 1, 0, 9, 5, 1, 2, 3, 4])
        write("mask", f"{length}", key * (length // 9 + 2))
    for code in (1000, 1005, 3000, 5000):
        write("close", f"{code}", struct.pack(">H", code) + "grün €".encode() * (code // 300))
    for name, header in PROXIES.items():
        write("proxy", name, header)
    for name, stream in FRAMES.items():
        write("frames", name, bytes([name == "deflate", 6, 0, 9]) + stream)
        write("frames", f"{name}-pieces", bytes([2 | (name == "deflate"), 7, 0, 90]) + stream)
    for name, stream in FRAMES76.items():
        write("frames76", name, bytes([6, 0, 5]) + stream)
    for name, program in SERVER.items():
        write("server", name, program)
        if not name.startswith("flood"):
            write("server", f"{name}-secure", bytes([program[0], program[1] | 128]) + program[2:])
    sys.stdout.write("seeds written\n")


if __name__ == "__main__":
    main()
