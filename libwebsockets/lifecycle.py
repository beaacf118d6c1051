"""The first and the last event of a context, which belong to no connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .constants import LWS_CALLBACK_PROTOCOL_DESTROY, LWS_CALLBACK_PROTOCOL_INIT

if TYPE_CHECKING:
    from .context import libwebsocket_context

__all__ = ["begin", "end"]


def begin(context: libwebsocket_context) -> bool:
    """Calls the callback with LWS_CALLBACK_PROTOCOL_INIT, once; False: it does not want to serve.

    The handle it is given is inert for every function on connections;
    libwebsocket_get_context(wsi) is the context, and its ``user`` memory is the context's own.
    """
    context._dispatching = True
    try:
        outcome = context._call(context._own(), LWS_CALLBACK_PROTOCOL_INIT)
    finally:
        context._dispatching = False
    context._begun = outcome == 0
    return context._begun


def end(context: libwebsocket_context) -> None:
    """Calls the callback with LWS_CALLBACK_PROTOCOL_DESTROY, once, if it was begun."""
    if context._begun and not context._foreign:
        context._begun = False
        context._call(context._own(), LWS_CALLBACK_PROTOCOL_DESTROY)
