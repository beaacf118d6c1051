"""libwebsockets_serve_http_root: the request answered from a folder."""

from __future__ import annotations

import errno
import logging
import os
import stat
from urllib.parse import quote_from_bytes, unquote_to_bytes

from . import log
from .beneath import open_beneath, open_folder
from .files import OPEN_FLAGS, checked_answer, error_reply, send_opened
from .reply import HeaderFields, open_reply, send_head
from .request import Reply
from .wsi import _check_wsi, libwebsocket

__all__ = ["libwebsockets_serve_http_root", "path_of"]

INDEX = b"index.html"


def libwebsockets_serve_http_root(
    wsi: libwebsocket,
    directory: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    *,
    cache_control: str | None = None,
    headers: HeaderFields | None = None,
    precompressed: bool = True,
) -> int:
    """Answers the request that the callback is handling from a folder (LWS_CALLBACK_HTTP).

    The path of the request is decoded once (RFC 3986, section 2.1), its ``.`` and ``..`` are
    resolved (section 5.2.4), and the file is opened below the folder in one step: by openat2 with
    RESOLVE_BENEATH, which follows symbolic links that stay inside; on a kernel without it
    component by component, following none. A folder is answered with its ``index.html``, after a
    redirection (301) to the path with a slash at its end. What begins with a dot is not found.
    The type is by the name of the file; all else is as for libwebsockets_serve_http_file.

    :param wsi: the connection whose request the callback is handling.
    :param directory: the folder; opened anew for each request, so that it may be replaced.
    :param cache_control: as for libwebsockets_serve_http_file, and so headers, precompressed.
    :returns: 0 once the reply is queued, 301 too. -1, with a line in the log, after an error reply,
        as for libwebsockets_serve_http_file (404 too for a path or a link that leaves the folder,
        a folder without ``index.html``, and a name with a dot before it); and, with nothing sent,
        if there is no request to answer.
    :raises TypeError: for arguments of wrong types.
    :raises ValueError: as libwebsockets_serve_http_file, and for a directory with a NUL; nothing is
        sent then.
    """
    _check_wsi(wsi)
    answer = checked_answer(None, cache_control, headers, precompressed)
    root = os.fsencode(os.fspath(directory))
    if b"\0" in root:
        raise ValueError(f"directory has a NUL at {root.index(0)}")
    reply = open_reply(wsi, "file-refused")
    if reply is None:
        return -1
    target, question, query = reply.request.uri().partition(b"?")
    names = path_of(target)
    if names is None:
        return error_reply(reply, OSError(errno.EXDEV, "outside of the folder"), target)
    if any(name.startswith(b".") for name in names):
        return error_reply(reply, OSError(errno.ENOENT, "a name with a dot before it"), target)
    wants_folder = target.endswith((b"/", b"/.", b"/.."))
    path = b"/".join([*names, INDEX] if wants_folder else names)
    try:
        folder = open_folder(root)
    except OSError as error:
        return error_reply(reply, error, root)
    try:
        try:
            descriptor = open_beneath(folder, path or b".", OPEN_FLAGS)
        except OSError as error:
            return error_reply(reply, error, target)
        if not wants_folder and stat.S_ISDIR(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            return _redirect(reply, names, question + query)
        return send_opened(
            reply,
            descriptor,
            path,
            answer,
            lambda suffix: open_beneath(folder, path + suffix, OPEN_FLAGS),
        )
    finally:
        os.close(folder)


def path_of(target: bytes) -> list[bytes] | None:
    """The names on the way to the file that the path of a URI means; None if it leads outside.

    Empty names count for nothing. An encoded slash is part of no file's name, and leads nowhere.
    """
    names: list[bytes] = []
    for part in target.split(b"/"):
        name = unquote_to_bytes(part)
        if b"/" in name or b"\0" in name:
            return None
        if name == b"..":
            if not names:
                return None
            names.pop()
        elif name not in (b"", b"."):
            names.append(name)
    return names


def _redirect(reply: Reply, names: list[bytes], query: bytes) -> int:
    """301 to the same folder with a slash: of our own spelling, so that it names no other host."""
    location = "".join(f"/{quote_from_bytes(name, safe='')}" for name in names) + "/"
    # The core takes only ASCII in a target.
    lines = f"Location: {location}{query.decode('ascii')}\r\nContent-Length: 0\r\n"
    if not send_head(reply, 301, lines, 0, "file-refused"):
        return -1
    reply.complete = True
    log.event(
        logging.DEBUG, "file-redirect", reply.wsi._context._peer(reply.wsi._slot), to=location
    )
    return 0
