"""What README.md says is so: its example runs, its options and defaults are the code's."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest
from conformance.running import SECONDS, Program
from websockets.sync.client import connect

import libwebsockets
from libwebsockets.options import DEFAULTS, LIMITS, Options

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def fenced(mark: str, language: str) -> str:
    """The one block of code behind a comment."""
    found = re.findall(rf"<!-- {mark} -->\n```{language}\n(.*?)```\n", README, re.DOTALL)
    assert len(found) == 1, f"{len(found)} blocks {mark!r}"
    return str(found[0])


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def option_rows() -> dict[str, str]:
    """Name and default of each row of the table of options."""
    _, _, section = README.partition("\n## Options\n")
    section, _, _ = section.partition("\n## ")
    rows = [cells(line) for line in section.splitlines() if line.startswith("| `")]
    return {row[0].strip("`"): row[1].strip("`") for row in rows}


def test_echo_server(tmp_path: Path) -> None:
    example = fenced("example: echo", "python")
    assert len(example.splitlines()) <= 15
    file = tmp_path / "echo.py"
    file.write_text(example.replace("server(7681,", "server(0,"))
    with Program([sys.executable, file], tmp_path) as program:
        url = program.out.wait(r"ws://\S+").group()
        with connect(url, compression=None) as connection:
            for text in ("hello", "", "x" * 70_000, "Grüße"):
                connection.send(text)
                assert connection.recv(SECONDS) == text


def test_options_are_all_there_with_their_defaults() -> None:
    rows = option_rows()
    assert list(rows) == list(dict.fromkeys(rows))
    assert set(rows) == set(Options.__annotations__)
    for name, default in rows.items():
        if name in LIMITS and name != "max_connections":
            assert ast.literal_eval(default) == LIMITS[name].default, name
        else:
            assert ast.literal_eval(default) == DEFAULTS.get(name), name


@pytest.mark.parametrize(
    "name", sorted(set(re.findall(r"\b(?:libwebsocket_\w+|libwebsockets_\w+|LWS_\w+)", README)))
)
def test_names_exist(name: str) -> None:
    assert hasattr(libwebsockets, name) or hasattr(
        libwebsockets.libwebsocket_callback_reasons, name
    ), name


def test_links_lead_to_files() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("name", ["testserver", "tests"])
def test_ci_runs_the_commands_of_the_readme(name: str) -> None:
    assert len(fenced(f"command: {name}", "sh").splitlines()) == 1
    assert f"command=$(readme_command {name})\n" in (ROOT / ".ci" / "run").read_text()
