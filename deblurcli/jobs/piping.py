"""A job whose input comes from stdin, or whose output goes to stdout: what it refuses, opens and leaves out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from deblurcli.console import Reporter
from deblurcli.errors import UsageError
from deblurcli.media.footage import Footage, PictureFootage
from deblurcli.media.inputs import STDIN, STDOUT
from deblurcli.media.pipes import Incoming, Outgoing, folder_for, kept_on_disk, send
from deblurcli.options.video import VideoOptions


class Unrecorded:
    """The journal of a run that nothing can go on from: what went to stdout is gone."""

    found = adapted = False
    folder = None

    def __enter__(self) -> Unrecorded:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def begin(self) -> None: ...

    def adaptation(self, *about: object) -> None: ...

    def keep(self, *about: object) -> None: ...

    def unfinished(self, number: int) -> None: ...


@dataclass
class Pipes:
    """The ends of a job that are no files; None: it is one."""

    incoming: Incoming | None = None
    outgoing: Outgoing | None = None
    once: bool = False
    """Nothing can look at the input afterwards."""

    def give_up(self) -> None:
        """Let nobody wait for the other ends any more."""
        for end in (self.incoming, self.outgoing):
            if end is not None:
                end.give_up()


def require_pipes(source: Path, destination: Path, options: Any) -> None:
    """Refuse what a pipe cannot do, before any work. Raises UsageError."""
    if source == STDIN and options.dry_run:
        raise UsageError("--dry-run would use up stdin", "give a file")
    if destination != STDOUT:
        return
    for name in ("resume", "compare", "codec", "crf", "preset"):
        if (given := getattr(options, name, None)) is not None and given is not False:
            raise UsageError(f"--{name} means nothing with -o -", "leave it out, or give a file")


@contextmanager
def piped(source: Path, destination: Path, dry_run: bool = False) -> Iterator[Pipes]:
    """The ends of a job that are pipes, open. Raises UsageError, InputError, OutputError."""
    out = Outgoing() if destination == STDOUT and not dry_run else nullcontext()
    with out as outgoing, Incoming() if source == STDIN else nullcontext() as incoming:
        yield Pipes(incoming, outgoing, once=incoming is not None)


@contextmanager
def piped_files(
    source: Path, destination: Path, console: Reporter, dry_run: bool = False
) -> Iterator[tuple[Path, Path]]:
    """Input and output of an image's job as files: what comes from stdin, and a PNG that goes to stdout in the end.

    Raises UsageError, InputError, OutputError, BrokenPipeError.
    """
    with piped(source, destination, dry_run) as pipes, ExitStack() as files:
        if pipes.incoming is not None:
            source = files.enter_context(kept_on_disk(pipes.incoming, console))
        if destination == STDOUT:
            destination = files.enter_context(folder_for("stdout")) / "stdout.png"
        yield source, destination
        if pipes.outgoing is not None:
            send(destination, pipes.outgoing)


def streams(options: VideoOptions, pipes: Pipes) -> bool:
    """Whether a video goes from pipe to pipe frame by frame: nothing looks at it twice, and nothing needs its end."""
    whole = (options.save_residual, options.save_translated, options.start, options.duration)
    once = options.method == "none" and whole == (None,) * len(whole)
    return once and pipes.outgoing is not None and pipes.incoming is not None and pipes.incoming.is_y4m


def unseen() -> Footage:
    """The frames of a stream for a method that does not look at them."""
    return PictureFootage((), STDIN.name)
