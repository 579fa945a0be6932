"""The man pages, made from the commands themselves: `python -m deblurcli.cli.man [FOLDER]`.

Nothing here depends on the date, the terminal or the machine, so that a test can compare the files byte for byte.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from deblurcli.cli import app
from deblurcli.version import __version__

EXIT_STATUS = {
    0: "Done.",
    1: "Unexpected error.",
    2: "Usage: a bad option, an output that exists or is the input.",
    3: "Partial: some files failed, frames were replaced, or something besides the pixels could not be kept.",
    4: "The input is unusable.",
    5: "The output cannot be written.",
    6: "Weights are missing or refused.",
    7: "The network is needed but unavailable.",
    8: "Device: not present, or out of memory at the smallest tile.",
    130: "Interrupted (SIGINT).",
    143: "Terminated (SIGTERM).",
}

EXAMPLES = {
    "deblur": [
        ("Restore a video", "deblur video in.mp4 -o out.mp4"),
        ("What will be used on this machine", "deblur doctor"),
    ],
    "deblur-video": [
        ("Adapt the networks to a video and restore it", "deblur video in.mp4 -o out.mp4 --method meta"),
        ("Sharpen the result by test-time adaptation", "deblur video in.mp4 -o out.mp4 --method tta"),
        ("Without adapting, faster", "deblur video in.mp4 -o out.mp4 --method none"),
        ("All videos of a folder, going on where an earlier run ended", "deblur video clips/ -o out/ --skip-existing"),
    ],
    "deblur-image": [
        ("One picture", "deblur image photo.jpg -o sharp.png"),
        ("The same, sharpened by test-time adaptation", "deblur image photo.jpg -o sharp.png --tta-steps 5"),
        ("Many", "deblur image photos/*.jpg -o out/"),
    ],
    "deblur-weights": [
        ("What there is", "deblur weights list"),
        ("Whether the files are intact", "deblur weights verify"),
        ("Fetch weights that others published", "deblur weights pull nafnet-w32"),
        ("The same for a licence that is not free", "deblur weights pull restormer --accept-licence"),
        ("Convert a file that was fetched in a browser", "deblur weights import MIMO-UNet.pkl --network mimo-unet"),
    ],
    "deblur-metrics": [
        ("One video", "deblur metrics out.mp4 sharp.mp4"),
        ("Folders, for a program", "deblur metrics out/ sharp/ --format json"),
        ("Every frame, for a spreadsheet", "deblur metrics out.mp4 sharp.mp4 --per-frame --format csv"),
        ("Without an original", "deblur metrics out.mp4"),
    ],
    "deblur-inspect": [
        ("What is found in a video", "deblur inspect in.mp4"),
        ("The same as a picture", "deblur inspect in.mp4 -o report.png"),
        ("For a program", "deblur inspect in.mp4 --format json"),
    ],
    "deblur-synth": [
        ("Pairs from a folder of sharp photos", "deblur synth photos/ -o pairs/"),
        ("A clip of 48 frames from each photo, shaken by hand", "deblur synth photos/ -o pairs/ --frames 48"),
        ("A longer exposure for sharp footage", "deblur synth sharp.mp4 -o pairs/ --shutter 1.5"),
    ],
    "deblur-train": [
        ("An hour of training", "deblur train deblur --data photos/ --out runs/deblur --minutes 60"),
        ("A run that can be reproduced", "deblur train reblur --data photos/ --out runs/reblur --iterations 20000"),
    ],
    "deblur-doctor": [("What will be used on this machine", "deblur doctor")],
}


def _text(text: str) -> str:
    """One line of running text in roff."""
    text = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-")
    text = re.sub(r"`([^`]*)`", r"\\fB\1\\fR", text)
    return f"\\&{text}" if text.startswith((".", "'")) else text


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        yield from (".PP", _text(paragraph))


def _is_option(param: Any) -> bool:
    # Those of completion are described in words: they differ from machine to machine.
    return param.param_type_name == "option" and param.name not in ("install_completion", "show_completion")


def _options(commands: list[Any]) -> Iterator[str]:
    """The arguments and options of commands, each once."""
    params = {param.name: param for command in commands for param in command.params}
    for param in sorted(params.values(), key=lambda param: param.param_type_name):  # arguments first
        if param.param_type_name == "argument":
            yield from (".TP", f"\\fI{_text(param.metavar)}\\fR", _text(param.help))
        elif _is_option(param):
            value = f" \\fI{_text(param.metavar)}\\fR" if param.metavar else ""
            # "default" and other words, but neither 0 nor False: those mean "not given"; flags say it themselves.
            shown = param.default and param.default is not True and not param.required
            default = f" Default: {param.default}." if shown else ""
            names = [*sorted(param.opts, key=len), *param.secondary_opts]
            yield from (".TP", ", ".join(f"\\fB{_text(n)}\\fR" for n in names) + value, _text(param.help + default))
    yield from (".TP", "\\fB\\-h\\fR, \\fB\\-\\-help\\fR", "Show a short help and exit.")


def _synopsis(name: str, command: Any) -> str:
    words = [f"\\fB{_text(name)}\\fR"]
    for param in command.params:
        if param.param_type_name == "argument":
            word = f"\\fI{_text(param.metavar)}\\fR" + ("..." if param.nargs == -1 else "")
            words.append(word if param.required else f"[{word}]")
        elif param.required:
            words.append(f"\\fB{_text(min(param.opts, key=len))}\\fR \\fI{_text(param.metavar)}\\fR")
    return " ".join([*words, "[\\fIOPTION\\fR...]"])


def _page(name: str, command: Any, others: list[str]) -> str:
    first = command.help.partition("\n\n")[0]
    children = getattr(command, "commands", {})
    lines = [f'.TH "{_text(name.upper())}" "1" "" "deblurcli {__version__}" "deblurcli"']
    lines += [".SH NAME", f"{_text(name)} \\- {_text(first[0].lower() + first[1:].rstrip('.'))}", ".SH SYNOPSIS"]
    spoken = name.replace("-", " ")
    for child, its in children.items():
        lines += [_synopsis(f"{spoken} {child}", its), ".br"]
    if not children:
        lines.append(_synopsis(spoken, command))
    lines += [".SH DESCRIPTION", *_paragraphs(command.help)]
    if children:
        lines.append(".SH COMMANDS")
        for child, its in children.items():
            lines += [".TP", f"\\fB{_text(child)}\\fR", _text(its.help.partition("\n\n")[0])]
    # The options of the root stand before the command; a group's are those of its commands.
    owners = [command] if not children or name == "deblur" else list(children.values())
    lines += [".SH OPTIONS", *_options(owners)]
    if name == "deblur":
        lines += [
            ".SH SHELL COMPLETION",
            "\\fBdeblur \\-\\-install\\-completion\\fR installs it for the current shell;",
        ]
        lines += ["\\fBdeblur \\-\\-show\\-completion\\fR prints it."]
    lines.append(".SH EXIT STATUS")
    for code, meaning in EXIT_STATUS.items():
        lines += [".TP", f"\\fB{code}\\fR", _text(meaning)]
    lines += [".PP", "An unknown code is a failure.", ".SH EXAMPLES"]
    for what, example in EXAMPLES[name]:
        lines += [".PP", f"{_text(what)}:", ".PP", ".RS 4", ".nf", _text(example), ".fi", ".RE"]
    lines += [".SH SEE ALSO", ", ".join(f"\\fB{_text(other)}\\fR(1)" for other in others)]
    return "\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    """Every man page by file name."""
    root: Any = typer.main.get_command(app)
    commands = {"deblur": root} | {f"deblur-{name}": command for name, command in root.commands.items()}
    return {
        f"{name}.1": _page(name, command, [other for other in commands if other != name])
        for name, command in commands.items()
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "man")
    folder.mkdir(parents=True, exist_ok=True)
    for file, page in pages().items():
        (folder / file).write_text(page, encoding="utf-8", newline="\n")
