"""What may be a send buffer, and where its payload and the room around it lie.

::

    buf                 buf + LWS_SEND_BUFFER_PRE_PADDING
    |                   |
    | pre-padding (12)  | payload (len)                  | post-padding (1) |
    |         [ header ][ payload                       ][ trailer ]        |

libwebsocket_write is given a pointer to the payload. It writes the frame header into the bytes
before it and, for hixie-76, one byte behind it; the payload itself is never changed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any, NamedTuple

from ._core import ffi
from .constants import LWS_SEND_BUFFER_POST_PADDING, LWS_SEND_BUFFER_PRE_PADDING

__all__ = ["Payload", "find_payload", "libwebsocket_buffer"]

_byref_type = type(ctypes.byref(ctypes.c_char()))
_pointer_types = (ctypes._Pointer, ctypes.c_void_p)  # noqa: SLF001 - it has no other name
_owner_depth = 8  # views of views are followed this far


class libwebsocket_buffer:
    """A send buffer with room around its payload: the fastest buffer to write from.

    ``size`` is the number of payload bytes, zeroed at first. Index and slice it as the payload:
    ``buffer[0:5] = b"hello"``; ``payload`` is a writable memoryview of it, ``address`` its first
    byte's address. The memory is the
    object's own and never moves. libwebsocket_write leaves the payload unchanged.

    Raises TypeError or ValueError for a size that is not an int of at least 0.
    """

    __slots__ = ("_memory", "_pin", "address", "payload", "size")

    def __init__(self, size: int) -> None:
        if isinstance(size, bool) or not isinstance(size, int):
            raise TypeError(f"size must be an int, not {type(size).__name__}")
        if size < 0:
            raise ValueError(f"size must not be negative, but is {size}")
        first = LWS_SEND_BUFFER_PRE_PADDING
        self._memory = bytearray(first + size + LWS_SEND_BUFFER_POST_PADDING)
        # The pin is an export of the bytearray: nothing can resize it, so the address stays right.
        self._pin = ffi.from_buffer("uint8_t[]", self._memory, require_writable=True)
        self.address: int = int(ffi.cast("uintptr_t", self._pin)) + first
        self.size = size
        self.payload = memoryview(self._memory)[first : first + size]

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: Any) -> Any:
        return self.payload[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        self.payload[index] = value

    def __bytes__(self) -> bytes:
        return bytes(self.payload)

    def __repr__(self) -> str:
        return f"<libwebsocket_buffer of {self.size} bytes>"


class Payload(NamedTuple):
    """Where bytes to send are: at an address, or in an object that must be copied from."""

    address: int
    """Of the first payload byte."""
    length: int
    """Bytes to send."""
    copy: bool
    """The memory has no room or is not to be written to."""
    owner: object
    """What keeps the memory alive."""


class _Extent(NamedTuple):
    """Memory whose bounds are known."""

    start: int
    end: int

    def holds(self, address: int) -> bool:
        return self.start <= address <= self.end

    def size(self) -> int:
        return self.end - self.start


def find_payload(buf: Any, length: int, padded: bool) -> Payload:
    """Finds the memory of a send buffer.

    buf points at the payload; see libwebsocket_write for what it may be. length is the number of
    payload bytes, for a str of characters. padded says whether a frame is to be built around the
    payload.

    Raises TypeError for what is no send buffer, and ValueError, with the number that is wrong, for
    a negative length, a length beyond the buffer, memory that is not contiguous, a null pointer, or
    padding that can be seen to be missing; UnicodeEncodeError (a ValueError) for a str with
    surrogates.
    """
    if length < 0:
        raise ValueError(f"len must not be negative, but is {length}")
    if isinstance(buf, str):
        _check_length(length, len(buf))
        buf = buf[:length].encode()
        length = len(buf)
    if isinstance(buf, bytes):
        return _of_view(memoryview(buf), buf, length, padded)
    if isinstance(buf, libwebsocket_buffer):
        return _of_view(buf.payload, buf, length, padded)
    if isinstance(buf, _byref_type):
        owner = getattr(buf, "_obj", None)  # what the stubs do not know
        address = ctypes.cast(buf, ctypes.c_void_p).value or 0
        return _checked(address, length, padded, _known(address, owner), buf)
    if isinstance(buf, ctypes.c_char_p):
        # It points into an immutable bytes object more often than not.
        return Payload(_not_null(ctypes.cast(buf, ctypes.c_void_p).value), length, True, buf)
    if isinstance(buf, _pointer_types):
        address = _not_null(ctypes.cast(buf, ctypes.c_void_p).value)
        return _checked(address, length, padded, _pointed_to(buf, address), buf)
    if isinstance(buf, ffi.CData):
        return _of_cdata(buf, length, padded)
    try:
        view = memoryview(buf)
    except TypeError:
        raise TypeError(f"{type(buf).__name__} is no send buffer") from None
    return _of_view(view, buf, length, padded)


def _of_view(view: memoryview, owner: object, length: int, padded: bool) -> Payload:
    if not view.c_contiguous:
        raise ValueError("the send buffer is not contiguous")
    _check_length(length, view.nbytes)
    address = _address_of(view)
    if view.readonly:
        return Payload(address, length, True, (owner, view))
    if not padded:
        return Payload(address, length, False, (owner, view))
    return _checked(address, length, padded, _known(address, view), (owner, view))


def _of_cdata(buf: Any, length: int, padded: bool) -> Payload:
    kind = ffi.typeof(buf).kind
    if kind not in ("pointer", "array"):
        raise TypeError(f"a cffi {kind} is no send buffer; a pointer or an array is")
    address = _not_null(int(ffi.cast("uintptr_t", buf)))
    extent = None
    if kind == "array":
        extent = _Extent(address, address + ffi.sizeof(buf))
    return _checked(address, length, padded, extent, buf)


def _checked(
    address: int, length: int, padded: bool, extent: _Extent | None, owner: object
) -> Payload:
    """A payload whose room has been checked as far as the bounds of its memory are known."""
    if extent is None:
        return Payload(address, length, False, owner)
    if not extent.holds(address):
        raise ValueError(
            f"the payload begins {max(extent.start - address, address - extent.end)} bytes outside "
            "its buffer"
        )
    _check_length(length, extent.end - address)
    if padded:
        before = LWS_SEND_BUFFER_PRE_PADDING - (address - extent.start)
        after = LWS_SEND_BUFFER_POST_PADDING - (extent.end - address - length)
        if before > 0:
            raise ValueError(
                f"the send buffer lacks {before} of the {LWS_SEND_BUFFER_PRE_PADDING} bytes of "
                "LWS_SEND_BUFFER_PRE_PADDING before its payload"
            )
        if after > 0:
            raise ValueError(
                f"the send buffer lacks {after} of the {LWS_SEND_BUFFER_POST_PADDING} bytes of "
                "LWS_SEND_BUFFER_POST_PADDING after its payload"
            )
    return Payload(address, length, False, owner)


def _check_length(length: int, room: int) -> None:
    if length > room:
        raise ValueError(f"len is {length}, but the send buffer ends after {room}")


def _not_null(address: int | None) -> int:
    if not address:
        raise ValueError("the send buffer is a null pointer (0)")
    return address


def _address_of(view: memoryview) -> int:
    return int(ffi.cast("uintptr_t", ffi.from_buffer(view)))


def _known(address: int, owner: object) -> _Extent:
    """The widest memory around an address that an object shows; else the object's own."""
    extents = list(_extents(owner, _owner_depth))
    around = [extent for extent in extents if extent.holds(address)]
    if around:
        return max(around, key=_Extent.size)
    return extents[0] if extents else _Extent(address, address)


