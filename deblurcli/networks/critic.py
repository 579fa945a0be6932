"""The critic that tells real blur from generated blur, patch by patch."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn


class PatchCritic(nn.Module):
    """A small 70x70 patch critic for Wasserstein training: a map of unbounded scores, high for real.

    Input: N x 3 x H x W in [0,1], H and W at least 32. Output: N x 1 x (H/8 - 2) x (W/8 - 2) for multiples of 8; every
    score sees a 70x70 patch. ``channels`` is the width of the first layer. The form is pix2pix's patch
    discriminator; its place is that of the discriminator in the meta-transferring paper (BMVC 2022), section 3.4,
    where the authors' code uses a VGG19 instead.

    InstanceNorm has no affine part, so that clamping every parameter (:func:`deblurcli.losses.clamp_parameters`)
    bounds the slope of the critic and not its normalisation.
    """

    def __init__(self, channels: int = 32) -> None:
        super().__init__()
        widths = [3, channels, 2 * channels, 4 * channels, 8 * channels]
        layers: list[nn.Module] = []
        for i, (before, after) in enumerate(pairwise(widths)):
            layers.append(nn.Conv2d(before, after, 4, stride=1 if i == 3 else 2, padding=1))
            if i > 0:
                layers.append(nn.InstanceNorm2d(after))
            layers.append(nn.LeakyReLU(0.2))
        layers.append(nn.Conv2d(widths[-1], 1, 4, padding=1))
        self.model = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        return self.model(image)
