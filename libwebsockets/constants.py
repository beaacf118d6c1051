"""The numbers of the API: callback reasons, write protocols, buffer padding, close codes."""

from enum import IntEnum

from ._core import lib

__all__ = [
    "LWS_CALLBACK_CLOSED",
    "LWS_CALLBACK_ESTABLISHED",
    "LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION",
    "LWS_CALLBACK_HTTP",
    "LWS_CALLBACK_RECEIVE",
    "LWS_CALLBACK_SEND",
    "LWS_CLOSE_STATUS_ABNORMAL",
    "LWS_CLOSE_STATUS_GOINGAWAY",
    "LWS_CLOSE_STATUS_NORMAL",
    "LWS_CLOSE_STATUS_NO_STATUS",
    "LWS_CLOSE_STATUS_POLICY_VIOLATION",
    "LWS_CLOSE_STATUS_UNEXPECTED_CONDITION",
    "LWS_SEND_BUFFER_POST_PADDING",
    "LWS_SEND_BUFFER_PRE_PADDING",
    "LWS_WRITE_BINARY",
    "LWS_WRITE_HTTP",
    "LWS_WRITE_TEXT",
    "libwebsocket_callback_reasons",
    "libwebsocket_write_protocol",
]


class libwebsocket_callback_reasons(IntEnum):
    """Why the callback is called.

    A callback written for the five reasons of 2010 stays right if it returns 0 for all others.
    """

    LWS_CALLBACK_ESTABLISHED = 0
    """The opening handshake is complete: once for each session, before all below."""
    LWS_CALLBACK_CLOSED = 1
    """The session has ended: once, and nothing comes after it."""
    LWS_CALLBACK_SEND = 2
    """``send_interval`` has passed and the connection can be written to."""
    LWS_CALLBACK_RECEIVE = 3
    """A whole message is in ``in_``."""
    LWS_CALLBACK_HTTP = 4
    """A request that is no upgrade to WebSocket is to be answered."""
    LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION = 5
    """A right upgrade request, before it is accepted: anything but 0 refuses it with 403."""


class libwebsocket_write_protocol(IntEnum):
    """What libwebsocket_write makes of the bytes it is given."""

    LWS_WRITE_TEXT = 0
    """A text message: UTF-8."""
    LWS_WRITE_BINARY = 1
    """A binary message; hixie-76 has none."""
    LWS_WRITE_HTTP = 2
    """Bytes of an HTTP reply, sent as they are; no padding is needed."""


LWS_CALLBACK_ESTABLISHED = libwebsocket_callback_reasons.LWS_CALLBACK_ESTABLISHED
LWS_CALLBACK_CLOSED = libwebsocket_callback_reasons.LWS_CALLBACK_CLOSED
LWS_CALLBACK_SEND = libwebsocket_callback_reasons.LWS_CALLBACK_SEND
LWS_CALLBACK_RECEIVE = libwebsocket_callback_reasons.LWS_CALLBACK_RECEIVE
LWS_CALLBACK_HTTP = libwebsocket_callback_reasons.LWS_CALLBACK_HTTP
LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION = (
    libwebsocket_callback_reasons.LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION
)

LWS_WRITE_TEXT = libwebsocket_write_protocol.LWS_WRITE_TEXT
LWS_WRITE_BINARY = libwebsocket_write_protocol.LWS_WRITE_BINARY
LWS_WRITE_HTTP = libwebsocket_write_protocol.LWS_WRITE_HTTP

# Bytes of room that a send buffer has before and after its payload.
LWS_SEND_BUFFER_PRE_PADDING: int = lib.LWS_SEND_BUFFER_PRE_PADDING
LWS_SEND_BUFFER_POST_PADDING: int = lib.LWS_SEND_BUFFER_POST_PADDING

# Close codes (RFC 6455, section 7.4.1). NO_STATUS and ABNORMAL are reported, never sent.
LWS_CLOSE_STATUS_NORMAL = 1000
LWS_CLOSE_STATUS_GOINGAWAY = 1001
LWS_CLOSE_STATUS_NO_STATUS = 1005
LWS_CLOSE_STATUS_ABNORMAL = 1006
LWS_CLOSE_STATUS_POLICY_VIOLATION = 1008
LWS_CLOSE_STATUS_UNEXPECTED_CONDITION = 1011
