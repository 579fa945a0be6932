"""The man pages are those of the commands, and every command line in the documents is one that parses."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from deblurcli.cli.app import app
from deblurcli.cli.examples import EXAMPLES
from deblurcli.cli.man import pages

ROOT = Path(__file__).parents[2]


def test_the_stored_pages_are_fresh():
    stored = {path.name: path.read_bytes() for path in (ROOT / "man").iterdir()}
    assert sorted(stored) == sorted(pages())
    for name, page in pages().items():
        assert stored[name] == page.encode(), f"{name}: run python -m deblurcli.cli.man"


def test_the_pages_depend_on_neither_terminal_nor_locale(tmp_path):
    for folder, env in (("a", {"COLUMNS": "40", "LC_ALL": "C"}), ("b", {"COLUMNS": "200", "LC_ALL": "C.UTF-8"})):
        command = [sys.executable, "-m", "deblurcli.cli.man", str(tmp_path / folder)]
        subprocess.run(command, check=True, env=os.environ | env, timeout=60)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


@pytest.mark.parametrize("name", sorted(pages()))
def test_a_page_has_its_sections(name):
    page = pages()[name]
    sections = re.findall(r"^\.SH (.+)$", page, re.MULTILINE)
    wanted = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"]
    assert [section for section in sections if section in wanted] == wanted
    assert all(line.isprintable() for line in page.splitlines())


@pytest.mark.skipif(not shutil.which("groff"), reason="needs groff")
@pytest.mark.parametrize("name", sorted(pages()))
def test_a_page_is_valid_roff(name):
    run = subprocess.run(
        ["groff", "-man", "-Tascii", "-ww"], input=pages()[name], capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0 and run.stderr == ""


def command_lines() -> list[str]:
    """Every `deblur ...` in the README's shell blocks and in the man pages."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:sh|bash)\n(.*?)```", readme, re.DOTALL)
    found = [m for block in blocks for m in re.findall(r"(?:^|&& |if |do )(deblur [^&|;#\n]+)", block, re.MULTILINE)]
    examples = (example for group in EXAMPLES.values() for _, example in group)
    # Between two programs, the part that is ours.
    mine = {part.strip() for example in examples for part in example.split(" | ") if part.startswith("deblur ")}
    return sorted({line.strip() for line in found} | mine)


@pytest.mark.parametrize("line", command_lines())
def test_every_command_line_in_the_documents_parses(line):
    command, (_, *words) = typer.main.get_command(app), shlex.split(line)
    words = [word for word in words if not word.startswith((">", "2>"))]
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        command = command.commands[words.pop(0)]
    if words != ["--version"]:
        assert command.make_context("deblur", words, resilient_parsing="--help" in words)


def test_there_are_command_lines():
    assert len(command_lines()) > 12
