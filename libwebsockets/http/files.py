"""libwebsockets_serve_http_file: a regular file as the reply to a request."""

from __future__ import annotations

import errno
import functools
import hashlib
import logging
import mimetypes
import os
import struct
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any, NamedTuple, TypeVar

from .. import log
from .._core import ffi, lib
from ..core import ERROR_FULL, check_wsi, libwebsocket, refuse
from . import conditions
from .open_reply import Reply
from .reply import (
    HeaderFields,
    check_content_type,
    check_text,
    connection_line,
    field_lines,
    head_bytes,
    http_date,
    open_reply,
)
from .request import Request

__all__ = [
    "IS_FOLDER",
    "NAME_KEPT",
    "FileOptions",
    "Source",
    "checked_answer",
    "error_reply",
    "kept",
    "libwebsockets_serve_http_file",
    "send_source",
]

CACHE_CONTROL_MAX = 256
NAME_KEPT = 1024  # characters of a name at most of which anything is kept
ACCEPTED_KEPT = 256  # bytes of an Accept-Encoding likewise
HEAD_KEPT = 2048  # bytes of the fields of a head that is kept for the next request
HEADS_KEPT = 4  # of one file: it comes in several codings, and changes

STATUSES = {
    errno.ENOENT: 404,
    errno.ENOTDIR: 404,
    errno.ENAMETOOLONG: 404,
    errno.ELOOP: 404,
    errno.EXDEV: 404,  # the path leaves the folder that is served
    errno.EACCES: 403,
    errno.EPERM: 403,
    errno.ENXIO: 403,  # a socket, or a device without its driver
    errno.ENODEV: 403,
    errno.EMFILE: 503,
    errno.ENFILE: 503,
    errno.ENOMEM: 503,
}

mimetypes.init()  # reads files of the system: here, not while the first client waits

CODINGS = {b"br": b".br", b"gzip": b".gz"}  # the better first
# What a file is whose name says that it is compressed: its bytes are sent as they are.
COMPRESSED = {
    "br": "application/octet-stream",
    "bzip2": "application/x-bzip2",
    "compress": "application/x-compress",
    "gzip": "application/gzip",
    "xz": "application/x-xz",
}
# Written by the server, from the file. Vary too: the codings are its choice.
TAKEN = frozenset(
    {
        "accept-ranges",
        "cache-control",
        "content-encoding",
        "content-range",
        "content-type",
        "etag",
        "last-modified",
        "vary",
    }
)
ACCEPT_ENCODING: int = lib.LWS_FIELD_ACCEPT_ENCODING
REGULAR: int = lib.LWS_FILE_REGULAR
FOLDER: int = lib.LWS_FILE_FOLDER
IDENTITY: int = lib.LWS_FILE_IDENTITY
FILE = ffi.typeof("struct lws_file *")
IS_FOLDER = 1  # what send_source returns beside 0 and -1
TEXT = (str, type(None))  # the types of arguments by which something may be found again

Kept = TypeVar("Kept")

_lws_file_open = lib.lws_file_open
_lws_reply_file = lib.lws_reply_file


class FileOptions(NamedTuple):
    """How a file is to be sent, checked: what the application has said about it."""

    content_type: str | None
    lines: str  # its further header fields
    precompressed: bool


class Forms(NamedTuple):
    """The compressed forms of files that a client takes, the best first."""

    codings: tuple[bytes, ...]
    suffixes: bytes  # of their names, each with a NUL behind it


class Head:
    """The head of a whole file: written anew once a second, for its Date."""

    __slots__ = ("_data", "_date", "lines", "size")

    def __init__(self, lines: str, size: int) -> None:
        self.lines = lines
        self.size = size
        self._date = ""
        self._data = b""

    def data(self) -> bytes:
        """As it is sent now, on a connection that stays."""
        date = http_date()
        if self._date != date:
            self._data = head_bytes(200, self.lines)
            self._date = date  # last: another thread may be looking
        return self._data


