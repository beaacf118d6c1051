"""The loop over events: one round of a context, and what each event becomes."""

from __future__ import annotations

import logging
import sys
import time
import weakref
from collections.abc import Iterator
from typing import Any

from . import log
from ._core import ffi, lib
from .constants import (
    LWS_CALLBACK_CLOSED,
    LWS_CALLBACK_RECEIVE,
    LWS_CALLBACK_RECEIVE_PONG,
    LWS_CALLBACK_SEND,
    LWS_CALLBACK_SERVER_WRITEABLE,
    LWS_SEND_BUFFER_POST_PADDING,
    LWS_SEND_BUFFER_PRE_PADDING,
    libwebsocket_callback_reasons,
)
from .core import EVENT, NOTHING, libwebsocket_context
from .deflate.messages import receive as receive_compressed
from .http.answer import answer_forwarded, answer_request
from .timers import run_timers

__all__ = ["flush", "reset_all", "run_round"]

BINARY: int = lib.LWS_EVENT_BINARY
SEND: int = lib.LWS_EVENT_SEND
BINARY_BUFFER: int = lib.LWS_EVENT_BINARY_BUFFER
REQUEST: int = lib.LWS_EVENT_REQUEST
CLOSED: int = lib.LWS_EVENT_CLOSED
GONE: int = lib.LWS_EVENT_GONE
FAULT: int = lib.LWS_EVENT_FAULT
WATCH: int = lib.LWS_EVENT_WATCH
WRITABLE: int = lib.LWS_EVENT_WRITABLE
PONG: int = lib.LWS_EVENT_PONG
SECURE: int = lib.LWS_EVENT_SECURE
SECURE_END: int = lib.LWS_EVENT_SECURE_END

ZERO = 0


def run_round(context: libwebsocket_context, timeout_ms: int) -> int:
    """One round. Returns the number of events, or an error of the core.

    A KeyboardInterrupt or SystemExit is in ``interrupt`` afterwards: the rest of the round's events
    are handled first.
    """
    if context.secure is not None:
        context.secure.flush()
    count: int = lib.lws_service(context.c, timeout_ms)
    if count > 0:
        began = time.monotonic()
        events = EVENT.iter_unpack(context.events[: count * EVENT.size])
        context.unpacking = events
        context.event_count = count
        context.dispatching = True
        while not _dispatch_all(context, events):
            pass
        if context.secure is not None:
            count = _dispatch_appended(context, count)
        context.dispatching = False
        context.unpacking = None
        context.in_ = NOTHING
        took = time.monotonic() - began
        if took > context.callback_warn:
            log.event(logging.WARNING, "callback-slow", seconds=round(took, 3), events=count)
        if context.arena.referenced():
            _renew_arena(context)
    if context.timers and not context.foreign:
        _run_due_timers(context)
    if log.suppressed:
        log.report_suppressed()
    return count


def _run_due_timers(context: libwebsocket_context) -> None:
    context.dispatching = True
    try:
        run_timers(context)
    except (KeyboardInterrupt, SystemExit) as error:
        context.interrupt = context.interrupt or error
    finally:
        context.dispatching = False


def _dispatch_appended(context: libwebsocket_context, done: int) -> int:
    """The events of what was decrypted in this round. Returns the number of all events."""
    while (count := lib.lws_event_count(context.c)) > done:
        events = EVENT.iter_unpack(context.events[done * EVENT.size : count * EVENT.size])
        context.unpacking = events
        context.event_count = count
        while not _dispatch_all(context, events):
            pass
        done = count
    return done


def flush(context: libwebsocket_context) -> None:
    """Sends what was written, without receiving."""
    if context.secure is not None:
        context.secure.flush()
    lib.lws_flush(context.c)


def _dispatch_all(context: libwebsocket_context, events: Iterator[tuple[Any, ...]]) -> bool:
    try:
        _dispatch(context, events)
    except (KeyboardInterrupt, SystemExit) as error:
        # A signal handler's, between two callbacks.
        context.interrupt = context.interrupt or error
    except Exception as error:
        # No memory for a view, say. The event is lost, the server is not.
        log.event(logging.ERROR, "event-failed", error=error)
    else:
        return True
    return False


