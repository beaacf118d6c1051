"""Replies to HTTP requests from the callback: checked heads, and whole short replies."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable, Mapping
from email.utils import formatdate

from .._core import ffi, lib
from ..constants import LWS_WRITE_HTTP
from ..core import (
    ERROR_CLOSED,
    ERROR_STATE,
    NO_SLOT,
    as_index,
    check_wsi,
    libwebsocket,
    refuse,
    state_error,
)
from .open_reply import Reply
from .request import Request

__all__ = [
    "HeaderFields",
    "check_content_type",
    "check_text",
    "connection_line",
    "field_lines",
    "head_bytes",
    "http_date",
    "libwebsockets_return_http_status",
    "libwebsockets_write_http_head",
    "open_reply",
    "send_head",
]

HeaderFields = Mapping[str, str] | Iterable[tuple[str, str]]

CONTENT_TYPE_MAX = 256
NAME_MAX = 128
VALUE_MAX = 4096
FIELDS_MAX = 8192  # bytes of all the fields of an application together
CONTENT_LENGTH_MAX = 2**63 - 1
NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, section 5.6.2
# What says where the reply ends is the server's to say, and so is when it was made.
FRAMING = frozenset({"connection", "content-length", "date", "keep-alive", "transfer-encoding"})
BODILESS = (204, 304)  # RFC 9110, section 6.4.1

_date = (0, "")  # the present second, and how it is written


def libwebsockets_return_http_status(
    wsi: libwebsocket,
    code: int,
    body: str | bytes | None = None,
    *,
    content_type: str = "text/html; charset=utf-8",
    headers: HeaderFields | None = None,
) -> int:
    """Answers the request that the callback is handling: a status, and a short body.

    The connection takes the next request afterwards, if this one lets it (RFC 9112, section 9.3).
    To HEAD, and with 204 and 304, no byte of the body is sent.

    :param wsi: the connection whose request the callback is handling.
    :param code: 200 to 599.
    :param body: a str is sent as UTF-8, bytes as they are; only read. None: the status in words, as
        plain text. It counts against ``max_send_buffer``.
    :param content_type: of the body; printable ASCII, at most 256 characters.
    :param headers: further fields, as for libwebsockets_write_http_head.
    :returns: 0 once the reply is queued. -1, with a line in the log and nothing sent, if there is
        no request to answer or its reply has begun, on an inert handle, over ``max_send_buffer``,
        a wrong thread or process.
    :raises TypeError: for arguments of wrong types.
    :raises ValueError: for a code out of bounds, and for what libwebsockets_write_http_head
        refuses; nothing is sent then.
    """
    check_wsi(wsi)
    code = _check_code(code)
    check_content_type(content_type)
    lines = field_lines(headers, frozenset({"content-type"}))
    if body is None:
        content_type = "text/plain"
        body = f"{code} {_reason(code)}\n"
    if isinstance(body, str):
        body = body.encode("utf-8")
    elif not isinstance(body, bytes):
        raise TypeError(f"body must be a str, bytes or None, not {type(body).__name__}")
    reply = open_reply(wsi, "status-refused")
    if reply is None:
        return -1
    if code not in BODILESS:
        lines = f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{lines}"
    sent = b"" if code in BODILESS or reply.request.is_head else body
    if not send_head(reply, code, lines, len(body), "status-refused", sent):
        return -1
    reply.complete = True
    return 0


def libwebsockets_write_http_head(
    wsi: libwebsocket,
    code: int,
    headers: HeaderFields | None = None,
    *,
    content_length: int | None = None,
) -> int:
    """Sends the head of a reply; its body follows by libwebsocket_write with LWS_WRITE_HTTP.

    All of it within the callback that handles the request. Date, Content-Length and Connection are
    written here. To HEAD, and with 204 and 304, writes of the body are taken and not sent.

    :param wsi: the connection whose request the callback is handling.
    :param code: 200 to 599.
    :param headers: names and values, a mapping or pairs. A name is a token (RFC 9110, section
        5.6.2) of at most 128 characters, a value printable ASCII and tabs, of at most 4096; 8192
        bytes together. Not among them: Connection, Content-Length, Date, Keep-Alive,
        Transfer-Encoding.
    :param content_length: bytes of the body. More are not taken (libwebsocket_write returns -1);
        after fewer the connection closes, so that the client sees the fault. None: the body ends
        with the connection (RFC 9112, section 6.3).
    :returns: 0 once the head is queued. -1, with a line in the log and nothing sent, if there is no
        request to answer or its reply has begun, on an inert handle, a wrong thread or process.
    :raises TypeError: for arguments of wrong types.
    :raises ValueError: for a code, length, name or value out of bounds, with the number that is
        wrong; nothing is sent then.
    """
    check_wsi(wsi)
    code = _check_code(code)
    lines = field_lines(headers, frozenset())
    if content_length is not None:
        content_length = as_index("content_length", content_length)
        if not 0 <= content_length <= CONTENT_LENGTH_MAX:
            raise ValueError(
                f"content_length must be from 0 to {CONTENT_LENGTH_MAX}, not {content_length}"
            )
        if code in BODILESS and content_length:
            raise ValueError(f"content_length must be 0 with {code}, not {content_length}")
    reply = open_reply(wsi, "head-refused")
    if reply is None:
        return -1
    if code in BODILESS:
        content_length = 0
    elif content_length is not None:
        lines += f"Content-Length: {content_length}\r\n"
    if not send_head(reply, code, lines, content_length, "head-refused"):
        return -1
    reply.begin_body(content_length, bodiless=code in BODILESS)
    return 0


# ---- Shared with the replies from files ----


def open_reply(wsi: libwebsocket, word: str) -> Reply | None:
    """The reply that may be begun now; None, with a line under that event word, if none may."""
    if wsi.slot == NO_SLOT:
        refuse(wsi, logging.INFO, word, ERROR_CLOSED)
        return None
    reply = wsi.context.reply
    if not isinstance(reply, Reply) or reply.wsi is not wsi or reply.written or not reply.open:
        refuse(wsi, logging.WARNING, word, state_error(wsi) or ERROR_STATE)
        return None
    return reply


def send_head(
    reply: Reply, code: int, lines: str, length: int | None, word: str, body: bytes = b""
) -> bool:
    """Queues a head of checked field lines, and a body with it; they are only read.

    length: of the body that the head announces, None if it ends with the connection. Returns
    whether it was taken; if not, a line under that event word tells why.
    """
    request = reply.request
    data = head_bytes(code, lines, connection_line(request, length)) + body
    wsi = reply.wsi
    result = lib.lws_write_copy(wsi.context.c, wsi.slot, data, len(data), LWS_WRITE_HTTP)
    if result != 0:
        reply.failed = True
        refuse(wsi, logging.WARNING, word, result, length=len(data))
        return False
    reply.written = True
    reply.status = code
    reply.body_bytes = 0 if request.is_head or code in BODILESS else length or 0
    return True


def head_bytes(code: int, lines: str, connection: str = "") -> bytes:
    """A head of checked field lines, as it is sent now."""
    head = f"HTTP/1.1 {code} {_reason(code)}\r\nDate: {http_date()}\r\n{lines}{connection}\r\n"
    return head.encode("ascii")


def connection_line(request: Request, length: int | None) -> str:
    """What a reply says of the connection; length None: its body ends with it."""
    if length is None or not request.keep_alive:
        return "Connection: close\r\n"
    return "" if request.minor else "Connection: keep-alive\r\n"


def http_date() -> str:
    """Now, as a Date field says it (RFC 9110, section 5.6.7)."""
    global _date  # noqa: PLW0603 - written anew once a second, in one assignment
    second, text = _date
    now = int(time.time())
    if now != second:
        text = formatdate(now, usegmt=True)
        _date = (now, text)
    return text


def field_lines(headers: HeaderFields | None, taken: frozenset[str]) -> str:
    """An application's header fields as lines of a head, checked.

    taken: lower-case names that are not the application's to give here, beside those that frame a
    message. Raises TypeError or ValueError as libwebsockets_write_http_head says.
    """
    if headers is None:
        return ""
    lines = []
    for name, value in headers.items() if isinstance(headers, Mapping) else headers:
        if not isinstance(name, str) or not isinstance(value, str):
            wrong = type(value if isinstance(name, str) else name).__name__
            raise TypeError(f"headers must hold str, not {wrong}")
        if len(name) > NAME_MAX:
            raise ValueError(f"a header name has {len(name)} characters, over {NAME_MAX}")
        if NAME.fullmatch(name) is None:
            raise ValueError(f"header name {name!r} of {len(name)} characters is not a token")
        if name.lower() in FRAMING or name.lower() in taken:
            raise ValueError(f"header {name!r} is written by the server, 0 of it may be given")
        check_text(f"header {name}", value, VALUE_MAX, tab=True)
        lines.append(f"{name}: {value.strip(' ' + chr(9))}\r\n")
    text = "".join(lines)
    if len(text) > FIELDS_MAX:
        raise ValueError(f"headers take {len(text)} bytes, over {FIELDS_MAX}")
    return text


def check_content_type(content_type: object) -> None:
    """Raises TypeError, or ValueError with the number, for what cannot be a Content-Type."""
    if not check_text("content_type", content_type, CONTENT_TYPE_MAX).strip():
        raise ValueError("content_type is empty: 0 characters")


def check_text(name: str, value: object, most: int, tab: bool = False) -> str:
    """A value that may stand in a head. Raises TypeError, or ValueError with the number."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    if len(value) > most:
        raise ValueError(f"{name} has {len(value)} characters, over {most}")
    if value.isascii() and value.isprintable():
        return value
    for position, character in enumerate(value):
        if not (" " <= character <= "~" or (tab and character == "\t")):
            raise ValueError(
                f"{name} has the character {ord(character)} at {position}; "
                "printable ASCII is allowed"
            )
    return value


def _check_code(code: object) -> int:
    number = as_index("code", code)
    if not 200 <= number <= 599:
        raise ValueError(f"code must be from 200 to 599, not {number}")
    return number


def _reason(code: int) -> str:
    reason = _reasons.get(code)
    if reason is None:
        reason = _reasons[code] = ffi.string(lib.lws_http_reason(code)).decode()
    return reason


_reasons: dict[int, str] = {}
