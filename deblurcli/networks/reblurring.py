"""The reblurring module of the reblurring-loss paper (ICLR 2022), M_R of its Table C."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deblurcli.networks.blocks import ResBlock

CHANNELS = 64


class ReblurringModule(nn.Module):
    """One deblurred frame in, the frame with the blur that was left in it made strong again out.

    It has no other source for the blur than what remains of it: a blurred frame is to come back from its imperfect
    restoration, and a sharp frame to stay as it is. That is what its own two losses ask for; the deblurring network is
    trained to leave nothing that it could make use of.

    Args:
        blocks: n of the paper: 1 (balanced), 2 (perceptual), 3 or 4.

    Input and output: N x 3 x H x W of any size, RGB in [0, 1] (the output is not clamped); 0.5 is subtracted at the
    input and added again at the output, in float32, as in :class:`deblurcli.networks.residual_unet.ResidualUNet`.
    Everything happens at full resolution; an output pixel sees 4 + 4 ``blocks`` pixels in each direction.
    """

    def __init__(self, blocks: int = 2) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, CHANNELS, 5, padding=2)
        self.body = nn.Sequential(*(ResBlock(CHANNELS, kernel=5) for _ in range(blocks)))
        self.tail = nn.Conv2d(CHANNELS, 3, 5, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        features = self.body(self.head(x - 0.5))
        # What tells blur from no blur is less than half a code value, to which bfloat16 would round the picture.
        with torch.autocast(x.device.type, enabled=False):
            return self.tail(features.to(torch.promote_types(x.dtype, torch.float32))) + 0.5
