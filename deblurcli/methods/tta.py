"""Test-time adaptation of pictures and videos: what restores them, what is said of it, and what of it can be saved."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from deblurcli.adapt.guard import Diverged
from deblurcli.adapt.samples import Adapter, Sample
from deblurcli.adapt.tone_curves import ToneCurves, matched
from deblurcli.console import Reporter
from deblurcli.device import Device
from deblurcli.media.reader import Frame, VideoReader
from deblurcli.media.shots import CutDetector, windows
from deblurcli.options import TtaOptions
from deblurcli.restore.pipeline import ABSURD_CHANGE
from deblurcli.restore.tiles import Restorer
from deblurcli.weights.load import LoadedNetwork, save_adapted

BROKEN = "the adapted network's result is broken"

Item = TypeVar("Item")
Kept = TypeVar("Kept")


def evenly(items: Iterable[Item], count: int, keep: Callable[[Item], Kept]) -> list[Kept]:
    """What ``keep`` makes of at most ``count`` items, evenly spread over all of them, however many there are.

    Twice as many are held at most, and ``keep`` is asked for few more.
    """
    held: list[Kept] = []
    stride = 1
    for index, item in enumerate(items):
        if index % stride == 0:
            held.append(keep(item))
            if len(held) == 2 * count:
                held, stride = held[::2], 2 * stride
    chosen = min(count, len(held))
    return [held[(2 * i + 1) * len(held) // (2 * chosen)] for i in range(chosen)]


@dataclass
class Outcome:
    """What adaptations have come to, for the run summary."""

    options: TtaOptions
    what: str
    """What was adapted to, for people."""
    adaptations: int = 0
    undone: int = 0
    """Of them, those that left the unadapted result."""
    reason: str = ""
    """Why, of the last one."""
    losses: list[float] = field(default_factory=list)
    """Of each step, the mean over the adaptations that were kept."""
    seconds: float = 0.0

    @property
    def kept(self) -> bool:
        """Whether any adaptation was of use."""
        return self.undone < self.adaptations

    def record(self, losses: list[float], seconds: float) -> None:
        """One more that was kept."""
        self.adaptations += 1
        self.seconds += seconds
        known = self.adaptations - self.undone
        means = self.losses or [0.0] * len(losses)
        self.losses = [mean + (loss - mean) / known for mean, loss in zip(means, losses, strict=True)]

    def undo(self, reason: str, seconds: float) -> None:
        """One more that was not."""
        self.adaptations += 1
        self.undone += 1
        self.seconds += seconds
        self.reason = reason

    def line(self) -> str:
        """For people."""
        steps = f"{self.options.updates} steps on {self.what} in {self.seconds:.1f} s"
        if not self.kept:
            return f"adaptation undone after {steps}: {self.reason}"
        some = f"; undone for {self.undone} of {self.adaptations}: {self.reason}" if self.undone else ""
        return f"adapted: {steps}; mean reblurring loss {sum(self.losses) / len(self.losses):.5f}{some}"

    def facts(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self) | {"kept": self.kept, "seconds": round(self.seconds, 2)}


class EachPicture:
    """A restorer that adapts its network to every picture alone, as in the paper.

    Twice the restoring and N steps for each: the unadapted result gives the histogram, and is the result where the
    adaptation fails. A window of frames is restored with the weights adapted to its middle one.

    Args:
        adapter: of the network ``original``, which is on ``device``.
        what: the pictures, for people.
    """

    def __init__(self, adapter: Adapter, original: nn.Module, device: Device, tile: str, what: str) -> None:
        self.adapter = adapter
        # Not clamped before their histograms are matched.
        self.plain = Restorer(original, adapter.spec, device, tile, clamped=False)
        self.adapted = Restorer(adapter.module, adapter.spec, device, tile, clamped=False)
        self.done = Outcome(adapter.options, what)

    @property
    def window(self) -> int:
        """Frames a call takes."""
        return self.plain.window

    def __call__(self, frames: list[Tensor], *, precise: bool = False) -> Tensor:
        """As :class:`Restorer`; every channel of the result has the histogram of the unadapted one."""
        plain = self.plain(frames, precise=precise)
        if precise:  # a second try, since the unadapted result was broken
            return plain.clamp(0, 1)
        started = time.monotonic()
        try:
            samples = self.adapter.samples(frames)
            together = self.adapter.options.tta_pixels // max(sample.pixels for sample in samples)
            losses = self.adapter.adapt(samples, min(max(together, 1), len(samples)))
            self.adapted.kept.clear()  # what other weights have made
            result = self.adapted(frames)
            if not float((result - plain).abs().mean()) <= ABSURD_CHANGE:
                raise Diverged(BROKEN)
        except Diverged as error:
            self.done.undo(str(error), time.monotonic() - started)
            return plain.clamp(0, 1)
        result = matched(result, plain)
        self.done.record(losses, time.monotonic() - started)
        return result.clamp(0, 1)


class WholeVideo:
    """A restorer with a network that was adapted once, to frames from all over a video together.

    A step goes by the mean loss of all of them, each frame with its most detailed piece. The frames restored later are
    not matched to unadapted results, which would have to be made, too: the exact matching of the adapted pieces as a
    whole is kept as a curve for each channel, the same for every frame, so that nothing flickers.
    """

    def __init__(self, adapter: Adapter, original: nn.Module, device: Device, tile: str) -> None:
        self.adapter = adapter
        self.plain = Restorer(original, adapter.spec, device, tile)
        self.adapted = Restorer(adapter.module, adapter.spec, device, tile, clamped=False)
        self.curves: ToneCurves | None = None
        self.done = Outcome(adapter.options, "no frames")

    def look(self, source: Path, frames: int, report: Reporter, total: int | None = None) -> None:
        """Adapt to at most so many frames of a video, evenly spread over it; ``total`` is how many it has, if known.

        Raises:
            InputError: the video cannot be read.
            DeviceError: out of memory.
        """
        is_cut, window = CutDetector(), self.adapter.frames

        def decoded(reader: VideoReader) -> Iterator[Frame]:
            for count, frame in enumerate(reader.frames(), 1):
                report.progress("surveying", count, total)
                yield frame

        def most_detailed(found: tuple[Frame, list[Frame]]) -> Sample:
            return self.adapter.samples([frame.rgb() for frame in found[1]])[0].copied()

        with VideoReader(source) as reader:
            shown = windows(decoded(reader), window, lambda frame: window > 1 and is_cut(frame.rgb()))
            samples = evenly(shown, frames, most_detailed)
        self.done.what = f"{len(samples)} frames together"
        started = time.monotonic()
        try:
            if not samples:
                raise Diverged("there are no frames")
            losses = self.adapter.adapt(samples, len(samples), report)
            after, before = (self._results(part, samples) for part in (self.adapter.part, self.adapter.original))
            changes = [(new - old).abs().mean() for new, old in zip(after, before, strict=True)]
            if not float(torch.stack(changes).mean()) <= ABSURD_CHANGE:
                raise Diverged(BROKEN)
            self.curves = ToneCurves.between(after, before)
        except Diverged as error:
            self.done.undo(str(error), time.monotonic() - started)
        else:
            self.done.record(losses, time.monotonic() - started)

    @torch.no_grad()
    def _results(self, part: nn.Module, samples: list[Sample]) -> list[Tensor]:
        """The counted pixels of what a network, or its part, makes of each sample."""
        return [sample.cut(self.adapter.restored(part, sample))[0].float().cpu() for sample in samples]

    @property
    def window(self) -> int:
        """Frames a call takes."""
        return self.plain.window

    def __call__(self, frames: list[Tensor], *, precise: bool = False) -> Tensor:
        """As :class:`Restorer`, in the unadapted network's colours."""
        if self.curves is None:
            return self.plain(frames, precise=precise)
        return self.curves(self.adapted(frames, precise=precise)).clamp(0, 1)

    def save(self, path: Path, network: LoadedNetwork, source: Path) -> None:
        """Write the adapted weights, for ``--network``; the curves are not part of them. Raises OutputError."""
        save_adapted(path, self.adapter.module.state_dict(), network, source, {"options": asdict(self.done.options)})
