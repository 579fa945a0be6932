"""What tells whether an adaptation pays, without the sharp original, over all of a video's blur: short and long.

Two kinds of pieces are looked at. Pseudo pairs are held-out patches under the blur of random moments of the video: they
represent all of it, but are as good as the model of the blur. Real pieces are blurred neighbours of a sharp moment
against what that moment shows of them: nothing about them is modelled, but only moments beside a sharper one can be
judged. Where the camera never rests there are none: a moment that is about as blurred as its neighbour would reward
leaving the blur in.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deblurcli.adaptation.flow import FlowBlur, Moment, flow_between
from deblurcli.adaptation.guard import Diverged, Guard, require_finite_weights
from deblurcli.adaptation.outcome import Outcome
from deblurcli.adaptation.pairs import centre_crop, restore_clips, restored_alone
from deblurcli.adaptation.support import WINDOW, SupportPatch
from deblurcli.device import Device
from deblurcli.networks.alignment import warp
from deblurcli.restore.worker import Placed

BOUNDS = (0.0, 3.0, 8.0, 20.0, float("inf"))
"""Pixels of blur that part the strata."""
SIDE, EDGE = 128, 16
"""Side of the pieces, and how much of it at each edge does not count: a network sees less there than in a frame."""
MARGIN = 24
"""Pixels around a pseudo pair from where blur may bring something in."""
PIECES = 8
"""Pieces of each kind, at most."""
LEAST_REAL = 3
"""Real pieces below which they tell nothing."""
BATCH = 6
"""Pieces that are restored at once."""
MAX_SHIFT = 4.0
"""Pixels by which an alignment may be put right; what is farther off does not count."""
CLEARER = 0.42
"""A moment's blur, as a share of its neighbour's, above which it does not tell what the neighbour should become."""
LENGTHS = (2.0, 14.0)
"""Pixels of blur of the neighbour below which there is nothing to tell, and above which it can't be aligned."""
UNCLEAR = 0.15
"""How much of what pseudo pairs say counts where no moment is clear. There the network learns from its own restorations
of blurred moments: below 0.4 dB of what the pairs say, clips with exact truth gained nothing or lost up to 0.17 dB."""
VETO = -0.3
"""Gain on real pieces, in dB, below which they overrule the pseudo pairs."""
FLOOR = 1e-4
"""Mean squared error that is added to every one: what a piece should become is itself known no better than that."""

Restore = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Pieces:
    """Pieces of one kind: what is restored, what it should become, and the length of its blur."""

    clips: Tensor
    """N x 5 x 3 x S x S."""
    wanted: Tensor
    """N x 3 x S x S."""
    lengths: list[float]
    """Pixels."""
    clear: Tensor | None = None
    """``wanted`` as the unadapted network restores it, where what it shows must be aligned with what is restored."""

    def restored(self, restore: Restore) -> Tensor:
        """What a network makes of the pieces, N x 3 x S x S in [0, 1]."""
        return torch.cat([restore(part) for part in self.clips.split(BATCH)]).float().clamp(0, 1)

    def gains(self, before: Tensor, after: Tensor) -> Tensor:
        """By how much one restoration is nearer to what is wanted than another; N values in dB."""
        wanted, counted = self.wanted, _inner(self.wanted)
        if self.clear is not None:
            # Aligned with the middle between the two, so that neither has an advantage.
            middle = (before + after) / 2
            shifts = torch.stack([flow_between(*pair) for pair in zip(middle, self.clear, strict=True)])
            wanted, counted = warp(wanted, shifts), counted & (shifts.norm(dim=1, keepdim=True) < MAX_SHIFT)

        def error(restored: Tensor) -> Tensor:
            apart = ((restored - wanted).square() * counted).sum((1, 2, 3))
            return apart / (3 * counted.sum((1, 2, 3))).clamp(min=1) + FLOOR

        return 10 * (error(before) / error(after)).log10().cpu()


