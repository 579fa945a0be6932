"""Options that need not be typed: from `deblur.toml` and the environment.

What counts, the first before the others: the command line; ``DEBLUR_VIDEO_CRF``, an option of a command;
``DEBLUR_CRF``, that of every command that has it; `deblur.toml` in the current folder; and that in the user's folder
for settings. In a file the options of a command stand in its table (``[video]``, ``[train.meta]``), and those of all
commands before the first.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin

from deblurcli.errors import UsageError
from deblurcli.files import reason

NAME = "deblur.toml"
CONFIG = "DEBLUR_CONFIG"
"""The variable that names a file to read instead; empty: none is read."""
WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
"""What a switch may be called in the environment."""
LATER = frozenset({"help", "version", "install_completion", "show_completion"})
"""Options that are no settings."""


class Setting(NamedTuple):
    """The value of an option as it is written, and where."""

    value: Any
    source: str
    """A file, or a variable."""
    name: str = ""
    """How a file calls the option."""

    @property
    def called(self) -> str:
        """What messages call it."""
        return f"{self.source}: {self.name}" if self.name else self.source

    def converted(self, kind: Any, placeholder: str) -> Any:
        """The value as the type of its option. Raises UsageError: it is none."""
        value = self.value
        if kind is bool:
            taken = WORDS.get(value.lower()) if isinstance(value, str) else value
            if isinstance(taken, bool):
                return taken
            raise UsageError(f"{self.called} is {value!r}", "give true or false")
        if get_origin(kind) is list:
            item = get_args(kind)[0]
            listed = value if isinstance(value, list) else [value]
            return [self._replace(value=each).converted(item, placeholder) for each in listed]
        if isinstance(value, list):
            value = ",".join(map(str, value))
        try:
            if isinstance(value, bool) or not isinstance(value, str | int | float):
                raise ValueError
            return kind(str(value))
        except ValueError:
            raise UsageError(f"{self.called} is {value!r}", f"give {placeholder}") from None


Settings = dict[tuple[str, ...], dict[str, Setting]]
"""The settings of every command, by its words and the name of the option's parameter."""


def settings(root: Any, environment: Mapping[str, str]) -> Settings:
    """Everything that is set. Raises UsageError: a file cannot be read, or has what is no option.

    ``root``: the program as its parser sees it.
    """
    found: Settings = {words: {} for words, _ in _commands(root)}
    for path in reversed(files(environment)):
        for words, its in _of_file(path, root).items():
            found[words] |= its
    for words, its in _of_variables(root, environment).items():
        found[words] |= its
    return found


def files(environment: Mapping[str, str]) -> list[Path]:
    """The files that are read, the one that counts most first."""
    if CONFIG in environment:
        return [Path(environment[CONFIG])] if environment[CONFIG] else []
    return [path for path in (Path(NAME), user_file(environment)) if path is not None and path.is_file()]


def user_file(environment: Mapping[str, str]) -> Path | None:
    """`deblur.toml` in the platform's folder for settings; None: there is no home folder."""
    name = "APPDATA" if sys.platform == "win32" else "XDG_CONFIG_HOME"
    try:
        folder = Path(environment.get(name) or Path.home() / ".config")
    except RuntimeError:
        return None
    return folder / "deblur" / NAME


def _commands(root: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, by its words."""
    for name, command in root.commands.items():
        if hasattr(command, "commands"):
            for words, its in _commands(command):
                yield (name, *words), its
        else:
            yield (name,), command


def _options(command: Any) -> dict[str, str]:
    """The parameters of a command by the long spelling of their options, without dashes, with underscores."""
    found: dict[str, str] = {}
    for param in command.params:
        if param.param_type_name == "option" and param.name not in LATER:
            for flag in param.opts:
                if flag.startswith("--"):
                    found[_key(flag[2:])] = param.name
    return found


def _of_file(path: Path, root: Any) -> Settings:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        why = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else reason(error)
        raise UsageError(f"{path} cannot be read: {why}", f"mend it, or set {CONFIG}= to do without") from error
    except tomllib.TOMLDecodeError as error:
        what = str(error)
        raise UsageError(f"{path} is not TOML: {what[:1].lower()}{what[1:]}", "mend that line") from error
    commands = dict(_commands(root))
    found: Settings = {words: {} for words in commands}
    for name, value in content.items():
        if not isinstance(value, dict):
            owners = [words for words, command in commands.items() if _key(name) in _options(command)]
            if not owners:
                raise UsageError(f"{path}: {name} is an option of no command", "see deblur COMMAND --help")
            for words in owners:
                found[words][_options(commands[words])[_key(name)]] = Setting(value, str(path), name)
    for words, table in _tables(content, ()):
        if words not in commands:
            if not any(known[: len(words)] == words for known in commands):
                raise UsageError(f"{path}: [{'.'.join(words)}] is no command", "see deblur --help")
            if table:
                raise UsageError(f"{path}: [{words[0]}] is several commands", f"write such as [{words[0]}.NAME]")
            continue
        known = _options(commands[words])
        for name, value in table.items():
            command = " ".join(("deblur", *words))
            if _key(name) not in known:
                raise UsageError(f"{path}: {name} is no option of {command}", f"see {command} --help")
            found[words][known[_key(name)]] = Setting(value, str(path), name)
    return found


def _tables(content: Mapping[str, Any], words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """The tables of a file with the values that stand in each itself; the outermost values are left out."""
    for name, value in content.items():
        if isinstance(value, dict):
            inner = (*words, name)
            yield inner, {key: each for key, each in value.items() if not isinstance(each, dict)}
            yield from _tables(value, inner)


def _of_variables(root: Any, environment: Mapping[str, str]) -> Settings:
    """Variables without a value count as not set; those that name neither an option nor a command are another
    program's."""
    found: Settings = {}
    known: set[str] = set()
    for words, command in _commands(root):
        for name, param in _options(command).items():
            for variable in (f"DEBLUR_{name.upper()}", f"{_beginning(words)}{name.upper()}"):
                known.add(variable)
                if value := environment.get(variable):
                    found.setdefault(words, {})[param] = Setting(value, variable)
    others = (name for name, value in environment.items() if value and name.startswith("DEBLUR_") and name not in known)
    for variable in sorted(others):
        owner = next((words for words, _ in _commands(root) if variable.startswith(_beginning(words))), None)
        if owner is not None:
            command = " ".join(("deblur", *owner))
            raise UsageError(f"{variable} names no option of {command}", f"see {command} --help, or unset it")
    return found


def _beginning(words: tuple[str, ...]) -> str:
    """What the variables of a command begin with."""
    return f"DEBLUR_{'_'.join(words).upper()}_"


def _key(name: str) -> str:
    return name.replace("-", "_")
