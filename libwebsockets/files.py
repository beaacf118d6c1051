"""libwebsockets_serve_http_file: a regular file as the reply to a request."""

from __future__ import annotations

import errno
import logging
import os
import stat

from . import log
from ._core import lib
from .constants import LWS_WRITE_HTTP
from .request import Reply
from .wsi import ERROR_CLOSED, ERROR_STATE, NO_SLOT, _check_wsi, _state, libwebsocket, refuse

__all__ = ["libwebsockets_serve_http_file"]

CONTENT_TYPE_MAX = 256
# A FIFO must not block the open, nor a terminal become the server's own.
OPEN_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY

STATUSES = {
    errno.ENOENT: 404,
    errno.ENOTDIR: 404,
    errno.ENAMETOOLONG: 404,
    errno.ELOOP: 404,
    errno.EACCES: 403,
    errno.EPERM: 403,
    errno.ENXIO: 403,  # a socket, or a device without its driver
    errno.ENODEV: 403,
    errno.EMFILE: 503,
    errno.ENFILE: 503,
    errno.ENOMEM: 503,
}


def libwebsockets_serve_http_file(
    wsi: libwebsocket, file: str | bytes | os.PathLike[str] | os.PathLike[bytes], content_type: str
) -> int:
    """Answers the request that the callback is handling with a file (LWS_CALLBACK_HTTP).

    Sends 200 with Content-Type and a Content-Length in 64 bits, then as many bytes of the file,
    moved by the kernel; to HEAD the head alone (RFC 9110, section 9.3.2). If the file shrinks
    meanwhile, the connection is closed. Afterwards the connection takes the next request, if this
    one lets it (RFC 9112, section 9.3).

    :param wsi: the connection whose request the callback is handling.
    :param file: the path, just as the application gives it: nothing of the request enters it here.
    :param content_type: printable ASCII, at most 256 characters.
    :returns: 0 once the reply is queued. -1, with a line in the log, after an error reply: 404 for
        no such file or a directory, 403 for no right to read or no regular file, 503 for no
        descriptor or memory, 500 for the rest; and, with nothing sent, if there is no request to
        answer or its reply has begun, on an inert handle, a wrong thread or process.
    :raises TypeError: for arguments of wrong types.
    :raises ValueError: for a content type with a control character or over 256 characters, with the
        number; nothing is sent then.
    """
    _check_wsi(wsi)
    _check_content_type(content_type)
    path = os.fspath(file)
    if wsi._slot == NO_SLOT:
        return refuse(wsi, logging.INFO, "file-refused", ERROR_CLOSED)
    reply = wsi._context._reply
    if reply is None or reply.wsi is not wsi or reply.written or not reply.open:
        error = _state(wsi)
        return refuse(wsi, logging.WARNING, "file-refused", error or ERROR_STATE)
    try:
        descriptor = os.open(path, OPEN_FLAGS)
    except OSError as error:
        return _error_reply(reply, "file-error", STATUSES.get(error.errno or 0, 500), path, error)
    except ValueError:  # a NUL: no file has that name
        return _error_reply(
            reply, "file-error", 404, path, OSError(errno.ENOENT, "NUL in the name")
        )
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            number = 404 if stat.S_ISDIR(status.st_mode) else 403
            return _error_reply(reply, "file-not-regular", number, path, None)
        if _send(reply, descriptor, status.st_size, content_type):
            descriptor = -1
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    return 0 if reply.complete else -1


def _send(reply: Reply, descriptor: int, size: int, content_type: str) -> bool:
    """Queues head and file. Returns whether the core has taken the descriptor over."""
    wsi, request = reply.wsi, reply.request
    context, slot = wsi._context, wsi._slot
    lines = ["HTTP/1.1 200 OK", f"Content-Type: {content_type}", f"Content-Length: {size}"]
    if not request.keep_alive:
        lines.append("Connection: close")
    elif request.minor == 0:
        lines.append("Connection: keep-alive")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")
    result = lib.lws_write_copy(context._c, slot, head, len(head), LWS_WRITE_HTTP)
    if result != 0:
        refuse(wsi, logging.WARNING, "file-refused", result)
        return False
    reply.written = True
    taken = False
    if size > 0 and not request.is_head:
        result = lib.lws_send_file(context._c, slot, descriptor, 0, size)
        if result != 0:
            refuse(wsi, logging.WARNING, "file-refused", result)
            return False
        taken = True
    reply.complete = True
    return taken


def _error_reply(
    reply: Reply, word: str, status: int, path: str | bytes, error: OSError | None
) -> int:
    """Answers with a fixed error reply, which keeps the connection; logs it; returns -1."""
    wsi = reply.wsi
    result = lib.lws_refuse(wsi._context._c, wsi._slot, status, True)
    if result != 0:
        return refuse(wsi, logging.WARNING, "file-refused", result)
    reply.refused = True
    # The name may come from the peer by way of the application: it is escaped like a peer's.
    log.event(
        logging.INFO if status == 404 else logging.WARNING,
        word,
        wsi._context._peer(wsi._slot),
        status=status,
        file=os.fsencode(path),
        errno=errno.errorcode.get(error.errno or 0) if error is not None else None,
    )
    return -1


def _check_content_type(content_type: object) -> None:
    if not isinstance(content_type, str):
        raise TypeError(f"content_type must be a str, not {type(content_type).__name__}")
    if len(content_type) > CONTENT_TYPE_MAX:
        raise ValueError(
            f"content_type has {len(content_type)} characters, over {CONTENT_TYPE_MAX}"
        )
    for position, character in enumerate(content_type):
        if not " " <= character <= "~":
            raise ValueError(
                f"content_type has the character {ord(character)} at {position}; "
                "printable ASCII is allowed"
            )
    if not content_type.strip():
        raise ValueError("content_type is empty: 0 characters")
