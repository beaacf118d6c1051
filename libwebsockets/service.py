"""A server in the calling process: make a context, run its rounds, end it."""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING

from . import lifecycle, log
from .arguments import Arguments, Callback, check_arguments
from .context import libwebsocket_context
from .listening import listener
from .listening.listener import Listener
from .options import Options
from .process import privileges
from .wsi import CAUSES

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = [
    "libwebsocket_context_destroy",
    "libwebsocket_create_context",
    "libwebsocket_service",
]


def make_context(arguments: Arguments, listeners: list[Listener]) -> libwebsocket_context | None:
    """A context on open listeners, which it takes over; None, with an ERROR line, if that fails."""
    port = listener.port_of(listeners)
    try:
        context = libwebsocket_context(arguments, port)
        files = listener.files_of(listeners)
        context._listen(listeners)
        context._files = files
    except OSError as error:
        log.event(logging.ERROR, "context-failed", errno=error.errno, cause=error.strerror)
        for made in listener.files_of(listeners):
            made.remove()
        listener.close_all(listeners)
        return None
    return context


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
    if context is None or lifecycle.begin(context):
        return context
    context._close_down()
    if context._interrupt is not None:
        raise context._interrupt
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
    if context._c is None:
        return _service_refused("the context has been destroyed")
    if context._dispatching and not context._foreign:
        return _service_refused("called from the context's own callback")
    owned = not context._foreign and context._owner == threading.get_ident()
    if owned and context._serving:
        return _service_refused("called while it runs, by the handler of a signal")
    if owned:
        context._serving = True
    try:
        count = context._round(timeout_ms)
        if count >= 0 and not context._foreign:
            context._flush()
    finally:
        if owned:
            context._serving = False
    if owned and context._destroy and context._c is not None and not context._foreign:
        context._close_down()
    if count < 0:
        _service_refused(CAUSES.get(count, f"error {count}"))
    if context._interrupt is not None:
        interrupt, context._interrupt = context._interrupt, None
        raise interrupt
    return 0 if count >= 0 else -1


def libwebsocket_context_destroy(context: libwebsocket_context) -> None:
    """Ends a server: resets its connections, delivers LWS_CALLBACK_CLOSED to each session, closes
    all.

    From within the context's own callback, or from the handler of a signal that comes during a
    round, it takes effect at the end of the round; from another thread at the end of the owner's
    present or next one, which it wakes. In the process of libwebsocket_create_server it is a
    request to stop. Destroying twice is no error. All handles of its connections are inert
    afterwards. Raises TypeError for what is no context.
    """
    _check_context(context)
    if context._c is None:
        return
    busy = context._dispatching or context._serving
    if context._foreign or (not busy and context._owner == threading.get_ident()):
        context._close_down()
        return
    context._destroy = True
    context._waker.wake()


def _check_context(context: object) -> None:
    if not isinstance(context, libwebsocket_context):
        raise TypeError(f"context must be a libwebsocket_context, not {type(context).__name__}")


def _service_refused(cause: str) -> int:
    log.event(logging.WARNING, "service-refused", cause=cause)
    return -1
