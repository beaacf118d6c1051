"""Every kind of send buffer; what is refused, with the number that is wrong."""

from __future__ import annotations

import array
import ctypes
import mmap
import re
from collections.abc import Callable, Iterator
from typing import Any

import cffi
import pytest
from inprocess import Served, context_of
from support.raw import TEXT, frame

from libwebsockets import (
    LWS_CALLBACK_RECEIVE,
    LWS_SEND_BUFFER_POST_PADDING,
    LWS_SEND_BUFFER_PRE_PADDING,
    LWS_WRITE_BINARY,
    LWS_WRITE_TEXT,
    libwebsocket_buffer,
    libwebsocket_write,
)

PRE, POST = LWS_SEND_BUFFER_PRE_PADDING, LWS_SEND_BUFFER_POST_PADDING
PAYLOAD = b"0123456789"
SIZE = len(PAYLOAD)
END = b"the end of a job"
WHOLE = bytes(PRE) + PAYLOAD + bytes(POST)
ffi = cffi.FFI()


def of_bytearray() -> Any:
    return memoryview(bytearray(WHOLE))[PRE : PRE + SIZE]


def of_longer_slice() -> Any:
    return memoryview(bytearray(WHOLE))[PRE:]


def of_array() -> Any:
    return memoryview(array.array("B", WHOLE))[PRE:]


def of_mmap() -> Any:
    memory = mmap.mmap(-1, len(WHOLE))
    memory[:] = WHOLE
    return memoryview(memory)[PRE:]


def of_wide_items() -> Any:
    return memoryview(bytearray(16) + PAYLOAD + bytes(6)).cast("I")[4:]


def of_ctypes_view() -> Any:
    return memoryview((ctypes.c_ubyte * len(WHOLE))(*WHOLE)).cast("B")[PRE:]


def of_ctypes_field() -> Any:
    class Message(ctypes.Structure):
        _fields_ = (
            ("pre", ctypes.c_char * PRE),
            ("payload", ctypes.c_ubyte * SIZE),
            ("post", ctypes.c_char * POST),
        )

    return Message.from_buffer_copy(WHOLE).payload


def of_ctypes_over_bytearray() -> Any:
    return (ctypes.c_ubyte * SIZE).from_buffer(bytearray(WHOLE), PRE)


def of_byref() -> Any:
    return ctypes.byref(ctypes.create_string_buffer(WHOLE, len(WHOLE)), PRE)


def of_ctypes_pointer() -> Any:
    memory = ctypes.create_string_buffer(WHOLE, len(WHOLE))
    pointer = ctypes.cast(ctypes.byref(memory, PRE), ctypes.POINTER(ctypes.c_ubyte))
    pointer.owner = memory
    return pointer


def of_void_pointer() -> Any:
    memory = ctypes.create_string_buffer(WHOLE, len(WHOLE))
    pointer = ctypes.c_void_p(ctypes.addressof(memory) + PRE)
    pointer.owner = memory  # type: ignore[attr-defined]
    return pointer


keep: list[Any] = []


def of_cffi_pointer() -> Any:
    memory = ffi.new("unsigned char[]", WHOLE)
    keep.append(memory)
    return memory + PRE


def of_own_buffer() -> Any:
    buffer = libwebsocket_buffer(SIZE)
    buffer[:] = PAYLOAD
    return buffer


def of_own_buffer_slice() -> Any:
    buffer = libwebsocket_buffer(SIZE + 20)
    buffer[5 : 5 + SIZE] = PAYLOAD
    return buffer.payload[5:]


def of_numpy() -> Any:
    numpy = pytest.importorskip("numpy")
    return numpy.frombuffer(bytearray(WHOLE), dtype="u1")[PRE:]


def of_numpy_view() -> Any:
    numpy = pytest.importorskip("numpy")
    return memoryview(numpy.array(list(WHOLE), dtype="u1"))[PRE : PRE + SIZE]


WRITABLE = [value for name, value in list(globals().items()) if name.startswith("of_")]


def of_bytes() -> Any:
    return PAYLOAD


def of_str() -> Any:
    return PAYLOAD.decode()


def of_readonly_view() -> Any:
    return memoryview(b"xx" + PAYLOAD)[2:]


def of_char_pointer() -> Any:
    return ctypes.c_char_p(PAYLOAD)


def of_readonly_numpy() -> Any:
    numpy = pytest.importorskip("numpy")
    return numpy.frombuffer(PAYLOAD, dtype="u1")


COPIED = [of_bytes, of_str, of_readonly_view, of_char_pointer, of_readonly_numpy]


class Writer:
    """Writes something for the next message, and tells what came of it."""

    def __init__(self) -> None:
        self.job: Callable[[Any], Any] = lambda wsi: None
        self.result: Any = None

    def __call__(self, wsi: Any, reason: int, user: Any, in_: Any, length: int) -> int:
        if reason == LWS_CALLBACK_RECEIVE:
            if in_ == END:
                return libwebsocket_write(wsi, in_, length, LWS_WRITE_TEXT)
            try:
                self.result = self.job(wsi)
            except Exception as error:
                self.result = error
        return 0