def _pointed_to(pointer: Any, address: int) -> _Extent | None:
    """The memory that a ctypes pointer was made from, where ctypes has kept it; else None."""
    around = [
        extent
        for kept in _kept_by(pointer)
        for extent in _extents(kept, _owner_depth)
        if extent.holds(address)
    ]
    return max(around, key=_Extent.size, default=None)


def _extents(owner: object, depth: int) -> Iterator[_Extent]:
    """The memory of an object, then of the objects whose memory it is a part of."""
    if depth == 0 or isinstance(owner, bytes):
        return
    try:
        view = memoryview(owner)  # type: ignore[arg-type]
    except (TypeError, ValueError, BufferError):
        return
    if view.c_contiguous and not view.readonly:
        start = _address_of(view)
        yield _Extent(start, start + view.nbytes)
    if view.obj is not owner and view.obj is not None:
        yield from _extents(view.obj, depth - 1)
    # numpy calls it base; ctypes keeps the whole of a part, and the source of from_buffer.
    for name in ("base", "_b_base_"):
        base = getattr(owner, name, None)
        if base is not None:
            yield from _extents(base, depth - 1)
    if isinstance(owner, ctypes.Array | ctypes.Structure | ctypes.Union):
        for kept in _kept_by(owner):
            yield from _extents(kept, depth - 1)


def _kept_by(instance: Any) -> list[Any]:
    kept = getattr(instance, "_objects", None)
    if isinstance(kept, dict):
        return list(kept.values())
    return [] if kept is None else [kept]
