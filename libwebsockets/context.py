"""A server in the calling process: create a context, run its rounds, end it."""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING

from . import log
from ._core import lib
from .arguments import Arguments, check_arguments
from .constants import LWS_CALLBACK_PROTOCOL_DESTROY, LWS_CALLBACK_PROTOCOL_INIT
from .core import CAUSES, GO_ON, Callback, libwebsocket_context
from .dispatch import flush, reset_all, run_round
from .listening import listener
from .listening.listener import Listener
from .options import Options
from .process import privileges
from .waking import watch_waker

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = [
    "begin",
    "end",
    "libwebsocket_context_destroy",
    "libwebsocket_create_context",
    "libwebsocket_service",
    "make_context",
]


def make_context(arguments: Arguments, listeners: list[Listener]) -> libwebsocket_context | None:
    """A context on open listeners, which it takes over; None, with an ERROR line, if that fails."""
    try:
        context = libwebsocket_context(
            arguments.callback,
            arguments.protocol,
            arguments.user_area_size,
            arguments.settings,
            arguments.credentials,
            listener.port_of(listeners),
        )
        watch_waker(context)
        files = listener.files_of(listeners)
        _listen(context, listeners)
        context.files = files
    except OSError as error:
        log.event(logging.ERROR, "context-failed", errno=error.errno, cause=error.strerror)
        for made in listener.files_of(listeners):
            made.remove()
        listener.close_all(listeners)
        return None
    return context


def _listen(context: libwebsocket_context, listeners: list[Listener]) -> None:
    """Hands listening sockets to the core, which closes them. Raises OSError."""
    for listening in listeners:
        secure = context.secure is not None if listening.secure is None else listening.secure
        error = lib.lws_listen(context.c, listening.fileno(), secure)
        if error < 0:
            raise OSError(-error, os.strerror(-error))
        listening.detach()


def begin(context: libwebsocket_context) -> bool:
    """Calls the callback with LWS_CALLBACK_PROTOCOL_INIT, once. Returns whether it wants to serve.

    The handle it is given is inert for every function on connections;
    libwebsocket_get_context(wsi) is the context, and its ``user`` memory is the context's own.
    """
    context.dispatching = True
    try:
        outcome = context.call(context.make_own_handle(), LWS_CALLBACK_PROTOCOL_INIT)
    finally:
        context.dispatching = False
    context.begun = outcome == GO_ON
    return context.begun


def end(context: libwebsocket_context) -> None:
    """Calls the callback with LWS_CALLBACK_PROTOCOL_DESTROY, once, if begin() went well."""
    if context.begun and not context.foreign:
        context.begun = False
        context.call(context.make_own_handle(), LWS_CALLBACK_PROTOCOL_DESTROY)


def _close_down(context: libwebsocket_context) -> None:
    """Resets what is open, delivers each CLOSED, and frees everything."""
    if context.foreign:
        context.c = None  # the owner's memory and sockets; the copy's end with the copy
        return
    lib.lws_stop(context.c)
    reset_all(context)
    for wsi in (*context.handles, *context.closing_handles.values()):
        if wsi is not None:  # pragma: no cover - each has had its last event by now
            wsi.make_inert()
    context.handles.clear()
    context.closing_handles.clear()
    for made in context.files:
        made.remove()
    end(context)
    context.watched.clear()
    context.waker.close()
    c, context.c = context.c, None
    context.events.release()
    lib.lws_context_destroy(c)


