"""The Autobahn cases that are quick enough for every run; conformance/autobahn.py has them all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent / "conformance" / "autobahn.py"


def test_autobahn() -> None:
    pytest.importorskip("kosoku")
    done = subprocess.run(
        [sys.executable, SCRIPT, "--quick"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd="/",
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    told = done.stdout.splitlines()[0]
    assert told.endswith("pass strictly; others: []"), told