@pytest.fixture
def session() -> Iterator[Callable[[Callable[[Any], Any]], tuple[Any, Served]]]:
    writer = Writer()
    with context_of(writer) as context, Served(context) as client:
        client.open("/")

        def run(job: Callable[[Any], Any]) -> tuple[Any, Served]:
            writer.job = job
            writer.result = None
            client.send(frame(TEXT, b"go") + frame(TEXT, END))
            return writer, client

        yield run


def sent(session: Any, job: Callable[[Any], Any]) -> list[bytes]:
    """Runs a job in the callback; the messages that came of it. The result must be 0."""
    writer, client = session(job)
    messages = []
    while (got := client.message()) != END:
        messages.append(got)
    assert writer.result == 0, writer.result
    return messages


def refused(session: Any, job: Callable[[Any], Any]) -> Any:
    """Runs a job that must write nothing; what it raised or returned."""
    writer, client = session(job)
    assert client.message() == END
    return writer.result


def test_room_is_found_through_memory_that_is_not_contiguous(session: Any) -> None:
    """Every second byte of a buffer: one of them has the others around it."""
    numpy = pytest.importorskip("numpy")
    memory = bytearray(b"\x5a" * 100)
    part = numpy.asarray(memoryview(memory)[::2])[20:21]
    assert sent(session, lambda wsi: libwebsocket_write(wsi, part, 1, 0)) == [b"Z"]
    assert memory[40 - 2 : 41] == b"\x81\x01Z"  # in place


@pytest.mark.parametrize("protocol", [LWS_WRITE_TEXT, LWS_WRITE_BINARY])
@pytest.mark.parametrize("make", WRITABLE + COPIED)
def test_every_kind(session: Any, make: Callable[[], Any], protocol: int) -> None:
    buffer = make()
    assert sent(session, lambda wsi: libwebsocket_write(wsi, buffer, SIZE, protocol)) == [PAYLOAD]


@pytest.mark.parametrize("make", WRITABLE + COPIED)
def test_a_part_and_nothing(session: Any, make: Callable[[], Any]) -> None:
    buffer = make()

    def job(wsi: Any) -> int:
        return libwebsocket_write(wsi, buffer, 4, 0) | libwebsocket_write(wsi, buffer, 0, 0)

    assert sent(session, job) == [PAYLOAD[:4], b""]


@pytest.mark.parametrize("make", WRITABLE)
def test_the_payload_is_not_changed_and_can_be_sent_again(
    session: Any, make: Callable[[], Any]
) -> None:
    buffer = make()

    def job(wsi: Any) -> int:
        return sum(libwebsocket_write(wsi, buffer, SIZE, 0) for _ in range(3))

    assert sent(session, job) == [PAYLOAD] * 3


def test_only_the_padding_is_written() -> None:
    guard = b"\xa5" * 8
    memory = bytearray(guard + b"\x5a" * PRE + PAYLOAD + b"\x5a" * POST + guard)
    writer = Writer()
    writer.job = lambda wsi: libwebsocket_write(
        wsi, memoryview(memory)[8 + PRE :][:SIZE], SIZE, LWS_WRITE_TEXT
    )
    with context_of(writer) as context, Served(context) as client:
        client.open("/", version=76).send(b"\x00go\xff")
        assert client.message(76) == PAYLOAD
    assert writer.result == 0
    assert memory.startswith(guard)
    assert memory.endswith(guard)
    assert memory[8 + PRE :][:SIZE] == PAYLOAD


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 200_000])
def test_sizes_of_the_own_buffer(session: Any, size: int) -> None:
    buffer = libwebsocket_buffer(size)
    buffer[:] = data = bytes(i % 251 for i in range(size))

    def job(wsi: Any) -> int:
        return libwebsocket_write(wsi, buffer, size, LWS_WRITE_BINARY)

    assert sent(session, job) == [data]
    assert bytes(buffer) == data
    assert len(buffer) == size


PADDING = {
    "before": (
        lambda: memoryview(bytearray(WHOLE))[PRE - 5 :],
        SIZE,
        "lacks 5 of the 12 bytes of LWS_SEND_BUFFER_PRE_PADDING",
    ),
    "before, none": (lambda: bytearray(WHOLE), SIZE, "lacks 12 of the 12"),
    "after": (
        lambda: memoryview(bytearray(WHOLE))[PRE : PRE + SIZE + 1],
        SIZE + 1,
        "lacks 1 of the 1 bytes of LWS_SEND_BUFFER_POST_PADDING",
    ),
    "ctypes array": (lambda: ctypes.create_string_buffer(32), 8, "lacks 12 of the 12"),
    "byref": (lambda: ctypes.byref(ctypes.create_string_buffer(32), 11), 8, "lacks 1 of the 12"),
    "byref, end": (
        lambda: ctypes.byref(ctypes.create_string_buffer(32), 12),
        20,
        "lacks 1 of the 1 ",
    ),
    "pointer": (lambda: ctypes.pointer(ctypes.create_string_buffer(32)), 8, "lacks 12 of the 12"),
    "cffi array": (lambda: ffi.new("char[32]"), 8, "lacks 12 of the 12"),
}


