"""Commands made from dataclasses: every field of an options class is an option of the command line, with its help.

A command is a function whose parameters are options classes, arguments of Typer, and the session. :func:`command` gives
Typer a function with one parameter for each field, and calls the command with the classes filled.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass, make_dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from deblurcli.cli.pages import Page, Pages
from deblurcli.cli.session import Messages, Session
from deblurcli.cli.settings import Setting
from deblurcli.errors import UsageError
from deblurcli.methods import METHODS
from deblurcli.options.option import Option, kinds, option, spelling
from deblurcli.options.quality import VIDEO_QUALITIES

Command = Callable[..., None]
NUMBERS = {int: "a whole number", float: "a number"}
COMPLETING = "_DEBLUR_COMPLETE" in os.environ
"""Whether the shell asks: Typer needs a while for the answers of hundreds of options."""


def group(help: str) -> typer.Typer:
    """A group of commands."""
    return typer.Typer(cls=Pages, help=help, rich_markup_mode=None)


def command(app: typer.Typer, name: str, page: type[Page] = Page) -> Callable[[Command], Command]:
    """Register a function as a command of a Typer application."""
    return lambda function: app.command(name, cls=page)(with_fields(function))


def with_fields(function: Command) -> Command:
    """The function that Typer calls: a parameter for each field, and for the messages of every command."""
    hints = get_type_hints(function, include_extras=True)
    given = inspect.signature(function).parameters
    owners = {name: _owner(hints[name]) for name in given}
    taken: dict[str, inspect.Parameter] = {"ctx": _parameter("ctx", typer.Context)}
    for name, (kind, of) in owners.items():
        taken |= {field.name: _of_field(kind, field) for field in of}
        if not of and kind is not Session:
            taken[name] = _parameter(name, hints[name], given[name].default)
    taken |= {field.name: _of_field(Messages, field) for field in fields(Messages)}

    owned = {name: of for kind, _ in owners.values() for name, of in getattr(kind, "owners", {}).items()}

    def call(ctx: typer.Context, **values: Any) -> None:
        session: Session = ctx.obj
        used = _settings(ctx, values, owned)
        for name, setting in used.items():
            kind, about = get_args(taken[name].annotation)
            if isinstance(kind, UnionType):
                (kind,) = (each for each in get_args(kind) if each is not NoneType)
            values[name] = setting.converted(kind, about.metavar or "true or false")
        session.say_as(filled(Messages, fields(Messages), values))
        for source in dict.fromkeys(setting.source for setting in used.values()):
            named = sorted(name.replace("_", "-") for name, setting in used.items() if setting.source == source)
            session.console.note(f"set by {source}: {', '.join(named)}")
        values["session"] = session
        function(**{name: filled(kind, of, values) if of else values[name] for name, (kind, of) in owners.items()})

    call.__name__, call.__doc__ = function.__name__, function.__doc__
    call.__annotations__ = {name: parameter.annotation for name, parameter in taken.items()}
    call.__signature__ = inspect.Signature(list(taken.values()))  # type: ignore[attr-defined]
    return call


def only(*names: str) -> Iterable[str]:
    """``Annotated[ComputeOptions, only("device")]``: the fields of a class that a command takes."""
    return frozenset(names)


def either(owners: Mapping[str, Any], names: Iterable[str] = ()) -> type[Any]:
    """One class with the fields of several by name, each once, None where it is not given; its help says whose it is.

    ``names``: the fields to take; all if empty.
    """
    found: dict[str, dict[str, Field[Any]]] = {}
    for owner, kind in owners.items():
        for field in fields(kind):
            if not names or field.name in names:
                found.setdefault(field.name, {})[owner] = field
    several = len(owners) > 1
    made = []
    for name, of in found.items():
        types = {kinds(owners[owner])[name][0] for owner in of}
        # A number or a word, by the owner: text, which `own_options` makes the owner's.
        made.append((name, (types.pop() if len(types) == 1 else str) | None, _merged(of, several)))
    kind = make_dataclass("Given", made, frozen=True)
    kind.owners = {name: frozenset(of) for name, of in found.items()}  # type: ignore[attr-defined]
    return kind


def given(options: Any) -> dict[str, Any]:
    """The values of a class of :func:`either` that were given."""
    return {field.name: value for field in fields(options) if (value := getattr(options, field.name)) is not None}


def filled(kind: Any, only: Iterable[Field[Any]], values: Mapping[str, Any]) -> Any:
    """An instance of an options class from the values of a command line. Raises UsageError: out of range."""
    return kind(**{field.name: _sizes(kind, field, values[field.name]) for field in only})


def _settings(ctx: typer.Context, values: dict[str, Any], owned: Mapping[str, frozenset[str]]) -> dict[str, Setting]:
    """What is set of the options that the command line leaves out.

    ``owned``: the methods that have an option. What is set for others waits until one of them is chosen.
    """
    words = tuple(ctx.command_path.split()[1:])
    found = {
        name: setting
        for name, setting in ctx.obj.settings.get(words, {}).items()
        if name in values and ctx.get_parameter_source(name).name == "DEFAULT"  # type: ignore[union-attr]
    }
    if "method" not in values:
        return found
    chosen: Any = found["method"].value if "method" in found else values["method"]
    if chosen is None:
        quality = found["quality"].value if "quality" in found else values["quality"]
        chosen = VIDEO_QUALITIES.get(quality, {}).get("method")
    methods = {chosen} if isinstance(chosen, str) else set(chosen or ())
    return {name: setting for name, setting in found.items() if name not in owned or methods & owned[name]}


def _owner(hint: Any) -> tuple[Any, tuple[Field[Any], ...]]:
    """The class of a parameter, and those of its fields that become options."""
    kind, *rest = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    if not is_dataclass(kind):
        return kind, ()
    names = next((extra for extra in rest if isinstance(extra, frozenset)), None)
    return kind, tuple(field for field in fields(kind) if names is None or field.name in names)


def _parameter(name: str, kind: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def _of_field(owner: Any, field: Field[Any]) -> inspect.Parameter:
    about: Option = field.metadata["option"]
    kind, optional = kinds(owner)[field.name]
    default = inspect.Parameter.empty if field.default is MISSING else field.default
    if kind in (tuple[Path, ...], tuple[str, ...]):
        kind = list[str]  # a path cannot be empty
    elif get_origin(kind) is tuple:
        kind, default = str, default and _default(field)
    elif kind is Fraction:
        kind, default = str, str(default)  # the field takes what is written
    words = about.choices or (tuple(METHODS) if about.complete == "methods" else ())
    placeholder = "NAME|FILE" if about.complete == "weights" else {int: "N", float: "N", Path: "FILE"}.get(kind, "TEXT")

    def of_words(incomplete: str) -> list[str]:
        return [word for word in words or about.complete.split() if word.startswith(incomplete)]

    offer = weights_names if about.complete == "weights" else of_words
    typed = typer.Option(
        *(about.flags or (spelling(field.name, about),)),
        metavar=None if kind is bool else about.metavar or "|".join(words) or placeholder,
        help=about.help + _said(field),
        rich_help_panel=about.panel,
        show_default=False,
        autocompletion=offer if COMPLETING and kind is not bool else None,
        parser=partial(_number, spelling(field.name, about), kind) if kind in NUMBERS else None,
    )
    return _parameter(field.name, Annotated[kind | None if optional else kind, typed], default)


def _number(flag: str, kind: Any, text: Any) -> Any:
    """A number that is typed. Raises UsageError: it is none, in our words rather than a parser's."""
    try:
        return kind(text)
    except ValueError:
        raise UsageError(f"{flag} {text} is not {NUMBERS[kind]}", f"give {NUMBERS[kind]}") from None


