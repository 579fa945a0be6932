"""A dataset restored and measured: every network, under every method, on every video of a part of it.

Nothing that was measured is lost: after each video its row is in ``state.jsonl``, and the same command goes on from
there. A row is taken only for the same pictures, weights, options, device and version.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deblurcli.adaptation.outcome import Prepared
from deblurcli.datasets.clip import Clip, ClipFootage
from deblurcli.datasets.layouts import LAYOUTS
from deblurcli.datasets.read import clips
from deblurcli.errors import DeblurError, InputError, OutputError, UsageError
from deblurcli.files import OutputFile, check_destination, reason
from deblurcli.jobs.measure import measures_of
from deblurcli.jobs.plan import make_folder
from deblurcli.media.ahead import ahead
from deblurcli.media.footage import unit
from deblurcli.media.shots import CutDetector
from deblurcli.methods import method_options, name_of, prepare, prepared_for
from deblurcli.metrics.conventions import CONVENTIONS
from deblurcli.metrics.series import Means, Measure, Scores
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.evaluate import EvaluateOptions
from deblurcli.options.metrics import MetricsOptions
from deblurcli.reports.evaluation import Evaluation, Row
from deblurcli.restore.pipeline import restore_frame, windows_for
from deblurcli.restore.worker import Placed, Worker
from deblurcli.version import __version__

STATE, FORMS = "state.jsonl", ("scores.md", "scores.csv", "scores.json")
"""The files that are written into the folder."""


def methods_of(names: Sequence[str], given: dict[str, Any]) -> tuple[Any, ...]:
    """The options of each method from those given; an option counts for the methods that have it.

    Raises UsageError: no such method, an option that none of them has, a value out of range, or one per shot.
    """
    known = {name: set(type(method_options(name, {})).__dataclass_fields__) for name in dict.fromkeys(names)}
    if foreign := {key: value for key, value in given.items() if not any(key in of for of in known.values())}:
        method_options(names[0], foreign)  # says whose it is
    found = tuple(method_options(name, {k: v for k, v in given.items() if k in of}) for name, of in known.items())
    if any(prepared_for(options) == "shot" for options in found):
        raise UsageError("--adapt-per shot", "give --adapt-per video: the videos of a dataset are single shots")
    return found


@dataclass(frozen=True)
class EvaluateJob:
    """Restore and measure a dataset.

    Args:
        source: the folder of the dataset.
        destination: the folder for results; made where it is missing.
        methods: the options of each method.
    """

    source: Path
    destination: Path
    options: EvaluateOptions
    methods: tuple[Any, ...]
    compute: ComputeOptions

    def run(self, worker: Worker) -> Evaluation:
        """Do it; a video that cannot be done is told and does not stop the rest.

        Raises:
            UsageError: an option is out of range, or the folder holds something else under the names of the results.
            InputError: there is no such dataset.
            WeightsError, OfflineError, DeviceError: a network cannot be had.
            OutputError: results cannot be written.
        """
        options, console = self.options, worker.console
        layout = LAYOUTS[options.layout]
        name = options.convention or layout.convention
        convention = CONVENTIONS[name]
        found = Evaluation(layout.dataset, options.layout, options.split, name, convention.source, options.limit)
        state = _State(self.destination)
        networks = [worker.place(network, "video", "deblur") for network in dict.fromkeys(options.network)]
        # Names alone are in memory, and what is missing is told before the first hour of work.
        known = list(clips(self.source, options.layout, options.split, options.sharp))
        align, ssim = convention.align, convention.ssim
        asked = MetricsOptions(
            ssim_mode=ssim, align=align, lpips=options.lpips, niqe=options.niqe, device=self.compute.device
        )
        measures = [_cropped(measure, convention.border) for measure in measures_of(asked, compare=True)]
        total = len(networks) * len(self.methods) * len(known)
        found.record = {"weights": {}}
        for network in networks:
            record = network.record()
            found.record["weights"] |= record.pop("weights")
            found.record |= {key: value for key, value in record.items() if key != "network"}
        for count, (network, method, clip) in enumerate(
            (network, method, clip) for network in networks for method in self.methods for clip in known
        ):
            console.progress("evaluating", count, total, network=network.name, video=clip.name)
            key = self._key(network, method, clip, name)
            try:
                row = state.rows.get(key)
                if row is None:
                    row = _evaluated(clip, network, method, worker, measures, options.limit)
                    state.add(key, row)
                found.rows.append(row)
            except OutputError:
                raise
            except DeblurError as error:
                line = f"{clip.name}, {network.name}, {name_of(method)}: {error}"
                found.failures.append(line)
                console.error(line)
        self._write(found)
        return found

    def _key(self, network: Placed, method: Any, clip: Clip, convention: str) -> str:
        """What a row depends on, as one word."""
        first = clip.pairs[0][0].stat()
        facts = {
            "clip": [clip.name, len(clip.pairs), first.st_size, first.st_mtime_ns],
            "network": [network.name, network.sha256, network.device.precision, network.device.where.type],
            "method": [name_of(method), asdict(method)],
            "measured": [convention, self.options.lpips, self.options.niqe, self.options.limit],
            "version": [__version__, self.compute.tile],
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()

    def _write(self, found: Evaluation) -> None:
        texts = (found.markdown(), found.csv(), json.dumps(found.document(), indent=1) + "\n")
        for name, text in zip(FORMS, texts, strict=True):
            with OutputFile(self.destination / name, overwrite=True) as output:
                output.file.write(text.encode())


class _State:
    """The rows that are measured, in a file that is complete at any time.

    Raises:
        UsageError: the folder has results of something else.
        InputError: its state cannot be read.
        OutputError: the folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / STATE
        self.rows: dict[str, Row] = {}
        make_folder(folder)
        there = self.file.exists()
        for name in (STATE, *FORMS):
            check_destination(folder / name, overwrite=there)
        if there:
            try:
                for line in self.file.read_text(encoding="utf-8").splitlines():
                    values = json.loads(line)
                    key = values.pop("key")
                    self.rows[key] = Row(**values)
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                cure = "take it away to begin anew, or give another -o"
                raise InputError(f"{self.file} is no state of an evaluation: {reason(error)}", cure) from error

    def add(self, key: str, row: Row) -> None:
        """Keep a row. Raises OutputError."""
        self.rows[key] = row
        lines = [json.dumps({"key": key, **asdict(row)}) + "\n" for key, row in self.rows.items()]
        with OutputFile(self.file, overwrite=True) as output:
            output.file.write("".join(lines).encode())


