"""Programs that the tests start, the test server among them, and waiting on what they print."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

SECONDS = 20.0


class Lines:
    """The lines of a pipe as they come, read by a thread of its own."""

    def __init__(self, pipe: IO[str]) -> None:
        self._lines: list[str] = []
        self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, args=(pipe,), daemon=True)
        self._thread.start()

    def _read(self, pipe: IO[str]) -> None:
        with pipe:
            for line in pipe:
                with self._changed:
                    self._lines.append(line.rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def text(self) -> str:
        """What has come so far."""
        with self._changed:
            return "\n".join(self._lines)

    def rest(self) -> str:
        """All of it, once the pipe has ended."""
        self._thread.join(SECONDS)
        assert not self._thread.is_alive(), f"the pipe has not ended after:\n{self.text()}"
        return self.text()

    def wait(self, pattern: str, count: int = 1) -> re.Match[str]:
        """The count-th line in which pattern is found, as soon as it is there."""
        deadline = time.monotonic() + SECONDS
        with self._changed:
            while True:
                found = [m for m in (re.search(pattern, line) for line in self._lines) if m]
                if len(found) >= count:
                    return found[count - 1]
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    raise AssertionError(
                        f"{len(found)} of {count} lines with {pattern!r} in:\n"
                        + "\n".join(self._lines)
                    )
                self._changed.wait(left)


class Program:
    """A process whose output is read line by line; stopped at the end of the with block."""

    def __init__(self, command: Sequence[str | Path], cwd: str | Path = "/") -> None:
        self.process = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
            cwd=cwd,
        )
        assert self.process.stdout
        assert self.process.stderr
        self.out = Lines(self.process.stdout)
        self.err = Lines(self.process.stderr)

    def write(self, text: str) -> None:
        """Types text."""
        assert self.process.stdin
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def end_input(self) -> None:
        """As Ctrl-D."""
        assert self.process.stdin
        self.process.stdin.close()

    def __enter__(self) -> Program:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.terminate()
        try:
            self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.end_input()
            self.out.rest()
            self.err.rest()


class TheTestServer(Program):
    """python -m libwebsockets.testserver on a free port, ready to be connected to."""

    def __init__(self, *options: str) -> None:
        # Not from the tree: there the package without its built core might be found first.
        super().__init__(
            [sys.executable, "-m", "libwebsockets.testserver", "--port", "0", *options]
        )
        self.url = self.out.wait(r"https?://\S+/").group()
        self.port = int(self.url.rstrip("/").rpartition(":")[2])

    def __enter__(self) -> TheTestServer:
        return self
