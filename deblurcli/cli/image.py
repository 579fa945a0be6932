"""`deblur image`."""

from __future__ import annotations

from deblurcli.cli.inputs import Inputs, Outputs
from deblurcli.cli.parameters import either, given
from deblurcli.cli.session import Session
from deblurcli.errors import UsageError
from deblurcli.jobs.batch import run_batch
from deblurcli.jobs.plan import plan
from deblurcli.media.inputs import IMAGE_SUFFIXES, IMAGES
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.image import ImageOptions
from deblurcli.options.tta import TtaOptions

Adaptation = either({"tta": TtaOptions}, ("rate", "tta_pixels", "tta_reblur"))
"""How an image is adapted to, None where not given; without --tta-steps it is not."""


def image(
    session: Session,
    inputs: Inputs,
    outputs: Outputs,
    options: ImageOptions,
    adaptation: Adaptation,  # type: ignore[valid-type]
    compute: ComputeOptions,
) -> None:
    """Remove motion blur from images.

    With --tta-steps the network is fine-tuned on each image for some steps (self-supervised, by a reblurring loss), and
    then restores it; the colours stay as in the unadapted result.

    Bit depth, transparency, EXIF data and the colour profile are kept where the output format can hold them.

    Several inputs, a folder, or an OUT that is a folder make a batch: outputs get the names of their inputs, one
    failure does not stop the rest, and a summary ends it. The paths of the written files go to stdout.
    """
    values = given(adaptation)
    if values and options.tta_steps is None:
        name = next(iter(values)).replace("_", "-")
        raise UsageError(f"--{name} means nothing without --tta-steps", "leave it out, or give --tta-steps 5")
    tta = TtaOptions(steps=options.tta_steps, **values)
    planned = plan(inputs, outputs.output, IMAGES, IMAGE_SUFFIXES, outputs.recursive)
    from deblurcli.jobs.image import ImageJob
    from deblurcli.restore.worker import Worker

    jobs = [ImageJob(source, destination, options, tta, compute) for source, destination in planned.pairs]
    run_batch(jobs, planned, Worker(compute, session.console))
