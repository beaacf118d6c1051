"""The test server of 2010, in Python: python -m libwebsockets.testserver --help.

One callback serves the whole of it. A browser that asks for http://localhost:7681/ gets a page; the
page opens a WebSocket to where it came from, and is sent a number that grows every 50 ms. The text
"reset" and a newline sets the number back to 0; every other text comes back as it was sent.
"""

import argparse
import ctypes
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from libwebsockets import (
    LWS_CALLBACK_CLOSED,
    LWS_CALLBACK_ESTABLISHED,
    LWS_CALLBACK_HTTP,
    LWS_CALLBACK_RECEIVE,
    LWS_CALLBACK_SEND,
    LWS_SEND_BUFFER_POST_PADDING,
    LWS_SEND_BUFFER_PRE_PADDING,
    LWS_WRITE_TEXT,
    libwebsocket,
    libwebsocket_create_server,
    libwebsocket_get_uri,
    libwebsocket_write,
    libwebsockets_serve_http_file,
)

from .certificate import NoCertificateError, self_signed

HERE = Path(__file__).resolve().parent
RESET = b"reset\n"

log = logging.getLogger("libwebsockets.testserver")


class Session(ctypes.Structure):
    """What the server remembers of one connection: the user area, zeroed at first."""

    _fields_ = [("number", ctypes.c_int)]
    number: int


# The room for the frame's header lies before the payload, that for a trailer behind it. One buffer
# serves all connections: libwebsocket_write has taken what it needs when it returns.
DIGITS = 20
buf = (ctypes.c_ubyte * (LWS_SEND_BUFFER_PRE_PADDING + DIGITS + LWS_SEND_BUFFER_POST_PADDING))()
payload = memoryview(buf).cast("B")[LWS_SEND_BUFFER_PRE_PADDING:]


# user and in_ are what C has as void *: the session's memory, and the message where it lies.
def callback(wsi: libwebsocket, reason: int, user: Any, in_: Any, length: int) -> int:
    """Answers every event of every connection; returns 0 to go on, anything else to close."""
    if reason == LWS_CALLBACK_ESTABLISHED:
        log.info("connection established %r", wsi)

    elif reason == LWS_CALLBACK_CLOSED:
        log.info("connection closed %r", wsi)

    elif reason == LWS_CALLBACK_SEND:
        session = Session.from_buffer(user)
        digits = b"%d" % session.number
        payload[: len(digits)] = digits
        if libwebsocket_write(wsi, payload, len(digits), LWS_WRITE_TEXT) < 0:
            return 1
        session.number += 1

    elif reason == LWS_CALLBACK_RECEIVE:
        if in_ == RESET:
            Session.from_buffer(user).number = 0
        elif libwebsocket_write(wsi, in_, length, LWS_WRITE_TEXT) < 0:
            return 1

    elif reason == LWS_CALLBACK_HTTP:
        uri = libwebsocket_get_uri(wsi)
        log.info("serving %.80a", uri)
        if uri == "/favicon.ico":
            libwebsockets_serve_http_file(wsi, f"{HERE}/favicon.ico", "image/x-icon")
        else:
            libwebsockets_serve_http_file(wsi, f"{HERE}/test.html", "text/html; charset=utf-8")

    return 0


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line, read."""
    parser = argparse.ArgumentParser(
        prog="python -m libwebsockets.testserver",
        description="Serves a page that counts over a WebSocket, to look at a browser or a client.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=7681, help="port to listen on, 0: a free one")
    parser.add_argument(
        "--protocol",
        type=int,
        default=76,
        help="oldest protocol version to accept: 76 (hixie-76), 7, 8 or 13",
    )
    parser.add_argument("--host", help="address to listen on; without it all, IPv4 and IPv6")
    parser.add_argument("--uid", type=int, default=-1, help="user to become, -1: none")
    parser.add_argument("--gid", type=int, default=-1, help="group to become, -1: none")
    parser.add_argument("--ssl", action="store_true", help="https and wss in place of http and ws")
    parser.add_argument("--cert", help="with --ssl: PEM file with the certificate and its chain")
    parser.add_argument("--key", help="with --ssl: PEM file with its key")
    parser.add_argument(
        "--verbose", action="store_true", help="a line for each request and each session"
    )
    options = parser.parse_args(argv)
    if (options.cert is None) != (options.key is None):
        parser.error("--cert and --key go together")
    if options.cert is not None and not options.ssl:
        parser.error("--cert and --key are for --ssl")
    return options


def address(host: str | None, port: int, ssl: bool) -> str:
    """The URL to open in a browser."""
    if host in (None, "", "0.0.0.0", "::"):
        host = "localhost"
    elif ":" in host:
        host = f"[{host}]"
    return f"http{'s' if ssl else ''}://{host}:{port}/"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the server until Ctrl-C or SIGTERM. Returns the exit status: 0, or 1 after an error."""
    options = arguments(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    if options.verbose:
        logging.getLogger("libwebsockets.access").setLevel(logging.INFO)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    cert, key = options.cert, options.key
    try:
        if options.ssl and cert is None:
            cert, key = self_signed(options.host)
        server = libwebsocket_create_server(
            options.port,
            callback,
            options.protocol,
            ctypes.sizeof(Session),
            cert,
            key,
            options.gid,
            options.uid,
            host=options.host,
        )
        if server < 0:
            return 1
        with server:
            url = address(options.host, server.port, options.ssl)
            print(f"Open {url} in a browser; Ctrl-C ends.", flush=True)
            return 0 if server.wait() == 0 else 1
    except (ValueError, NoCertificateError) as error:
        print(f"libwebsockets.testserver: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
