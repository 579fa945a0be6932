"""What an adaptation came to, and what restores a video with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from deblurcli.adaptation.tone_curves import ToneCurves
from deblurcli.options.compute import ROWS
from deblurcli.restore.tiles import Restorer
from deblurcli.restore.worker import Placed
from deblurcli.weights.load import TONE_CURVES


@dataclass
class Outcome:
    """One adaptation, or those to every frame of a video, as reported."""

    method: str
    kept: bool = True
    """False: undone, the unadapted network restores."""
    reason: str = ""
    """Why it was kept or undone."""
    losses: dict[str, list[float]] = field(default_factory=dict)
    """Loss of each step, by phase; the names are the record's."""
    seconds: float = 0.0
    work: str = ""
    """What was done, for people: steps, and on what."""
    gain: str = ""
    """What came of it where it was kept, for people; may be empty."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What else the record holds: anything JSON can."""
    weights: dict[str, str] = field(default_factory=dict)
    """Name and sha256 of the weights used besides the network's own."""
    words: tuple[str, str] = ("adapted", "adaptation undone")
    """How the line begins where it was kept, and where it was undone."""
    then: Outcome | None = None
    """What was done afterwards by another method, if anything."""

    def line(self) -> str:
        """One line for people."""
        work, (done, undone) = f"{self.work} in {self.seconds:.1f} s", self.words
        if any(name.startswith("reduced_") for name in self.facts):
            work += " (on smaller pieces, since memory ran out)"
        if not self.kept:
            return f"{undone} after {work}: {self.reason}"
        return "; ".join(part for part in (f"{done}: {work}", self.gain) if part)

    def record(self) -> dict[str, Any]:
        """Everything for machines."""
        shared = {"method": self.method, "kept": self.kept, "reason": self.reason, "seconds": round(self.seconds, 2)}
        return shared | self.losses | self.facts


class Prepared(Protocol):
    """A method, ready to restore a video or one of its shots."""

    @property
    def outcome(self) -> Outcome | None:
        """None where the method adapts nothing. Of a method that adapts to every frame, it grows while restoring."""

    @property
    def window(self) -> int:
        """Frames a call takes."""

    def __call__(self, frames: list[Tensor], *, precise: bool = False) -> Tensor:
        """A window of frames (3 x H x W each, in [0, 1]) to the restored middle one, float32 in [0, 1] on the CPU.

        ``precise``: compute in float32 whatever the device's precision.
        """

    def restart(self) -> None:
        """Hand nothing on from the frames before to those that follow."""

    def state(self) -> dict[str, Tensor]:
        """The tensors of a weights file that restores exactly as this does, floats in float32."""


class PreparedNetwork:
    """The usual :class:`Prepared`: one network for all frames, and tone curves for its results if any.

    Args:
        network: the unadapted network; its own tone curves hold unless others are given.
        tile: see :class:`deblurcli.restore.tiles.Restorer`.
        module: the adapted network, on the device; ``network``'s where None.
        curves: tone curves learnt with ``module``.
    """

    def __init__(
        self,
        network: Placed,
        tile: str,
        outcome: Outcome | None = None,
        module: nn.Module | None = None,
        curves: ToneCurves | None = None,
    ) -> None:
        self.outcome = outcome
        self.module = network.module if module is None else module
        self.curves = own_curves(network) if curves is None else curves
        # Not clamped before the curves: they know how far results leave [0, 1].
        clamped = self.curves is None
        self.restorer = Restorer(
            self.module, network.spec, network.device, tile, clamped=clamped, warn=network.warn, part=network.part
        )

    @property
    def window(self) -> int:
        """Frames a call takes."""
        return self.restorer.window

    def __call__(self, frames: list[Tensor], *, precise: bool = False) -> Tensor:
        """As :class:`Prepared`."""
        return self._curved(self.restorer(frames, precise=precise))

    def restart(self) -> None:
        """As :meth:`deblurcli.restore.tiles.Restorer.restart`."""
        self.restorer.restart()

    def at_once(self, height: int, width: int) -> int:
        """As :meth:`deblurcli.restore.tiles.Restorer.at_once`."""
        return self.restorer.at_once(height, width)

    def several(self, windows: Sequence[list[Tensor]]) -> list[Tensor]:
        """The results of several windows that are restored at once."""
        return [self._curved(restored) for restored in self.restorer.several(windows)]

    def _curved(self, restored: Tensor) -> Tensor:
        if self.curves is None:
            return restored
        if restored.dtype == torch.float32:
            return self.curves(restored).clamp(0, 1)
        for rows in restored.split(ROWS, 1):  # of a large frame, which would take several times its memory
            rows.copy_(self.curves(rows.float()).clamp_(0, 1))
        return restored

    def state(self) -> dict[str, Tensor]:
        """As :class:`Prepared`."""
        found = {
            name: value.detach().to("cpu", torch.float32 if value.is_floating_point() else value.dtype)
            for name, value in self.module.state_dict().items()
        }
        return found if self.curves is None else found | {TONE_CURVES: self.curves.offsets}


def own_curves(network: Placed) -> ToneCurves | None:
    """The tone curves that a network's weights came with, if any."""
    offsets = network.loaded.tone_curves
    return None if offsets is None else ToneCurves(offsets)