class Source:
    """A file as a call names it: where it is, how it is to be sent, and heads that went with it.

    root is the folder that the path stays in, None for a path of the application's own. The heads
    are by the content that they are of: which one is there is looked at for each request.
    """

    __slots__ = ("answer", "heads", "path", "root")

    def __init__(self, root: bytes | None, path: bytes, answer: FileOptions) -> None:
        self.root = ffi.NULL if root is None else root
        self.path = path
        self.answer = answer
        self.heads: dict[bytes, Head] = {}

    def head(self, content: bytes, size: int, lines: Callable[[], str]) -> Head:
        """The head that goes with a content; kept for the next request."""
        head = self.heads.get(content)
        if head is None:
            head = Head(lines(), size)
            if len(self.heads) >= HEADS_KEPT:
                self.heads = {}
            if len(head.lines) <= HEAD_KEPT:
                self.heads[content] = head
        return head


def libwebsockets_serve_http_file(
    wsi: libwebsocket,
    file: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    content_type: str | None,
    *,
    cache_control: str | None = None,
    headers: HeaderFields | None = None,
    precompressed: bool = True,
) -> int:
    """Answers the request that the callback is handling with a file (LWS_CALLBACK_HTTP).

    Sends 200 with a Content-Length in 64 bits, then as many bytes of the file, moved by the kernel:
    the memory that it takes does not grow with the file. To HEAD the head alone (RFC 9110, section
    9.3.2). With it go Last-Modified, never later than Date, and a strong ETag, a digest of size,
    time of modification in nanoseconds and coding, so that machines with the same copy of the file
    give the same one. A client that has the file is told 304, or 412 if it asked for
    another one (section 13), and one range of bytes is answered with 206 or 416 (section 14);
    several ranges are answered with the whole file. If the file shrinks meanwhile, the connection
    is closed. Afterwards the connection takes the next request, if this one lets it (RFC 9112,
    section 9.3). The file is opened for each request; all that is kept until the next is a head.

    :param wsi: the connection whose request the callback is handling.
    :param file: the path, just as the application gives it: nothing of the request enters it here.
    :param content_type: printable ASCII, at most 256 characters. None: by the name of the file, as
        ``mimetypes`` knows it, text as UTF-8; ``application/octet-stream`` for an unknown one.
    :param cache_control: value of Cache-Control; printable ASCII, at most 256 characters.
    :param headers: further fields, as for libwebsockets_write_http_head; not those that this
        function writes.
    :param precompressed: for a client that takes them, ``file.br`` or ``file.gz`` is sent in place
        of the file if it lies beside it and is not older (section 8.4). False: never.
    :returns: 0 once the reply is queued, 304, 412 and 416 too. -1, with a line in the log, after an
        error reply: 404 for no such file or a directory, 403 for no right to read or no regular
        file, 503 for no descriptor or memory, 500 for the rest, a head over ``max_send_buffer``
        among it; and, with nothing sent, if there is
        no request to answer or its reply has begun, on an inert handle, a wrong thread or process.
    :raises TypeError: for arguments of wrong types.
    :raises ValueError: for a content type or field with a control character or over its size, with
        the number; nothing is sent then.
    """
    check_wsi(wsi)
    source = None
    if type(file) is str and len(file) <= NAME_KEPT:
        source = kept(_kept_source, file, content_type, cache_control, headers, precompressed)
    if source is None:
        answer = checked_answer(content_type, cache_control, headers, precompressed)
        source = Source(None, os.fsencode(file), answer)
    reply = open_reply(wsi, "file-refused")
    if reply is None:
        return -1
    if b"\0" in source.path:  # no file has that name
        return error_reply(reply, errno.ENOENT, source.path)
    result = send_source(reply, source, source.path)
    return error_reply(reply, None, source.path, 404) if result == IS_FOLDER else result


