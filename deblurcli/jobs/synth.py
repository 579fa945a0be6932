"""A pair of blurred and sharp pictures or clips from a sharp photo or video: both files appear, or neither."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from torch import Tensor

from deblurcli.errors import InputError
from deblurcli.files import output_files
from deblurcli.jobs.plan import make_folder
from deblurcli.jobs.result import Result
from deblurcli.media.clips import ClipWriter
from deblurcli.media.frames import FrameReader
from deblurcli.media.images import Image, encoded, read_image
from deblurcli.media.inputs import is_picture
from deblurcli.media.videos import open_video
from deblurcli.options.synth import SynthOptions
from deblurcli.restore.worker import Worker
from deblurcli.synth.pairs import MARGIN, integrated, shaken

USUAL_RATE = Fraction(25)
"""Frames per second of a clip from a video without a known rate."""

Pairs = Iterator[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class SynthJob:
    """A sharp photo or video, and where its blurred version goes: ``FOLDER/blurred/NAME.png`` or ``.mkv``.

    The sharp version gets the same name in ``FOLDER/sharp``.
    """

    source: Path
    destination: Path
    options: SynthOptions

    @property
    def sharp(self) -> Path:
        return self.destination.parent.parent / "sharp" / self.destination.name

    def run(self, worker: Worker) -> Result:
        """Make the pair. Raises InputError where the source is too small, and as :class:`OutputFile`."""
        with ExitStack() as stack:
            reader = None if self._is_photo else stack.enter_context(open_video(self.source, fps=self.options.rate))
            pairs, rate, total = self._pairs(reader)
            paths = [self.destination, self.sharp]
            for path in paths:
                make_folder(path.parent)
            outputs = stack.enter_context(output_files(paths, inputs=[self.source], overwrite=self.options.overwrite))
            if self.destination.suffix == ".png":
                for output, picture in zip(outputs, next(pairs), strict=True):
                    samples = (picture * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
                    output.file.write(encoded(Image(samples), output.destination.name)[0])
                count, made = 1, ""
            else:
                clips = [stack.enter_context(ClipWriter(output, rate)) for output in outputs]
                for count, pair in enumerate(pairs, 1):
                    for clip, picture in zip(clips, pair, strict=True):
                        clip.write(picture)
                    worker.console.progress("blurring", count, total)
                count = clips[0].frames
                made = f"{count} frames: "
            differences = reader.damage.lines() if reader else []
        made += f"{self.destination} and {self.sharp}"
        return Result(self.destination, differences, lines=[made], facts={"frames": count})

    @property
    def _is_photo(self) -> bool:
        return is_picture(self.source)

    def _pairs(self, reader: FrameReader | None) -> tuple[Pairs, Fraction, int | None]:
        """Blurred and sharp pictures, their rate, and how many to expect."""
        chosen = self.options
        if reader is None:
            photo = read_image(self.source).rgb()
            if min(photo.shape[-2:]) < 4 * MARGIN:
                raise InputError(f"{self.source} is smaller than {4 * MARGIN} pixels", "give a larger photo")
            pairs = shaken(
                photo,
                chosen.frames,
                float(chosen.rate),
                chosen.blur,
                chosen.seed,
                chosen.gamma,
                chosen.noise,
                chosen.compression,
            )
            return pairs, chosen.rate, chosen.frames
        pictures = (frame.rgb() for frame in reader.frames())
        pairs = integrated(pictures, chosen.shutter, chosen.seed, chosen.gamma, chosen.noise, chosen.compression)
        return pairs, reader.info.video.rate or USUAL_RATE, reader.info.expected_frames
