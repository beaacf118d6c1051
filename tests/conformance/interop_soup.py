"""A client of libsoup 3 (Debian: gir1.2-soup-3.0, python3-gi): run by the system's python3.

python3 interop_soup.py URL; prints "right" and the extensions.
"""

import sys

import gi

gi.require_version("Soup", "3.0")
from gi.repository import GLib, Soup  # noqa: E402

SIZES = [0, 1, 125, 126, 65535, 65536, 100_000]
messages = ["ä" * (size // 2) + "x" * (size % 2) for size in SIZES]
received = []
loop = GLib.MainLoop()
session = Soup.Session()
session.add_feature_by_type(Soup.WebsocketExtensionManager)


def on_message(connection, kind, data):
    received.append(data.get_data().decode())
    if len(received) < len(messages):
        connection.send_text(messages[len(received)])
    else:
        connection.close(1000, None)


def on_closed(connection):
    assert received == messages, len(received)
    assert connection.get_close_code() == 1000, connection.get_close_code()
    print("right", *[type(one).__name__ for one in connection.get_extensions()])
    loop.quit()


def opened(session, result):
    global connection
    connection = session.websocket_connect_finish(result)
    connection.connect("message", on_message)
    connection.connect("closed", on_closed)
    connection.send_text(messages[0])


message = Soup.Message.new("GET", sys.argv[1])
session.websocket_connect_async(message, None, None, GLib.PRIORITY_DEFAULT, None, opened)
GLib.timeout_add_seconds(30, loop.quit)
loop.run()
