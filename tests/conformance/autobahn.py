"""The Autobahn test suite against a server of ours, its results held against the committed ones.

    python tests/conformance/autobahn.py             all 517 cases with kosoku (PyPI)
    python tests/conformance/autobahn.py --quick     what CI runs: 1-7, 9, 10, a part of 12 and 13
    python tests/conformance/autobahn.py --original  all with the original suite (see below)
    python tests/conformance/autobahn.py --original --hybi  the same for version 8

Exits with 1 if a result differs from those in autobahn.json; --write writes them there.

What kosoku 0.1.0 says of 12.*.1 and 13.*.1 is an error of its own ("Strings must be encoded before
hashing"): it never gets to connect. The original suite tells of them.

The original suite is Python 2 code. It runs under the interpreter that the environment variable
PYTHON27 names, or python2.7 on the PATH, with the packages in the folder that AUTOBAHN_SITE names;
they come from `python2.7 -m pip install --target "$AUTOBAHN_SITE" autobahntestsuite==25.10.1`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from libwebsockets import (
    LWS_CALLBACK_RECEIVE,
    libwebsocket_create_server,
    libwebsocket_frame_is_binary,
    libwebsocket_write,
)

COMMITTED = Path(__file__).with_suffix(".json")
AGENT = "libwebsockets"
CASES = 517
QUICK = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"]
QUICK += [f"{group}.{n}" for group in ("12.1", "12.5", "13.1", "13.4", "13.7") for n in (2, 5, 11)]

# Of the largest cases (9.*): 16 MiB in one message.
OPTIONS = {"max_message": 1 << 24, "max_send_buffer": 1 << 26, "deflate": True}

# What autobahn's process does: its main function reads the command line.
ORIGINAL = """
import site, sys
site.addsitedir(sys.argv.pop(1))
from autobahntestsuite import wstest
wstest.run()
"""


def callback(wsi, reason, user, in_, length):  # type: ignore[no-untyped-def]
    """Echoes each message in its own type."""
    if reason == LWS_CALLBACK_RECEIVE:
        libwebsocket_write(wsi, in_, length, libwebsocket_frame_is_binary(wsi))
    return 0


def run_kosoku(port: int, folder: Path, cases: list[str]) -> None:
    """All cases by kosoku, its report in the folder."""
    command = [sys.executable, "-m", "kosoku._cli", f"127.0.0.1:{port}", "-o", str(folder)]
    found = shutil.which("kosoku", path=Path(sys.executable).parent) or shutil.which("kosoku")
    if found:
        command[:3] = [found]
    for case in cases:
        command += ["-i", case]
    # It exits with 1 if a case failed: the report says more.
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL, timeout=3600)


def run_original(port: int, folder: Path, cases: list[str], version: int) -> None:
    """All cases by the original suite, its report in the folder."""
    python = os.environ.get("PYTHON27") or shutil.which("python2.7")
    site = os.environ.get("AUTOBAHN_SITE")
    if not python or not site:
        sys.exit("the original suite needs PYTHON27 (or python2.7) and AUTOBAHN_SITE")
    spec = {
        "outdir": str(folder),
        "servers": [
            {"agent": AGENT, "url": f"ws://127.0.0.1:{port}", "options": {"version": version}}
        ],
        "cases": cases,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }
    path = folder / "spec.json"
    path.write_text(json.dumps(spec))
    command = [python, "-c", ORIGINAL, site, "-m", "fuzzingclient", "-s", str(path)]
    # It exits with 0 whatever the cases said.
    # In its folder: here it would import this file for the autobahn that it needs.
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, timeout=7200)


def results(folder: Path) -> dict[str, str]:
    """What the report says of each case: how it behaved and how it closed."""
    index = json.loads((folder / "index.json").read_text())
    (cases,) = index.values()
    return {
        case: f"{told['behavior']}, {told['behaviorClose']}"
        for case, told in sorted(cases.items(), key=lambda item: order(item[0]))
    }


def order(case: str) -> list[int]:
    """Sorts 9.10.1 after 9.2.1."""
    return [int(number) for number in case.split(".")]


def differences(found: dict[str, str], expected: dict[str, str], quick: bool) -> list[str]:
    """A line for each case that is not as committed, or is missing."""
    lines = [
        f"{case}: {told}, committed is {expected.get(case, 'nothing')}"
        for case, told in found.items()
        if expected.get(case) != told
    ]
    if not quick:
        lines += [f"{case}: not run" for case in expected if case not in found]
    return lines


def main() -> int:
    """Runs the cases and compares. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="the part that CI runs")
    parser.add_argument("--original", action="store_true", help="the original suite")
    parser.add_argument("--hybi", action="store_true", help="version 8 in place of 13")
    parser.add_argument("--write", action="store_true", help="write the committed results anew")
    parser.add_argument("cases", nargs="*", help="case numbers, with * as a wildcard")
    arguments = parser.parse_args()
    if arguments.hybi and not arguments.original:
        parser.error("--hybi needs --original")
    runner = "original" if arguments.original else "kosoku"
    name = f"{runner}-8" if arguments.hybi else runner
    cases = arguments.cases or (QUICK if arguments.quick else ["*"])
    with (
        tempfile.TemporaryDirectory() as folder,
        libwebsocket_create_server(
            0, callback, 76, 0, None, None, -1, -1, host="127.0.0.1", **OPTIONS
        ) as server,
    ):
        if arguments.original:
            run_original(server.port, Path(folder), cases, 10 if arguments.hybi else 18)
        else:
            run_kosoku(server.port, Path(folder), cases)
        found = results(Path(folder))
        alive = server.wait(0) is None
    committed = json.loads(COMMITTED.read_text()) if COMMITTED.exists() else {}
    if arguments.write:
        merged = {**committed.get(name, {}), **found}
        committed[name] = {case: merged[case] for case in sorted(merged, key=order)}
        COMMITTED.write_text(json.dumps(committed, indent=0, sort_keys=False) + "\n")
    lines = differences(found, committed.get(name, {}), bool(arguments.quick or arguments.cases))
    bad = [case for case, told in found.items() if told.count("OK") + told.count("INFO") < 2]
    print(f"{len(found)} cases with {name}: {len(found) - len(bad)} pass strictly; others: {bad}")
    for line in lines:
        print(line)
    if not alive:
        print("the server did not live")
    return 1 if lines or not alive or not found else 0


if __name__ == "__main__":
    sys.exit(main())