def checked_answer(
    content_type: str | None,
    cache_control: str | None,
    headers: HeaderFields | None,
    precompressed: bool,
) -> FileOptions:
    """The options of a call. Raises TypeError or ValueError as the call says."""
    if content_type is not None:
        check_content_type(content_type)
    lines = field_lines(headers, TAKEN)
    if cache_control is not None:
        check_text("cache_control", cache_control, CACHE_CONTROL_MAX)
        lines = field_lines({"Cache-Control": cache_control}, frozenset()) + lines
    return FileOptions(content_type, lines, bool(precompressed))


def kept(
    make: Callable[..., Kept],
    name: str,
    content_type: str | None,
    cache_control: str | None,
    headers: HeaderFields | None,
    precompressed: bool,
) -> Kept | None:
    """What make(name, options) keeps, as most calls give the same; None if it cannot be kept.

    Raises TypeError or ValueError as checked_answer.
    """
    if type(content_type) not in TEXT or type(cache_control) not in TEXT:
        return None
    if headers is None:
        return make(name, content_type, cache_control, None, bool(precompressed))
    if type(headers) is not dict:
        return None  # pairs may be there to be read once
    try:
        fields = tuple(headers.items())
        return make(name, content_type, cache_control, fields, bool(precompressed))
    except TypeError:
        return None  # no text, which may be no key either: whoever checks it names it


@functools.lru_cache(maxsize=256)
def _kept_source(
    file: str,
    content_type: str | None,
    cache_control: str | None,
    headers: tuple[tuple[str, str], ...] | None,
    precompressed: bool,
) -> Source:
    answer = checked_answer(content_type, cache_control, headers, precompressed)
    return Source(None, os.fsencode(file), answer)


# Structures for an open file that no call is using, each with a view of what tells its content.
# A list's pop and append are one step each: no two threads get the same.
_idle: list[tuple[Any, Any]] = []


def send_source(reply: Reply, source: Source, shown: bytes) -> int:
    """Opens a file and answers with it. Returns 0; -1 after an error reply; IS_FOLDER if it is one,
    and nothing has been sent.

    shown: its name, for the log.
    """
    forms = None
    request = reply.request
    if source.answer.precompressed and request.count(ACCEPT_ENCODING):
        forms = _forms(request)
    try:
        file, identity = _idle.pop()
    except IndexError:
        file = ffi.new(FILE, {"fd": -1})
        identity = ffi.buffer(file, IDENTITY)
    try:
        error = _lws_file_open(
            source.root, source.path, ffi.NULL if forms is None else forms.suffixes, file
        )
        if error:
            return error_reply(reply, -error, source.root if file.kind == FOLDER else shown)
        content = identity[:] if forms is None else identity[:] + forms.suffixes
        head = source.heads.get(content)
        if head is None or not request.plain:
            return _send(reply, source, file, content, forms, shown)
        return _send_head(reply, 200, head.data(), file, 0, head.size)
    finally:
        if file.fd >= 0:
            lib.lws_file_close(file)
        _idle.append((file, identity))


def error_reply(reply: Reply, error: int | None, path: bytes, number: int | None = None) -> int:
    """Answers with a fixed error reply, which keeps the connection; logs it; returns -1.

    error: an errno, None if it is no regular file.
    """
    wsi = reply.wsi
    code = STATUSES.get(error or 0, 500) if number is None else number
    result = lib.lws_refuse(wsi.context.c, wsi.slot, code, True)
    if result != 0:
        return refuse(wsi, logging.WARNING, "file-refused", result)
    reply.refused = True
    reply.status = code
    if error is None:
        word = "file-not-regular"
    elif error in (errno.EXDEV, errno.ELOOP):
        word = "file-outside-root"
    else:
        word = "file-error"
    # The name may come from the peer by way of the application: it is escaped like a peer's.
    log.event(
        logging.INFO if code == 404 else logging.WARNING,
        word,
        wsi.context.peer(wsi.slot),
        status=code,
        file=path,
        errno=errno.errorcode.get(error) if error is not None else None,
    )
    return -1


