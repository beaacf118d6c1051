"""The server program that the tests run as a process of its own: python program.py CONFIG.

It starts a server through libwebsocket_create_server and reports by JSON lines on standard output,
from the parent (STARTED, STOPPED) and from the server process (one line for each callback). Log
records go to standard error as JSON lines too. Standard input takes commands, one a line; its end
stops the server. Only descriptors 0 to 2 are used, as the server closes all others.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import sys
from typing import Any


def emit(event: str, **values: Any) -> None:
    """One line, in one write of under PIPE_BUF bytes, so that lines of two processes never mix."""
    line = json.dumps({"e": event, **values}).encode() + b"\n"
    assert len(line) <= 4096, "a record must be one atomic write"
    os.write(1, line)


class JsonLines(logging.Handler):
    """One JSON line for each log record, in one write to standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        line = {
            "level": record.levelname,
            "name": record.name,
            "pid": record.process,
            "message": record.getMessage(),
            "exception": record.exc_info[0].__name__
            if record.exc_info and record.exc_info[0]
            else None,
        }
        os.write(2, json.dumps(line).encode() + b"\n")


def load(spec: str) -> Any:
    """The callback that `file.py:name` names."""
    path, name = spec.rsplit(":", 1)
    if path.endswith("apps.py"):  # already importable, and it keeps state: one copy of it only
        import apps as module
    else:
        found = importlib.util.spec_from_file_location("served_app", path)
        assert found and found.loader
        module = importlib.util.module_from_spec(found)
        sys.modules["served_app"] = module
        found.loader.exec_module(module)
    return getattr(module, name)


def main() -> None:
    config = json.loads(sys.argv[1])
    logger = logging.getLogger("libwebsockets")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(JsonLines())
    logger.propagate = False
    callback = load(config["app"])

    from libwebsockets import libwebsocket_create_server

    server = libwebsocket_create_server(
        config["port"],
        callback,
        config["protocol"],
        config["user_area_size"],
        config["certificate"],
        config["key"],
        config["gid"],
        config["uid"],
        **config["options"],
    )
    if server == -1:
        emit("FAILED")
        return
    emit("STARTED", pid=server.pid, port=server.port, value=int(server))
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "wait":
            emit("WAITED", status=server.wait(command.get("timeout")))
        elif command["do"] == "stop":
            emit("STOPPED", status=server.stop(command.get("timeout")))
            return
        elif command["do"] == "crash":
            os.abort()
        else:
            raise ValueError(f"unknown command {command['do']!r}")
    server.stop(5)


if __name__ == "__main__":
    main()
