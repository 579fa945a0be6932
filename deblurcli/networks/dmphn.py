"""The deep multi-patch hierarchical network, and the same without patches.

Sources: DMPHN(1-2-4-8), "Deep stacked hierarchical multi-patch network for image deblurring" (CVPR 2019), section 3 and
figure 2; DHN, the reblurring-loss paper (ICLR 2022), which restores whole pictures at every level.
The state dict is the authors' eight files, each under its own name: ``encoder_lv1.layer1.weight`` and so on.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deblurcli.networks.blocks import Residual

Grid = tuple[int, int]
"""Rows and columns of patches."""

WHOLE: Grid = (1, 1)
ENCODED: tuple[Grid, ...] = ((4, 2), (2, 2), (2, 1), WHOLE)
"""The patches that levels 4 to 1 encode."""
DECODED: tuple[Grid, ...] = ((2, 2), (2, 1), WHOLE, WHOLE)
"""Patches that levels 4 to 1 decode: as many as the next level has."""


def block(channels: int) -> nn.Module:
    """x + conv(relu(conv(x)))."""
    first, second = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
    return Residual(first, nn.ReLU(inplace=True), second)


class Encoder(nn.Sequential):
    """N x 3 x H x W to N x 128 x H/4 x W/4; H and W multiples of 4. Activations are inside the blocks alone."""

    def __init__(self) -> None:
        super().__init__()
        self.layer1 = nn.Conv2d(3, 32, 3, padding=1)
        self.layer2 = block(32)
        self.layer3 = block(32)
        self.layer5 = nn.Conv2d(32, 64, 3, stride=2, padding=1)
        self.layer6 = block(64)
        self.layer7 = block(64)
        self.layer9 = nn.Conv2d(64, 128, 3, stride=2, padding=1)
        self.layer10 = block(128)
        self.layer11 = block(128)


class Decoder(nn.Sequential):
    """N x 128 x H/4 x W/4 to N x 3 x H x W, the encoder mirrored."""

    def __init__(self) -> None:
        super().__init__()
        self.layer13 = block(128)
        self.layer14 = block(128)
        self.layer16 = nn.ConvTranspose2d(128, 64, 4, stride=2, padding=1)
        self.layer17 = block(64)
        self.layer18 = block(64)
        self.layer20 = nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1)
        self.layer21 = block(32)
        self.layer22 = block(32)
        self.layer24 = nn.Conv2d(32, 3, 3, padding=1)


class DMPHN(nn.Module):
    """One blurred frame in, the sharp frame out, through four levels from the smallest patches to the whole picture.

    Every level encodes the picture plus what the level before decoded, adds that level's features, and decodes. The
    last level decodes the sharp picture itself. The patches of a level go through its convolutions as one batch.

    Args:
        patches: True: DMPHN(1-2-4-8), whose levels cut the picture into 8, 4, 2 and 1 patches. False: DHN, whose four
            levels see the whole picture.

    Input and output: N x 3 x H x W, RGB in [0, 1] (the output is not clamped), added to in float32. The authors' range
    is [-0.5, 0.5]: 0.5 is subtracted and added again inside. H and W multiples of 4; with patches, H of 16 and W of 8.
    The authors of DMPHN train with the mean squared error of the last level alone, the reblurring-loss paper both forms
    with its L1.
    """

    def __init__(self, patches: bool = True) -> None:
        super().__init__()
        self.grids = tuple(zip(ENCODED, DECODED, strict=True)) if patches else ((WHOLE, WHOLE),) * 4
        self.encoder_lv1, self.encoder_lv2, self.encoder_lv3, self.encoder_lv4 = (Encoder() for _ in range(4))
        self.decoder_lv1, self.decoder_lv2, self.decoder_lv3, self.decoder_lv4 = (Decoder() for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        x = x - 0.5
        level4, level3, level2, level1 = self.grids
        features = _by_patches(self.encoder_lv4, x, level4[0])
        decoded = _by_patches(self.decoder_lv4, features, level4[1])
        features = features + _by_patches(self.encoder_lv3, x + decoded, level3[0])
        decoded = _by_patches(self.decoder_lv3, features, level3[1])
        features = features + _by_patches(self.encoder_lv2, x + decoded, level2[0])
        decoded = _by_patches(self.decoder_lv2, features, level2[1])
        features = features + _by_patches(self.encoder_lv1, x + decoded, level1[0])
        decoded = _by_patches(self.decoder_lv1, features, level1[1])
        return decoded.to(torch.promote_types(x.dtype, torch.float32)) + 0.5


def _by_patches(module: nn.Module, x: Tensor, grid: Grid) -> Tensor:
    """What a module makes of each patch of a grid, put together again."""
    if grid == WHOLE:
        return module(x)
    rows, columns = grid
    patches = module(torch.cat([patch for row in x.chunk(rows, 2) for patch in row.chunk(columns, 3)]))
    grouped = patches.chunk(rows * columns)
    return torch.cat([torch.cat(grouped[i : i + columns], 3) for i in range(0, len(grouped), columns)], 2)
