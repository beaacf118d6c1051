"""The arena: the memory that a round receives into, and whether somebody still looks at it."""

from __future__ import annotations

import gc
import sys

from ._core import ffi, lib

__all__ = ["Arena"]


class Arena:
    """LWS_ARENA_SIZE bytes that the core fills and that in_ is a view of.

    Releasing in_ does not release what was derived from it (slices, casts, ctypes structures,
    arrays), and the next round would change the bytes under those. All of them hold a reference to
    the one export behind ``view``, so that a count of its references shows whether there is any.
    """

    __slots__ = ("_export", "_idle", "_memory", "view")

    view: memoryview
    """The whole of it. Never handed out, only slices of it."""

    def __init__(self) -> None:
        self._memory = bytearray(lib.LWS_ARENA_SIZE)
        self._attach()

    @property
    def pointer(self) -> object:
        """The first byte, as the core takes it. It does not keep the memory alive."""
        # An export held here would stand in the way of renew().
        return ffi.cast("uint8_t *", int(ffi.cast("uintptr_t", ffi.from_buffer(self._memory))))

    def referenced(self) -> bool:
        """Whether anything beyond ``view`` refers to the memory, live or released."""
        return self._references() != self._idle

    def renew(self) -> None:
        """Makes ``view`` and ``pointer`` name memory that nobody looks at.

        Memory with live views is left to their holders, with its bytes as they are; the core must
        be given the new pointer before it runs again.
        """
        self.view.release()
        try:
            # A bytearray can be resized only while no view of it is live.
            self._memory.pop()
            self._memory.append(0)
        except BufferError:
            self._memory = bytearray(lib.LWS_ARENA_SIZE)
        self._attach()

    def _attach(self) -> None:
        self.view = memoryview(self._memory)
        (self._export,) = gc.get_referents(self.view)
        self._idle = self._references()

    def _references(self) -> int:
        return sys.getrefcount(self._export)
