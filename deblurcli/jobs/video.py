"""One video to restore: read, adapt, restore, write."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Generator, Hashable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from deblurcli.adaptation.outcome import Outcome, Prepared, PreparedNetwork
from deblurcli.adaptation.residual import Residual
from deblurcli.adaptation.translated_frames import PreparedBehind
from deblurcli.adaptation.update import OUT_OF_MEMORY
from deblurcli.errors import InputError, OutputError, UsageError
from deblurcli.files import OutputFile, check_destination
from deblurcli.jobs.journal import Journal, identity
from deblurcli.jobs.residual import exposure_before
from deblurcli.jobs.result import Result
from deblurcli.jobs.run_comparison import RunComparison
from deblurcli.jobs.translation import TranslatedVideo, require_translation, save_translator, tell_translation
from deblurcli.media.footage import Footage, VideoFootage, shots
from deblurcli.media.images import encoded
from deblurcli.media.probe import library_versions
from deblurcli.media.reader import VideoReader
from deblurcli.media.writer import VideoWriter
from deblurcli.methods import prepare, prepared_for, require_together, stages
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.option import WEIGHTS, Option, spelling
from deblurcli.options.video import OF_ALL_FRAMES, VideoOptions
from deblurcli.reports.residual_map import coloured
from deblurcli.reports.summary import Sharpness, adaptation_sentence, kept_sentence
from deblurcli.restore.pipeline import Restoration, restore_video
from deblurcli.restore.worker import Placed, Worker, state_of
from deblurcli.version import __version__
from deblurcli.weights.save import save_adapted

FINISHING_WORK = 0.005
"""Work of joining all streams and reading the file back, for each pixel, in pixels restored."""
WITHOUT_INFLUENCE = frozenset({"network", "overwrite", "skip_existing", "resume", "strict", "save_adapted", "compare"})
WITHOUT_INFLUENCE |= {"save_translator", *OF_ALL_FRAMES}
"""Options of a video that do not change its frames; of the network, the weights count."""


@dataclass
class _Done:
    """How far a video is."""

    network: Placed
    worker: Worker
    journal: Journal
    writer: VideoWriter
    before: int
    """Frames that an earlier run restored."""
    outcomes: list[Outcome] = field(default_factory=list)
    latest: Prepared | None = None


@dataclass(frozen=True)
class VideoJob:
    """Restore a video; every stream, timestamp and tag except the pixels stays as it was. It can be pickled.

    Args:
        source: the blurred video.
        destination: the file to write; it appears only when complete.
        method: the options of the method that ``options`` names.
        compute: for the worker that runs it.
        together: videos that the method is prepared for once, for all jobs with the same ones and one worker; empty
            where it is prepared for this video alone.
    """

    source: Path
    destination: Path
    options: VideoOptions
    method: Any
    compute: ComputeOptions
    together: tuple[Path, ...] = ()

    @property
    def per_shot(self) -> bool:
        """Whether the method is prepared anew for each shot."""
        return prepared_for(self.method) == "shot"

    def run(self, worker: Worker) -> Result:
        """Do it.

        Raises:
            UsageError, InputError, OutputError, WeightsError, OfflineError, DeviceError: see :mod:`deblurcli.errors`.
        """
        options, console = self.options, worker.console
        if options.skip_existing and self.destination.exists():
            return Result(self.destination, lines=[f"{self.destination} exists, skipped"], facts={"skipped": True})
        if self.together:
            require_together(self.method, len(self.together))
        adapted = bool(self.together) and worker.has(self._group())
        if options.save_adapted is not None and not adapted:
            self._require_savable(options.save_adapted)
        if options.save_residual is not None:
            self._require_drawable(options.save_residual)
        if not adapted:
            inputs = [self.source, *self.together, Path(options.network)]
            require_translation(options, self.method, inputs, self.destination)
        comparison = None
        if options.compare is not None:
            comparison = RunComparison(self.source, options, self.method, self.compute)
            comparison.require_drawable()
        console.progress("loading the networks", 0, None)
        network = worker.place(options.network, "video", "deblur")
        with ExitStack() as open_files:
            reader = open_files.enter_context(VideoReader(self.source, copied=True, strict=options.strict))
            if reader.info.video.interlaced:
                console.warn(f"{self.source.name} is interlaced; deinterlace it first for a good result")
            # The output is opened before the first frame is looked at: what cannot be written is known at once.
            journal = open_files.enter_context(self._journal(network, worker))
            total = reader.info.expected_frames
            open_files.enter_context(console.run(self._stages(network, reader, resumed=journal.found or adapted)))
            # Before the output, so that it gets its name after it, and not without it.
            picture = open_files.enter_context(self._picture(options.save_residual)) if options.save_residual else None
            translated = None
            if options.save_translated is not None:
                translated = open_files.enter_context(TranslatedVideo(self.source, options.save_translated, options))
            writer = open_files.enter_context(
                VideoWriter(
                    reader,
                    self.destination,
                    codec=options.codec,
                    crf=options.crf,
                    preset=options.preset,
                    overwrite=options.overwrite,
                    folder=journal.folder,
                    completed=journal.forget,
                    muxed=lambda frames: console.progress("finishing", frames, total),
                )
            )
            for line in writer.foreseen:
                console.warn(f"{self.source.name}: {line}")
            console.note(f"{self.source.name}: {writer.require_room()}")
            with _for_output(writer):
                journal.begin()
            before = writer.frames
            progress = _Done(network, worker, journal, writer, before)
            if journal.found:
                stopped = f"behind frame {before}" if before else "with what it had adapted"
                console.note(f"{self.source.name}: a run was interrupted; going on {stopped}")
            if writer.damaged:
                console.warn(f"{self.source.name}: damaged segments are left out, their frames restored again")
            residual, sharpness = None, Sharpness(total)
            if picture is not None:
                console.progress("finding the exposure", 0, None)
                residual = Residual(exposure_before(network, self.source, worker.tile, strict=options.strict))
            spans = open_files.enter_context(closing(self._spans(VideoFootage(self.source, strict=options.strict))))
            prepared = self._prepared(spans, progress)
            done = restore_video(
                reader.items(),
                writer.write,
                prepared if translated is None else translated.noting(prepared),
                console,
                per_shot=self.per_shot,
                before=before,
                total=total,
                watch=None if residual is None else residual.add,
                beside=None if translated is None else translated.write,
                changed=sharpness.add,
            )
            console.progress("finishing", 0, total)
            if picture is not None and residual is not None:
                picture.file.write(encoded(coloured(residual.map()), picture.destination.name)[0])
        result = Result(self.destination, facts={"method": options.method} | network.record())
        if not self.together and progress.latest is not None:
            self._save(progress.latest, network, self.source.name)
        for outcome in progress.outcomes:
            tell_outcome(result, outcome)
            if options.save_adapted is not None and outcome.kept:
                result.lines.append(f"adapted weights: {options.save_adapted}")
            elif options.save_adapted is not None:
                result.differences.append(f"the adaptation was undone, {options.save_adapted} was not written")
            tell_translation(result, outcome, options)
        _tell_run(result, done, before, reader, writer)
        result.facts |= sharpness.facts()
        if residual is not None:
            result.lines.append(f"residual: {residual.line()}")
            result.facts["residual"] = residual.facts()
        if comparison is not None:
            comparison.add(result, console)
        others = [other.kind for other in reader.info.others]
        result.summary = self._summary(result, sharpness, progress.outcomes, others, writer.notes)
        return result

    def _summary(
        self, result: Result, sharpness: Sharpness, outcomes: list[Outcome], others: list[str], notes: list[str]
    ) -> list[str]:
        """The run in plain words. ``others``: kinds of the other streams. ``notes``: of the writer."""
        options = self.options
        files = [options.compare, options.save_adapted, options.save_residual, options.save_translated]
        made = [str(path) for path in (*files, options.save_translator) if path is not None and path.exists()]
        compare = shlex.join(["deblur", "compare", str(self.source), str(self.destination), "-o", "compare.html"])
        found = [
            sharpness.sentence(),
            adaptation_sentence(outcomes, "this clip"),
            kept_sentence(others, result.differences),
            *notes,
            f"Also written: {', '.join(made)}." if made else "",
            "" if options.compare is not None else f"See the difference: {compare}",
        ]
        return [line for line in found if line]

    def _stages(self, network: Placed, reader: VideoReader, *, resumed: bool) -> dict[str, float | None]:
        """The stages of the run and the work of each. ``resumed``: what adapts has done so already."""
        video, frames = reader.info.video, reader.info.expected_frames
        pixels = (frames or 0) * video.height * video.width
        found: dict[str, float | None] = {}
        if not resumed and not self.per_shot:
            found = stages(network, self.method, pixels, (video.height, video.width))
        return found | {"restoring": float(pixels) if frames else None, "finishing": FINISHING_WORK * pixels}

    def _require_savable(self, path: Path) -> None:
        """Raises UsageError or OutputError where the adapted network cannot be saved, before any work."""
        method, per = self.method, prepared_for(self.method)
        if not hasattr(method, "updates"):
            raise UsageError(f"--save-adapted with --method {self.options.method}", "choose a method that adapts")
        if not method.updates:
            raise UsageError("--save-adapted with --steps 0", "give some steps")
        if per != "video":
            raise UsageError(f"--save-adapted with --adapt-per {per}", "one file holds one network: adapt per video")
        if path.suffix != ".safetensors":
            raise UsageError(f"--save-adapted {path} is not a name of weights", "let it end in .safetensors")
        check_destination(path, [self.source, *self.together, Path(self.options.network)], self.options.overwrite)

    def _require_drawable(self, path: Path) -> None:
        """Raises UsageError or OutputError where the residual's map cannot be written, before any work."""
        if path.suffix.lower() != ".png":
            raise UsageError(f"--save-residual {path} is not a name for the map", "let it end in .png")
        check_destination(path, [self.source, Path(self.options.network)], self.options.overwrite)

    def _picture(self, path: Path) -> OutputFile:
        return OutputFile(path, inputs=[self.source, Path(self.options.network)], overwrite=self.options.overwrite)

    def _spans(self, footage: Footage) -> Generator[Footage, None, None]:
        """The parts of the video that the method is prepared for: one at least, even of a video without frames."""
        found = None
        for found in shots(footage) if self.per_shot else ():
            yield found
        if found is None:
            yield footage

    def _prepared(self, spans: Iterator[Footage], done: _Done) -> Iterator[Prepared]:
        """The method for one span after the other, prepared when it is asked for: memory does not grow with shots.

        What an earlier run has finished is taken from the journal, and what adapts is put down in it. Where several
        videos are adapted to together, the first of their jobs prepares the method for all.
        """
        network, worker = done.network, done.worker
        for number, span in enumerate(spans):
            prepared = done.journal.adaptation(number, done.before, network, worker)
            if prepared is None:
                if self.together:
                    prepared = worker.shared(self._group(), lambda: self._prepared_together(network, worker))
                else:
                    prepared = prepare(network, [span], self.method, worker)
                with _for_output(done.writer):
                    done.journal.keep(number, span.first, prepared, network)
            if prepared.outcome is not None:
                done.outcomes.append(prepared.outcome)
            done.latest = prepared
            yield prepared

    def _journal(self, network: Placed, worker: Worker) -> Journal:
        """What an interrupted run left. Raises UsageError: it was made of something else."""
        options, compute = self.options, self.compute
        made_of = {
            "input": identity(self.source),
            "version": f"{__version__} (torch {torch.__version__}, {library_versions()})",
            "weights": network.loaded.origin,
            "device": f"{network.device.where} {network.device.precision}",
            "--tile": compute.tile,
        }
        for owner in (options, self.method):
            for each in fields(owner):
                about, value = each.metadata["option"], getattr(owner, each.name)
                if each.name in WITHOUT_INFLUENCE:
                    continue
                if about.complete == WEIGHTS and value is not None and Path(value).is_file():
                    value = identity(Path(value))
                made_of[spelling(each.name, about)] = "usual" if value is None else str(value)
        if self.together:
            made_of["videos adapted to together"] = ", ".join(map(str, self.together))
        whole = []
        for name, what in OF_ALL_FRAMES.items():
            flag, chosen = spelling(name, Option("")), getattr(options, name) is not None
            made_of[flag] = "given" if chosen else "none"
            whole += [f"the {what} of {flag} is of all frames"] if chosen else []
        return Journal(
            self.destination,
            made_of,
            {"threads": torch.get_num_threads(), "tile": PreparedNetwork(network, worker.tile).restorer.side},
            resume=options.resume,
            anew=" and ".join(whole),
            inputs=(self.source,),
            overwrite=options.overwrite,
            console=worker.console,
        )

    def _group(self) -> Hashable:
        """What an adaptation to several videos depends on: equal for the jobs that share it."""
        files = [state_of(path) for path in (*self.together, Path(self.options.network))]
        options = self.options
        return (*files, self.method, options.strict, options.save_adapted, options.save_translator)

    def _prepared_together(self, network: Placed, worker: Worker) -> Prepared:
        """The method prepared for all the videos. One that cannot be read is named and left out."""
        worker.console.note(f"adapting to {len(self.together)} videos together")
        called = Counter(path.name for path in self.together)
        footages: list[Footage] = []
        for path in self.together:
            try:
                footage = VideoFootage(path, strict=self.options.strict)
            except InputError as error:
                worker.console.warn(f"not adapted to: {error}")
            else:
                footage.name = path.name if called[path.name] == 1 else str(path)
                footages.append(footage)
        if not footages:
            raise InputError("none of the videos to adapt to together can be read", "the lines above say why")
        prepared = prepare(network, footages, self.method, worker)
        facts = prepared.outcome.facts if prepared.outcome is not None else {}
        self._save(prepared, network, ", ".join(facts.get("videos", [footages[0].name])))
        return prepared

    def _save(self, prepared: Prepared, network: Placed, source: str) -> None:
        """Save what was asked to be saved, of an adaptation that was kept. ``source``: what it was adapted to."""
        outcome, options = prepared.outcome, self.options
        if outcome is None or not outcome.kept:
            return
        if options.save_adapted is not None:
            adaptation = {"method": outcome.method, "options": asdict(self.method)}
            adaptation |= {"camera": outcome.facts["camera"]} if "camera" in outcome.facts else {}
            save_adapted(options.save_adapted, prepared.state(), network.loaded, source, adaptation)
        if options.save_translator is not None and isinstance(prepared, PreparedBehind):
            save_translator(options.save_translator, prepared, source)