def _dispatch(context: libwebsocket_context, events: Iterator[tuple[Any, ...]]) -> None:
    """Hands each event of a round to the callback. Every line here is paid for each message."""
    handles = context.handles
    callback = context.callback
    arena = context.arena.view
    for kind, code, slot, offset, length in events:
        if kind <= BINARY:
            wsi = handles[slot]
            if wsi is None:
                continue
            in_ = arena[offset : offset + length]
            context.in_ = in_
            context.in_offset = offset
            context.in_length = length
            user = wsi.user
            try:
                result = callback(
                    wsi,
                    LWS_CALLBACK_RECEIVE,
                    None if user is None else memoryview(user),
                    in_,
                    length,
                )
                if result is not None and result is not ZERO:
                    context.returned(wsi, result)
            except BaseException as error:
                context.failed(wsi, LWS_CALLBACK_RECEIVE, error)
            try:
                in_.release()
            except BufferError:
                continue  # somebody looks at it still: _renew_arena leaves him the memory
        elif kind == SEND:
            wsi = handles[slot]
            if wsi is not None:
                user = wsi.user
                try:
                    result = callback(
                        wsi,
                        LWS_CALLBACK_SEND,
                        None if user is None else memoryview(user),
                        None,
                        0,
                    )
                    if result is not None and result is not ZERO:
                        context.returned(wsi, result)
                except BaseException as error:
                    context.failed(wsi, LWS_CALLBACK_SEND, error)
        elif not context.foreign:
            context.in_ = NOTHING
            _dispatch_other(context, kind, code, slot, offset, length)


def _dispatch_other(
    context: libwebsocket_context, kind: int, code: int, slot: int, offset: int, length: int
) -> None:
    """Every event but a small message and SEND."""
    if kind == SECURE and context.secure is not None:
        context.secure.receive(slot, offset, length, code)
    elif kind <= BINARY_BUFFER:
        _receive_large(context, slot, offset, length)
    elif kind == REQUEST:
        if context.settings.proxies and lib.lws_trusted(context.c, slot):
            answer_forwarded(context, slot, offset)
        else:
            answer_request(context, slot, offset)
    elif kind == CLOSED:
        _close(context, slot, code, offset, length)
    elif kind == GONE:
        wsi = context.take_handle(slot)
        if wsi is not None:
            wsi.make_inert()
    elif kind == FAULT:
        context.log_fault(slot, offset, bytes(context.arena.view[length : length + code]))
    elif kind == WATCH:
        watcher = context.watched.get(slot)
        if watcher is not None:
            watcher(offset)
    elif kind == WRITABLE:
        _tell(context, slot, LWS_CALLBACK_SERVER_WRITEABLE, None, 0)
    elif kind == PONG:
        in_ = context.arena.view[offset : offset + length] if length else None
        _tell(context, slot, LWS_CALLBACK_RECEIVE_PONG, in_, length)
    elif kind == SECURE_END and context.secure is not None:
        context.secure.forget(slot)
    else:  # LWS_EVENT_COMPRESSED, with its flags
        receive_compressed(context, slot, kind, code, offset, length)


def _receive_large(context: libwebsocket_context, slot: int, number: int, length: int) -> None:
    """A message in a buffer of its own, which goes to whoever keeps a view of it."""
    wsi = context.handles[slot]
    if wsi is None:
        return
    payload = lib.lws_message(context.c, number)
    # With the room around it, so that the message and its slices can be written back in place.
    first = LWS_SEND_BUFFER_PRE_PADDING
    exporter = ffi.buffer(payload - first, first + length + LWS_SEND_BUFFER_POST_PADDING)
    unused = sys.getrefcount(exporter)
    in_ = memoryview(exporter)[first : first + length]
    context.in_ = in_
    context.in_offset = lib.LWS_ARENA_SIZE + number
    context.in_length = length
    kept = context.deliver(wsi, LWS_CALLBACK_RECEIVE, in_, length)
    context.in_ = NOTHING
    if kept or sys.getrefcount(exporter) > unused:
        lib.lws_message_keep(context.c, number)
        weakref.finalize(exporter, lib.lws_message_free, payload).atexit = False


def _tell(
    context: libwebsocket_context,
    slot: int,
    reason: libwebsocket_callback_reasons,
    in_: memoryview | None,
    length: int,
) -> None:
    """An event of a connection that may be closing already."""
    wsi = context.handles[slot]
    if wsi is not None:
        context.deliver(wsi, reason, in_, length)


def _renew_arena(context: libwebsocket_context) -> None:
    """After a round in which somebody kept a view: nobody may see the next round's bytes."""
    lib.lws_flush(context.c)  # what is queued may still lie in the arena
    before = context.arena.view  # the memory lives until the core has let go of it
    context.arena.renew()
    lib.lws_set_arena(context.c, context.arena.pointer)
    del before


def _close(context: libwebsocket_context, slot: int, code: int, offset: int, length: int) -> None:
    wsi = context.take_handle(slot)
    assert wsi is not None  # CLOSED is reported of sessions only
    wsi.close_code = code
    if context.access is not None:
        context.access.end(slot, code)
    context.deflation.close(slot)
    if context.timers:
        context.timers.cancel(wsi)
    reason = context.arena.view[offset : offset + length] if length else None
    context.call(wsi, LWS_CALLBACK_CLOSED, reason, length)
    wsi.make_inert()
    if reason is not None:
        try:
            reason.release()
        except BufferError:
            return  # as for in_


def reset_all(context: libwebsocket_context) -> None:
    """Resets all connections and delivers each CLOSED: a round has room for some thousands."""
    lib.lws_abort_all(context.c)
    for _ in range(len(context.handles) // 1024 + 1):
        run_round(context, 0)
