"""The scale-recurrent network, colour variant without LSTM.

Source: "Scale-recurrent network for deep image deblurring" (CVPR 2018), section 3 and figure 3; the
reblurring-loss paper (ICLR 2022) retrains it. Names are the authors' TensorFlow variables, ``weights`` called
``weight`` and ``biases`` called ``bias``; shapes are torch's, which both convolutions and transposed convolutions of
TensorFlow reach by the axis permutation (3, 2, 0, 1).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurcli.networks.blocks import ResBlock

SCALES = (4, 2, 1)
"""By which the picture is divided at each level, coarse to fine."""


class SRN(nn.Module):
    """One blurred frame in, the sharp frame out, restored at a quarter, half and full resolution by the same weights.

    A level sees the blurred picture and the prediction of the level before, enlarged, through which no gradient flows;
    the coarsest sees the blurred picture twice. It predicts the picture itself, not a change of it.

    Input: N x 3 x H x W, RGB in [0, 1], the authors' range; H and W multiples of 16. Output, not clamped: the
    full-resolution picture, N x 3 x H x W; the loss is of all three, see :meth:`outputs`. Resizing is TensorFlow 1's,
    without half-pixel centres: the blurred picture is subsampled. The authors train with the sum over the levels of
    mean squared errors, the reblurring-loss paper with L1.
    """

    def __init__(self) -> None:
        super().__init__()
        # The stride-2 convolutions come without padding: see _halved.
        self.enc1_1 = nn.Conv2d(6, 32, 5, padding=2)
        self.enc1_2, self.enc1_3, self.enc1_4 = (ResBlock(32, kernel=5) for _ in range(3))
        self.enc2_1 = nn.Conv2d(32, 64, 5, stride=2)
        self.enc2_2, self.enc2_3, self.enc2_4 = (ResBlock(64, kernel=5) for _ in range(3))
        self.enc3_1 = nn.Conv2d(64, 128, 5, stride=2)
        self.enc3_2, self.enc3_3, self.enc3_4 = (ResBlock(128, kernel=5) for _ in range(3))
        self.dec3_3, self.dec3_2, self.dec3_1 = (ResBlock(128, kernel=5) for _ in range(3))
        self.dec2_4 = nn.ConvTranspose2d(128, 64, 4, stride=2, padding=1)
        self.dec2_3, self.dec2_2, self.dec2_1 = (ResBlock(64, kernel=5) for _ in range(3))
        self.dec1_4 = nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1)
        self.dec1_3, self.dec1_2, self.dec1_1 = (ResBlock(32, kernel=5) for _ in range(3))
        self.dec1_0 = nn.Conv2d(32, 3, 5, padding=2)

    def _level(self, x: Tensor) -> Tensor:
        """N x 6 x h x w to N x 3 x h x w."""
        full = self.enc1_4(self.enc1_3(self.enc1_2(F.relu(self.enc1_1(x), inplace=True))))
        half = self.enc2_4(self.enc2_3(self.enc2_2(F.relu(_halved(self.enc2_1, full), inplace=True))))
        quarter = self.enc3_4(self.enc3_3(self.enc3_2(F.relu(_halved(self.enc3_1, half), inplace=True))))
        quarter = self.dec3_1(self.dec3_2(self.dec3_3(quarter)))
        half = half + F.relu(self.dec2_4(quarter), inplace=True)
        half = self.dec2_1(self.dec2_2(self.dec2_3(half)))
        full = full + F.relu(self.dec1_4(half), inplace=True)
        full = self.dec1_1(self.dec1_2(self.dec1_3(full)))
        return self.dec1_0(full)

    def forward(self, x: Tensor) -> Tensor:
        return self.outputs(x)[-1]

    def outputs(self, x: Tensor) -> list[Tensor]:
        """The restored picture at quarter, half and full resolution."""
        kept = torch.promote_types(x.dtype, torch.float32)
        predictions: list[Tensor] = []
        for scale in SCALES:
            blurred = x[..., ::scale, ::scale]
            before = _doubled(predictions[-1].detach()) if predictions else blurred
            predictions.append(self._level(torch.cat([blurred, before], 1)).to(kept))
        return predictions


def _halved(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """A 5x5 convolution of stride 2 padded as TensorFlow does for even sizes: 1 top and left, 2 bottom and right."""
    return conv(F.pad(x, (1, 2, 1, 2)))


def _doubled(x: Tensor) -> Tensor:
    """Twice as large: even positions keep their values, odd ones are means of their neighbours, the border repeats."""
    h, w = x.shape[-2:]
    repeated = F.pad(x, (0, 1, 0, 1), mode="replicate")
    # With aligned corners, 2h + 1 positions over h + 1 values are exactly half a value apart.
    return F.interpolate(repeated, (2 * h + 1, 2 * w + 1), mode="bilinear", align_corners=True)[..., :-1, :-1]
