"""Frames with another blur: a translator on frames of any size, and what restores or looks at what it makes of them.

A translator is a network that gives the blur of one camera the properties of blur that a deblurring network was trained
on (Blur2Blur, Pham et al., CVPR 2024). Its change travels, not its picture, so that one without a change is bit-exact,
tiles or not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing

import torch
from torch import Tensor, nn

from deblurcli.adaptation.outcome import Outcome, Prepared
from deblurcli.device import Device
from deblurcli.media.footage import Footage, unit
from deblurcli.networks import NetworkSpec
from deblurcli.restore.pipeline import restore_frame
from deblurcli.restore.tiles import Restorer
from deblurcli.restore.worker import Placed

WORDS = ("translated", "translation undone")
"""How the line of a translation begins where it was kept, and where it was undone."""


class _Change(nn.Module):
    """What a translator adds to a picture."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, picture: Tensor) -> Tensor:
        """N x 3 x H x W in [0, 1] to the same, as a difference."""
        changed: Tensor = self.module(picture)
        return changed.float() - picture


class Translator:
    """A translator as a function on frames of any size.

    Args:
        module: the network, in eval mode, on ``device``.
        tile, warn: see :class:`deblurcli.restore.tiles.Restorer`.

    Attributes:
        frames: how many it has translated.
        broken: how many of them came out broken, and stayed as they are.
        seconds: that it took.
    """

    window = 1

    def __init__(
        self,
        module: nn.Module,
        spec: NetworkSpec,
        device: Device,
        tile: str = "auto",
        warn: Callable[[str], object] | None = None,
    ) -> None:
        self.module, self.frames, self.broken, self.seconds = module, 0, 0, 0.0
        self._restorer = Restorer(_Change(module), spec, device, tile, clamped=False, warn=warn)
        # The latest window's frames by identity, each with its translation. The frame itself is held so that no other
        # can take over its identity.
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}

    @staticmethod
    def placed(network: Placed, tile: str) -> Translator:
        """The translator of a worker."""
        return Translator(network.module, network.spec, network.device, tile, network.warn)

    def __call__(self, frames: list[Tensor], *, precise: bool = False) -> Tensor:
        """As :class:`deblurcli.restore.pipeline.WindowRestorer`, a frame with its change, not clamped."""
        return unit(frames[0]) + self._restorer(frames, precise=precise)

    def picture(self, frame: Tensor) -> Tensor:
        """A frame (3 x H x W in [0, 1], on the CPU) translated, likewise; one that comes out broken stays as it is."""
        started = time.monotonic()
        change, broken = restore_frame(self, [frame])
        self.frames += 1
        self.broken += broken
        self.seconds += time.monotonic() - started
        return frame if broken else (unit(frame) + change).clamp(0, 1)

    def around(self, frames: list[Tensor]) -> list[Tensor]:
        """A window of frames translated; what the window before had of them is the same tensor again."""
        kept: dict[int, tuple[Tensor, Tensor]] = {}
        for frame in frames:
            if id(frame) not in kept:
                kept[id(frame)] = self._kept.get(id(frame)) or (frame, self.picture(frame))
        self._kept = kept
        return [kept[id(frame)][1] for frame in frames]

    def latest(self, frame: Tensor) -> Tensor:
        """What became of a frame of the latest window."""
        return self._kept[id(frame)][1]


class TranslatedFootage(Footage):
    """The frames of a footage, translated; anew in every pass, since memory does not grow with a video's length."""

    def __init__(self, footage: Footage, translator: Translator) -> None:
        self.name, self.total = footage.name, footage.total
        self.footage, self.translator = footage, translator

    def pictures(self) -> Generator[Tensor, None, None]:
        with closing(self.footage.pictures()) as frames:
            for frame in frames:
                yield self.translator.picture(frame)

    def previews(self) -> Generator[Tensor, None, None]:
        with closing(self.footage.previews()) as frames:
            for frame in frames:
                found = self.translator.picture(unit(frame))
                yield (found * 255).round().byte() if frame.dtype == torch.uint8 else found


def translation_by(translator: Placed, what: str) -> Outcome:
    """The outcome of a translation by a network that was trained beforehand. ``what``: the pictures, for people."""
    facts = {"translator": translator.name, "config": translator.loaded.config}
    weights = {translator.name: translator.sha256}
    work = f"{what} by {translator.name}"
    return Outcome("blur2blur", reason="it was given", work=work, facts=facts, weights=weights, words=WORDS)


class PreparedBehind:
    """A :class:`deblurcli.adaptation.outcome.Prepared` behind a translator.

    Args:
        translator: None where the translation was undone: frames stay as they are.
        prepared: restores translated frames.
        outcome: of the translation; it grows while restoring.
    """

    def __init__(self, translator: Translator | None, prepared: Prepared, outcome: Outcome) -> None:
        self.translator, self.prepared, self.outcome = translator, prepared, outcome

    @property
    def window(self) -> int:
        """Frames a call takes."""
        return self.prepared.window

    def __call__(self, frames: list[Tensor], *, precise: bool = False) -> Tensor:
        """As Prepared. Each frame is translated once for all windows that it is part of."""
        if self.translator is None:
            return self.prepared(frames, precise=precise)
        translator, before = self.translator, self.translator.seconds
        around = translator.around(frames)
        self.outcome.seconds += translator.seconds - before
        self.outcome.facts |= {"translated_frames": translator.frames, "untranslated_frames": translator.broken}
        return self.prepared(around, precise=precise)

    def restart(self) -> None:
        """As Prepared."""
        self.prepared.restart()

    def translated(self, frame: Tensor) -> Tensor:
        """What became of a frame of the latest window (3 x H x W in [0, 1], the tensor that was given)."""
        return frame if self.translator is None else self.translator.latest(frame)

    def state(self) -> dict[str, Tensor]:
        """That of the network behind the translator."""
        return self.prepared.state()