def _sizes(owner: Any, field: Field[Any], value: Any) -> Any:
    """Numbers with commas between them, where the field takes several."""
    if value is None or kinds(owner)[field.name][0] != tuple[int, ...]:
        return value
    try:
        return tuple(int(part) for part in value.split(","))
    except ValueError:
        name = spelling(field.name, field.metadata["option"])
        raise UsageError(f"{name} {value} is not a list of sizes", "give such as 192,256") from None


def _default(field: Field[Any]) -> str:
    """The default in words; empty where it says nothing, such as 0 for what is not given."""
    value = field.metadata["option"].usual or field.default
    if value is MISSING or not value or value is True:
        return ""
    if isinstance(value, float):
        return re.sub(r"e-0", "e-", f"{value:g}")
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _said(field: Field[Any]) -> str:
    return f" Default: {text}." if (text := _default(field)) else ""


def _merged(of: dict[str, Field[Any]], several: bool) -> Any:
    """The field of an option that some of several classes have."""
    about: list[Option] = [field.metadata["option"] for field in of.values()]
    first, usual = about[0], ""
    if len({each.help for each in about}) == 1:
        defaults = {name: _default(field) for name, field in of.items()}
        alike = len(set(defaults.values())) == 1
        usual = defaults.popitem()[1] if alike else ", ".join(f"{text} ({name})" for name, text in defaults.items())
        help = f"{', '.join(of)}: {first.help}" if several else first.help
    else:
        help = " ".join(f"{name}: {field.metadata['option'].help}{_said(field)}" for name, field in of.items())
    words = list(dict.fromkeys(word for each in about for word in each.choices))
    metavar, complete = first.metavar or "|".join(words), first.complete or " ".join(words)
    return option(None, help, first.panel, metavar=metavar, flags=first.flags, complete=complete, usual=usual)


def weights_names(incomplete: str) -> list[str]:
    """Shell completion from the registry."""
    from deblurcli.weights.registry import installed

    return [name for name in installed().weights if name.startswith(incomplete)]
