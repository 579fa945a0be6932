"""`deblur synth`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from deblurcli.cli.session import Session
from deblurcli.errors import UsageError
from deblurcli.jobs.batch import run_batch
from deblurcli.jobs.engine import Here
from deblurcli.jobs.plan import Plan, left_alone
from deblurcli.media.inputs import IMAGE_SUFFIXES, VIDEO_SUFFIXES, is_picture, look
from deblurcli.media.sequences import stem_of
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.option import Options, option
from deblurcli.options.synth import SynthOptions


@dataclass(frozen=True)
class Folder(Options):
    """Where pairs go, and which files of a folder are inputs."""

    output: str = option(
        help="Where blurred/ and sharp/ go.", panel="Result", metavar="FOLDER", flags=("-o", "--output")
    )
    recursive: bool = option(False, "Take the folders in a folder, too.", "Result")
    sequences: bool = option(False, "A folder of numbered pictures is one video, as deblur video has it.", "Result")


def synth(
    session: Session,
    inputs: Annotated[
        list[str], typer.Argument(metavar="SHARP", help="Sharp photos and videos, folders, or patterns in quotes.")
    ],
    folder: Folder,
    options: SynthOptions,
) -> None:
    """Make pairs of blurred and sharp pictures or videos from sharp ones.

    A photo is seen by a moving camera; a video gets a longer exposure, made from the real motion between its frames.
    Light is averaged linearly; camera response, noise and compression are random. The sharp frame is the exact middle
    of the exposure. FOLDER/blurred and FOLDER/sharp hold files of equal names, as `deblur metrics` takes them: PNG
    for stills, lossless .mkv for clips. A folder gives its photos and videos; with --sequences numbered pictures in it
    are the frames of a video. The paths of the blurred files go to stdout.
    """
    if not folder.output:
        raise UsageError("-o is empty", "give a folder")
    pairs: dict[Path, Path] = {}
    suffixes = VIDEO_SUFFIXES if folder.sequences else IMAGE_SUFFIXES | VIDEO_SUFFIXES
    found = look(inputs, suffixes, folder.recursive, folder.sequences)
    for source in found.files:
        still = is_picture(source) and options.frames == 1
        destination = Path(folder.output) / "blurred" / f"{stem_of(source)}{'.png' if still else '.mkv'}"
        if other := pairs.get(destination):
            raise UsageError(f"{other} and {source} would both be written as {destination}", "run them apart")
        pairs[destination] = source
    from deblurcli.jobs.synth import SynthJob
    from deblurcli.restore.worker import Worker

    jobs = [SynthJob(source, destination, options) for destination, source in pairs.items()]
    planned = Plan([(source, destination) for destination, source in pairs.items()], True, left=left_alone(found))
    worker = Worker(ComputeOptions(device="cpu"), session.console)
    run_batch(jobs, planned, Here(worker), session.console)
