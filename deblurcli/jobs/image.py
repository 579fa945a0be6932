"""One image to restore: read, adapt, restore, write."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from deblurcli.adaptation.outcome import Outcome
from deblurcli.adaptation.translated_frames import PreparedBehind, Translator, translation_by
from deblurcli.adaptation.work import Clip, Speeds
from deblurcli.errors import InputError
from deblurcli.jobs.forecast import duration, forecast, updates
from deblurcli.jobs.piping import piped_files, require_pipes
from deblurcli.jobs.plan import require_place
from deblurcli.jobs.result import Result, skipped
from deblurcli.jobs.run_summary import tell_outcome
from deblurcli.media.footage import PictureFootage
from deblurcli.media.images import SEVERAL, Image, read_pages, require_form, write_pages
from deblurcli.media.inputs import STDOUT
from deblurcli.methods import prepare
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.image import ImageOptions
from deblurcli.options.none import NoneOptions
from deblurcli.options.tta import TtaOptions
from deblurcli.reports.summary import Sharpness, adaptation_sentence
from deblurcli.restore.pipeline import restore_frame
from deblurcli.restore.speed import speed_of
from deblurcli.restore.worker import Placed, Worker
from deblurcli.texts import aligned


@dataclass(frozen=True)
class ImageJob:
    """Restore one image at its own depth, every page of it; its metadata are kept where the format can hold them.

    Args:
        source, destination: image files; the output appears only when complete.
        tta: how it adapts, if ``options`` say that it does; their steps count.
        compute: for the worker that runs it.
        in_batch: the folder of the output is made where it is missing.
    """

    source: Path
    destination: Path
    options: ImageOptions
    tta: TtaOptions
    compute: ComputeOptions
    in_batch: bool = False

    def run(self, worker: Worker) -> Result:
        """Do it.

        Raises:
            UsageError, InputError, OutputError, WeightsError, OfflineError, DeviceError: see :mod:`deblurcli.errors`.
        """
        require_pipes(self.source, self.destination, self.options)
        if self.options.skip_existing and self.destination != STDOUT and self.destination.exists():
            return skipped(self.destination)
        with piped_files(self.source, self.destination, worker.console, self.options.dry_run) as (source, destination):
            result = replace(self, source=source, destination=destination)._run(worker)
        result.destination = self.destination
        if self.destination == STDOUT:
            result.plan = [line.replace(str(destination), "stdout, a PNG") for line in result.plan]
        return result

    def _run(self, worker: Worker) -> Result:
        options = self.options
        pages = read_pages(self.source)
        damage = next((line for page in pages for line in page.damage), None)
        if options.strict and damage is not None:
            raise InputError(f"{self.source.name} is damaged: {damage}", "copy it again, or leave out --strict")
        made = self.in_batch and options.dry_run
        require_place(self.destination, [self.source], overwrite=options.overwrite, made=made)
        form = require_form(pages, self.destination.name)
        worker.console.progress("loading the networks", 0, None)
        network = worker.place(options.network, "image", "deblur")
        translating = None if options.translator is None else worker.place(options.translator, "image", "translate")
        if options.dry_run:
            return self._foretold(pages if form in SEVERAL else pages[:1], network)
        result = Result(self.destination, facts=network.record())
        started = time.monotonic()
        chosen = pages if form in SEVERAL else pages[:1]
        restored, sharpness, outcome = [], Sharpness(), None
        with worker.console.run({"restoring": len(chosen)}):
            for number, page in enumerate(chosen):
                worker.console.progress("restoring", number, len(chosen))
                page, outcome = self._restored(page, network, translating, worker, result, sharpness)
                restored.append(page)
        written = write_pages(self.destination, restored, overwrite=options.overwrite, source=self.source)
        result.differences = [*written, *dict.fromkeys(result.differences)]
        height, width = pages[0].samples.shape[:2]
        count = f"{len(restored)} pictures of " if len(restored) > 1 else ""
        result.lines.append(f"restored {count}{width}x{height} in {time.monotonic() - started:.1f} s")
        result.facts |= sharpness.facts()
        noun = "this picture" if len(restored) == 1 else "the last of the pictures"
        adapted = [] if outcome is None else [outcome]
        found = [sharpness.sentence(), adaptation_sentence(adapted, noun)]
        result.summary = [line for line in found if line]
        return result

    def _foretold(self, pages: list[Image], network: Placed) -> Result:
        """What would be done; everything that could be refused has been checked."""
        height, width = pages[0].samples.shape[:2]
        clip, method = Clip(len(pages), width, height), self._method()
        restoring = speed_of(network, "restoring")
        updating = speed_of(network, "updating") if updates(method) else 0.0
        time = forecast(clip, method, network.spec, Speeds(restoring, updating, restoring))
        steps = f"{self.options.tta_steps} steps of test-time adaptation" if self.options.tta_steps else "no adapting"
        rows = [
            ("input", f"{self.source}: {len(pages)} picture{'s' * (len(pages) > 1)} of {width}x{height}"),
            ("output", str(self.destination)),
            ("network", f"{network.name} in {network.device.precision} on {network.device.where}"),
            ("method", steps),
            ("time", f"about {duration(time.total)}"),
        ]
        return Result(self.destination, plan=aligned(rows), facts={"dry_run": True})

    def _method(self) -> NoneOptions | TtaOptions:
        """How a picture is adapted to."""
        if self.options.tta_steps:
            return replace(self.tta, steps=self.options.tta_steps, adapt_per="frame")
        return NoneOptions()

    def _restored(
        self,
        page: Image,
        network: Placed,
        translating: Placed | None,
        worker: Worker,
        result: Result,
        sharpness: Sharpness,
    ) -> tuple[Image, Outcome | None]:
        """One page restored, and what was adapted to it; ``result`` and ``sharpness`` get what is to be said of it."""
        picture = page.rgb()
        prepared = prepare(network, [PictureFootage([picture], self.source.name)], self._method(), worker)
        if translating is not None:
            outcome = translation_by(translating, "the picture")
            outcome.then = prepared.outcome
            prepared = PreparedBehind(Translator.placed(translating, worker.tile), prepared, outcome)
        change, broken = restore_frame(prepared, [picture] * prepared.window)
        if broken:
            result.differences.append("the result came out broken; the input was written instead")
        if prepared.outcome is not None:
            tell_outcome(result, prepared.outcome)
        sharpness.add(lambda: picture, change)
        return page.with_change(change), prepared.outcome
