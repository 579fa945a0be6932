"""The self-supervised loss: restored frames, blurred again along the flow between them, must look like the input.

Reblur2Deblur (Chen et al., ICCP 2018), equations 1 to 5. Nobody has to know the sharp frames: what the camera saw is
the target. Alone it would not do, since frames that are left as they are and do not move explain themselves; it is
added to a supervised loss.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurcli.adaptation.reblurring_flow import Flow, FlowReblurring, inside, visible
from deblurcli.device import Device
from deblurcli.networks.spec import NetworkSpec

FRAMES = 3
"""Restored frames that the loss looks at: one, and its neighbours in time."""


@dataclass(frozen=True)
class ReblurLoss:
    """Blurs the middle one of three restored frames along the flow between them, and compares it with the input."""

    reblurring: FlowReblurring
    flow: Flow
    through_flow: bool = False
    """What a differentiable flow sees teaches the network that restored the pictures as well, as in the paper.
    Otherwise the neighbours only tell the flow, and are restored without gradients: an update takes two thirds of the
    time, and the network cannot lower the loss by results that only look as if they moved otherwise."""
    frames: int = FRAMES
    """3; or 2, the paper's mode for two frames, which takes the motion as even."""
    edge: int = 8
    """Pixels at each edge that do not count: the flow is not known there."""
    masked: bool = True
    """Leave out what another frame hides, what lies outside of the picture, and what has less than ``shortest`` blur;
    the paper counts everything."""
    shortest: float = 4.0
    """Pixels of blur. Below, noise that a restoration should take away decides: the input has it, too."""

    def __call__(self, restored: Tensor, observed: Tensor) -> Tensor:
        """The mean squared difference in display values where it counts.

        Args:
            restored: N x 3 x 3 x H x W in [0, 1]: the frames before, at and after each moment.
            observed: N x 3 x H x W, the input at the moment.

        Returns:
            a scalar; 0 where nothing counts.
        """
        reblurred, counted = self.explained(restored)
        error = (reblurred - observed).square() * counted
        return error.sum() / (counted.sum() * observed.shape[1]).clamp(min=1)

    def explained(self, restored: Tensor) -> tuple[Tensor, Tensor]:
        """The input as the restored frames explain it, N x 3 x H x W, and which pixels of it count, N x 1 x H x W."""
        before, middle, after = restored.unbind(1)
        with nullcontext() if self.through_flow else torch.no_grad():
            forth = self.flow(after, middle)
            back = -forth if self.frames == 2 else self.flow(before, middle)
        reblurred = self.reblurring(middle, forth, back)
        counted = torch.ones_like(reblurred[:, :1])
        if self.masked:
            with torch.no_grad():
                seen = visible(forth, self.flow(middle, after)) & inside(back)
                length = self.reblurring.tau * (forth - back).norm(dim=1, keepdim=True)
                seen &= length >= self.shortest
                if self.frames == FRAMES:
                    seen &= visible(back, self.flow(middle, before))
                counted *= seen
        if self.edge and min(counted.shape[-2:]) > 2 * self.edge:
            counted = F.pad(counted[..., self.edge : -self.edge, self.edge : -self.edge], [self.edge] * 4)
        return reblurred, counted


def restored_in_a_row(
    module: nn.Module, spec: NetworkSpec, clips: Tensor, device: Device, *, only_middle: bool = False
) -> Tensor:
    """Consecutive frames, each restored from the window around it by the part of a network that adapts.

    Args:
        clips: N x T x 3 x H x W in [0, 1]; T is the number of frames wanted plus the network's window less 1.
        only_middle: gradients go through the middle frame alone.

    Returns:
        N x (T - window + 1) x 3 x H x W in [0, 1], float32.
    """
    window = 1 if spec.alone else spec.window
    wanted = clips.shape[1] - window + 1
    windows = torch.stack([clips[:, at : at + window] for at in range(wanted)], 1)

    def restored(chosen: Tensor) -> Tensor:
        inputs = chosen.flatten(0, 1) if window > 1 else chosen.flatten(0, 2)
        with device.autocast():
            found = module.get_submodule(spec.alone)(inputs)
        return found.float().clamp(0, 1).unflatten(0, chosen.shape[:2])

    if not only_middle:
        return restored(windows)
    middle = wanted // 2
    with torch.no_grad():
        before, after = restored(windows[:, [*range(middle), *range(middle + 1, wanted)]]).split(middle, 1)
    # Within an autocast, weights that were cast without gradients would be taken again with them.
    torch.clear_autocast_cache()
    return torch.cat([before, restored(windows[:, middle : middle + 1]), after], 1)
