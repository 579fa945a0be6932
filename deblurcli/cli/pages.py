"""Help pages: options under their headings, then examples; and what is said of an unknown command."""

from __future__ import annotations

import os
import shlex
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from typer.core import TyperCommand, TyperGroup

from deblurcli.cli.examples import EXAMPLES
from deblurcli.errors import UsageError
from deblurcli.media.inputs import IMAGES, is_numbered
from deblurcli.options.option import PANELS


def described(param: Any) -> tuple[str, str]:
    """An argument or option as it is typed, and its help."""
    if param.param_type_name == "argument":
        return _argument(param), param.help or ""
    names = ", ".join(sorted(param.opts, key=len))
    if param.secondary_opts:
        names += " / " + ", ".join(param.secondary_opts)
    return names + (f" {param.metavar}" if param.metavar else ""), param.help or ""


def summary(command: Any) -> str:
    """The first paragraph of a command's help."""
    return (command.help or "").partition("\n\n")[0]


def usage(command: Any) -> list[str]:
    """The words after the command's name: arguments, options that must be given, and that there are others."""
    words = []
    for param in command.params:
        if param.param_type_name == "argument":
            words.append(_argument(param) if param.required else f"[{_argument(param)}]")
        elif param.required:
            words.append(f"{min(param.opts, key=len)} {param.metavar}")
    return [*words, "[OPTION...]"]


def _argument(param: Any) -> str:
    return param.metavar + ("..." if param.nargs == -1 else "")


class Page(TyperCommand):
    """A command whose help has a heading for each panel, the arguments in the first, and examples to copy."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return usage(self)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        panels: dict[str, list[tuple[str, str]]] = {panel: [] for panel in PANELS}
        for param in self.get_params(ctx):
            panel = "Messages" if param.name in ("help", "version") else getattr(param, "rich_help_panel", None)
            panels[panel or ("Result" if param.param_type_name == "argument" else "Advanced")].append(described(param))
        for panel, rows in panels.items():
            if rows:
                with formatter.section(panel):
                    formatter.write_dl(rows, col_max=26)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        if examples := EXAMPLES.get(ctx.command_path):
            with formatter.section("Examples"):
                for what, line in examples:
                    formatter.write(f"  {what}:\n    {line}\n")


class Pages(TyperGroup):
    """A group of commands: they come first, then the options that stand before them."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return ["[OPTION...]", "COMMAND", "..."]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary(its)) for name, its in self.commands.items()])
        Page.format_options(self, ctx, formatter)  # type: ignore[arg-type]

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        Page.format_epilog(self, ctx, formatter)  # type: ignore[arg-type]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command of a word. Raises UsageError: there is none, with the one that was probably meant."""
        word = args[0]
        if word not in self.commands and not word.startswith("-") and not ctx.resilient_parsing:
            raise UsageError(f"{ctx.command_path} {word} is unknown", self._meant(ctx, word, args))
        return super().resolve_command(ctx, args)

    def _meant(self, ctx: Any, word: str, args: list[str]) -> str:
        if ctx.parent is None and (Path(word).suffix or os.path.lexists(word)):
            is_image = Path(word).suffix.lower() in IMAGES.suffixes and not is_numbered(Path(word))
            meant = "image" if is_image else "video"
            return f"to restore it, give {shlex.join(['deblur', meant, *args])}"
        if close := get_close_matches(word, self.commands, 1):
            return f"perhaps {ctx.command_path} {close[0]}"
        return f"give one of {', '.join(self.commands)}"
