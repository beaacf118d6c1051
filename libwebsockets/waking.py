"""What wakes a round besides connections: other threads, and descriptors of the program's own."""

from __future__ import annotations

import contextlib
import logging
import select
from collections.abc import Callable

from . import log
from .constants import LWS_CALLBACK_EVENT_WAIT_CANCELLED
from .core import (
    ERROR_CLOSED,
    as_index,
    context_of,
    libwebsocket,
    libwebsocket_context,
    refused,
)

__all__ = ["libwebsocket_cancel_service", "libwebsocket_watch_fd", "watch_waker"]

WATCH_WAKER = 2  # the numbers under it are the server process's
WATCH_FIRST = 16  # of the program's own descriptors
EPOLL_BITS = 2**32 - 1


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
    if context.foreign or not context.waker.wake():
        return refused("cancel-refused", ERROR_CLOSED)
    return 0


def watch_waker(context: libwebsocket_context) -> None:
    """Has a context's rounds call the callback after libwebsocket_cancel_service.

    Raises OSError.
    """

    def awoken(_events: int) -> None:
        context.waker.rest()
        context.call(context.make_own_handle(), LWS_CALLBACK_EVENT_WAIT_CANCELLED)

    context.watch(context.waker.fileno(), select.EPOLLIN, WATCH_WAKER, awoken)


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
    fd = as_index("fd", fd)
    events = as_index("events", events)
    if fd < 0:
        raise ValueError(f"fd must not be negative, but is {fd}")
    if not 0 <= events <= EPOLL_BITS:
        raise ValueError(f"events must be from 0 to {EPOLL_BITS}, not {events}")
    if events and not callable(function):
        raise TypeError(f"function must be callable, not {type(function).__name__}")
    if context.c is None:
        return refused("watch-refused", ERROR_CLOSED)
    number = context.watch_numbers.get(fd)
    if number is None:
        number = WATCH_FIRST
        while number in context.watched:
            number += 1

    def ready(bits: int) -> None:
        assert function is not None
        try:
            function(fd, bits)
        except (KeyboardInterrupt, SystemExit) as error:
            context.interrupt = context.interrupt or error
        except Exception as error:
            log.event(logging.ERROR, "callback-error", reason="watch", fd=fd, error=error)
            _end(context, fd, number)

    try:
        context.watch(fd, events, number, ready)
    except OSError as error:
        log.event(logging.WARNING, "watch-refused", fd=fd, errno=error.errno, cause=error.strerror)
        return -1
    if events:
        context.watch_numbers[fd] = number
    else:
        _end(context, fd, number)
    return 0


def _end(context: libwebsocket_context, fd: int, number: int) -> None:
    """Nothing is called for a descriptor any more."""
    if context.watch_numbers.pop(fd, None) is not None:
        with contextlib.suppress(OSError):  # it may be closed
            context.watch(fd, 0, number, lambda _bits: None)
    context.watched.pop(number, None)