def libwebsocket_create_context(
    port: int,
    callback: Callback | None,
    protocol: int,
    user_area_size: int,
    ssl_cert_filepath: str | os.PathLike[str] | None,
    ssl_private_key_filepath: str | os.PathLike[str] | None,
    gid: int,
    uid: int,
    **options: Unpack[Options],
) -> libwebsocket_context | None:
    """Makes a server in the calling process, to be run by libwebsocket_service.

    Arguments and options are those of libwebsocket_create_server. Privileges, if a gid or uid is
    given, are dropped here and now, for the whole process.

    Returns a context, which the calling thread owns and libwebsocket_context_destroy ends; or
    None, with one ERROR line in the log that names the cause, where libwebsocket_create_server
    returns -1. Raises TypeError and ValueError as that does.
    """
    arguments = check_arguments(
        port,
        callback,
        protocol,
        user_area_size,
        ssl_cert_filepath,
        ssl_private_key_filepath,
        gid,
        uid,
        options,
    )
    if arguments is None:
        return None
    settings = arguments.settings
    listeners = listener.open_listeners(settings.endpoints, settings.limits["backlog"])
    if listeners is None:
        return None
    try:
        privileges.drop(gid, uid)
    except privileges.PrivilegesError as error:
        log.event(logging.ERROR, "privileges-failed", cause=str(error))
        for made in listener.files_of(listeners):
            made.remove()
        listener.close_all(listeners)
        return None
    context = make_context(arguments, listeners)
    if context is None or begin(context):
        return context
    _close_down(context)
    if context.interrupt is not None:
        raise context.interrupt
    log.event(
        logging.ERROR, "context-failed", cause="the callback refused LWS_CALLBACK_PROTOCOL_INIT"
    )
    return None


def libwebsocket_service(context: libwebsocket_context, timeout_ms: int) -> int:
    """Runs one round: sends what is queued, waits, receives, calls the callback, sends.

    :param timeout_ms: milliseconds to wait at most if nothing is ready; 0: not at all; -1: until
        something happens.
    :returns: 0; -1 with a line in the log if the context is destroyed, belongs to another thread
        or to the process that this one was forked from, or if its own callback, or the handler of
        a signal that comes meanwhile, calls this.
    :raises TypeError: for arguments of wrong types.
    :raises ValueError: for a timeout under -1 or over 2147483647.
    :raises KeyboardInterrupt, SystemExit: what a callback raised, after the rest of the round.
        Anything else that a callback raises is logged, closes that one connection, and is not seen
        here.
    """
    _check_context(context)
    if isinstance(timeout_ms, bool) or not isinstance(timeout_ms, int):
        raise TypeError(f"timeout_ms must be an int, not {type(timeout_ms).__name__}")
    if not -1 <= timeout_ms <= 2**31 - 1:
        raise ValueError(f"timeout_ms must be from -1 to 2147483647, not {timeout_ms}")
    if context.c is None:
        return _service_refused("the context has been destroyed")
    if context.dispatching and not context.foreign:
        return _service_refused("called from the context's own callback")
    owned = not context.foreign and context.owner == threading.get_ident()
    if owned and context.serving:
        return _service_refused("called while it runs, by the handler of a signal")
    if owned:
        context.serving = True
    try:
        count = run_round(context, timeout_ms)
        if count >= 0 and not context.foreign:
            flush(context)
    finally:
        if owned:
            context.serving = False
    if owned and context.destroy_asked and context.c is not None and not context.foreign:
        _close_down(context)
    if count < 0:
        _service_refused(CAUSES.get(count, f"error {count}"))
    if context.interrupt is not None:
        interrupt, context.interrupt = context.interrupt, None
        raise interrupt
    return 0 if count >= 0 else -1


def libwebsocket_context_destroy(context: libwebsocket_context) -> None:
    """Ends a server: resets its connections, delivers LWS_CALLBACK_CLOSED to each session, closes
    all.

    From within the context's own callback, or from the handler of a signal that comes during a
    round, it takes effect at the end of the round; from another thread at the end of the owner's
    present or next one, which it wakes. In the process of libwebsocket_create_server it is a
    request to stop. Destroying twice is no error. All handles of its connections are inert
    afterwards. Raises TypeError for anything that is not a
    context.
    """
    _check_context(context)
    if context.c is None:
        return
    busy = context.dispatching or context.serving
    if context.foreign or (not busy and context.owner == threading.get_ident()):
        _close_down(context)
        return
    context.destroy_asked = True
    context.waker.wake()


def _check_context(context: object) -> None:
    if not isinstance(context, libwebsocket_context):
        raise TypeError(f"context must be a libwebsocket_context, not {type(context).__name__}")


def _service_refused(cause: str) -> int:
    log.event(logging.WARNING, "service-refused", cause=cause)
    return -1
