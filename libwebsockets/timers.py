"""Timers: one for each connection that wants one, and one for the context."""

from __future__ import annotations

import heapq
import itertools
import logging
import time
from typing import TYPE_CHECKING

from . import log
from ._core import lib
from .constants import LWS_CALLBACK_TIMER
from .wsi import CAUSES, ERROR_CLOSED, NO_SLOT, _index, libwebsocket, own_handle

if TYPE_CHECKING:
    from .context import libwebsocket_context

__all__ = ["Timers", "libwebsocket_set_timer"]

MILLISECOND = 1_000_000  # ns
MILLISECONDS_MAX = 2**31 - 1
STALE_MAX = 64  # heap entries without a timer that are always put up with


class Timers:
    """The timers of a context: set and cancelled in O(log n), an expired one in O(log n)."""

    __slots__ = ("_heap", "_numbers", "_valid")

    def __init__(self) -> None:
        # (due in ns, number, connection or None for the context); an entry counts only while
        # _valid has its number.
        self._heap: list[tuple[int, int, libwebsocket | None]] = []
        self._valid: dict[libwebsocket | None, int] = {}
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._valid)

    def set(self, owner: libwebsocket | None, due: int) -> None:
        """Sets the owner's one timer, in place of an earlier one."""
        number = self._valid[owner] = next(self._numbers)
        heapq.heappush(self._heap, (due, number, owner))
        # A timer that is set anew with each message must not fill memory with its former selves.
        if len(self._heap) > 2 * len(self._valid) + STALE_MAX:
            self._heap = [entry for entry in self._heap if self._valid.get(entry[2]) == entry[1]]
            heapq.heapify(self._heap)

    def cancel(self, owner: libwebsocket | None) -> None:
        """Takes the owner's timer away, if there is one."""
        self._valid.pop(owner, None)

    def next_due(self) -> int | None:
        """When the earliest timer is due, in ns of the monotonic clock."""
        heap = self._heap
        while heap and self._valid.get(heap[0][2]) != heap[0][1]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def take_due(self, now: int) -> list[libwebsocket | None]:
        """Takes away the timers that are due, and returns their owners, earliest first."""
        owners = []
        while (due := self.next_due()) is not None and due <= now:
            owner = heapq.heappop(self._heap)[2]
            del self._valid[owner]
            owners.append(owner)
        return owners


def run_timers(context: libwebsocket_context) -> None:
    """Calls the callback for each timer that is due, and has the core wake up for the next."""
    timers = context._timers
    for owner in timers.take_due(time.monotonic_ns()):
        if owner is None:
            context._call(context._own(), LWS_CALLBACK_TIMER)
        elif owner._slot != NO_SLOT and context._handles[owner._slot] is owner:
            context._conclude(owner, context._call(owner, LWS_CALLBACK_TIMER))
    due = timers.next_due()
    if due is not None:
        lib.lws_wake_in(context._c, _milliseconds_until(due))


def _milliseconds_until(due: int) -> int:
    return min(MILLISECONDS_MAX, max(0, -((time.monotonic_ns() - due) // MILLISECOND)))


def libwebsocket_set_timer(wsi_or_context: libwebsocket | libwebsocket_context, ms: int) -> int:
    """Has LWS_CALLBACK_TIMER called once, after a time.

    Each connection has one timer, and the context has one of its own, whose callback is given the
    handle that LWS_CALLBACK_PROTOCOL_INIT was given. Setting it again moves it. It comes after the
    events of its round, never early; on a connection that is closing or closed it does not come.

    :param wsi_or_context: an established connection; or a context, or the handle that
        LWS_CALLBACK_PROTOCOL_INIT was given, for the context's own timer.
    :param ms: milliseconds from now; 0: in the next round; -1: takes the timer away.
    :returns: 0. -1 with a line in the log: an inert handle, a connection that is closing or not
        established, a destroyed context, a wrong thread or process.
    :raises TypeError: for arguments of wrong types.
    :raises ValueError: for ms under -1 or over 2147483647, with the number.
    """
    ms = _index("ms", ms)
    if not -1 <= ms <= MILLISECONDS_MAX:
        raise ValueError(f"ms must be from -1 to {MILLISECONDS_MAX}, not {ms}")
    context = context_of(wsi_or_context)
    owner = None
    if isinstance(wsi_or_context, libwebsocket) and not isinstance(wsi_or_context, own_handle):
        owner = wsi_or_context
    if context._c is None:
        return refused("timer-refused", ERROR_CLOSED)
    error: int = 0
    if owner is not None:
        error = lib.lws_version(context._c, owner._slot)
        if error >= 0:
            established = error > 0 and context._handles[owner._slot] is owner
            error = 0 if established else ERROR_CLOSED
    if error == 0:
        due = time.monotonic_ns() + ms * MILLISECOND
        earliest = context._timers.next_due()
        # The core knows one wish: that of the earliest timer.
        at = due if earliest is None or ms == -1 else min(due, earliest)
        error = lib.lws_wake_in(context._c, -1 if ms == -1 else _milliseconds_until(at))
    if error != 0:
        return refused("timer-refused", error)
    if ms == -1:
        context._timers.cancel(owner)
        due_next = context._timers.next_due()
        if due_next is not None:
            lib.lws_wake_in(context._c, _milliseconds_until(due_next))
    else:
        context._timers.set(owner, due)
    return 0


def context_of(wsi_or_context: libwebsocket | libwebsocket_context) -> libwebsocket_context:
    """The context that is meant. Raises TypeError for what is neither."""
    from .context import libwebsocket_context  # noqa: PLC0415 - context imports this module

    if isinstance(wsi_or_context, libwebsocket):
        return wsi_or_context._context
    if isinstance(wsi_or_context, libwebsocket_context):
        return wsi_or_context
    raise TypeError(
        f"a libwebsocket or a libwebsocket_context is wanted, not {type(wsi_or_context).__name__}"
    )


def refused(word: str, error: int) -> int:
    """Logs one line with the cause of an error that is no connection's, and returns -1."""
    log.event(logging.WARNING, word, cause=CAUSES.get(error, f"error {error}"))
    return -1
