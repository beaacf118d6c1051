"""Frames as we and wsproto understand them, both ways: hypothesis draws what a client sends and
what a callback writes.

What is delivered, in which order, and how the connection ends must be the same. Where the two are
meant to differ, a rule below says so and names who is the stricter one.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from inprocess import Served, context_of, serve_until
from support.deflate import Peer
from support.raw import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_payload, frame
from wsproto.connection import CLIENT, SERVER, Connection, ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import CloseReason

from libwebsockets import (
    LWS_CALLBACK_CLOSED,
    LWS_CALLBACK_ESTABLISHED,
    LWS_CALLBACK_RECEIVE,
    LWS_CALLBACK_RECEIVE_PONG,
    LWS_WRITE_BINARY,
    LWS_WRITE_CONTINUATION,
    LWS_WRITE_NO_FIN,
    LWS_WRITE_PING,
    LWS_WRITE_PONG,
    LWS_WRITE_TEXT,
    libwebsocket_buffer,
    libwebsocket_close_reason,
    libwebsocket_context,
    libwebsocket_frame_is_binary,
    libwebsocket_get_close_code,
    libwebsocket_service,
    libwebsocket_write,
)

SEQUENCES = 2000
MAX_MESSAGE = 1 << 20
EDGES = (0, 1, 124, 125, 126, 127, 128, 65534, 65535, 65536, 65537)
searched = settings(
    max_examples=SEQUENCES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)


# ---- what was understood ----


@dataclass
class Heard:
    """One side's account of a stream: messages and pongs in order, pings in order, the end.

    The end is ("closed", code, reason) by the peer, ("failed", code) by the reader, or ("open",).
    """

    messages: list[tuple[str, bytes]] = field(default_factory=list)
    pings: list[bytes] = field(default_factory=list)
    end: tuple[Any, ...] = ("open",)


# Of wsproto's reasons to fail, the one that a rule is about.
UNKNOWN_CODE = "CLOSE with unknown reserved code"
BAD_GATEWAY = 1014


class Wsproto:
    """A connection of wsproto's, and what it has heard."""

    def __init__(self, side: Any, agreed: bytes | None = None) -> None:
        extensions = []
        if agreed is not None:
            extensions.append(PerMessageDeflate())
            extensions[0].finalize(agreed.decode())
        self.connection = Connection(side, extensions)  # type: ignore[arg-type]
        self.heard = Heard()
        self.begun = b""
        self.why: str | None = None  # it failed

    def hears(self, data: bytes) -> Wsproto:
        if self.heard.end != ("open",):
            return self
        self.connection.receive_data(data)
        for told in self.connection.events():
            self.take(told)
        return self

    def take(self, told: Any) -> None:
        if isinstance(told, TextMessage | BytesMessage):
            text = isinstance(told, TextMessage)
            self.begun += told.data.encode() if text else bytes(told.data)  # type: ignore[union-attr,arg-type]
            if told.message_finished:
                self.heard.messages.append(("text" if text else "binary", self.begun))
                self.begun = b""
        elif isinstance(told, Pong):
            self.heard.messages.append(("pong", bytes(told.payload)))
        elif isinstance(told, Ping):
            self.heard.pings.append(bytes(told.payload))
        elif isinstance(told, CloseConnection):
            if self.connection.state is ConnectionState.OPEN:
                self.heard.end, self.why = ("failed", int(told.code)), told.reason
            else:
                self.heard.end = ("closed", int(told.code), (told.reason or "").encode())


class Ours:
    """The callback of our side; `heard` is of the present connection, `plan` what it writes."""

    def __init__(self) -> None:
        self.begin()

    def begin(self, plan: Callable[[Any], None] | None = None) -> None:
        self.heard = Heard()
        self.plan = plan
        self.closed: tuple[int, bytes] | None = None

    def __call__(self, wsi: Any, reason: int, user: Any, in_: Any, length: int) -> int:
        if reason == LWS_CALLBACK_ESTABLISHED and self.plan:
            self.plan(wsi)
        elif reason == LWS_CALLBACK_RECEIVE:
            kind = "binary" if libwebsocket_frame_is_binary(wsi) else "text"
            self.heard.messages.append((kind, bytes(in_)))
        elif reason == LWS_CALLBACK_RECEIVE_PONG:
            self.heard.messages.append(("pong", bytes(in_ or b"")))
        elif reason == LWS_CALLBACK_CLOSED:
            self.closed = (libwebsocket_get_close_code(wsi), bytes(in_ or b""))
        return 0


