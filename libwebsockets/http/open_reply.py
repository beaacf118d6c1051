"""The reply being given: what was written of it, and whether the connection stays usable."""

from __future__ import annotations

import re

from .._core import ffi
from ..buffers import Payload
from ..core import libwebsocket
from .request import Request

__all__ = ["Reply"]

HEAD_SEARCHED = 65536  # bytes of an application's reply in which its head must end

STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\r\n]*)?")
LENGTH = re.compile(rb"[0-9]{1,18}")


class Reply:
    """What the application has written as the reply to the request in hand.

    A raw reply (LWS_WRITE_HTTP) leaves the connection usable only if its end can be told: its
    first write holds the whole head, with a Content-Length that the body then matches, or a status
    without a body.
    """

    written = False
    complete = False  # libwebsockets_serve_http_file has given the whole reply
    refused = False  # the core has given a whole error reply
    failed = False  # the core has not taken what was to be sent, over max_send_buffer for one
    checked = False  # libwebsockets_write_http_head has written the head
    dropping = False  # and no body may follow, to HEAD for one
    status: int | None = None  # for the log: what was answered, as far as it is known
    body_bytes = 0
    _expected: int | None = None
    _body = 0

    def __init__(self, wsi: libwebsocket, request: Request) -> None:
        self.wsi = wsi
        self.request = request

    @property
    def open(self) -> bool:
        """Whether bytes may be added."""
        return not (self.complete or self.refused)

    @property
    def reusable(self) -> bool:
        """Whether the next request may follow on the connection."""
        if self.complete or self.dropping:
            return True
        return self._expected is not None and self._body == self._expected

    def begin_body(self, length: int | None, bodiless: bool) -> None:
        """The head is written: what may follow it. length None: to the end of the connection."""
        self.checked = True
        self.dropping = bodiless or self.request.is_head
        self._expected = 0 if self.dropping and length is None else length
        self.body_bytes = 0

    def exceeds(self, length: int) -> bool:
        """Whether that many bytes more are more than the checked head has announced."""
        return (
            self.checked
            and self._expected is not None
            and self._body + length > self._expected
            and not (self.dropping and self._expected == 0)
        )

    def record(self, payload: Payload) -> None:
        """Takes note of bytes that were written, or dropped; they are only read."""
        if self.written:
            self._body += payload.length
            if not self.dropping:
                self.body_bytes += payload.length
            return
        self.written = True
        memory = ffi.cast("char *", payload.address)
        start = bytes(ffi.buffer(memory, min(payload.length, HEAD_SEARCHED)))
        head, end, _ = start.partition(b"\r\n\r\n")
        if end:
            self.body_bytes = self._body = payload.length - len(head) - len(end)
            status = STATUS_LINE.fullmatch(head.partition(b"\r\n")[0])
            self.status = int(status[2]) if status is not None else None
            self._expected = expected_body(head, self.request.is_head)


def expected_body(head: bytes, to_head: bool) -> int | None:
    """Bytes of body that a reply announces (RFC 9112, section 6.3); None if it ends with the
    connection.

    head is without its last line end. None as well for what cannot be taken apart, says close, or
    is an interim (1xx) reply.
    """
    status_line, *lines = head.split(b"\r\n")
    status = STATUS_LINE.fullmatch(status_line)
    if status is None or status[2].startswith(b"1"):
        return None
    lengths = []
    connection: set[bytes] = set()
    for line in lines:
        name, colon, value = line.partition(b":")
        name, value = name.lower(), value.strip(b" \t")
        if not colon or name == b"transfer-encoding":
            return None
        if name == b"content-length":
            lengths.append(value)
        elif name == b"connection":
            connection.update(token.strip(b" \t").lower() for token in value.split(b","))
    if b"close" in connection or (status[1] == b"0" and b"keep-alive" not in connection):
        return None
    if to_head or status[2] in (b"204", b"304"):
        return 0
    if len(lengths) != 1 or LENGTH.fullmatch(lengths[0]) is None:
        return None
    return int(lengths[0])
