"""What wakes a round besides connections: other threads, and descriptors of the program's own."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from . import log
from .constants import LWS_CALLBACK_EVENT_WAIT_CANCELLED
from .timers import context_of, refused
from .wsi import ERROR_CLOSED, _index, libwebsocket

if TYPE_CHECKING:
    from .context import libwebsocket_context

__all__ = ["Waker", "libwebsocket_cancel_service", "libwebsocket_watch_fd"]

WATCH_WAKER = 2  # the numbers under it are the server process's
WATCH_FIRST = 16  # of the program's own descriptors
EPOLL_BITS = 2**32 - 1


class Waker:
    """An eventfd that any thread may write to, and that a context watches."""

    __slots__ = ("_descriptor", "_lock")

    def __init__(self) -> None:
        self._descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = threading.Lock()

    def attach(self, context: libwebsocket_context) -> None:
        """Has the context watch it. Raises OSError."""
        context._watch(self._descriptor, select.EPOLLIN, WATCH_WAKER, context._awoken)

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


def libwebsocket_cancel_service(wsi_or_context: libwebsocket | libwebsocket_context) -> int:
    """Ends the wait of a context's present or next round: the one call for other threads.

    The owning thread then calls the callback with LWS_CALLBACK_EVENT_WAIT_CANCELLED and the handle
    that LWS_CALLBACK_PROTOCOL_INIT was given: there it takes what the other thread has left for
    it in a queue, and writes. Several calls before that are one.

    May be called from any thread of the process that serves, also while libwebsocket_service runs;
    not from a signal handler's C code, but from a Python one.

    :param wsi_or_context: a context, or a handle of it.
    :returns: 0. -1 with a line in the log: the context is destroyed, or this is a forked copy.
    :raises TypeError: for what is neither.
    """
    context = context_of(wsi_or_context)
    if context._foreign or not context._waker.wake():
        return refused("cancel-refused", ERROR_CLOSED)
    return 0


def awoken(context: libwebsocket_context) -> None:
    """In the round: somebody has called libwebsocket_cancel_service."""
    context._waker.rest()
    context._call(context._own(), LWS_CALLBACK_EVENT_WAIT_CANCELLED)


def libwebsocket_watch_fd(
    wsi_or_context: libwebsocket | libwebsocket_context,
    fd: int,
    events: int,
    function: Callable[[int, int], object] | None,
) -> int:
    """Has a function called whenever a descriptor of the program's own is ready.

    The round waits for it beside the connections: a database's socket, a queue's pipe. Level
    triggered: the function is called in each round as long as the descriptor is ready.

    :param wsi_or_context: a context, or a handle of it.
    :param fd: a descriptor that epoll can watch. It stays the caller's, who ends the watching
        before closing it. Watching it again changes events and function.
    :param events: ``select.EPOLLIN``, ``EPOLLOUT``, … or-ed; 0 ends the watching.
    :param function: called as ``function(fd, events)`` in the thread of the context, with the bits
        that are ready. What it returns is not looked at. If it raises, that is logged with the
        traceback and the watching ends; KeyboardInterrupt and SystemExit stop the server. None
        only to end.
    :returns: 0, also for the end of what was not watched. -1 with a line in the log: fd is closed
        or nothing that epoll watches, 60 are watched already, a destroyed context, a wrong thread
        or process.
    :raises TypeError: for arguments of wrong types.
    :raises ValueError: for a negative fd, or events over 32 bits, with the number.
    """
    context = context_of(wsi_or_context)
    fd = _index("fd", fd)
    events = _index("events", events)
    if fd < 0:
        raise ValueError(f"fd must not be negative, but is {fd}")
    if not 0 <= events <= EPOLL_BITS:
        raise ValueError(f"events must be from 0 to {EPOLL_BITS}, not {events}")
    if events and not callable(function):
        raise TypeError(f"function must be callable, not {type(function).__name__}")
    if context._c is None:
        return refused("watch-refused", ERROR_CLOSED)
    number = context._watch_numbers.get(fd)
    if number is None:
        number = WATCH_FIRST
        while number in context._watched:
            number += 1

    def ready(bits: int) -> None:
        assert function is not None
        try:
            function(fd, bits)
        except (KeyboardInterrupt, SystemExit) as error:
            context._interrupt = context._interrupt or error
        except Exception as error:
            log.event(logging.ERROR, "callback-error", reason="watch", fd=fd, error=error)
            _end(context, fd, number)

    try:
        context._watch(fd, events, number, ready)
    except OSError as error:
        log.event(logging.WARNING, "watch-refused", fd=fd, errno=error.errno, cause=error.strerror)
        return -1
    if events:
        context._watch_numbers[fd] = number
    else:
        _end(context, fd, number)
    return 0


def _end(context: libwebsocket_context, fd: int, number: int) -> None:
    """Nothing is called for a descriptor any more."""
    if context._watch_numbers.pop(fd, None) is not None:
        with contextlib.suppress(OSError):  # it may be closed
            context._watch(fd, 0, number, lambda _bits: None)
    context._watched.pop(number, None)