# ---- What is sent ----


class _Content(NamedTuple):
    """What the head says of the bytes, whichever of them are sent."""

    source: Source
    coding: bytes
    size: int
    mtime_ns: int

    def in_future(self) -> bool:
        """Whether the file's time of modification has not come yet, by our clock."""
        return self.mtime_ns > time.time_ns()

    def etag(self) -> str:
        """The file's entity tag."""
        return validators(self.coding, self.size, self.mtime_ns)[0]

    def lines(self) -> str:
        """The fields that 200 and 304 have alike."""
        etag, modified = validators(self.coding, self.size, self.mtime_ns)
        if self.in_future():
            modified = http_date()  # as RFC 9110, section 8.8.2.1 demands
        answer = self.source.answer
        vary = "Vary: Accept-Encoding\r\n" if answer.precompressed else ""
        return f"Last-Modified: {modified}\r\nETag: {etag}\r\n{vary}{answer.lines}"

    def type_lines(self) -> str:
        """The fields that say what the bytes are."""
        content_type = self.source.answer.content_type
        if content_type is None:
            content_type = type_of(self.source.path.rpartition(b"/")[2])
        coding = f"Content-Encoding: {self.coding.decode()}\r\n" if self.coding else ""
        return f"Content-Type: {content_type}\r\n{coding}Accept-Ranges: bytes\r\n"

    def whole_lines(self) -> str:
        """The fields of the whole file."""
        return f"{self.type_lines()}Content-Length: {self.size}\r\n{self.lines()}"


