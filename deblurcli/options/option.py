"""An option is written once: a dataclass field with its help, its values and its place on the help page.

The command line, the man pages and the checks of Python callers are all made from these fields.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from fractions import Fraction
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

from deblurcli.errors import UsageError
from deblurcli.options.rates import EXAMPLES, USUAL_FPS, rate_of

PANELS = ("Result", "Batch", "Method", "Network and device", "Output", "Messages", "Advanced")
"""The headings of a help page, in its order."""
WEIGHTS = "weights"
"""What the shell completes for an option that takes weights."""


@dataclass(frozen=True)
class Option:
    """What is known about an option besides its name, type and default, which are the field's."""

    help: str
    panel: str = "Advanced"
    metavar: str = ""
    """The placeholder of its value; made from the choices or the type where empty."""
    choices: tuple[str, ...] = ()
    """The only words that it takes."""
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    flags: tuple[str, ...] = ()
    """Its spellings where they are not made from the name; ``--on/--off`` is a switch with two."""
    complete: str = ""
    """What the shell completes: ``weights``, ``methods``, or words parted by spaces."""
    usual: str = ""
    """The default in words, where None stands for one that depends on other options."""


def option(default: Any = MISSING, help: str = "", panel: str = "Advanced", **about: Any) -> Any:
    """Make a dataclass field of an option from its default, none if it must be given, and what :class:`Option` has."""
    return field(default=default, metadata={"option": Option(help, panel, **about)})


def weights(default: str | tuple[str, ...] | None, help: str, panel: str = "Network and device", **about: Any) -> Any:
    """An option that takes weights: a name of the registry or a file."""
    return option(default, help, panel, complete=WEIGHTS, **about)


def learning_rate(default: float | None, help: str, panel: str = "Advanced", **about: Any) -> Any:
    """An option that takes an optimizer's rate, 0 up to but not 1."""
    return option(default, help, panel, metavar="RATE", **({"least": 0} | about), below=1)


def compute_device(help: str) -> Any:
    """The option of where to compute."""
    words = f"{help}: auto (the best present), cpu, cuda, cuda:N or mps."
    return option("auto", words, "Network and device", metavar="DEVICE", complete="auto cpu cuda mps")


def frame_rate() -> Any:
    """The option of how fast the pictures of a sequence follow each other."""
    words = "Frames per second of an image sequence, which has no rate of its own: 25, 29.97 or 30000/1001."
    return option(USUAL_FPS, words, "Result", metavar="FPS", above=0, most=1000)


def spelling(name: str, about: Option) -> str:
    """The option as it is typed: ``--patch-size`` for ``patch_size``."""
    return about.flags[0].partition("/")[0] if about.flags else f"--{name.replace('_', '-')}"


def weights_files(options: Any) -> list[Path]:
    """The paths in those options of a class that take weights, names of the registry among them."""
    chosen = [getattr(options, each.name) for each in fields(options) if each.metadata["option"].complete == WEIGHTS]
    return [Path(one) for value in chosen if value for one in (value if isinstance(value, tuple) else [value])]


def require(condition: bool, found: str, cure: str) -> None:
    """Raise UsageError unless the condition holds."""
    if not condition:
        raise UsageError(found, cure)


def own_options(owners: Mapping[str, Any], chosen: str, given: Mapping[str, Any], place: str, choose: str) -> Any:
    """The options of one of several owners, such as the methods, from the values given, by their fields' names.

    Args:
        owners: options classes by their owners' names.
        place, choose: how an owner is told of in messages, and how it is chosen; its name follows.

    Raises UsageError: an option is another owner's or nobody's, or out of range.
    """
    known = {name: {each.name: each for each in fields(kind)} for name, kind in owners.items()}
    for name in given:
        if name not in known[chosen]:
            others = [owner for owner, names in known.items() if name in names]
            flag = spelling(name, known[others[0]][name].metadata["option"] if others else Option(""))
            instead = f", or {choose} {' or '.join(others)}" if others else ""
            raise UsageError(f"{flag} means nothing to {place} {chosen}", f"leave it out{instead}")
    owner = owners[chosen]
    return owner(**{name: _whole(value) if kinds(owner)[name][0] is int else value for name, value in given.items()})


