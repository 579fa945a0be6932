"""One video to restore: read, adapt, restore, write."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Hashable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from deblurcli.adaptation.outcome import Outcome, Prepared, PreparedNetwork
from deblurcli.adaptation.residual import Residual
from deblurcli.console import Reporter
from deblurcli.errors import InputError, OutputError, UsageError
from deblurcli.files import OutputFile, part_folder
from deblurcli.jobs.journal import Journal, identity, made_of, require_resumable
from deblurcli.jobs.piping import Pipes, Unrecorded, piped, require_pipes, streams, unseen
from deblurcli.jobs.plan import require_place
from deblurcli.jobs.residual import exposure_before
from deblurcli.jobs.result import Result, skipped
from deblurcli.jobs.run_comparison import RunComparison
from deblurcli.jobs.run_plan import expected, plan_run
from deblurcli.jobs.run_summary import in_plain_words, tell_outcome, tell_run
from deblurcli.jobs.saving import require_drawable, require_savable, save
from deblurcli.jobs.translation import TranslatedVideo, require_translation, tell_translation
from deblurcli.media.excerpt import Excerpt, excerpt_of
from deblurcli.media.footage import Footage, VideoFootage, shots
from deblurcli.media.frames import FrameReader, FrameWriter
from deblurcli.media.images import encoded
from deblurcli.media.inputs import STDOUT, is_sequence
from deblurcli.media.pipes import kept_on_disk
from deblurcli.media.sequences import is_there, name_of, place_of
from deblurcli.media.videos import check_output, open_video, write_video
from deblurcli.media.y4m import Y4mReader, Y4mWriter
from deblurcli.methods import prepare, prepared_for, require_together
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.option import Option, spelling
from deblurcli.options.video import OF_ALL_FRAMES, VideoOptions
from deblurcli.reports.residual_map import coloured
from deblurcli.reports.summary import Sharpness
from deblurcli.restore.fading import SHARP_BELOW, Fading
from deblurcli.restore.lucky import LuckyFrames, reach_within
from deblurcli.restore.pipeline import restore_video, waiting_frames
from deblurcli.restore.worker import Placed, Worker, state_of
from deblurcli.texts import aligned


@dataclass
class _Done:
    """How far a video is."""

    network: Placed
    worker: Worker
    journal: Journal | Unrecorded
    writer: FrameWriter
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
        in_batch: the folder of the output is made where it is missing.
    """

    source: Path
    destination: Path
    options: VideoOptions
    method: Any
    compute: ComputeOptions
    together: tuple[Path, ...] = ()
    in_batch: bool = False

    @property
    def excerpt(self) -> Excerpt | None:
        """The part of the video that is restored; None: all of it."""
        return excerpt_of(self.options.start, self.options.duration)

    @property
    def per_shot(self) -> bool:
        """Whether the method is prepared anew for each shot."""
        return prepared_for(self.method) == "shot"

    def run(self, worker: Worker) -> Result:
        """Do it.

        Raises:
            UsageError, InputError, OutputError, WeightsError, OfflineError, DeviceError: see :mod:`deblurcli.errors`.
        """
        require_pipes(self.source, self.destination, self.options)
        if self.options.skip_existing and self.destination != STDOUT and is_there(self.destination):
            return skipped(self.destination)
        with piped(self.source, self.destination, self.options.dry_run) as pipes:
            if pipes.incoming is None or streams(self.options, pipes):
                return self._run(worker, pipes)
            with kept_on_disk(pipes.incoming, worker.console) as path:
                return replace(self, source=path)._run(worker, Pipes(None, pipes.outgoing, once=True))

    def _run(self, worker: Worker, pipes: Pipes) -> Result:
        options, console = self.options, worker.console
        if self.together:
            require_together(self.method, len(self.together))
        adapted = bool(self.together) and worker.has(self._group())
        if not adapted:
            require_savable(options, self.method, [self.source, *self.together])
        require_drawable(options, [self.source])
        if not adapted:
            inputs = [self.source, *self.together, Path(options.network)]
            require_translation(options, self.method, inputs, self.destination)
        comparison = None
        if options.compare is not None:
            comparison = RunComparison(self.source, options, self.method, self.compute, self.excerpt)
            comparison.require_drawable()
        console.progress("loading the networks", 0, None)
        network = worker.place(options.network, "video", "deblur")
        if options.dry_run:
            return self._foretold(network, worker)
        with ExitStack() as open_files:
            excerpt = self.excerpt
            reader = open_files.enter_context(self._reader(pipes))
            if reader.info.video.interlaced:
                console.warn(f"{name_of(self.source)} is interlaced; deinterlace it first for a good result")
            # The output is opened before the first frame is looked at: what cannot be written is known at once.
            recorded = pipes.outgoing is None
            journal: Journal | Unrecorded = self._journal(network, worker) if recorded else Unrecorded()
            open_files.enter_context(journal)
            total, reach = reader.info.expected_frames, self._reach(reader)
            there = journal.adapted or adapted
            open_files.enter_context(console.run(expected(reader, network, self.method, adapted=there)))
            # Before the output, so that it gets its name after it, and not without it.
            picture = open_files.enter_context(self._picture(options.save_residual)) if options.save_residual else None
            translated = None
            if options.save_translated is not None:
                translated = open_files.enter_context(
                    TranslatedVideo(self.source, options.save_translated, options, excerpt)
                )
            writer = open_files.enter_context(self._writer(reader, journal, pipes, console))
            for line in writer.foreseen:
                console.warn(f"{name_of(self.source)}: {line}")
            room = writer.require_room()
            if room:
                console.note(f"{name_of(self.source)}: {room}")
            if not console.quiet:
                left = journal.found and journal.adapted
                told = (reader, writer, network, options, self.method, worker)
                plan_run(*told, reach=reach, room=room, adapted=left).tell(console)
            with _for_output(writer):
                journal.begin()
            before = writer.frames
            progress = _Done(network, worker, journal, writer, before)
            if journal.found:
                learnt = "with what it had adapted" if journal.adapted else "with its steps of adapting"
                stopped = f"behind frame {before}" if before else learnt
                console.note(f"{name_of(self.source)}: a run was interrupted; going on {stopped}")
            if writer.damaged:
                console.warn(f"{name_of(self.source)}: damaged segments are left out, their frames restored again")
            if excerpt is not None:
                others = "; the other streams are cut to it" if reader.info.others else ""
                console.note(f"{name_of(self.source)}: only {excerpt.told(reader.info)}{others}")
            residual, footage = None, self._footage(pipes)
            sharpness = Sharpness(total)
            if picture is not None and isinstance(footage, VideoFootage):
                console.progress("finding the exposure", 0, None)
                residual = Residual(exposure_before(network, footage, worker.tile))
            spans = open_files.enter_context(closing(self._spans(footage)))
            prepared = self._prepared(spans, progress)
            video = reader.info.video
            done = restore_video(
                writer.taken(reader.items()),
                writer.write,
                prepared if translated is None else translated.noting(prepared),
                console,
                per_shot=self.per_shot,
                before=before,
                total=total,
                watch=None if residual is None else residual.add,
                beside=None if translated is None else translated.write,
                changed=sharpness.add,
                give_up=pipes.give_up,
                lucky=LuckyFrames(reach, deep=reader.layout.depth > 8) if reach else None,
                fading=Fading(options.sharp_below or SHARP_BELOW) if options.only_blurred else None,
                waiting=waiting_frames(video.height, video.width, worker.device.where),
            )
            console.progress("finishing", 0, total)
            if picture is not None and residual is not None:
                picture.file.write(encoded(coloured(residual.map()), picture.destination.name)[0])
        result = Result(self.destination, facts={"method": options.method} | network.record())
        if not self.together and progress.latest is not None:
            save(progress.latest, network, options, self.method, name_of(self.source))
        for outcome in progress.outcomes:
            tell_outcome(result, outcome)
            if options.save_adapted is not None and outcome.kept:
                result.lines.append(f"adapted weights: {options.save_adapted}")
            elif options.save_adapted is not None:
                result.differences.append(f"the adaptation was undone, {options.save_adapted} was not written")
            tell_translation(result, outcome, options)
        tell_run(result, done, before, reader, writer, options)
        result.facts |= sharpness.facts()
        if residual is not None:
            result.lines.append(f"residual: {residual.line()}")
            result.facts["residual"] = residual.facts()
        if comparison is not None:
            comparison.add(result, console)
        kinds = [other.kind for other in reader.info.others]
        source = None if pipes.once else self.source
        result.summary = in_plain_words(source, result, options, sharpness, progress.outcomes, kinds, writer.notes)
        return result

    def _foretold(self, network: Placed, worker: Worker) -> Result:
        """The plan, with everything checked that a run would refuse, and nothing written. Raises as :meth:`run`."""
        options = self.options
        if self.destination != STDOUT:
            inputs, made = [self.source], self.in_batch
            require_place(self.destination, inputs, overwrite=options.overwrite, made=made, check=check_output)
        with self._opened(self.source, copied=True) as reader:
            adapted = False
            if self.destination == STDOUT:
                writer: FrameWriter = Y4mWriter(reader, None)
            else:
                folder = part_folder(place_of(self.destination))
                adapted = require_resumable(folder, self.destination, self._made_of(network), options.resume)
                writer = write_video(reader, self.destination, folder=folder / "none", **self._encoder)
            room = writer.require_room()
            told = (reader, writer, network, options, self.method, worker)
            plan = plan_run(*told, reach=self._reach(reader), room=room, adapted=adapted, asked=True)
        worker.console.event("plan", **plan.facts())
        return Result(self.destination, plan=aligned(plan.rows), facts={"dry_run": True})

    def _opened(self, path: Path, *, copied: bool) -> FrameReader:
        options = self.options
        return open_video(path, copied=copied, strict=options.strict, excerpt=self.excerpt, fps=options.fps)

    def _reader(self, pipes: Pipes) -> FrameReader:
        """The video, open. Raises InputError, UsageError."""
        if pipes.incoming is not None:
            return Y4mReader(pipes.incoming, strict=self.options.strict)
        return self._opened(self.source, copied=pipes.outgoing is None)

    def _footage(self, pipes: Pipes) -> Footage:
        """The frames again, to look at."""
        return self._again(self.source) if pipes.incoming is None else unseen()

    def _again(self, path: Path) -> VideoFootage:
        return VideoFootage(path, strict=self.options.strict, excerpt=self.excerpt, fps=self.options.fps)

    @property
    def _encoder(self) -> dict[str, Any]:
        options = self.options
        return {"codec": options.codec, "crf": options.crf, "preset": options.preset}

    def _writer(
        self, reader: FrameReader, journal: Journal | Unrecorded, pipes: Pipes, console: Reporter
    ) -> FrameWriter:
        """Where the frames go, open. Raises UsageError, OutputError."""
        if pipes.outgoing is not None:
            return Y4mWriter(reader, pipes.outgoing)
        assert isinstance(journal, Journal)
        total = reader.info.expected_frames
        return write_video(
            reader,
            self.destination,
            overwrite=self.options.overwrite,
            folder=journal.folder.path,
            completed=journal.forget,
            muxed=lambda frames: console.progress("finishing", frames, total),
            **self._encoder,
        )

    def _reach(self, reader: FrameReader) -> int:
        """Frames from which another one may take detail; 0 where none is to, or frames are too large to wait."""
        return reach_within(reader.info.video.height, reader.info.video.width, self.options.lucky_frames)

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
                    worker.unfinished = done.journal.unfinished(number)
                    try:
                        prepared = prepare(network, [span], self.method, worker)
                    finally:
                        worker.unfinished = None
                with _for_output(done.writer):
                    done.journal.keep(number, span.first, prepared, network)
            if prepared.outcome is not None:
                done.outcomes.append(prepared.outcome)
            done.latest = prepared
            yield prepared

    def _journal(self, network: Placed, worker: Worker) -> Journal:
        """What an interrupted run left. Raises UsageError: it was made of something else."""
        options = self.options
        whole = [
            f"the {what} of {spelling(name, Option(''))} is of all frames"
            for name, what in OF_ALL_FRAMES.items()
            if getattr(options, name) is not None
        ]
        return Journal(
            self.destination,
            self._made_of(network),
            {
                "threads": torch.get_num_threads(),
                "tile": PreparedNetwork(network, worker.tile).restorer.side,
                "convolutions": "filtered" if network.quick else "direct",
            },
            resume=options.resume,
            anew=" and ".join(whole),
            inputs=(self.source,),
            overwrite=options.overwrite,
            console=worker.console,
        )

    def _made_of(self, network: Placed) -> dict[str, str]:
        return made_of(self.source, network, self.options, self.method, self.compute, self.together)

    def _group(self) -> Hashable:
        """What an adaptation to several videos depends on: equal for the jobs that share it."""
        videos = [identity(path) if is_sequence(path) else state_of(path) for path in self.together]
        files = [*videos, state_of(Path(self.options.network))]
        options = self.options
        return (*files, self.method, self.excerpt, options.strict, options.save_adapted, options.save_translator)

    def _prepared_together(self, network: Placed, worker: Worker) -> Prepared:
        """The method prepared for all the videos. One that cannot be read is named and left out."""
        worker.console.note(f"adapting to {len(self.together)} videos together")
        called = Counter(path.name for path in self.together)
        footages: list[Footage] = []
        for path in self.together:
            try:
                footage = self._again(path)
            except (InputError, UsageError) as error:
                worker.console.warn(f"not adapted to: {error}")
            else:
                footage.name = path.name if called[path.name] == 1 else str(path)
                footages.append(footage)
        if not footages:
            raise InputError("none of the videos to adapt to together can be read", "the lines above say why")
        prepared = prepare(network, footages, self.method, worker)
        facts = prepared.outcome.facts if prepared.outcome is not None else {}
        together = ", ".join(facts.get("videos", [footages[0].name]))
        save(prepared, network, self.options, self.method, together)
        return prepared


@contextmanager
def _for_output(writer: FrameWriter) -> Iterator[None]:
    """What the journal cannot write is told as what the output cannot. Raises OutputError."""
    try:
        yield
    except OutputError as error:
        raise writer.failed(error) from error
