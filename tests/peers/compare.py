"""The same loads against the library and its peers; started by the script ``run``."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

from libwebsockets.benchmark import chart, machine, report
from libwebsockets.benchmark.__main__ import Progress, as_json, footer
from libwebsockets.benchmark.generator import Load, LoadError
from libwebsockets.benchmark.loads import LOADS, Comparison, Plan, Starter, Unsupported, compare
from libwebsockets.benchmark.servers import Server, limit, ours

HERE = Path(__file__).resolve().parent
TREE = HERE.parent.parent
START_PATIENCE = 20.0
SERVES_FILES = ("aiohttp", "node ws", "C libwebsockets")
COMMANDS = """\
Rates are relative to a bare C epoll server in the same run; of latency and memory less is
better. The echo is written with the public API, with default options. `python -m
libwebsockets.benchmark` measures the library and the codec on your machine, `bash
tests/peers/run` the peers too: how it is done, and where the time goes, is in
[tests/peers/README.md](tests/peers/README.md)."""
BEGIN, END = "<!-- figures -->", "<!-- /figures -->"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def wait_listening(process: subprocess.Popen[bytes], port: int, name: str) -> None:
    end = time.monotonic() + START_PATIENCE
    while time.monotonic() < end:
        if process.poll() is not None:
            raise Unsupported(f"{name} ended at once with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise Unsupported(f"{name} did not listen within {START_PATIENCE:g} s")


def peer(name: str, command: Sequence[str], more: Sequence[str] = ()) -> Starter:
    """Starts a server of another library: command, port, folder, more."""

    @contextlib.contextmanager
    def start(load: Load, root: Path, processor: int) -> Iterator[Server]:
        if load.kind == "broadcast" or (load.kind == "http" and name not in SERVES_FILES):
            raise Unsupported("not written for this load")
        port = free_port()
        process = subprocess.Popen(
            [*command, str(port), str(root), *more], stdout=subprocess.DEVNULL
        )
        try:
            wait_listening(process, port, name)
            machine.pin(process.pid, processor)
            yield Server(name, port, process.pid)
            if process.poll() is not None:
                raise LoadError(f"{name} ended with {process.returncode}")
        finally:
            process.kill()
            process.wait()

    return start


def starters(built: Path) -> list[tuple[str, Starter]]:
    """The bare server, the library, and the peers that are there."""

    def python(name: str) -> list[str]:
        return [sys.executable, str(HERE / "servers" / f"echo_{name}.py")]

    found = [("bare C", limit), ("libwebsockets", ours)]
    if (built / "echo_libwebsockets").exists():
        command = [str(built / "echo_libwebsockets")]
        found.append(("C libwebsockets", peer("C libwebsockets", command)))
    found += [
        ("picows", peer("picows", python("picows"))),
        ("socketify", peer("socketify", python("socketify"))),
        ("aiohttp", peer("aiohttp", python("aiohttp"))),
        ("uvicorn", peer("uvicorn", python("uvicorn"))),
        ("websockets", peer("websockets", python("websockets"), ["uvloop"])),
    ]
    node = shutil.which("node")
    if node is not None and (built / "node_modules" / "ws").exists():
        found.append(("node ws", peer("node ws", [node, str(built / "echo_ws.js")])))
    return found


def versions(built: Path, names: Sequence[str]) -> dict[str, str]:
    """What was compared."""
    found = {
        name: metadata.version(name)
        for name in ("libwebsockets", "picows", "socketify", "aiohttp", "uvicorn", "websockets")
        if name in names
    }
    found["uvloop"] = metadata.version("uvloop")
    if "C libwebsockets" in names:
        ran = subprocess.run(
            ["pkg-config", "--modversion", "libwebsockets"],
            capture_output=True,
            text=True,
            check=True,
        )
        found["C libwebsockets"] = ran.stdout.strip().rstrip("-")
    if "node ws" in names:
        package = json.loads((built / "node_modules" / "ws" / "package.json").read_text())
        found["ws"] = package["version"]
        ran = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)
        found["node"] = ran.stdout.strip().lstrip("v")
    return found


def figures(comparisons: Sequence[Comparison], about: dict[str, str], peers: str) -> str:
    """What stands between the README's markers."""
    return (
        f"{BEGIN}\n"
        "![The ratios as bars](tests/peers/figures.svg)\n\n"
        f"{report.markdown(comparisons)}\n\n"
        f"{footer(about)}. {peers}.\n\n"
        f"{COMMANDS}\n"
        f"{END}"
    )


def put_into_readme(readme: Path, text: str) -> None:
    """Replaces what is between the markers; adds a section Speed with them if there are none."""
    whole = readme.read_text(encoding="utf-8")
    if BEGIN in whole:
        pattern = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
        whole = pattern.sub(lambda _: text, whole)
    else:
        section = f"## Speed\n\n{text}\n\n"
        before, mark, after = whole.partition("## What it does not do")
        whole = before + section + mark + after if mark else f"{whole}\n{section}"
    readme.write_text(whole, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/peers/run")
    parser.add_argument("--built", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--only", action="append", help="name of a load, may be repeated")
    parser.add_argument("--server", action="append", help="name of a server, may be repeated")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--readme", action="store_true", help="put the figures into README.md")
    arguments = parser.parse_args()
    goals = [goal for goal in LOADS if not arguments.only or goal.load.name in arguments.only]
    chosen = [
        (name, starter)
        for name, starter in starters(arguments.built)
        if not arguments.server or name in (*arguments.server, "bare C")
    ]
    machine.processors()
    about = machine.describe()
    comparisons: list[Comparison] = []
    progress = Progress()

    def done(comparison: Comparison) -> None:
        progress.clear()
        comparisons.append(comparison)
        print("\n".join(report.comparison_lines(comparison)), flush=True)

    plan = Plan(arguments.rounds, arguments.seconds, 0.2)
    complete = compare(goals, chosen, plan, progress.say, done)
    names = [name for name, _ in chosen]
    found = versions(arguments.built, names)
    peers = ", ".join(f"{name} {version}" for name, version in found.items())
    print(f"\n{report.markdown(comparisons)}\n\n{footer(about)}\n{peers}")
    if arguments.json is not None:
        arguments.json.write_text(
            as_json(about | found, complete, [], comparisons), encoding="utf-8"
        )
    if arguments.readme and complete:
        title = "Speed, as a part of a bare C server's"
        chart.write(HERE / "figures.svg", comparisons, title, footer(about))
        put_into_readme(TREE / "README.md", figures(comparisons, about, peers))
    return 0 if complete else 130


if __name__ == "__main__":
    sys.exit(main())