@pytest.mark.parametrize("case", PADDING)
def test_missing_padding_names_the_number(session: Any, case: str) -> None:
    make, length, told = PADDING[case]
    error = refused(session, lambda wsi: libwebsocket_write(wsi, make(), length, 0))
    assert isinstance(error, ValueError), error
    assert told in str(error)


def test_missing_padding_of_numpy(session: Any) -> None:
    numpy = pytest.importorskip("numpy")
    memory = numpy.zeros(32, dtype="u1")
    error = refused(session, lambda wsi: libwebsocket_write(wsi, memory[3:], 8, 0))
    assert isinstance(error, ValueError)
    assert "lacks 9 of the 12" in str(error)
    error = refused(session, lambda wsi: libwebsocket_write(wsi, memory[12::2], 4, 0))
    assert isinstance(error, ValueError)
    assert "contiguous" in str(error)


LENGTHS = {
    "beyond a view": (of_bytearray, SIZE + 1, "len is 11, but the send buffer ends after 10"),
    "beyond the own buffer": (of_own_buffer, SIZE + 1, "ends after 10"),
    "beyond bytes": (of_bytes, 11, "ends after 10"),
    "beyond a str": (of_str, 11, "ends after 10"),
    "beyond byref": (of_byref, 12, "ends after 11"),
    "negative": (of_bytearray, -1, "but is -1"),
    "negative, own": (of_own_buffer, -3, "but is -3"),
    "huge, own": (of_own_buffer, 2**70, str(2**70)),
    "outside": (
        lambda: ctypes.byref(ctypes.create_string_buffer(32), 40),
        1,
        "begins 8 bytes outside",
    ),
    "null": (lambda: ctypes.c_void_p(0), 1, "null"),
    "null, cffi": (lambda: ffi.NULL, 1, "null"),
}


@pytest.mark.parametrize("case", LENGTHS)
def test_wrong_lengths_name_the_number(session: Any, case: str) -> None:
    make, length, told = LENGTHS[case]
    error = refused(session, lambda wsi: libwebsocket_write(wsi, make(), length, 0))
    assert isinstance(error, ValueError), error
    assert re.search(re.escape(told), str(error)), error


@pytest.mark.parametrize("buffer", [None, 7, 1.5, object(), [1, 2], ffi.cast("int", 3)])
def test_what_is_no_buffer(session: Any, buffer: Any) -> None:
    error = refused(session, lambda wsi: libwebsocket_write(wsi, buffer, 1, 0))
    assert isinstance(error, TypeError), error


@pytest.mark.parametrize("make", [of_bytearray, of_own_buffer, of_bytes])
@pytest.mark.parametrize(
    ("length", "protocol"), [("1", 0), (1.0, 0), (None, 0), (1, "0"), (1, 0.0)]
)
def test_wrong_types(session: Any, make: Any, length: Any, protocol: Any) -> None:
    error = refused(session, lambda wsi: libwebsocket_write(wsi, make(), length, protocol))
    assert isinstance(error, TypeError), error


@pytest.mark.parametrize("make", [of_bytearray, of_own_buffer, of_bytes])
@pytest.mark.parametrize("protocol", [-1, 4, 7, 0x42, 0x45, 0x80, 2**31, 2**70])
def test_wrong_protocols(session: Any, make: Any, protocol: int) -> None:
    error = refused(session, lambda wsi: libwebsocket_write(wsi, make(), 1, protocol))
    assert isinstance(error, ValueError), error
    assert str(protocol) in str(error)


def test_str_counts_characters(session: Any) -> None:
    assert sent(session, lambda wsi: libwebsocket_write(wsi, "aé€😀b", 4, 0)) == ["aé€😀".encode()]


@pytest.mark.parametrize("buffer", ["\ud800", b"\xff", b"\xc3"])
def test_text_that_is_not_utf8(session: Any, buffer: Any) -> None:
    assert refused(session, lambda wsi: libwebsocket_write(wsi, buffer, 1, 0)) == -1


@pytest.mark.parametrize(("size", "error"), [(-1, ValueError), (1.5, TypeError), (True, TypeError)])
def test_sizes_that_no_buffer_has(size: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        libwebsocket_buffer(size)


def test_the_own_buffer_cannot_be_moved() -> None:
    buffer = libwebsocket_buffer(8)
    with pytest.raises(BufferError):
        buffer.payload.obj.clear()  # type: ignore[attr-defined]
    with pytest.raises(ValueError):
        buffer[0:3] = b"four"
    assert repr(buffer) == "<libwebsocket_buffer of 8 bytes>"
