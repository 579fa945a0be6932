"""`deblur compare`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from deblurcli.cli.session import Session
from deblurcli.errors import PartialError, UsageError
from deblurcli.jobs.plan import require_usable
from deblurcli.media.inputs import is_sequence
from deblurcli.media.sequences import folder_of, stem_of
from deblurcli.options.compare import CompareOptions
from deblurcli.options.option import Options, option


@dataclass(frozen=True)
class Shown(Options):
    """Where a comparison goes."""

    output: str | None = option(
        None,
        "Page (.html), video (.mp4, .mkv, .mov) or picture (.png, .jpg, .tif) to write.",
        "Result",
        metavar="OUT",
        flags=("-o", "--output"),
        usual="AFTER.compare.html, beside AFTER",
    )


def compare(
    session: Session,
    before: Annotated[str, typer.Argument(metavar="BEFORE", help="A video or picture, such as the input.")],
    after: Annotated[str, typer.Argument(metavar="AFTER", help="Another version of it, such as the restored one.")],
    shown: Shown,
    options: CompareOptions,
) -> None:
    """Show what differs between two versions of a video or picture.

    A page (.html) is one file for any browser, which loads nothing: key frames under a slider that mouse, touch and
    keyboard move, the same crops over time, sharpness over time, and numbers. A video (.mp4) or picture (.png) has
    the labels burnt in; --view says what it shows. The key frames are those that differ most in equal parts of the
    video, the crops lie where the change is largest over all frames.

    Both must be pictures, or both videos, of one size and length. They are shown upright and without sound. Numbered
    pictures (a folder, or frames/%06d.png) are a video.
    """
    for name, value in {"BEFORE": before, "AFTER": after, "-o": shown.output}.items():
        if value == "":
            raise UsageError(f"{name} is empty", "give a file")
    from deblurcli.jobs.compare import CompareJob

    console = session.console
    one, other = Path(before), Path(after)
    name = f"{stem_of(other)}.compare.html"
    beside = folder_of(other).absolute() if is_sequence(other) else other
    destination = beside.with_name(name) if shown.output is None else Path(shown.output)
    for path in (one, other):
        require_usable(path)
    result = CompareJob(one, other, destination, options).make(console)
    for line in result.lines:
        console.note(line)
    facts = {"differences": result.differences, **result.facts}
    console.event("summary", source=before, destination=destination, **facts)
    console.result(str(destination))
    if result.differences:
        raise PartialError(f"{destination} is written, but: {', '.join(result.differences)}")
