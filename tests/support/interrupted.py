"""Runs of ``deblur video`` that end on the way: segments are short, and a process may stop itself at any stage."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from unittest import mock

import av
import torch
from end_to_end import usual_signals

from deblurcli.cli import main
from deblurcli.cli.app import run
from deblurcli.console import Reporter
from deblurcli.media.copied import CopiedStreams
from deblurcli.media.segments import SegmentWriter

FRAMES = 4
"""In a segment."""
STAGES = ("survey", "adaptation", "restoring", "encoding", "muxing")


class Killed(BaseException):
    """The process is gone: nothing of what follows would have happened."""


@contextmanager
def short_segments() -> Iterator[None]:
    """Segments of ``FRAMES`` frames."""
    with ExitStack() as stack:
        for module in ("writer", "disk_use"):
            stack.enter_context(mock.patch(f"deblurcli.media.{module}.SEGMENT_FRAMES", FRAMES))
        yield


@contextmanager
def ending(stage: str, number: int, end: Callable[[], object]) -> Iterator[None]:
    """Call ``end`` when a stage has come to a frame, a step or a packet."""
    left = number

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            end()

    progress, write, mux = Reporter.progress, SegmentWriter.write, CopiedStreams.mux

    def told(console: Reporter, task: str, *words: object, **facts: object) -> None:
        known = {"survey": "survey", "adaptation": "adapting", "restoring": "restoring"}
        if known.get(stage, stage) in task:
            count()
        progress(console, task, *words, **facts)  # type: ignore[arg-type]

    def written(segment: SegmentWriter, *words: object) -> None:
        if stage == "encoding":
            count()
        write(segment, *words)  # type: ignore[arg-type]

    def muxed(streams: CopiedStreams, *words: object) -> object:
        if stage == "muxing":
            count()
        return mux(streams, *words)  # type: ignore[arg-type]

    with (
        mock.patch.object(Reporter, "progress", told),
        mock.patch.object(SegmentWriter, "write", written),
        mock.patch.object(CopiedStreams, "mux", muxed),
    ):
        yield


def killed(*words: object, stage: str, number: int) -> bool:
    """Run a command line in this process as if it was killed at a stage; whether it came to that."""

    def end() -> None:
        raise Killed

    with ExitStack() as stack:
        stack.enter_context(short_segments())
        stack.enter_context(ending(stage, number, end))
        # Nobody cleans up; only the lock goes, as with the process.
        stack.enter_context(mock.patch("deblurcli.files.PartFolder.clear", lambda folder: None))
        stack.enter_context(mock.patch("deblurcli.files.OutputFile.discard", lambda output: output.file.close()))
        try:
            run([str(word) for word in words])
        except Killed:
            return True
    return False


def eventful(path: Path, shots: tuple[int, ...] = (9, 8)) -> Path:
    """Shots of soft shapes that move, at a variable rate, with sound and subtitles."""
    rng = torch.Generator().manual_seed(len(shots))
    with av.open(str(path), "w") as out:
        video = out.add_stream("ffv1", rate=Fraction(25), time_base=Fraction(1, 1000))
        video.width, video.height, video.pix_fmt = 128, 96, "yuv420p"
        video.codec_context.open()
        video.time_base = Fraction(1, 1000)
        sound = out.add_stream("pcm_s16le", rate=48000)
        text = out.add_mux_stream("subrip")
        text.time_base = Fraction(1, 1000)
        out.start_encoding()
        number = at = 0
        for frames in shots:
            rough = torch.rand(1, 3, 12, 40, generator=rng)
            wide = torch.nn.functional.interpolate(rough, size=(96, 128 + 4 * frames), mode="bicubic")[0].clamp(0, 1)
            for x in range(0, 4 * frames, 4):
                codes = (wide[:, :, x : x + 128] * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
                picture = av.VideoFrame.from_ndarray(codes, "rgb24").reformat(format="yuv420p")
                picture.pts, picture.time_base = at, Fraction(1, 1000)
                out.mux(video.encode(picture))
                samples = (torch.randn(1, 2 * 1920, generator=rng) * 1000).short().numpy()
                block = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
                block.sample_rate, block.pts = 48000, number * 1920
                out.mux(sound.encode(block))
                if number % 6 == 0:
                    packet = av.Packet(f"line {number}".encode())
                    packet.stream, packet.pts, packet.dts, packet.duration = text, at, at, 120
                    packet.time_base = Fraction(1, 1000)
                    out.mux(packet)
                number += 1
                at += 40 + 30 * (number % 3 == 0)
        out.mux(video.encode(None))
        out.mux(sound.encode(None))
    return path


def in_a_process(log: Path, *words: object, place: tuple[str, int, str] | None = None) -> int:
    """Run a command line in a process of its own, in short segments; its exit code, that of a signal negative.

    Args:
        log: where its messages go.
        place: the stage, the number and the name of a signal that the process sends itself there.
    """
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__, "deblurcli.jobs.video", "deblurcli.methods.meta"])
    process = processes.Process(target=_run, args=(log, [str(word) for word in words], place))
    process.start()
    process.join(200)
    assert process.exitcode is not None
    return process.exitcode


def _run(log: Path, words: list[str], place: tuple[str, int, str] | None) -> None:
    with log.open("w") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    usual_signals()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a process that begins with Python
    sys.argv = ["deblur", *words]
    with ExitStack() as stack:
        stack.enter_context(short_segments())
        if place is not None:
            stage, number, name = place
            stack.enter_context(ending(stage, number, lambda: os.kill(os.getpid(), signal.Signals[name])))
        main()