def _whole(value: Any) -> Any:
    """The number that a text is, where an option is a word to one owner and a whole number to another."""
    return int(value) if isinstance(value, str) and value.removeprefix("-").isdecimal() else value


@cache
def kinds(owner: Any) -> dict[str, tuple[type, bool]]:
    """The type of every field of an options class, and whether it may be None."""
    found = {}
    for name, hint in get_type_hints(owner).items():
        known = [kind for kind in get_args(hint) if kind is not NoneType] if NoneType in get_args(hint) else [hint]
        found[name] = (known[0], NoneType in get_args(hint))
    return found


class Options:
    """The base of options classes: types, choices and ranges of every field are checked, and UsageError raised.

    A path may be given as text, text as a path, and one path where several may be.
    """

    def __post_init__(self) -> None:
        owner: Any = type(self)
        for each in fields(owner):
            about: Option = each.metadata["option"]
            kind, optional = kinds(owner)[each.name]
            value = getattr(self, each.name)
            if value is None and optional:
                continue
            name = spelling(each.name, about)
            value = _typed(name, kind, value)
            object.__setattr__(self, each.name, value)
            known = about.choices
            require(not known or value in known, f"{name} {value} is unknown", f"give one of {', '.join(known)}")
            _bound(name, about, value)


def _listed(kind: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    return lambda given: tuple(map(kind, [given] if isinstance(given, (str, Path)) else given))


_TYPES: dict[Any, tuple[str, Any, Callable[[Any], Any]]] = {
    bool: ("True or False", bool, bool),
    int: ("a whole number", Integral, int),
    float: ("a number", Real, float),
    Fraction: ("a rate", (str, Real), Fraction),
    str: ("text", (str, Path), os.fspath),
    Path: ("a path", (str, Path), Path),
    tuple[int, ...]: ("a list of whole numbers", (list, tuple), tuple),
    tuple[Path, ...]: ("a path or a list of paths", (str, Path, list, tuple), _listed(Path)),
    tuple[str, ...]: ("a name or a list of names", (str, Path, list, tuple), _listed(os.fspath)),
}
"""In words, what is taken for it, and the conversion."""


def _typed(name: str, kind: Any, value: Any) -> Any:
    words, taken, convert = _TYPES[kind]
    fits = isinstance(value, taken) and (kind is bool or not isinstance(value, bool))
    if fits and isinstance(value, (list, tuple)):
        fits = all(isinstance(part, _TYPES[get_args(kind)[0]][1]) and part != "" for part in value)
    if kind is Fraction and fits:
        return _rate(name, value)
    require(fits, f"{name} {value!r} is not {words}", f"give {words}")
    return convert(value)


def _rate(name: str, value: Any) -> Fraction:
    try:
        return rate_of(value)
    except ValueError:
        raise UsageError(f"{name} {value} is not a rate", f"give {EXAMPLES}") from None


def _bound(name: str, about: Option, value: Any) -> None:
    least, most, above, below = about.least, about.most, about.above, about.below
    ranges = (least is not None or above is not None, most is not None or below is not None)
    if not any(ranges):
        return
    # Written so that NaN is out of every range.
    fits = (
        (least is None or value >= least)
        and (above is None or value > above)
        and (most is None or value <= most)
        and (below is None or value < below)
    )
    if all(ranges):
        high = most if below is None else below
        ends = (
            f"{least:g} to {high:g}"
            if above is None
            else f"above {above:g}, {'below' if most is None else 'at most'} {high:g}"
        )
        shown = f"{name} {value}" if isinstance(value, Fraction) else name
        require(fits, f"{shown} is out of range", f"give {ends}")
    elif least == 0:
        require(fits, f"{name} {value} is negative", "give 0 or more")
    else:
        few = "few" if name.endswith("s") else "small"
        require(fits, f"{name} {value} is too {few}", f"give at least {least:g}" if least else f"give above {above:g}")
