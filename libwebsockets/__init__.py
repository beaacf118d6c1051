"""A server for WebSockets and HTTP on one port, with the API of the first libwebsockets (2010)."""

from .buffers import libwebsocket_buffer
from .constants import (
    LWS_CALLBACK_CLOSED,
    LWS_CALLBACK_ESTABLISHED,
    LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION,
    LWS_CALLBACK_HTTP,
    LWS_CALLBACK_RECEIVE,
    LWS_CALLBACK_SEND,
    LWS_CLOSE_STATUS_ABNORMAL,
    LWS_CLOSE_STATUS_GOINGAWAY,
    LWS_CLOSE_STATUS_NO_STATUS,
    LWS_CLOSE_STATUS_NORMAL,
    LWS_CLOSE_STATUS_POLICY_VIOLATION,
    LWS_CLOSE_STATUS_UNEXPECTED_CONDITION,
    LWS_SEND_BUFFER_POST_PADDING,
    LWS_SEND_BUFFER_PRE_PADDING,
    LWS_WRITE_BINARY,
    LWS_WRITE_HTTP,
    LWS_WRITE_TEXT,
    libwebsocket_callback_reasons,
    libwebsocket_write_protocol,
)
from .context import libwebsocket_context
from .files import libwebsockets_serve_http_file
from .headers import (
    libwebsocket_get_header,
    libwebsocket_get_headers,
    libwebsocket_get_method,
    libwebsocket_get_peer_address,
)
from .reply import libwebsockets_return_http_status, libwebsockets_write_http_head
from .root import libwebsockets_serve_http_root
from .server import libwebsocket_create_server, libwebsocket_server
from .service import (
    libwebsocket_context_destroy,
    libwebsocket_create_context,
    libwebsocket_service,
)
from .wsi import (
    libwebsocket,
    libwebsocket_close_reason,
    libwebsocket_get_uri,
    libwebsocket_write,
)

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
    "libwebsocket",
    "libwebsocket_buffer",
    "libwebsocket_callback_reasons",
    "libwebsocket_close_reason",
    "libwebsocket_context",
    "libwebsocket_context_destroy",
    "libwebsocket_create_context",
    "libwebsocket_create_server",
    "libwebsocket_get_header",
    "libwebsocket_get_headers",
    "libwebsocket_get_method",
    "libwebsocket_get_peer_address",
    "libwebsocket_get_uri",
    "libwebsocket_server",
    "libwebsocket_service",
    "libwebsocket_write",
    "libwebsocket_write_protocol",
    "libwebsockets_return_http_status",
    "libwebsockets_serve_http_file",
    "libwebsockets_serve_http_root",
    "libwebsockets_write_http_head",
]
