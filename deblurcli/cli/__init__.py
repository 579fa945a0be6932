"""The command `deblur`: parse, call the API, turn exceptions into exit codes.

Nothing heavy is imported before a command runs, so that `--help` and completion answer at once.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
import warnings
from itertools import pairwise
from typing import Annotated, Any, Literal, NoReturn

import typer

from deblurcli.cli import doctor, image, inspect, metrics, synth, train, video, weights
from deblurcli.cli.session import Log, Quiet, Session, Verbose, begin, explain
from deblurcli.console import Reporter
from deblurcli.errors import SIGINT_CODE, SIGTERM_CODE, UsageError
from deblurcli.version import __version__

# Nobody reads stdout any more: what the shell shows for a program that SIGPIPE ended.
SIGPIPE_CODE = 141

app = typer.Typer(
    name="deblur",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"deblur {__version__}")
        raise typer.Exit


@app.callback()
def deblur(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    log: Log = "",
) -> None:
    """Remove motion blur from videos and images, adapting the networks to each video.

    Results go to stdout, progress and messages to stderr, and the exit code is the truth.
    """
    begin(ctx, quiet, verbose, log)


app.command("video")(video.video)
app.command("image")(image.image)
app.add_typer(weights.app, name="weights")
app.command("metrics")(metrics.metrics)
app.command("inspect")(inspect.inspect)
app.command("synth")(synth.synth)
app.command("train")(train.train)
app.command("doctor")(doctor.doctor)


def run(args: list[str]) -> int:
    """Run one command line; returns its exit code."""
    # The wish for JSON must be known for the errors of parsing, too.
    log: Literal["text", "json"] = "json" if "--log=json" in args or ("--log", "json") in pairwise(args) else "text"
    session = Session(shlex.join(["deblur", *args]), Reporter(log), log)
    with warnings.catch_warnings():
        # Python's warnings are for developers; on stderr they would break the JSON log and the bar.
        warnings.showwarning = lambda text, kind, *_: session.report.detail(f"{kind.__name__}: {text}")
        code, message = _outcome(args, session)
    session.report.close()
    session.report.event("exit", code=code, message=message)
    return code


def _outcome(args: list[str], session: Session) -> tuple[int, str]:
    """Exit code and last message. Every way a command can end is one of these."""
    command = typer.main.get_command(app)
    try:
        if "_DEBLUR_COMPLETE" in os.environ:
            command.main(args, prog_name="deblur")
        # Not command.main(): it would report errors, interrupts and broken pipes in its own way.
        with command.make_context("deblur", list(args) or ["--help"], obj=session) as ctx:
            command.invoke(ctx)
        return 0, "done"
    except typer.Exit as end:
        return (end.exit_code, "done") if args else (UsageError.code, "no command given")
    except KeyboardInterrupt:
        session.report.error("interrupted; run the same command again")
        return SIGINT_CODE, "interrupted"
    except SystemExit as end:
        if end.code == SIGTERM_CODE:
            session.report.error("terminated; run the same command again")
            return SIGTERM_CODE, "terminated"
        return end.code if isinstance(end.code, int) else int(end.code is not None), "done"
    except BrokenPipeError:
        # Python flushes stdout once more at its end; it must not fail there.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SIGPIPE_CODE, "nobody reads the output"
    except Exception as error:
        return explain(session.report, _usage(error) or error)


def _usage(error: Any) -> UsageError | None:
    """The parser's errors, whichever version of it is installed, as ours."""
    if not hasattr(error, "format_message"):
        return None
    found = error.format_message().rstrip(".")
    context = getattr(error, "ctx", None)
    return UsageError(found[:1].lower() + found[1:], f"see {context.command_path if context else 'deblur'} --help")


def _terminate(*_: Any) -> NoReturn:
    # Once: `timeout` and some schedulers send it twice, and the second must not cut the cleaning up short.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(SIGTERM_CODE)


def main() -> NoReturn:
    """The console script."""
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(run(sys.argv[1:]))
