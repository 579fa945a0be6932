"""The commands, and the end of each as an exit code and one line."""

from __future__ import annotations

import os
import shlex
import warnings
from itertools import pairwise
from typing import Annotated, Any

import typer

from deblurcli.cli import compare, doctor, evaluate, image, inspect, metrics, moments, synth, train, video, weights
from deblurcli.cli.pages import Pages
from deblurcli.cli.parameters import Command, command, with_fields
from deblurcli.cli.session import Session
from deblurcli.cli.settings import settings
from deblurcli.console import abandon_stdout
from deblurcli.errors import SIGNALS, UsageError, described
from deblurcli.version import __version__

app = typer.Typer(
    name="deblur",
    cls=Pages,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"deblur {__version__}")
        raise typer.Exit


def deblur(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.", show_default=False)
    ] = False,
) -> None:
    """Remove motion blur from videos and images, adapting the networks to each video.

    Results go to stdout, progress and messages to stderr, and the exit code is the truth.
    """


COMMANDS: dict[str, Command] = {
    "video": video.video,
    "image": image.image,
    "frames": moments.frames,
    "still": moments.still,
    "compare": compare.compare,
    "metrics": metrics.metrics,
    "evaluate": evaluate.evaluate,
    "inspect": inspect.inspect,
    "synth": synth.synth,
    "doctor": doctor.doctor,
}
GROUPS = {"weights": weights.app, "train": train.app}

RENAMED = {"--tta-lr": "--rate", "--deblur-rate": "--rate", "--tta-per": "--adapt-per", "--tta-steps": "--steps"}
"""Options of earlier versions, and their names today."""

app.callback()(with_fields(deblur))
for name, function in COMMANDS.items():
    command(app, name)(function)
for name, commands in GROUPS.items():
    app.add_typer(commands, name=name)


def run(args: list[str]) -> int:
    """Run one command line; returns its exit code."""
    # The wish for JSON must be known for the errors of parsing, too.
    log = "json" if "--log=json" in args or ("--log", "json") in pairwise(args) else "text"
    session = Session(shlex.join(["deblur", *args]), log)
    with warnings.catch_warnings():
        # Python's warnings are for developers; on stderr they would break the JSON log and the bar.
        warnings.showwarning = lambda text, kind, *_: session.console.detail(f"{kind.__name__}: {text}")
        code, message = _outcome(args, session)
    session.console.close()
    session.console.event("exit", code=code, message=message)
    return code


def _outcome(args: list[str], session: Session) -> tuple[int, str]:
    """Exit code and last message. Every way a command can end is one of these."""
    command = typer.main.get_command(app)
    try:
        if "_DEBLUR_COMPLETE" in os.environ:
            command.main(args, prog_name="deblur")
        # Not command.main(): it would report errors, interrupts and broken pipes in its own way.
        if args and {"-h", "--help", "--version"}.isdisjoint(args):
            session.settings = settings(command, os.environ)
        with command.make_context("deblur", list(args) or ["--help"], obj=session) as ctx:
            command.invoke(ctx)
        return 0, "done"
    except typer.Exit as end:
        return (end.exit_code, "done") if args else (UsageError.code, "no command given")
    except KeyboardInterrupt:
        return _ended(130, session)
    except SystemExit as end:
        if end.code in SIGNALS:
            return _ended(int(end.code), session)
        return end.code if isinstance(end.code, int) else int(end.code is not None), "done"
    except BrokenPipeError:
        abandon_stdout()
        return 141, "nobody reads the output"
    except Exception as error:
        if isinstance(error, OSError):
            abandon_stdout()  # what --help could not write is still buffered
        failure = _usage(error) or error
        return session.console.failure(failure), str(described(failure))


def _ended(code: int, session: Session) -> tuple[int, str]:
    session.console.error(f"{SIGNALS[code]}; run the same command again")
    return code, SIGNALS[code]


def _usage(error: Any) -> UsageError | None:
    """The parser's errors, whichever version of it is installed, as ours."""
    if not hasattr(error, "format_message"):
        return None
    context, option = getattr(error, "ctx", None), getattr(error, "option_name", None)
    today = RENAMED.get(str(option))
    if context and any(today in param.opts for param in context.command.params):
        return UsageError(f"no such option: {option}", f"it is called {today} now")
    found = error.format_message().rstrip(".")
    return UsageError(found[:1].lower() + found[1:], f"see {context.command_path if context else 'deblur'} --help")
