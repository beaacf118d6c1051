"""Timers: one for each connection that wants one, and one for the context."""

from __future__ import annotations

import time

from ._core import lib
from .constants import LWS_CALLBACK_TIMER
from .core import (
    ERROR_CLOSED,
    NO_SLOT,
    as_index,
    context_of,
    libwebsocket,
    libwebsocket_context,
    own_handle,
    refused,
)

__all__ = ["libwebsocket_set_timer", "run_timers"]

MILLISECOND = 1_000_000  # ns
MILLISECONDS_MAX = 2**31 - 1


def run_timers(context: libwebsocket_context) -> None:
    """Calls the callback for each timer that is due, and has the core wake up for the next."""
    timers = context.timers
    for owner in timers.take_due(time.monotonic_ns()):
        if owner is None:
            context.call(context.make_own_handle(), LWS_CALLBACK_TIMER)
        elif owner.slot != NO_SLOT and context.handles[owner.slot] is owner:
            context.conclude(owner, context.call(owner, LWS_CALLBACK_TIMER))
    due = timers.next_due()
    if due is not None:
        lib.lws_wake_in(context.c, _milliseconds_until(due))


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
    ms = as_index("ms", ms)
    if not -1 <= ms <= MILLISECONDS_MAX:
        raise ValueError(f"ms must be from -1 to {MILLISECONDS_MAX}, not {ms}")
    context = context_of(wsi_or_context)
    owner = None
    if isinstance(wsi_or_context, libwebsocket) and not isinstance(wsi_or_context, own_handle):
        owner = wsi_or_context
    if context.c is None:
        return refused("timer-refused", ERROR_CLOSED)
    error: int = 0
    if owner is not None:
        error = lib.lws_version(context.c, owner.slot)
        if error >= 0:
            established = error > 0 and context.handles[owner.slot] is owner
            error = 0 if established else ERROR_CLOSED
    if error == 0:
        due = time.monotonic_ns() + ms * MILLISECOND
        earliest = context.timers.next_due()
        # The core knows one wish: that of the earliest timer.
        at = due if earliest is None or ms == -1 else min(due, earliest)
        error = lib.lws_wake_in(context.c, -1 if ms == -1 else _milliseconds_until(at))
    if error != 0:
        return refused("timer-refused", error)
    if ms == -1:
        context.timers.cancel(owner)
        due_next = context.timers.next_due()
        if due_next is not None:
            lib.lws_wake_in(context.c, _milliseconds_until(due_next))
    else:
        context.timers.set(owner, due)
    return 0
