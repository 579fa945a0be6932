"""`deblur video`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deblurcli.cli.batch import planned_batch, restore
from deblurcli.cli.inputs import Inputs, Outputs
from deblurcli.cli.parameters import either, given
from deblurcli.cli.session import Session
from deblurcli.errors import UsageError
from deblurcli.media.inputs import VIDEOS
from deblurcli.media.remote import Address
from deblurcli.media.sequences import is_there
from deblurcli.methods import METHODS, chosen_method, require_together
from deblurcli.options.batch import BatchOptions
from deblurcli.options.blur2blur import Blur2BlurOptions
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.option import Options, option
from deblurcli.options.video import VideoOptions

MethodOptions = either({name: entry.options for name, entry in METHODS.items()})
"""The options of all methods, None where not given."""


@dataclass(frozen=True)
class Together(Options):
    """Whether the inputs are one thing to learn from; Python callers name the videos."""

    adapt_together: bool = option(
        False, "One adaptation to all inputs, for videos of one camera, where each would have its own.", "Method"
    )


def video(
    session: Session,
    inputs: Inputs = None,
    *,
    outputs: Outputs,
    batch: BatchOptions,
    together: Together,
    options: VideoOptions,
    of_method: MethodOptions,  # type: ignore[valid-type]
    compute: ComputeOptions,
) -> None:
    """Remove motion blur from videos.

    The networks look at the whole video, adapt to its own blur for a few steps, and restore it frame by frame.
    Audio, subtitles, timestamps and everything else but the pixels stay as they were; what could not be kept is
    named, and the exit code is 3. An output appears only when it is complete. After an interrupt, the same command
    goes on; until then, what is done lies beside the output in a folder .NAME.part.

    Without -o, IMG.mp4 becomes IMG.deblurred.mp4 beside it.

    Numbered pictures are a video, in and out: a folder without videos in it, or a pattern such as frames/%06d.png. They
    keep their depth, and have --fps frames per second. OUT such as out/%06d.png makes a new folder of pictures.

    As INPUT, - is stdin: y4m, as ffmpeg -f yuv4mpegpipe writes it, or any file. As OUT, - is stdout, which gets the
    pictures as y4m and nothing else. stdin is kept on the disk ($TMPDIR, or /var/tmp) while it is restored; only y4m
    from stdin to stdout with --method none goes through frame by frame.

    Several inputs, a folder, or an OUT that is a folder make a batch: outputs get the names of their inputs, one
    failure does not stop the rest, and a summary ends it. With --workers several processes share them, with --shard
    or --cluster several machines; --files-from takes them from a list, and --failed writes what is not done. The paths
    of the written files go to stdout. Each input is adapted to by itself or, with --adapt-together, all of them
    together.
    """
    method = chosen_method(options, given(of_method))
    from deblurcli.media.encoders import CONTAINERS

    planned = planned_batch(inputs, outputs, batch, VIDEOS, CONTAINERS, options.dry_run)
    group: list[Path] = []
    if together.adapt_together:
        require_one_process(batch, method)
        if any(isinstance(path, Address) for pair in planned.pairs for path in pair):
            raise UsageError("--adapt-together with an address", "copy the videos to this machine first")
        missing = (source for source, out in planned.pairs if not (options.skip_existing and is_there(out)))
        group = sorted(missing)
        require_together(method, len(group))
    several = len(planned.pairs) > 1 or bool(batch.shard)
    once = {
        "--save-residual": options.save_residual,
        "--save-translated": options.save_translated,
        "--compare": options.compare,
    }
    learnt = {"--save-adapted": options.save_adapted, "--save-translator": options.save_translator}
    for flag, path in once.items():
        if several and path is not None:
            raise UsageError(f"{flag} with several videos", "give one video")
    for flag, path in learnt.items():
        if several and path is not None and not together.adapt_together:
            raise UsageError(f"{flag} with several videos", "give one video, or --adapt-together")
    session.console.progress("starting", 0, None)  # loading torch takes seconds
    from deblurcli.jobs.video import VideoJob

    jobs = [
        VideoJob(source, out, options, method, compute, tuple(group), planned.batch) for source, out in planned.pairs
    ]
    restore(jobs, planned, compute, batch, session.console)


def require_one_process(batch: BatchOptions, method: Any) -> None:
    """Raises UsageError where several processes would each adapt to the videos that are one thing to learn from."""
    once = "adapt once with --save-adapted FILE and give --network FILE --method none"
    if isinstance(method, Blur2BlurOptions):
        once = "learn once with --save-translator FILE and give --translator FILE"
    for name, shared in (
        ("--workers", batch.workers != "1"),
        ("--shard", batch.shard is not None),
        ("--cluster", batch.cluster is not None),
    ):
        if shared:
            raise UsageError(f"--adapt-together with {name}", f"leave out {name}, or {once}")