def pseudo_pieces(blur: FlowBlur, patches: list[SupportPatch], targets: list[Tensor], seed: int) -> Pieces:
    """Pseudo pairs of some patches with their targets (1 x 3 x S x S), each under the blur of several moments."""
    rng = np.random.default_rng([seed, 2])
    clips, wanted, lengths = [], [], []
    for number in range(PIECES):
        patch, target = patches[number % len(patches)], targets[number % len(targets)]
        blurred, target, border = blur.blur(centre_crop(target, SIDE + 2 * MARGIN), rng, noisy=False)
        clip = centre_crop(patch.clip(target.device), SIDE).clone()
        clip[:, WINDOW // 2] = centre_crop(blurred, SIDE)
        clips.append(clip)
        wanted.append(centre_crop(target, SIDE))
        lengths.append(2.0 * border)
    return Pieces(torch.cat(clips), torch.cat(wanted), lengths)


def clear(moment: Moment) -> bool:
    """Whether the sharp moment beside it is much sharper."""
    return moment.rest <= CLEARER * moment.speed


def real_pieces(blur: FlowBlur) -> Pieces | None:
    """Blurred moments whose neighbour is sharp, and what that shows of them; None where there are too few."""
    found = []
    for moment in blur.moments:
        length = blur.share * moment.speed
        if not LENGTHS[0] <= length <= LENGTHS[1] or not clear(moment):
            continue
        window = moment.window
        reach = WINDOW // 2
        around = [min(max(moment.at + offset, 0), WINDOW - 1) for offset in range(-reach, reach + 1)]
        sharp = torch.stack([window[reach], moment.sharp])
        view, restored_view = centre_crop(warp(sharp, moment.aligned.expand(2, -1, -1, -1)), SIDE)
        found.append((centre_crop(window[around], SIDE), view, restored_view, length))
    # The moments are in the order of their motion: of all lengths.
    found = [found[i * len(found) // PIECES] for i in range(PIECES)] if len(found) > PIECES else found
    if len(found) < LEAST_REAL:
        return None
    clips, views, restored, lengths = zip(*found, strict=True)
    return Pieces(torch.stack(clips), torch.stack(views), list(lengths), torch.stack(restored))


def _inner(pictures: Tensor) -> Tensor:
    """All but the edges, N x 1 x S x S bool."""
    found = torch.zeros_like(pictures[:, :1], dtype=torch.bool)
    edge = min(EDGE, found.shape[-1] // 4)
    found[..., edge:-edge, edge:-edge] = True
    return found


class Strata:
    """Judges networks by pieces that represent a video.

    Args:
        pairs, real: the pieces.
        blur: the video's; the blur of its random moments says how much each stratum counts.
        restore_pairs, restore_real: a network to the function that restores pieces of the kind with it.
        unadapted: the network that others are compared to.
    """

    def __init__(
        self,
        pairs: Pieces,
        real: Pieces | None,
        blur: FlowBlur,
        restore_pairs: Callable[[nn.Module], Restore],
        restore_real: Callable[[nn.Module], Restore],
        unadapted: nn.Module,
    ) -> None:
        self.pairs, self.real = pairs, real
        self.restore_pairs, self.restore_real = restore_pairs, restore_real
        self.rests = sum(map(clear, blur.moments)) >= LEAST_REAL
        shares = torch.histogram(blur.lengths(), torch.tensor((*BOUNDS[:-1], 1e9)))[0]
        self.shares = ((shares + 1) / (shares + 1).sum()).tolist()
        self.before = self._restored(unadapted)
        self.seen: dict[str, Any] = {}
        """What was seen in each stratum at the last judgement."""
        self.history: dict[float, dict[str, Any]] = {}
        """The same of every judgement, by the gain that was found."""

    def facts(self, gain: float) -> dict[str, Any]:
        """What was seen in each stratum where this gain was found, or else at last."""
        return self.history.get(gain, self.seen)

    def _restored(self, module: nn.Module) -> tuple[Tensor, Tensor | None]:
        pairs = self.pairs.restored(self.restore_pairs(module))
        return pairs, None if self.real is None else self.real.restored(self.restore_real(module))

    def gain(self, module: nn.Module) -> float:
        """What a network gains on the video, in dB, as far as can be told.

        It is what the pseudo pairs say. Where the camera never rests, their sharp side is blurred itself and makes the
        gain seem greater, so that only ``UNCLEAR`` of it counts. Real pieces have a veto: their alignment hides small
        gains, but a clear loss is one.
        """
        pairs, real = self._restored(module)
        by_pairs = self.pairs.gains(self.before[0], pairs)
        self.seen = {"pairs": self._by_stratum(by_pairs, self.pairs.lengths)}
        found = self._mean(by_pairs, self.pairs.lengths) * (1.0 if self.rests else UNCLEAR)
        if self.real is not None and real is not None and self.before[1] is not None:
            by_real = self.real.gains(self.before[1], real)
            self.seen["real"] = self._by_stratum(by_real, self.real.lengths)
            lost = self._mean(by_real, self.real.lengths)
            found = min(found, lost) if lost < VETO else found
        self.history[found] = self.seen
        return found

    def _mean(self, gains: Tensor, lengths: list[float]) -> float:
        """The mean over the strata, each as much as the video has of it; what has no pieces does not count."""
        total = weight = 0.0
        for stratum, of_it in _strata(gains, lengths).items():
            share = self.shares[stratum]
            total, weight = total + share * sum(of_it) / len(of_it), weight + share
        return total / weight

    @staticmethod
    def _by_stratum(gains: Tensor, lengths: list[float]) -> list[dict[str, float | int]]:
        return [
            {"from_pixels": BOUNDS[stratum], "pieces": len(of_it), "gain": round(sum(of_it) / len(of_it), 3)}
            for stratum, of_it in _strata(gains, lengths).items()
        ]


def settle(outcome: Outcome, adapted: nn.Module, steps: int, guard: Guard | None, strata: Strata | None) -> None:
    """Give the adapted network its best weights, and say so in the outcome.

    Args:
        steps: of the adaptation; without any, nothing is judged.
        guard: of ``adapted``; without one, the weights are kept as they are.
        strata: what the guard goes by, where it is they.

    Raises:
        Diverged: the weights are not worth keeping, or not finite.
    """
    if guard is None:
        require_finite_weights(adapted, "deblurring")
        outcome.facts["best_step"], outcome.reason = steps, "without a guard"
    elif steps:
        worth_it = guard.settle()
        outcome.facts |= guard.facts() | {"strata": strata.facts(guard.best) if strata is not None else {}}
        if strata is not None:
            for told, (_, gain) in zip(outcome.facts["looks"], guard.looks, strict=True):
                told["strata"] = strata.history.get(gain, {})
        if not worth_it:
            raise Diverged(guard.refusal())


def _strata(gains: Tensor, lengths: list[float]) -> dict[int, list[float]]:
    """The gains of each stratum that has pieces, from short to long."""
    found: dict[int, list[float]] = {}
    for gain, length in zip(gains.tolist(), lengths, strict=True):
        found.setdefault(bisect_right(BOUNDS, length) - 1, []).append(gain)
    return dict(sorted(found.items()))


@torch.no_grad()
def strata_of(
    blur: FlowBlur, patches: list[SupportPatch], network: Placed, device: Device, seed: int, *, fusing: bool = False
) -> Strata:
    """The pieces of a video that networks are judged by.

    Args:
        patches: held-out ones, which the pseudo pairs are made of.
        device: the network's, with the precision that it adapts in.
        fusing: the layers that join the frames of a window adapt as well.
    """
    spec = network.spec

    def whole(module: nn.Module) -> Restore:
        return lambda clips: restore_clips(module, spec, clips, device)

    def alone(module: nn.Module) -> Restore:
        return lambda clips: restored_alone(module, spec, clips, device)

    targets = [alone(network.module)(patch.clip(device.where)) for patch in patches]
    pairs = pseudo_pieces(blur, patches, targets, seed)
    of_pairs = whole if fusing else alone
    return Strata(pairs, real_pieces(blur), blur, of_pairs, whole, network.module)
