"""What every command shares: where messages go, what an exception means, and the options that all of them take."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any

import typer

from deblurcli.console import LOGS, Reporter
from deblurcli.errors import DeblurError, UsageError
from deblurcli.options import DTYPES, DeviceOptions


@dataclass
class Session:
    """One run of the program, the ``obj`` of every context."""

    command: str
    """The command line, for the record."""
    report: Reporter
    log: str
    quiet: bool = False
    verbose: bool = False


def begin(ctx: typer.Context, quiet: bool, verbose: bool, log: str) -> Reporter:
    """The reporter of a command; ``deblur -q video`` and ``deblur video -q`` are the same.

    Raises:
        UsageError: ``--log`` is unknown.
    """
    session: Session = ctx.obj
    session.quiet |= quiet
    session.verbose |= verbose
    session.log = log or session.log
    if session.log not in LOGS:
        raise UsageError(f"--log {session.log} is unknown", f"give one of {', '.join(LOGS)}")
    session.report = Reporter("json" if session.log == "json" else "text", quiet=session.quiet, verbose=session.verbose)
    return session.report


def explain(report: Reporter, error: Exception, about: str = "") -> tuple[int, str]:
    """Report an error in one line; returns its exit code and that line."""
    if isinstance(error, DeblurError):
        code, message = error.code, str(error)
    else:
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        code, message = DeblurError.code, f"unexpected error: {text}; run again with --verbose for the traceback"
    message = " ".join((message if about in message else f"{about}: {message}").split())
    report.error(message)
    if code == DeblurError.code:
        report.detail("".join(traceback.format_exception(error)))
    return code, message


def options_of(ctx: typer.Context, *kinds: type[Any], **changed: Any) -> dict[str, Any]:
    """The command's options as keywords of the API: each parameter is named like the field it fills.

    Raises:
        UsageError: a value is out of range; said once, before any work.
    """
    given = ctx.params | changed
    keywords: dict[str, Any] = {}
    for kind in kinds:
        keywords |= asdict(kind(**{f.name: given[f.name] for f in fields(kind) if f.name in given}))
    return keywords


def choices(*values: str) -> Callable[[str], list[str]]:
    """Shell completion from a literal list."""
    return lambda incomplete: [value for value in values if value.startswith(incomplete)]


def one_of(values: Collection[str], what: str, *names: str) -> Any:
    """The option that takes one of a few words. ``what``: its help; ``names``: instead of the parameter's."""
    return typer.Option(*names, metavar="|".join(values), help=what, autocompletion=choices(*values))


def weights_names(incomplete: str) -> list[str]:
    """Shell completion from the registry."""
    from deblurcli.weights.registry import installed

    return [name for name in installed().weights if name.startswith(incomplete)]


Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only errors and results.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more; show the traceback of an unexpected error.")]
Log = Annotated[
    str,
    typer.Option(
        "--log",
        metavar="text|json",
        help="Messages for people (text, the default), or JSON lines (json).",
        autocompletion=choices(*LOGS),
    ),
]

Device = Annotated[
    str,
    typer.Option(
        metavar="DEVICE",
        help="auto (the best present), cpu, cuda, cuda:N or mps.",
        autocompletion=choices("auto", "cpu", "cuda", "mps"),
    ),
]
Dtype = Annotated[
    str,
    one_of(DTYPES, "Precision of the networks; auto: what the device is fast in."),
]
Tile = Annotated[
    str,
    typer.Option(
        metavar="auto|off|N",
        help="Side of the tiles in pixels; auto: from the free memory.",
        autocompletion=choices("auto", "off"),
    ),
]
Network = Annotated[
    str,
    typer.Option(
        metavar="NAME|FILE",
        help="Weights: a name of `deblur weights list`, or a file.",
        autocompletion=weights_names,
    ),
]
Offline = Annotated[bool, typer.Option("--offline", help="Never use the network, not even for missing weights.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")]
SkipExisting = Annotated[bool, typer.Option("--skip-existing", help="Leave outputs that exist as they are.")]

TtaSteps = Annotated[
    int | None,
    typer.Option(metavar="N", help="Test-time adaptation: updates. Without: 5 with --method tta, none for images."),
]
TtaLr = Annotated[
    float, typer.Option(metavar="RATE", help="Test-time adaptation: learning rate of the deblurring network.")
]
TtaPixels = Annotated[
    int,
    typer.Option(metavar="N", help="Test-time adaptation: pixels of a picture that an update looks at, in turn."),
]
TtaReblur = Annotated[
    str,
    typer.Option(
        metavar="NAME|FILE",
        help="Test-time adaptation: weights of the reblurring module.",
        autocompletion=weights_names,
    ),
]

DEVICE, DTYPE, TILE = DeviceOptions.device, DeviceOptions.dtype, DeviceOptions.tile
