"""libwebsockets_serve_http_file: a regular file as the reply to a request."""

from __future__ import annotations

import errno
import functools
import hashlib
import logging
import mimetypes
import os
import stat
import struct
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import NamedTuple

from . import conditions, log
from ._core import lib
from .reply import (
    HeaderFields,
    check_content_type,
    check_text,
    field_lines,
    open_reply,
    send_head,
)
from .request import Reply, Request
from .wsi import _check_wsi, libwebsocket, refuse

__all__ = ["OPEN_FLAGS", "Answer", "error_reply", "libwebsockets_serve_http_file", "send_opened"]

CACHE_CONTROL_MAX = 256
# A FIFO must not block the open, nor a terminal become the server's own.
OPEN_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY

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
CONDITIONAL = slice(lib.LWS_FIELD_RANGE, lib.LWS_FIELD_COUNT)


class Answer(NamedTuple):
    """How a file is to be sent, checked: what the application has said about it."""

    content_type: str | None
    lines: str  # its further header fields
    precompressed: bool


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
    9.3.2). With it go Last-Modified and a strong ETag, a digest of inode, size and time of
    modification in nanoseconds; so a client that has the file is told 304, or 412 if it asked for
    another one (section 13), and one range of bytes is answered with 206 or 416 (section 14);
    several ranges are answered with the whole file. If the file shrinks meanwhile, the connection
    is closed. Afterwards the connection takes the next request, if this one lets it (RFC 9112,
    section 9.3).

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
        file, 503 for no descriptor or memory, 500 for the rest; and, with nothing sent, if there is
        no request to answer or its reply has begun, on an inert handle, a wrong thread or process.
    :raises TypeError: for arguments of wrong types.
    :raises ValueError: for a content type or field with a control character or over its size, with
        the number; nothing is sent then.
    """
    _check_wsi(wsi)
    answer = checked_answer(content_type, cache_control, headers, precompressed)
    path = os.fsencode(os.fspath(file))
    reply = open_reply(wsi, "file-refused")
    if reply is None:
        return -1
    if b"\0" in path:  # no file has that name
        return error_reply(reply, OSError(errno.ENOENT, "NUL in the name"), path)
    try:
        descriptor = os.open(path, OPEN_FLAGS)
    except OSError as error:
        return error_reply(reply, error, path)
    return send_opened(
        reply, descriptor, path, answer, lambda suffix: os.open(path + suffix, OPEN_FLAGS)
    )


def checked_answer(
    content_type: str | None,
    cache_control: str | None,
    headers: HeaderFields | None,
    precompressed: bool,
) -> Answer:
    """The options of a call. Raises TypeError or ValueError as the call says."""
    if headers is None and type(content_type) is type(cache_control or content_type) is str:
        return _plain_answer(content_type, cache_control, bool(precompressed))
    return _check_answer(content_type, cache_control, headers, precompressed)


def _check_answer(
    content_type: str | None,
    cache_control: str | None,
    headers: HeaderFields | None,
    precompressed: bool,
) -> Answer:
    if content_type is not None:
        check_content_type(content_type)
    lines = field_lines(headers, TAKEN)
    if cache_control is not None:
        check_text("cache_control", cache_control, CACHE_CONTROL_MAX)
        lines = field_lines({"Cache-Control": cache_control}, frozenset()) + lines
    return Answer(content_type, lines, bool(precompressed))


@functools.lru_cache(maxsize=256)
def _plain_answer(content_type: str, cache_control: str | None, precompressed: bool) -> Answer:
    """The options that most calls have, which are the same for each request."""
    return _check_answer(content_type, cache_control, None, precompressed)


def send_opened(
    reply: Reply,
    descriptor: int,
    path: bytes,
    answer: Answer,
    beside: Callable[[bytes], int],
) -> int:
    """Answers with an opened file; the descriptor is taken over, whatever becomes of it.

    beside(suffix) opens the file of that name with a suffix, or raises OSError. Returns 0, or -1
    after an error reply.
    """
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            number = 404 if stat.S_ISDIR(status.st_mode) else 403
            return error_reply(reply, None, path, number)
        request = reply.request
        counts = request.counts(CONDITIONAL)
        coding = b""
        if answer.precompressed and counts[-1]:
            coding, descriptor, status = _precompressed(request, descriptor, status, beside)
        if _send(reply, descriptor, status, _Content(path, answer, coding), any(counts[:-1])):
            descriptor = -1
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    return 0 if reply.complete else -1


def error_reply(reply: Reply, error: OSError | None, path: bytes, number: int | None = None) -> int:
    """Answers with a fixed error reply, which keeps the connection; logs it; returns -1."""
    wsi = reply.wsi
    code = STATUSES.get((error.errno if error else None) or 0, 500) if number is None else number
    result = lib.lws_refuse(wsi._context._c, wsi._slot, code, True)
    if result != 0:
        return refuse(wsi, logging.WARNING, "file-refused", result)
    reply.refused = True
    reply.status = code
    if error is None:
        word = "file-not-regular"
    elif error.errno in (errno.EXDEV, errno.ELOOP):
        word = "file-outside-root"
    else:
        word = "file-error"
    # The name may come from the peer by way of the application: it is escaped like a peer's.
    log.event(
        logging.INFO if code == 404 else logging.WARNING,
        word,
        wsi._context._peer(wsi._slot),
        status=code,
        file=path,
        errno=errno.errorcode.get(error.errno or 0) if error is not None else None,
    )
    return -1


# ---- What is sent ----


class _Content(NamedTuple):
    """What the head says of the bytes, whichever of them are sent."""

    path: bytes
    answer: Answer
    coding: bytes

    def lines(self, etag: str, modified: str) -> str:
        """The fields that 200 and 304 have alike."""
        vary = "Vary: Accept-Encoding\r\n" if self.answer.precompressed else ""
        return f"Last-Modified: {modified}\r\nETag: {etag}\r\n{vary}{self.answer.lines}"

    def type_lines(self) -> str:
        """The fields that say what the bytes are."""
        content_type = self.answer.content_type
        if content_type is None:
            content_type = type_of(self.path.rpartition(b"/")[2])
        coding = f"Content-Encoding: {self.coding.decode()}\r\n" if self.coding else ""
        return f"Content-Type: {content_type}\r\n{coding}Accept-Ranges: bytes\r\n"


@functools.lru_cache(maxsize=1024)
def _whole_lines(content: _Content, inode: int, size: int, mtime_ns: int) -> str:
    """The fields of the whole file: the same for each request, until the file changes."""
    lines = content.lines(*validators(inode, size, mtime_ns))
    return f"{content.type_lines()}Content-Length: {size}\r\n{lines}"


def _send(
    reply: Reply, descriptor: int, status: os.stat_result, content: _Content, conditional: bool
) -> bool:
    """Queues head and file. Returns whether the core has taken the descriptor over."""
    wsi, request, size = reply.wsi, reply.request, status.st_size
    identity = status.st_ino, size, status.st_mtime_ns
    code, first, end = 200, 0, size
    if conditional:
        etag = validators(*identity)[0].encode()
        code, first, end = _evaluate(request, etag, identity[2] // 1_000_000_000, size)
    length = end - first
    if code == 200:
        lines = _whole_lines(content, *identity)
    elif code == 206:
        span = f"Content-Range: bytes {first}-{end - 1}/{size}\r\n"
        lines = f"{content.type_lines()}Content-Length: {length}\r\n{span}"
        lines += content.lines(*validators(*identity))
    else:
        lines = content.lines(*validators(*identity))
        if code == 416:
            lines = f"Content-Range: bytes */{size}\r\n"
            value = request.field(lib.LWS_FIELD_RANGE)
            peer = wsi._context._peer(wsi._slot)
            log.event(logging.INFO, "file-range", peer, status=code, range=value)
        lines += "" if code == 304 else "Content-Length: 0\r\n"
        length = 0
    if not send_head(reply, code, lines, length, "file-refused"):
        return False
    taken = False
    if length > 0 and not request.is_head:
        result = lib.lws_send_file(wsi._context._c, wsi._slot, descriptor, first, length)
        if result != 0:
            refuse(wsi, logging.WARNING, "file-refused", result)
            return False
        taken = True
    reply.complete = True
    return taken


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


def _precompressed(
    request: Request,
    descriptor: int,
    status: os.stat_result,
    beside: Callable[[bytes], int],
) -> tuple[bytes, int, os.stat_result]:
    """The best compressed form that the client takes and that is there, else the file itself."""
    accepted = request.joined(lib.LWS_FIELD_ACCEPT_ENCODING, b"Accept-Encoding") or b""
    for coding in conditions.accepted_codings(accepted, tuple(CODINGS)):
        try:
            other = beside(CODINGS[coding])
        except OSError:
            continue  # there is none, or none that may be read: the file itself is the answer
        found = os.fstat(other)
        if stat.S_ISREG(found.st_mode) and found.st_mtime_ns >= status.st_mtime_ns:
            os.close(descriptor)
            return coding, other, found
        os.close(other)
    return b"", descriptor, status


@functools.lru_cache(maxsize=1024)
def validators(inode: int, size: int, mtime_ns: int) -> tuple[str, str]:
    """The ETag and the Last-Modified of a file.

    The tag is strong: a digest, as the number of an inode is nobody's business.
    """
    data = struct.pack("=QQq", inode, size, mtime_ns)
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