def _evaluated(
    clip: Clip, network: Placed, method: Any, worker: Worker, measures: Sequence[Measure], limit: int | None
) -> Row:
    """One clip, adapted to, restored and measured. Raises DeblurError."""
    card = network.device.where if network.device.where.type == "cuda" else None
    if card is not None:
        torch.cuda.reset_peak_memory_stats(card)
    started = time.monotonic()
    prepared = prepare(network, [ClipFootage(clip, limit)], method, worker)
    adapting, restoring, replaced, means = time.monotonic() - started, 0.0, 0, Means()
    for restored, sharp, seconds, broken in _restored(clip, prepared, limit):
        scores: Scores = {}
        for measure in measures:
            scores |= measure(restored, unit(sharp))
        means.add({name: value for name, value in scores.items() if not math.isnan(value)})
        restoring += seconds
        replaced += broken
        worker.console.progress(f"evaluating {clip.name}", means.frames, None)
    if not means.frames:
        raise InputError(f"{clip.name} has no frames", "take it away")
    found = means.scores()
    outcome = prepared.outcome
    return Row(
        network.name,
        name_of(method),
        clip.name,
        int(found.pop("frames")),
        found,
        adapting=round(adapting, 3),
        restoring=round(restoring / means.frames, 4),
        memory=None if card is None else torch.cuda.max_memory_allocated(card),
        adapted=int(outcome is not None and outcome.kept),
        undone=int(outcome is not None and not outcome.kept),
        replaced=replaced,
    )


def _restored(clip: Clip, prepared: Prepared, limit: int | None) -> Iterator[tuple[Tensor, Tensor, float, bool]]:
    """Each frame restored and its sharp partner; the seconds it took; whether it was broken and is the input's.

    Frames behind a cut have no influence, nor have those of another size.
    """
    is_cut, size = CutDetector(), None

    def begins_shot(pair: tuple[Tensor, Tensor, Tensor]) -> bool:
        nonlocal size
        if prepared.window == 1:
            return False
        other, size = size not in (None, pair[0].shape), pair[0].shape
        return is_cut(pair[0]) or other

    with closing(ahead(clip.frames(limit))) as frames:
        seen = ((blurred, sharp, unit(blurred)) for blurred, sharp in frames)
        for (_, sharp, picture), around in windows_for(prepared, seen, begins_shot):
            started = time.monotonic()
            change, broken = restore_frame(prepared, [picture for *_, picture in around])
            yield (picture + change).clamp(0, 1), sharp, time.monotonic() - started, broken


def _cropped(measure: Measure, border: int) -> Measure:
    """The measure of what lies inside a border."""
    if not border:
        return measure
    inside = (..., slice(border, -border), slice(border, -border))
    return lambda picture, reference: measure(picture[inside], reference[inside])
