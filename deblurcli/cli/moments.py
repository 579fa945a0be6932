"""`deblur frames` and `deblur still`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deblurcli.cli.parameters import given
from deblurcli.cli.session import Session
from deblurcli.cli.video import MethodOptions
from deblurcli.errors import PartialError, UsageError
from deblurcli.jobs.plan import require_usable
from deblurcli.methods import chosen_method
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.moments import FramesOptions, StillOptions
from deblurcli.options.option import Options, option

if TYPE_CHECKING:
    from deblurcli.jobs.moments import FramesJob, StillJob

Source = Annotated[str, typer.Argument(metavar="INPUT", help="A video, or an image sequence.")]


@dataclass(frozen=True)
class Folder(Options):
    """Where the pictures go."""

    output: str = option(
        help="Where the pictures go; made where it is missing.", panel="Result", metavar="FOLDER",
        flags=("-o", "--output"),
    )  # fmt: skip


@dataclass(frozen=True)
class Picture(Options):
    """Where the picture goes."""

    output: str = option(
        help="The picture to write: .png, .tif or .jpg.", panel="Result", metavar="PICTURE", flags=("-o", "--output")
    )


def frames(
    session: Session,
    source: Source,
    folder: Folder,
    options: FramesOptions,
    of_method: MethodOptions,  # type: ignore[valid-type]
    compute: ComputeOptions,
) -> None:
    """Take the sharpest frame of every interval of a video, restored.

    For photogrammetry, contact sheets and datasets: of every half second (--every) the frame that changes most when it
    is shifted by a pixel, which is the sharpest, is restored and written as NAME_000312.png, with its number from 0.
    Networks adapt to the whole video, as in `deblur video`. Pictures are upright, with square pixels and the video's
    alpha, and have 16 bits where the video has more than 8. The paths of the written files go to stdout.
    """
    from deblurcli.jobs.moments import FramesJob

    method = chosen_method(options, given(of_method))
    job = FramesJob(_video(source), _path("-o", folder.output), options, method, compute)
    _run(job, session)


def still(
    session: Session,
    source: Source,
    picture: Picture,
    options: StillOptions,
    of_method: MethodOptions,  # type: ignore[valid-type]
    compute: ComputeOptions,
) -> None:
    """Restore one moment of a video as a picture, from it and the frames around it.

    Networks adapt to the two seconds before and behind the moment (--around), and restore the frame that is shown then
    with the help of its neighbours. The picture is upright, with square pixels and the video's alpha, and has 16 bits
    where the video has more than 8. The path of the picture goes to stdout.
    """
    from deblurcli.jobs.moments import StillJob

    method = chosen_method(options, given(of_method))
    job = StillJob(_video(source), _path("-o", picture.output), options, method, compute)
    _run(job, session)


def _path(what: str, text: str) -> Path:
    if not text:
        raise UsageError(f"{what} is empty", "give a name")
    return Path(text)


def _video(text: str) -> Path:
    path = _path("the input", text)
    require_usable(path, "video")
    return path


def _run(job: FramesJob | StillJob, session: Session) -> None:
    from deblurcli.restore.worker import Worker

    console = session.console
    result = job.run(Worker(job.compute, console))
    for line in result.plan:
        console.result(line)
    if result.plan:
        return
    for line in result.lines:
        console.note(line)
    facts = {"differences": result.differences, **result.facts}
    console.event("summary", source=job.source, destination=result.destination, **facts)
    for path in result.facts.get("pictures", [result.destination]):
        console.result(str(path))
    if result.differences:
        raise PartialError(f"{result.destination} is written, but: {', '.join(result.differences)}")