Running = tuple[libwebsocket_context, Ours]


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    ours = Ours()
    with context_of(ours, deflate=True, max_message=MAX_MESSAGE, max_send_buffer=1 << 24) as made:
        yield made, ours


def sent(client: Served, data: bytes, cuts: list[int]) -> None:
    """Sends the data cut there, each part looked at before the next comes."""
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(data)}), len(data)]
    parts = [data[start:end] for start, end in pairwise(edges)]
    for part in parts:
        client.send(part)
        assert libwebsocket_service(client.context, 0) == 0


def we_hear(running: Running, data: bytes, cuts: list[int], offer: str | None = None) -> Heard:
    """What our server understands of a stream that ends after the data."""
    context, ours = running
    ours.begin()
    with Served(context) as client:
        if offer is None:
            client.open()
        else:
            Peer(client, offer=offer)
        sent(client, data, cuts)
        client.fin()
        wire = client.rest()
        serve_until(context, lambda: ours.closed)
    heard = ours.heard
    # What we answered is read by wsproto in turn: pings come back as pongs.
    reader = Wsproto(CLIENT).hears(wire)
    answers = reader.heard
    assert all(kind == "pong" for kind, _ in answers.messages) and not answers.pings
    heard.pings = [payload for _, payload in answers.messages]
    assert ours.closed
    code, reason = ours.closed
    if code != 1006:
        heard.end = ("closed", code, reason)
        known = answers.end == heard.end or (code == BAD_GATEWAY and reader.why == UNKNOWN_CODE)
        assert known, (answers.end, "our Close repeats the peer's")
    elif answers.end != ("open",):
        assert answers.end[0] == "closed"
        heard.end = ("failed", answers.end[1])
    return heard


# ---- the rules: where the two are meant to differ ----


Accounts = tuple[Heard, Wsproto]


# Behind a frame that is cut off: its rest, if it was to be any that we take.
REST = bytes(14 + MAX_MESSAGE)


def agree(ours: Heard, wsproto: Wsproto, goes_on: Callable[[], Accounts]) -> str:
    """Fails unless both understood the same, or differ as a rule says; which it was.

    goes_on: both accounts of the stream with REST behind it.
    """
    theirs = wsproto.heard
    if ours == theirs:
        return f"agreed: {ours.end[0]} {ours.end[1:2]}"
    if ours.end == ("failed", 1009):
        # We bound a message, by what its header says; wsproto leaves that to its caller.
        assert theirs.messages[: len(ours.messages)] == ours.messages
        return "rule: too big"
    assert (ours.messages, ours.pings) == (theirs.messages, theirs.pings), (ours, theirs)
    if wsproto.why == UNKNOWN_CODE:
        # IANA's registry has 1014, Bad Gateway, since 2016: wsproto refuses it.
        assert ours.end[:2] in (("closed", BAD_GATEWAY), ("failed", 1007)), ours
        return "rule: 1014"
    # We look at a header byte by byte, wsproto once it is whole; that a data frame is out of turn
    # wsproto says at its first byte of payload, we before. Where the stream ends in between, it is
    # open for wsproto, and would not be with one more byte.
    assert ours.end[0] == "failed" and theirs.end == ("open",), (ours, theirs)
    early = ours.end
    ours, wsproto = goes_on()
    assert ours == wsproto.heard and ours.end == early, (early, ours, wsproto.heard)
    return "rule: earlier"


# ---- what clients send ----


