"""One run of the program: its command line, and where its messages go."""

from __future__ import annotations

from dataclasses import dataclass

from deblurcli.cli.settings import Settings
from deblurcli.console import LOGS, Reporter, sink_for
from deblurcli.options.option import Options, option


@dataclass(frozen=True)
class Messages(Options):
    """What every command takes."""

    quiet: bool = option(False, "Only errors and results.", "Messages", flags=("--quiet", "-q"))
    verbose: bool = option(
        False, "Say more; show the traceback of an unexpected error.", "Messages", flags=("--verbose", "-v")
    )
    log: str | None = option(
        None, "Messages for people (text), or JSON lines (json).", "Messages", choices=LOGS, usual="text"
    )


@dataclass(frozen=True)
class Format(Options):
    """How results are printed that people and programs read."""

    form: str = option("table", "A table to read, or JSON.", "Result", choices=("table", "json"), flags=("--format",))


class Session:
    """The ``obj`` of every context."""

    def __init__(self, command: str, log: str = "text") -> None:
        self.command = command
        """The command line, for the record."""
        self._log = log
        self.console = Reporter(sink_for(log))
        self.settings: Settings = {}

    def say_as(self, messages: Messages) -> None:
        """Take the messages' options of a command; ``deblur -q video`` and ``deblur video -q`` are the same."""
        quiet, verbose = self.console.quiet or messages.quiet, self.console.verbose or messages.verbose
        self._log = messages.log or self._log
        self.console = Reporter(sink_for(self._log), quiet=quiet, verbose=verbose)