def _send(
    reply: Reply, source: Source, file: Any, key: bytes, forms: Forms | None, shown: bytes
) -> int:
    """As send_source, of an open file; key tells its content from others."""
    if file.kind != REGULAR:
        return IS_FOLDER if file.kind == FOLDER else error_reply(reply, None, shown, 403)
    request, size = reply.request, file.size
    coding = forms.codings[file.form - 1] if forms is not None and file.form else b""
    content = _Content(source, coding, size, file.mtime_ns)
    code, first, end = 200, 0, size
    if request.conditional:
        etag = content.etag().encode()
        code, first, end = _evaluate(request, etag, content.mtime_ns // 1_000_000_000, size)
    length = end - first
    if code == 200 and content.in_future():
        lines = content.whole_lines()  # not kept: Last-Modified changes with Date
    elif code == 200:
        head = source.head(key, size, content.whole_lines)
        if request.plain:
            return _send_head(reply, 200, head.data(), file, 0, size)
        lines = head.lines
    elif code == 206:
        span = f"Content-Range: bytes {first}-{end - 1}/{size}\r\n"
        lines = f"{content.type_lines()}Content-Length: {length}\r\n{span}{content.lines()}"
    else:
        lines = content.lines()
        if code == 416:
            lines = f"Content-Range: bytes */{size}\r\n"
            value = request.field(lib.LWS_FIELD_RANGE)
            peer = reply.wsi.context.peer(reply.wsi.slot)
            log.event(logging.INFO, "file-range", peer, status=code, range=value)
        lines += "" if code == 304 else "Content-Length: 0\r\n"
        length = 0
    data = head_bytes(code, lines, connection_line(request, length))
    return _send_head(reply, code, data, file, first, 0 if request.is_head else length)


def _send_head(reply: Reply, code: int, data: bytes, file: Any, first: int, length: int) -> int:
    """Queues a head, and that many bytes of the file. Returns 0, or -1 with a line in the log."""
    wsi = reply.wsi
    result = _lws_reply_file(wsi.context.c, wsi.slot, data, len(data), file, first, length)
    if result == ERROR_FULL and lib.lws_refuse(wsi.context.c, wsi.slot, 500, True) == 0:
        reply.refused = True
        reply.status = 500
    if result != 0:
        return refuse(wsi, logging.WARNING, "file-refused", result, length=len(data))
    reply.written = True
    reply.complete = True
    reply.status = code
    reply.body_bytes = length
    return 0


def _evaluate(request: Request, etag: bytes, modified: int, size: int) -> tuple[int, int, int]:
    """Preconditions in the order of RFC 9110, section 13.2.2: the status, and the bytes to send."""
    whole = (200, 0, size)
    match = request.joined(lib.LWS_FIELD_IF_MATCH, b"If-Match")
    if match is not None:
        if not conditions.etag_listed(match, etag, weak=False):
            return 412, 0, 0
    else:
        since = _date(request, lib.LWS_FIELD_IF_UNMODIFIED_SINCE)
        if since is not None and modified > since:
            return 412, 0, 0
    none_match = request.joined(lib.LWS_FIELD_IF_NONE_MATCH, b"If-None-Match")
    if none_match is not None:
        if conditions.etag_listed(none_match, etag, weak=True):
            return 304, 0, 0
    else:
        since = _date(request, lib.LWS_FIELD_IF_MODIFIED_SINCE)
        if since is not None and modified <= since:
            return 304, 0, 0
    if request.count(lib.LWS_FIELD_RANGE) != 1 or request.is_head:
        return whole
    if request.count(lib.LWS_FIELD_IF_RANGE):
        validator = request.field(lib.LWS_FIELD_IF_RANGE)
        if conditions.is_etag(validator):
            unchanged = validator == etag
        else:
            # A date is a strong validator only if the second that it names is over (8.8.2.2).
            unchanged = conditions.parse_date(validator) == modified and modified < time.time() - 1
        if not unchanged:
            return whole
    found = conditions.parse_range(request.field(lib.LWS_FIELD_RANGE), size)
    if found is None:
        return whole
    return (416, 0, 0) if found == conditions.UNSATISFIABLE else (206, *found)


def _date(request: Request, field: int) -> int | None:
    if request.count(field) != 1:
        return None
    return conditions.parse_date(request.field(field))


def _forms(request: Request) -> Forms | None:
    """The compressed forms that the client takes; None: none."""
    accepted = request.joined(ACCEPT_ENCODING, b"Accept-Encoding") or b""
    # Browsers send a few values over and over; a long one is not worth the memory.
    return (_forms_of if len(accepted) <= ACCEPTED_KEPT else _forms_of.__wrapped__)(accepted)


@functools.lru_cache(maxsize=256)
def _forms_of(accepted: bytes) -> Forms | None:
    codings = tuple(conditions.accepted_codings(accepted, tuple(CODINGS)))
    suffixes = b"".join(CODINGS[coding] + b"\0" for coding in codings)
    return Forms(codings, suffixes) if codings else None


@functools.lru_cache(maxsize=1024)
def validators(coding: bytes, size: int, mtime_ns: int) -> tuple[str, str]:
    """The ETag and the Last-Modified of a file.

    The tag is strong, and the same on every machine with the same copy: nothing but the file's own
    size and time is in it, and the coding, as the forms of a file are told apart by it (RFC 9110,
    section 8.8.3.3).
    """
    data = struct.pack("<Qq", size, mtime_ns) + coding
    digest = hashlib.blake2b(data, digest_size=12).hexdigest()
    return f'"{digest}"', formatdate(mtime_ns // 1_000_000_000, usegmt=True)


@functools.lru_cache(maxsize=1024)
def type_of(name: bytes) -> str:
    """The Content-Type of a file by its name."""
    content_type, coding = mimetypes.guess_type(os.fsdecode(name).replace("\\", "_"), strict=False)
    if coding is not None:
        return COMPRESSED.get(coding, "application/octet-stream")
    if content_type is None:
        return "application/octet-stream"
    if content_type.startswith("text/") or content_type == "application/javascript":
        return f"{content_type}; charset=utf-8"
    return content_type
