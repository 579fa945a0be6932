"""`deblur image`."""

from __future__ import annotations

from deblurcli.cli.batch import planned_batch, restore
from deblurcli.cli.inputs import Inputs, Outputs
from deblurcli.cli.parameters import either, given
from deblurcli.cli.session import Session
from deblurcli.errors import UsageError
from deblurcli.media.inputs import IMAGE_SUFFIXES, IMAGES
from deblurcli.options.batch import BatchOptions
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.image import ImageOptions
from deblurcli.options.tta import TtaOptions

Adaptation = either({"tta": TtaOptions}, ("rate", "tta_pixels", "tta_reblur"))
"""How an image is adapted to, None where not given; without --tta-steps it is not."""


def image(
    session: Session,
    inputs: Inputs = None,
    *,
    outputs: Outputs,
    batch: BatchOptions,
    options: ImageOptions,
    adaptation: Adaptation,  # type: ignore[valid-type]
    compute: ComputeOptions,
) -> None:
    """Remove motion blur from images.

    With --tta-steps the network is fine-tuned on each image for some steps (self-supervised, by a reblurring loss), and
    then restores it; the colours stay as in the unadapted result.

    Bit depth, transparency, EXIF data and the colour profile are kept where the output format can hold them.

    Without -o, photo.jpg becomes photo.deblurred.jpg beside it. As INPUT, - is stdin; as OUT, stdout, which gets a PNG.

    Several inputs, a folder, or an OUT that is a folder make a batch: outputs get the names of their inputs, one
    failure does not stop the rest, and a summary ends it. With --workers several processes share them, with --shard
    or --cluster several machines; --files-from takes them from a list, and --failed writes what is not done. The paths
    of the written files go to stdout.
    """
    values = given(adaptation)
    if values and options.tta_steps is None:
        name = next(iter(values)).replace("_", "-")
        raise UsageError(f"--{name} means nothing without --tta-steps", "leave it out, or give --tta-steps 5")
    tta = TtaOptions(steps=options.tta_steps, **values)
    planned = planned_batch(inputs, outputs, batch, IMAGES, IMAGE_SUFFIXES, options.dry_run)
    session.console.progress("starting", 0, None)  # loading torch takes seconds
    from deblurcli.jobs.image import ImageJob

    jobs = [
        ImageJob(source, destination, options, tta, compute, planned.batch) for source, destination in planned.pairs
    ]
    restore(jobs, planned, compute, batch, session.console)
