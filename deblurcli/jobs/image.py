"""One image to restore: read, adapt, restore, write."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from deblurcli.files import check_destination
from deblurcli.jobs.result import Result
from deblurcli.jobs.video import tell_outcome
from deblurcli.media.footage import PictureFootage
from deblurcli.media.images import read_image, write_image
from deblurcli.methods import prepare
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.image import ImageOptions
from deblurcli.options.none import NoneOptions
from deblurcli.options.tta import TtaOptions
from deblurcli.restore.pipeline import restore_frame
from deblurcli.restore.worker import Worker


@dataclass(frozen=True)
class ImageJob:
    """Restore one image at its own depth; alpha, EXIF and colour profile are kept where the format can hold them.

    Args:
        source, destination: image files; the output appears only when complete.
        tta: how it adapts, if ``options`` say that it does; their steps count.
        compute: for the worker that runs it.
    """

    source: Path
    destination: Path
    options: ImageOptions
    tta: TtaOptions
    compute: ComputeOptions

    def run(self, worker: Worker) -> Result:
        """Do it.

        Raises:
            UsageError, InputError, OutputError, WeightsError, OfflineError, DeviceError: see :mod:`deblurcli.errors`.
        """
        options = self.options
        if options.skip_existing and self.destination.exists():
            return Result(self.destination, lines=[f"{self.destination} exists, skipped"], facts={"skipped": True})
        image = read_image(self.source)
        check_destination(self.destination, [self.source], options.overwrite)
        network = worker.place(options.network, "image", "deblur")
        method: NoneOptions | TtaOptions = NoneOptions()
        if options.tta_steps:
            method = replace(self.tta, steps=options.tta_steps, adapt_per="frame")
        picture = image.rgb()
        prepared = prepare(network, PictureFootage([picture], self.source.name), method, worker)
        started = time.monotonic()
        change, broken = restore_frame(prepared, [picture] * prepared.window)
        written = write_image(
            self.destination, image.with_change(change), overwrite=options.overwrite, source=self.source
        )
        result = Result(self.destination, written, facts=network.record())
        if broken:
            result.differences.append("the result came out broken; the input was written instead")
        if prepared.outcome is not None:
            tell_outcome(result, prepared.outcome)
        height, width = picture.shape[-2:]
        result.lines.append(f"restored {width}x{height} in {time.monotonic() - started:.1f} s")
        return result
