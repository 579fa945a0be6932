"""The residual U-Net of the reblurring-loss paper (ICLR 2022), Table A and Table 1.

No code was released. What the table leaves open follows the author's earlier code base (DeepDeblur): biased
convolutions without normalisation, transposed convolutions of output padding 1, mid-grey as zero. Two choices are
this project's reading: the encoder's features are added in the decoder, and ReLU follows every convolution but the
last. There is no global skip connection.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurcli.networks.blocks import ResBlock


class ResidualUNet(nn.Module):
    """One blurred frame in, the sharp frame out.

    Args:
        blocks: residual blocks at a quarter of the resolution: 8 in Table A; 4, 8, 16 or 32 in Table 1.

    Input and output: N x 3 x H x W, RGB in [0, 1] (the output is not clamped); 0.5 is subtracted at the input and added
    again at the output, in float32. H and W multiples of 4. Trained with L1.
    """

    def __init__(self, blocks: int = 8) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 5, padding=2)
        self.conv2 = nn.Conv2d(64, 128, 3, stride=2, padding=1)
        self.conv3 = nn.Conv2d(128, 192, 3, stride=2, padding=1)
        self.body = nn.Sequential(*(ResBlock(192) for _ in range(blocks)))
        self.up2 = nn.ConvTranspose2d(192, 128, 3, stride=2, padding=1, output_padding=1)
        self.up1 = nn.ConvTranspose2d(128, 64, 3, stride=2, padding=1, output_padding=1)
        self.tail = nn.Conv2d(64, 3, 5, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        full = F.relu(self.conv1(x - 0.5), inplace=True)
        half = F.relu(self.conv2(full), inplace=True)
        quarter = self.body(F.relu(self.conv3(half), inplace=True))
        half = half + F.relu(self.up2(quarter), inplace=True)
        full = full + F.relu(self.up1(half), inplace=True)
        return self.tail(full).to(torch.promote_types(x.dtype, torch.float32)) + 0.5
