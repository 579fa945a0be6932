"""The man pages, made from the commands themselves: `python -m deblurcli.cli.man [FOLDER]`.

Nothing here depends on the date, the terminal or the machine, so that a test can compare the files byte for byte.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import typer

from deblurcli.cli.app import app
from deblurcli.cli.examples import EXAMPLES
from deblurcli.cli.pages import described, summary, usage
from deblurcli.errors import EXIT_CODES, RETRY
from deblurcli.files import OutputFile
from deblurcli.version import __version__

COMPLETION = ("install_completion", "show_completion")
"""Options that are described in words: they differ from machine to machine."""

VARIABLES = {
    "DEBLUR_CONFIG": "A file with settings to read instead of those below; empty: none is read.",
    "DEBLUR_CACHE": "The folder for fetched weights and measured speeds.",
    "DEBLUR_OFFLINE": "1: never open a connection.",
    "TMPDIR": "The folder for a copy of stdin while it is restored; /var/tmp where it is not set.",
}
FILES = {
    "deblur.toml": "Options in the current folder, in a table for each command, such as [video] or [train.meta], and "
    "before the tables for every command that has them. The command line and the environment count more.",
    "~/.config/deblur/deblur.toml": "The same for every folder; the one in the current folder counts more. "
    "$XDG_CONFIG_HOME in place of ~/.config, and %APPDATA% on Windows.",
}.items()


def _text(text: str) -> str:
    """One line of running text in roff."""
    text = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-")
    text = re.sub(r"`([^`]*)`", r"\\fB\1\\fR", text)
    return f"\\&{text}" if text.startswith((".", "'")) else text


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        yield from (".PP", _text(paragraph))


def _options(commands: list[Any]) -> Iterator[str]:
    """The arguments and options of commands, each once."""
    params = {param.name: param for command in commands for param in command.params if param.name not in COMPLETION}
    for param in sorted(params.values(), key=lambda param: param.param_type_name):  # arguments first
        typed, help = described(param)
        if param.param_type_name == "argument":
            heading = f"\\fI{_text(typed)}\\fR"
        else:
            names = typed.removesuffix(f" {param.metavar}").replace(" / ", ", ").split(", ")
            value = f" \\fI{_text(param.metavar)}\\fR" if param.metavar else ""
            heading = ", ".join(map(_bold, names)) + value
        yield from (".TP", heading, _text(help))
    yield from (".TP", "\\fB\\-h\\fR, \\fB\\-\\-help\\fR", "Show a short help and exit.")


def _bold(text: str) -> str:
    return f"\\fB{_text(text)}\\fR"


def _synopsis(name: str, command: Any) -> str:
    return " ".join([_bold(name), *map(_text, usage(command))])


def _terms(rows: Iterable[tuple[Any, str]]) -> Iterator[str]:
    for term, text in rows:
        yield from (".TP", _bold(str(term)), _text(text))


def _codes() -> Iterator[tuple[int, str]]:
    """What every exit code means, and whether the same command may help."""
    for code, meaning in EXIT_CODES.items():
        yield code, f"{meaning} Retry: {RETRY[code]}." if RETRY[code] else meaning


def _variables(path: str, command: Any) -> Iterator[tuple[str, str]]:
    """The variables that a page tells of."""
    words = path.upper().replace(" ", "_")
    if path == "deblur" or hasattr(command, "commands"):
        yield f"{words}_COMMAND_OPTION", "The value of an option of a command, such as DEBLUR_VIDEO_CRF=16."
    else:
        yield f"{words}_OPTION", "The value of an option of this command: capitals, `_` for `-`; true or false."
    yield "DEBLUR_OPTION", "The value of an option of every command that has it, such as DEBLUR_DEVICE=cpu."
    yield from VARIABLES.items()


def _page(path: str, command: Any, others: list[str]) -> str:
    name, children = path.replace(" ", "-"), getattr(command, "commands", {})
    first = summary(command)
    lines = [f'.TH "{_text(name.upper())}" "1" "" "deblurcli {__version__}" "deblurcli"']
    lines += [".SH NAME", f"{_text(name)} \\- {_text(first[0].lower() + first[1:].rstrip('.'))}", ".SH SYNOPSIS"]
    for child, its in children.items():
        lines += [_synopsis(f"{path} {child}", its), ".br"]
    if not children:
        lines.append(_synopsis(path, command))
    lines += [".SH DESCRIPTION", *_paragraphs(command.help)]
    if children:
        lines += [".SH COMMANDS", *_terms((child, summary(its)) for child, its in children.items())]
    # The options of the root stand before the command; a group has its commands' options.
    owners = [command] if not children or path == "deblur" else list(children.values())
    lines += [".SH OPTIONS", *_options(owners)]
    if path == "deblur":
        lines += [".SH SHELL COMPLETION", f"{_bold('deblur --install-completion')} installs it for the current shell;"]
        lines += [f"{_bold('deblur --show-completion')} prints it."]
    lines += [".SH EXIT STATUS", *_terms(_codes())]
    lines += [".PP", "An unknown code is a failure."]
    lines += [".SH ENVIRONMENT", *_terms(_variables(path, command)), ".SH FILES", *_terms(FILES), ".SH EXAMPLES"]
    for what, example in EXAMPLES[path]:
        lines += [".PP", f"{_text(what)}:", ".PP", ".RS 4", ".nf", _text(example), ".fi", ".RE"]
    lines += [".SH SEE ALSO", ", ".join(f"{_bold(other)}(1)" for other in others)]
    return "\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    """Every man page by file name: the root's, one for each command, and one for each training stage."""
    root: Any = typer.main.get_command(app)
    commands = {"deblur": root} | {f"deblur {name}": command for name, command in root.commands.items()}
    commands |= {f"deblur train {name}": stage for name, stage in root.commands["train"].commands.items()}
    names = {path: path.replace(" ", "-") for path in commands}
    return {
        f"{names[path]}.1": _page(path, command, [other for other in names.values() if other != names[path]])
        for path, command in commands.items()
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "man")
    folder.mkdir(parents=True, exist_ok=True)
    for file, page in pages().items():
        with OutputFile(folder / file, overwrite=True) as output:
            output.file.write(page.encode())
