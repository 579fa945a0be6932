"""From a video file to networks adapted to it: survey, inner update, and what the run report says of both."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from math import isnan
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from deblurcli.adapt.survey import Survey, survey
from deblurcli.console import Reporter
from deblurcli.device import Device
from deblurcli.errors import UsageError
from deblurcli.media.ahead import ahead
from deblurcli.media.reader import Frame, VideoReader
from deblurcli.media.shots import by_shot
from deblurcli.methods.meta import HELD_OUT, Adaptation, adapt
from deblurcli.networks.spec import Role
from deblurcli.options import AdaptOptions
from deblurcli.weights import registry
from deblurcli.weights.choose import load_chosen
from deblurcli.weights.load import LoadedNetwork, save_adapted


@dataclass(frozen=True)
class Adapted:
    """A network for a video, or for one of its shots, and how it came about."""

    module: nn.Module
    """On the device, in eval mode; the unadapted one where the adaptation was undone."""
    done: Adaptation
    survey: Survey
    options: AdaptOptions
    weights: dict[str, str]
    """Name and sha256 of the weights used besides the network's own."""
    survey_seconds: float
    seconds: float

    def facts(self) -> dict[str, Any]:
        """For machines."""
        patches = [
            {"y": p.y, "x": p.x, "frame": p.frame, "score": round(p.score, 3), "contrast": round(p.contrast, 3)}
            for p in self.survey.patches
        ]
        return self.done.facts() | {
            "frames": self.survey.frames,
            "cuts": self.survey.cuts,
            "patches": patches,
            "patch_size": self.survey.size,
            "survey_seconds": round(self.survey_seconds, 2),
            "seconds": round(self.seconds, 2),
            "options": asdict(self.options),
        }

    def line(self) -> str:
        """For people."""
        done, found = self.done, self.survey
        steps = len(done.reblur_losses) + len(done.deblur_losses)
        what = (
            f"{steps} steps on {len(found.patches)} patches of {found.size}x{found.size} out of {found.frames} frames"
            f" in {self.seconds:.1f} s"
        )
        if done.kept:
            if isnan(done.loss_before):
                return f"adapted: {what}"
            return f"adapted: {what}; the guard's loss {done.loss_before:.3g} -> {done.loss_after:.3g}"
        return f"adaptation undone after {what}: {done.reason}"

    def save(self, path: Path, network: LoadedNetwork, source: Path) -> None:
        """Write the adapted weights, for ``--network`` with further videos of the same camera. Raises OutputError."""
        adaptation = {"options": asdict(self.options), "camera": self.done.camera}
        save_adapted(path, self.module.state_dict(), network, source, adaptation)


def frames_of(source: Path, report: Reporter, total: int | None) -> Iterator[Tensor]:
    """The pictures of a video as the survey takes them, one after the other, with progress. Raises InputError."""
    # Closed in this order: the thread that decodes must end before its file does.
    with VideoReader(source) as reader, closing(previewed(reader, report, total)) as frames:
        for _, picture in frames:
            yield picture


def previewed(reader: VideoReader, report: Reporter, total: int | None) -> Generator[tuple[Frame, Tensor], None, None]:
    """The frames of an open video with their previews, decoded on a thread of their own. Raises InputError.

    The thread ends when this is closed, which must be before the video is.
    """
    with closing(ahead((frame, frame.preview()) for frame in reader.frames())) as frames:
        for count, seen in enumerate(frames, 1):
            report.progress("surveying", count, total)
            yield seen


def initial_weights(network: LoadedNetwork, options: AdaptOptions, *, offline: bool = False) -> LoadedNetwork | None:
    """The weights to adapt from where they are not the network's own; of the part of it that adapts.

    Raises:
        WeightsError: no such weights.
        UsageError: they are those of another network.
    """
    chosen = options.initial
    if chosen == "auto":
        entry = registry.installed().weights.get(network.name)
        # A file of the user's may have the name of registered weights.
        chosen = entry.adapt_from if entry is not None and entry.sha256 == network.sha256 else ""
    if chosen in ("", "own"):
        return None
    initial = load_chosen(chosen, "meta", "deblur", offline=offline)
    part = network.module.get_submodule(network.spec.alone).state_dict()
    if {k: v.shape for k, v in part.items()} != {k: v.shape for k, v in initial.module.state_dict().items()}:
        raise UsageError(f"--initial {chosen} is no {network.network}, nor its part that adapts", "give others, or own")
    return initial


def adapt_to_video(
    source: Path,
    network: LoadedNetwork,
    module: nn.Module,
    options: AdaptOptions,
    device: Device,
    report: Reporter,
    total: int | None = None,
    *,
    offline: bool = False,
) -> Iterator[Adapted]:
    """Survey a video and adapt ``module`` (that of ``network``, on the device) to it: once, or for each shot in turn.

    Shots are surveyed when their network is asked for: memory does not grow with their number.

    Raises:
        InputError: the video cannot be read.
        WeightsError: weights to adapt from, or the networks that the reblurring needs, are missing or refused.
        UsageError: the weights to adapt from are those of another network.
        OfflineError: weights would have to be fetched, but cannot be, or must not (``offline``).
    """
    reblur = critic = learned = None
    used = []
    if (initial := initial_weights(network, options, offline=offline)) is not None:
        learned = device.place(initial.module)
        used.append(initial)
    if options.reblurring == "network":
        chosen: tuple[tuple[str, Role], ...] = (("default", "reblur"), (options.critic, "critic"))
        loaded = [load_chosen(name, "meta", role, offline=offline) for name, role in chosen]
        reblur, critic = (device.place(found.module) for found in loaded)
        used += loaded
    weights = {found.name: found.sha256 for found in used}
    pictures = frames_of(source, report, total)
    for shot in by_shot(pictures) if options.adapt_per == "shot" else [pictures]:
        started = time.monotonic()
        found = survey(shot, patches=options.patches + HELD_OUT, size=options.patch_size, seed=options.seed)
        surveyed = time.monotonic()
        adapted, done = adapt(module, network.spec, reblur, critic, found, options, device, report, learned)
        yield Adapted(adapted, done, found, options, weights, surveyed - started, time.monotonic() - surveyed)
