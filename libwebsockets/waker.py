"""What wakes a round from another thread: an eventfd."""

from __future__ import annotations

import contextlib
import os
import threading

__all__ = ["Waker"]


class Waker:
    """An eventfd that any thread may write to, and that a context watches."""

    __slots__ = ("_descriptor", "_lock")

    def __init__(self) -> None:
        self._descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = threading.Lock()

    def fileno(self) -> int:
        """The descriptor, for a context to watch; -1 once closed."""
        return self._descriptor

    def wake(self) -> bool:
        """Makes it readable; False if it is closed."""
        with self._lock:  # so that nobody else's descriptor of the same number is written to
            if self._descriptor < 0:
                return False
            with contextlib.suppress(BlockingIOError):  # it is as readable as it can be
                os.eventfd_write(self._descriptor, 1)
            return True

    def rest(self) -> None:
        """Makes it unreadable again."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._descriptor)

    def close(self) -> None:
        """Closes the descriptor, once."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def __del__(self) -> None:
        if hasattr(self, "_lock"):
            self.close()