@contextmanager
def _for_output(writer: VideoWriter) -> Iterator[None]:
    """What the journal cannot write is told as what the output cannot. Raises OutputError."""
    try:
        yield
    except OutputError as error:
        raise writer.failed(error) from error


def tell_outcome(result: Result, outcome: Outcome) -> None:
    """Add an adaptation to what is said of a file."""
    result.lines.append(outcome.line())
    result.facts.setdefault("adaptations", []).append(outcome.record())
    result.facts["weights"] |= outcome.weights
    said = "memory ran out while adapting; the unadapted network was used"
    if outcome.reason == OUT_OF_MEMORY and said not in result.differences:
        result.differences.append(said)
    if outcome.then is not None:
        tell_outcome(result, outcome.then)


def _tell_run(result: Result, done: Restoration, before: int, reader: VideoReader, writer: VideoWriter) -> None:
    """Turn counters into lines and differences. ``before``: frames that an earlier run had restored."""
    rate = done.frames / max(done.seconds, 1e-9)
    earlier = f" ({before} before the interrupt)" if before else ""
    result.lines.append(
        f"restored {writer.frames} frames{earlier} in {done.seconds:.1f} s ({rate:.2f} frames/s), written as"
        f" {writer.codec} {writer.pix_fmt}"
    )
    if before:
        result.facts["resumed_behind"] = before
    if others := [other.index for other in reader.info.others if other.kind == "video" and not other.attached_picture]:
        copied = " and ".join(map(str, others))
        result.lines.append(f"video stream {reader.info.video.index} was restored; {copied} was copied as it is")
    result.lines += writer.notes
    result.facts |= {"frames": writer.frames, "seconds": round(done.seconds, 2), "codec": writer.codec}
    if done.cuts:
        result.facts["cuts"] = done.cuts
    result.differences += writer.differences
    if writer.replaced:
        result.differences.append(f"{writer.replaced} frames came out broken; the input frames were written instead")
    result.differences += reader.damage.lines()
