"""The numbers of the API: callback reasons, write protocols, buffer padding, close codes."""

from enum import IntEnum

from ._core import lib

__all__ = [
    "LWS_CALLBACK_CLOSED",
    "LWS_CALLBACK_ESTABLISHED",
    "LWS_CALLBACK_EVENT_WAIT_CANCELLED",
    "LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION",
    "LWS_CALLBACK_HTTP",
    "LWS_CALLBACK_PROTOCOL_DESTROY",
    "LWS_CALLBACK_PROTOCOL_INIT",
    "LWS_CALLBACK_RECEIVE",
    "LWS_CALLBACK_RECEIVE_PONG",
    "LWS_CALLBACK_SEND",
    "LWS_CALLBACK_SERVER_WRITEABLE",
    "LWS_CALLBACK_TIMER",
    "LWS_CLOSE_STATUS_ABNORMAL",
    "LWS_CLOSE_STATUS_GOINGAWAY",
    "LWS_CLOSE_STATUS_NORMAL",
    "LWS_CLOSE_STATUS_NO_STATUS",
    "LWS_CLOSE_STATUS_POLICY_VIOLATION",
    "LWS_CLOSE_STATUS_UNEXPECTED_CONDITION",
    "LWS_SEND_BUFFER_POST_PADDING",
    "LWS_SEND_BUFFER_PRE_PADDING",
    "LWS_WRITE_BINARY",
    "LWS_WRITE_CONTINUATION",
    "LWS_WRITE_HTTP",
    "LWS_WRITE_NO_FIN",
    "LWS_WRITE_PING",
    "LWS_WRITE_PONG",
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
    LWS_CALLBACK_RECEIVE_PONG = 6
    """A pong has come, asked for or not; its payload is in ``in_``."""
    LWS_CALLBACK_SERVER_WRITEABLE = 7
    """After libwebsocket_callback_on_writable: all that was written has left."""
    LWS_CALLBACK_PROTOCOL_INIT = 8
    """Once in the server process, before it serves: anything but 0 and it does not."""
    LWS_CALLBACK_PROTOCOL_DESTROY = 9
    """Once in the server process, after the last connection has ended."""
    LWS_CALLBACK_TIMER = 10
    """The time given to libwebsocket_set_timer is over."""
    LWS_CALLBACK_EVENT_WAIT_CANCELLED = 11
    """libwebsocket_cancel_service was called, perhaps in another thread."""


class libwebsocket_write_protocol(IntEnum):
    """What libwebsocket_write makes of the bytes it is given."""

    LWS_WRITE_TEXT = 0
    """A text message: UTF-8."""
    LWS_WRITE_BINARY = 1
    """A binary message; hixie-76 has none."""
    LWS_WRITE_HTTP = 2
    """Bytes of an HTTP reply, sent as they are; no padding is needed."""
    LWS_WRITE_CONTINUATION = 3
    """The next fragment of a message that was begun with LWS_WRITE_NO_FIN."""
    LWS_WRITE_PING = 5
    """A ping of at most 125 bytes."""
    LWS_WRITE_PONG = 6
    """A pong that nobody asked for, of at most 125 bytes; pings are answered without it."""
    LWS_WRITE_NO_FIN = 0x40
    """Or-ed to TEXT, BINARY or CONTINUATION: more of the message follows."""


LWS_CALLBACK_ESTABLISHED = libwebsocket_callback_reasons.LWS_CALLBACK_ESTABLISHED
LWS_CALLBACK_CLOSED = libwebsocket_callback_reasons.LWS_CALLBACK_CLOSED
LWS_CALLBACK_SEND = libwebsocket_callback_reasons.LWS_CALLBACK_SEND
LWS_CALLBACK_RECEIVE = libwebsocket_callback_reasons.LWS_CALLBACK_RECEIVE
LWS_CALLBACK_HTTP = libwebsocket_callback_reasons.LWS_CALLBACK_HTTP
LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION = (
    libwebsocket_callback_reasons.LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION
)

LWS_CALLBACK_RECEIVE_PONG = libwebsocket_callback_reasons.LWS_CALLBACK_RECEIVE_PONG
LWS_CALLBACK_SERVER_WRITEABLE = libwebsocket_callback_reasons.LWS_CALLBACK_SERVER_WRITEABLE
LWS_CALLBACK_PROTOCOL_INIT = libwebsocket_callback_reasons.LWS_CALLBACK_PROTOCOL_INIT
LWS_CALLBACK_PROTOCOL_DESTROY = libwebsocket_callback_reasons.LWS_CALLBACK_PROTOCOL_DESTROY
LWS_CALLBACK_TIMER = libwebsocket_callback_reasons.LWS_CALLBACK_TIMER
LWS_CALLBACK_EVENT_WAIT_CANCELLED = libwebsocket_callback_reasons.LWS_CALLBACK_EVENT_WAIT_CANCELLED

LWS_WRITE_TEXT = libwebsocket_write_protocol.LWS_WRITE_TEXT
LWS_WRITE_BINARY = libwebsocket_write_protocol.LWS_WRITE_BINARY
LWS_WRITE_HTTP = libwebsocket_write_protocol.LWS_WRITE_HTTP
LWS_WRITE_CONTINUATION = libwebsocket_write_protocol.LWS_WRITE_CONTINUATION
LWS_WRITE_PING = libwebsocket_write_protocol.LWS_WRITE_PING
LWS_WRITE_PONG = libwebsocket_write_protocol.LWS_WRITE_PONG
LWS_WRITE_NO_FIN = libwebsocket_write_protocol.LWS_WRITE_NO_FIN

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
