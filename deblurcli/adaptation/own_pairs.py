"""Supervised pairs that a video itself gives: its sharpest patches, under the blur of its other moments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deblurcli.adaptation.flow import FlowBlur
from deblurcli.adaptation.pairs import draw_pair, network_input
from deblurcli.adaptation.supervised import Supervised
from deblurcli.adaptation.support import SupportPatch


@dataclass(frozen=True)
class OwnPairs:
    """A :class:`deblurcli.adaptation.supervised.Supervised` of a video's own patches."""

    patches: list[SupportPatch]
    targets: list[Tensor]
    """The sharp moments of the patches, restored, 1 x 3 x S x S in [0, 1] each."""
    blur: FlowBlur
    identity: float = 0.0
    """Share of the pairs whose blurred side is the sharp moment as the video shows it."""

    def __str__(self) -> str:
        return f"{len(self.patches)} patches of the video"

    def draw(
        self, rng: np.random.Generator, side: int, frames: int, device: torch.device
    ) -> tuple[Tensor, Tensor, int]:
        """A random piece of a random patch, under the blur of a random moment; its neighbours are the video's."""
        number = int(rng.integers(len(self.patches)))

        def reblur(_: Tensor, target: Tensor, draw: np.random.Generator) -> tuple[Tensor, Tensor, int]:
            return self.blur.blur(target, draw, noisy=False)

        clip, target = self.patches[number].clip(device), self.targets[number].to(device)
        pair = draw_pair(clip, target, side, reblur, rng, shares=(self.identity, 0.0))
        shown = network_input(frames, pair.window, pair.blurred.clamp(0, 1))
        return shown[:, None] if frames == 1 else shown, pair.target, pair.border


@dataclass(frozen=True)
class Mixed:
    """A :class:`deblurcli.adaptation.supervised.Supervised` of two others."""

    one: Supervised
    other: Supervised
    share: float
    """Chance of a pair of the other."""

    def __str__(self) -> str:
        return f"{self.one} and {self.other}"

    def draw(
        self, rng: np.random.Generator, side: int, frames: int, device: torch.device
    ) -> tuple[Tensor, Tensor, int]:
        """A random pair of one of the two."""
        return (self.other if rng.random() < self.share else self.one).draw(rng, side, frames, device)


def batch_of(
    source: Supervised, count: int, rng: np.random.Generator, side: int, frames: int, device: torch.device
) -> tuple[Tensor, Tensor, int]:
    """Some pairs: blurred, N x T x 3 x S x S, sharp, N x 3 x S x S, and the width of the widest border in pixels.

    Raises:
        InputError: as :class:`deblurcli.adaptation.supervised.Supervised` says.
    """
    blurred, sharp, borders = zip(*(source.draw(rng, side, frames, device) for _ in range(count)), strict=True)
    return torch.cat(blurred), torch.cat(sharp), max(borders)