def often(*strategies: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """One of these, those named several times more often: one_of would count them once."""
    return st.sampled_from(strategies).flatmap(lambda chosen: chosen)


masks = st.binary(min_size=4, max_size=4)
binaries = st.one_of(
    st.binary(max_size=40),
    st.tuples(st.sampled_from(EDGES), st.binary(min_size=1, max_size=3)).map(
        lambda drawn: (drawn[1] * drawn[0])[: drawn[0]]
    ),
)
texts = st.one_of(
    st.text(max_size=20).map(str.encode),
    st.sampled_from(EDGES).map(lambda size: b"x" * (size % 2) + "é".encode() * (size // 2)),
    st.sampled_from(["€" * 21845, "\U0001f600" * 16384]).map(str.encode),
)
# RFC 3629: overlong forms, surrogates, beyond U+10FFFF, stray and missing continuation bytes.
BAD = [
    b"\x80", b"\xc0\x80", b"\xc1\xbf", b"\xe0\x80\x80", b"\xe0\x9f\xbf", b"\xed\xa0\x80",
    b"\xed\xbf\xbf", b"\xf0\x80\x80\x80", b"\xf0\x8f\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf5",
    b"\xff", b"\xfe", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\xe2(\xa1", b"\xc3\xc3",
]  # fmt: skip
bad_texts = st.tuples(
    st.text(max_size=5).map(str.encode),
    st.sampled_from(BAD),
    st.text(max_size=5).map(str.encode),
).map(b"".join)
control_payloads = st.one_of(st.binary(max_size=10), st.sampled_from([124, 125]).map(bytes))
controls = st.builds(
    lambda opcode, payload, mask: frame(opcode, payload, mask=mask),
    st.sampled_from([PING, PONG]),
    control_payloads,
    masks,
)


def split(data: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in at), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def fragmented(
    opcode: int, data: bytes, at: list[int], mask: bytes, between: list[bytes], rsv: int = 0
) -> bytes:
    """A message in frames, control frames behind all but the last."""
    parts = split(data, at)
    out = b""
    for n, part in enumerate(parts):
        last = n == len(parts) - 1
        kind = CONTINUATION if n else opcode
        out += frame(kind, part, fin=last, mask=mask, rsv=0 if n else rsv)
        if not last and between:
            out += between[n % len(between)]
    return out


cut_places = st.lists(st.integers(0, 1 << 17), max_size=3)
messages = st.one_of(
    st.builds(fragmented, st.just(TEXT), texts, cut_places, masks, st.lists(controls, max_size=2)),
    st.builds(
        fragmented, st.just(BINARY), binaries, cut_places, masks, st.lists(controls, max_size=2)
    ),
)
codes = st.one_of(
    st.integers(0, 65535),
    st.integers(995, 1020),
    st.sampled_from(
        [1000, 1001, 1011, 1014, 1014, 1015, 1016, 2999, 3000, 3999, 4000, 4999, 5000, 65535]
    ),
)
closes = st.one_of(
    st.builds(
        lambda code, reason, mask: frame(CLOSE, close_payload(code, reason), mask=mask),
        codes,
        st.one_of(st.text(max_size=20).map(str.encode), bad_texts, st.just(b"r" * 123)),
        masks,
    ),
    st.just(frame(CLOSE)),
    st.just(frame(CLOSE, b"\x03")),
)


def stretched(first: int, size: int, form: int, top: int, mask: bytes) -> bytes:
    """A frame whose length is said in more bytes than it takes, or with the top bit set."""
    length = struct.pack(">H", size) if form == 126 else struct.pack(">Q", size | top << 63)
    return bytes([first, 0x80 | form]) + length + mask + bytes(size)


odd = st.one_of(
    # Reserved bits and opcodes, control frames in fragments or too long, no mask.
    st.builds(
        lambda opcode, payload, fin, rsv, mask: frame(opcode, payload, fin=fin, rsv=rsv, mask=mask),
        st.integers(0, 15),
        st.one_of(control_payloads, st.sampled_from([126, 127, 65536]).map(bytes)),
        st.booleans(),
        st.sampled_from([0, 0, 0, 1, 2, 4, 7]),
        st.one_of(masks, masks, st.none()),
    ),
    st.builds(
        stretched,
        st.sampled_from([0x81, 0x82, 0x80, 0x01, 0x88, 0x89]),
        st.sampled_from([0, 1, 125, 126, 65535]),
        st.sampled_from([126, 127]),
        st.sampled_from([0, 0, 1]),
        masks,
    ),
    st.builds(
        fragmented, st.just(TEXT), bad_texts, cut_places, masks, st.lists(controls, max_size=1)
    ),
    # A beginning without an end, an end without a beginning.
    st.builds(lambda opcode, data: frame(opcode, data, fin=False), st.integers(0, 2), binaries),
    st.builds(lambda data: frame(CONTINUATION, data), binaries),
    st.binary(min_size=1, max_size=20),
)
# Header alone: the payload it announces does not come.
huge = st.sampled_from([MAX_MESSAGE + 1, 1 << 32, (1 << 63) - 1]).map(
    lambda size: bytes([0x82, 0xFF]) + struct.pack(">Q", size) + b"mask"
)
streams = st.lists(
    often(messages, messages, messages, messages, messages, controls, odd, closes, huge),
    min_size=1,
    max_size=6,
).map(b"".join)
segments = st.one_of(
    st.lists(st.integers(1, 300), max_size=4),
    st.lists(st.integers(1, 1 << 18), max_size=4),
    st.just(list(range(1, 40))),
)


def both(running: Running, data: bytes, cuts: list[int]) -> Accounts:
    """What we understand of a stream, and what wsproto does, cut in the same places."""
    theirs = Wsproto(SERVER)
    for start, stop in pairwise([0, *sorted({c for c in cuts if c < len(data)}), len(data)]):
        theirs.hears(data[start:stop])
    return we_hear(running, data, cuts), theirs


@searched
@given(data=streams, cuts=segments, end=st.one_of(st.none(), st.integers(0, 400)))
def test_what_clients_send(running: Running, data: bytes, cuts: list[int], end: int | None) -> None:
    data = data[:end]
    event(agree(*both(running, data, cuts), lambda: both(running, data + REST, cuts)))


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"\x82\xff" + struct.pack(">Q", MAX_MESSAGE + 1) + b"mask", "too big"),
        (frame(CLOSE, close_payload(BAD_GATEWAY)), "1014"),
        (frame(CLOSE, close_payload(BAD_GATEWAY, b"\xff")), "1014"),
        (b"\x83", "earlier"),
        (b"\x81\xff\0\0\0\0\0\0", "earlier"),
        (b"\x80\x85mask", "earlier"),
    ],
)
def test_each_rule_is_needed(running: Running, data: bytes, rule: str) -> None:
    found = agree(*both(running, data, []), lambda: both(running, data + REST, []))
    assert found == f"rule: {rule}"


@pytest.mark.parametrize(
    "other",
    [
        frame(TEXT, b"hellO"), frame(BINARY, b"hello"), frame(PONG, b"hello"), frame(PING),
        frame(CLOSE, close_payload(1000)), frame(CLOSE), frame(TEXT, b"\xff"), frame(3), b"",
    ],
)  # fmt: skip
def test_the_comparison_sees_a_difference(running: Running, other: bytes) -> None:
    same, more = frame(TEXT, b"hello"), frame(PING, b"more")
    ours = we_hear(running, same + more, [])
    assert agree(ours, Wsproto(SERVER).hears(same + more), pytest.fail).startswith("agreed")
    with pytest.raises(AssertionError):
        agree(ours, Wsproto(SERVER).hears(other + more), lambda: (ours, Wsproto(SERVER)))


# ---- permessage-deflate ----

OFFERS = (
    "permessage-deflate",
    "permessage-deflate; client_max_window_bits",
    "permessage-deflate; client_max_window_bits=9; server_max_window_bits=9",
    "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
)
offers = st.sampled_from(OFFERS)
# Kind, what it says, whether it is compressed, where it is cut.
parts = often(
    *[st.tuples(st.just("text"), texts, st.booleans(), cut_places)] * 8,
    *[st.tuples(st.just("binary"), binaries, st.booleans(), cut_places)] * 8,
    *[st.tuples(st.just("control"), st.binary(max_size=10), st.just(False), st.just([]))] * 4,
    st.tuples(st.just("control"), st.binary(max_size=10), st.just(True), st.just([])),
    st.tuples(st.just("text"), bad_texts, st.booleans(), cut_places),
)
# Behind the bit for compressed: what no deflate stream need be.
rubbish = st.tuples(st.just("rubbish"), st.binary(max_size=30), st.just(True), cut_places)


Part = tuple[str, bytes, bool, list[int]]


def deflated(peer: Peer, drawn: list[Part]) -> bytes:
    """The frames of what was drawn, as a client compresses them that agreed to what peer did."""
    out = b""
    for kind, data, compressed, at in drawn:
        opcode = {"binary": BINARY, "control": PONG}.get(kind, TEXT)
        body = peer.compressed(data) if compressed and kind in ("text", "binary") else data
        out += fragmented(opcode, body, at, b"mask", [], 4 if compressed else 0)
    return out


@searched
@given(
    offer=offers,
    drawn=st.lists(parts, max_size=5),
    last=st.lists(rubbish, max_size=1),
    cuts=segments,
)
def test_what_clients_compress(
    running: Running, offer: str, drawn: list[Part], last: list[Part], cuts: list[int]
) -> None:
    context, _ = running
    with Served(context) as asking:  # what will be agreed to
        peer = Peer(asking, offer=offer)
    data = deflated(peer, drawn + last)
    theirs = Wsproto(SERVER, peer.agreed).hears(data)
    ours = we_hear(running, data, cuts, offer)
    if last and ours.end == ("failed", 1007) and theirs.heard.end == ("open",):
        # A message must end with a whole block (RFC 7692, section 7.2.2): wsproto does not look,
        # and delivers what there is of it.
        event("rule: not whole")
        assert theirs.heard.messages[:-1] == ours.messages
        return
    event(agree(ours, theirs, lambda: (ours, theirs)))


def test_wsproto_forgets_that_a_message_is_compressed() -> None:
    """The rule why nothing stands between the fragments above: a control frame there, and wsproto
    takes the rest of the message for plain. Once that is mended, the rule can go.
    """
    body = zlib.compress(b"x" * 100, wbits=-15)
    stream = frame(TEXT, body[:2], fin=False, rsv=4) + frame(PING) + frame(CONTINUATION, body[2:])
    heard = Wsproto(SERVER, b"permessage-deflate").hears(stream).heard
    assert heard.end == ("failed", 1007) or heard.messages != [("text", b"x" * 100)]


# ---- what we write ----

writes = st.one_of(
    st.tuples(st.just("text"), texts, cut_places),
    st.tuples(st.just("binary"), binaries, cut_places),
    st.tuples(st.sampled_from(["ping", "pong"]), control_payloads, st.just([])),
)
KINDS = {
    "text": LWS_WRITE_TEXT,
    "binary": LWS_WRITE_BINARY,
    "ping": LWS_WRITE_PING,
    "pong": LWS_WRITE_PONG,
}
ends = st.tuples(
    st.sampled_from([1000, 1001, 1002, 1003, 1007, 1011, 1012, 1013, 3000, 3999, 4000, 4999]),
    st.one_of(st.text(max_size=10), st.sampled_from(["", "r" * 123, "é" * 62, "€" * 42])),
)


def write(wsi: Any, data: bytes, flags: int, copied: bool) -> None:
    """One write, from memory with room before it or from bytes without."""
    source: Any = data
    if not copied:
        source = libwebsocket_buffer(len(data))
        source[: len(data)] = data
    assert libwebsocket_write(wsi, source, len(data), flags) == 0


@searched
@given(
    drawn=st.lists(writes, max_size=6),
    inside=st.lists(st.tuples(st.sampled_from(["ping", "pong"]), control_payloads), max_size=2),
    end=ends,
    offer=st.one_of(st.none(), offers),
    step=st.sampled_from([1, 2, 3, 7, 1000]),
    copied=st.booleans(),
)
def test_what_we_write(
    running: Running,
    drawn: list[tuple[str, bytes, list[int]]],
    inside: list[tuple[str, bytes]],
    end: tuple[int, str],
    offer: str | None,
    step: int,
    copied: bool,
) -> None:
    context, ours = running
    written = Heard()

    def control(wsi: Any, kind: str, data: bytes) -> None:
        write(wsi, data, KINDS[kind], copied)
        if kind == "ping":
            written.pings.append(data)
        else:
            written.messages.append((kind, data))

    def plan(wsi: Any) -> None:
        for kind, data, at in drawn:
            if kind in ("ping", "pong"):
                control(wsi, kind, data)
                continue
            parts = split(data, at)
            for n, part in enumerate(parts):
                flags = int(LWS_WRITE_CONTINUATION) if n else int(KINDS[kind])
                last = n == len(parts) - 1
                write(wsi, part, flags if last else flags | LWS_WRITE_NO_FIN, copied)
                if not last:
                    for one in inside[n : n + 1]:
                        control(wsi, *one)
            written.messages.append((kind, data))
        code, reason = end
        assert libwebsocket_close_reason(wsi, code, reason.encode()) == 0
        # At most 123 bytes, whole code points (RFC 6455, section 5.5).
        told = reason.encode()[:123].decode(errors="ignore").encode()
        written.end = ("closed", code, told)

    ours.begin(plan)
    with Served(context) as client:
        agreed = None
        if offer is None:
            client.open()
        else:
            agreed = Peer(client, offer=offer).agreed
        theirs = Wsproto(CLIENT, agreed)
        while theirs.heard.end == ("open",):
            if not client.buffer:
                assert client.fill(), "the end without a Close"
            size = max(step, len(client.buffer) // 200)
            while client.buffer:
                theirs.hears(client.take(min(size, len(client.buffer))))
        assert theirs.heard == written
        event(f"compressed: {agreed is not None}")
        answer = CloseConnection(code=CloseReason.NORMAL_CLOSURE, reason="so long")
        client.send(theirs.connection.send(answer) if end[0] == 1000 else frame(CLOSE))
        client.fin()
        assert client.rest() == b""
        serve_until(context, lambda: ours.closed)
    assert ours.closed == ((1000, b"so long") if end[0] == 1000 else (1005, b""))
