"""One run of the program: its command line, and where its messages go."""

from __future__ import annotations

from dataclasses import dataclass, field

from deblurcli.console import LOGS, Reporter, sink_for
from deblurcli.options.option import check, option


@dataclass(frozen=True)
class Messages:
    """What every command takes."""

    quiet: bool = option(False, help="Only errors and results.", panel="Messages", flags=("--quiet", "-q"))
    verbose: bool = option(
        False, help="Say more; show the traceback of an unexpected error.", panel="Messages", flags=("--verbose", "-v")
    )
    log: str | None = option(
        None, help="Messages for people (text), or JSON lines (json).", panel="Messages", choices=LOGS, usual="text"
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass
class Session:
    """The ``obj`` of every context."""

    command: str
    """The command line, for the record."""
    log: str = "text"
    quiet: bool = False
    verbose: bool = False
    console: Reporter = field(init=False)

    def __post_init__(self) -> None:
        self._open()

    def say_as(self, messages: Messages) -> None:
        """Take the messages' options of a command; ``deblur -q video`` and ``deblur video -q`` are the same."""
        self.quiet |= messages.quiet
        self.verbose |= messages.verbose
        self.log = messages.log or self.log
        self._open()

    def _open(self) -> None:
        self.console = Reporter(sink_for(self.log), quiet=self.quiet, verbose=self.verbose)
