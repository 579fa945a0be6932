"""Commands in the documents are commands of the program, and every option is described."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from numbers import Real
from pathlib import Path
from typing import Any

import pytest
import typer
from documents import DOCUMENTS, ROOT, command_lines, name_of, text_of

from deblurcli.cli.app import app
from deblurcli.methods import METHODS
from deblurcli.options.chain import ChainOptions
from deblurcli.options.compare import CompareOptions
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.image import ImageOptions
from deblurcli.options.metrics import MetricsOptions
from deblurcli.options.option import spelling
from deblurcli.options.synth import SynthOptions
from deblurcli.options.train import STAGES
from deblurcli.options.video import VideoOptions

LINES = sorted({line for path in DOCUMENTS for line in command_lines(path)})
PRESENT = [path for path in DOCUMENTS if path.name != "CHANGELOG.md"]
OTHERS = {"--nproc-per-node", "--check", "--cost", "--ignore-vcs"}
OTHERS |= {"--array", "--requeue", "--open-mode", "--cpus-per-task", "--mem", "--time", "--signal"}
OTHERS |= {"--address", "--no-wait", "--follow"}
"""Options of other programs and of benchmarks."""
COMMON = {"--help"}


def commands(command: Any = None, name: str = "deblur") -> Iterator[tuple[str, Any]]:
    """Every command with its full name, groups included."""
    command = command or typer.main.get_command(app)
    yield name, command
    for word, below in getattr(command, "commands", {}).items():
        yield from commands(below, f"{name} {word}")


def options(command: Any) -> list[list[str]]:
    """The long spellings of each option of a command."""
    spellings = ([*p.opts, *p.secondary_opts] for p in command.params if p.param_type_name == "option")
    return [[word for word in words if word.startswith("--")] for words in spellings]


@pytest.mark.parametrize("line", LINES)
def test_a_command_line_of_a_document_parses(line):
    command, (_, *words) = typer.main.get_command(app), shlex.split(line)
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        assert words[0] in command.commands, f"{line}: there is no command {words[0]}"
        command = command.commands[words.pop(0)]
    assert command.make_context("deblur", words, resilient_parsing="--help" in words)


def test_there_are_command_lines_in_many_documents():
    assert len(LINES) > 40
    assert sum(bool(command_lines(path)) for path in DOCUMENTS) >= 6


def test_a_command_line_with_a_mistake_is_found():
    with pytest.raises(Exception, match="--methd"):
        test_a_command_line_of_a_document_parses("deblur video in.mp4 -o out.mp4 --methd meta")
    with pytest.raises(Exception, match=r"-o|--output|output"):
        test_a_command_line_of_a_document_parses("deblur synth photos/")


@pytest.mark.parametrize("path", PRESENT, ids=name_of)
def test_an_option_that_a_document_names_exists(path):
    known = {word for _, command in commands() for words in options(command) for word in words}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text_of(path)))
    if path.parent.name == "benchmarks":  # whose programs have options of their own
        named -= {word for file in (ROOT / "benchmarks").glob("*.py") for word in _words(file)}
    assert named <= known | COMMON | OTHERS


def _words(file: Path) -> set[str]:
    return set(re.findall(r"--[a-z][a-z0-9-]*", text_of(file)))


@pytest.mark.parametrize(("name", "command"), list(commands()), ids=[name for name, _ in commands()])
def test_every_option_is_described_in_a_document(name, command):
    text = "\n".join(text_of(path) for path in PRESENT)
    for words in options(command):
        if "--show-completion" in words:  # prints what --install-completion installs
            continue
        assert any(re.search(rf"{word}(?![\w-])", text) for word in words), f"{name} {words}: in no document"


def defaults() -> dict[str, set[float]]:
    """The numbers that are defaults of the options of each spelling, whoever has them."""
    methods = [entry.options for entry in METHODS.values()]
    kinds = [CompareOptions, ComputeOptions, ImageOptions, MetricsOptions, SynthOptions, VideoOptions, *methods]
    found: dict[str, set[float]] = {}
    for field in (field for kind in [*kinds, *STAGES.values(), ChainOptions] for field in fields(kind)):
        about = field.metadata["option"]
        # "100; 200 with --recipe paper": the first is the default.
        told = re.match(r"[\d.]+(e-\d+)?(?=;|$)", about.usual)
        usual = float(told[0]) if told else field.default
        if isinstance(usual, Real) and not isinstance(usual, bool):
            found.setdefault(spelling(field.name, about), set()).add(float(usual))
    return found


@pytest.mark.parametrize("path", PRESENT, ids=name_of)
def test_the_numbers_in_tables_of_options_are_the_defaults(path):
    known = defaults()
    for option, number in re.findall(r"^\| `(--[a-z-]+)[^|]*\| ([\d.e-]+) \|", text_of(path), re.MULTILINE):
        if option in known:
            assert float(number) in known[option], f"{option}: {number}"
