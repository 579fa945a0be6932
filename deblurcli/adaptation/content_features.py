"""What two pictures must share, whatever their blur: features of a network, for the reconstruction loss of Blur2Blur.

The paper (CVPR 2024, equation 5) compares features of VGG19, the authors' code those of VGG16. Both are large and have
to be fetched. Without them the deblurring network that comes along serves: its deep features stand for a cell of 8
pixels, and the picture itself, at an eighth of its size, keeps the colours, of which a network that adds a change to
the picture need know nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurcli.networks.critic import VGGCritic
from deblurcli.networks.lpips import LPIPS
from deblurcli.networks.plain_unet import PlainUNet

VGG_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
"""Weights of the taps, shallow to deep, in the authors' code."""
VGG16_TAPS = (8, 15, 18, 22, 24)
"""Layers of VGG16 that the authors' code compares: relu2_2, relu3_3, relu4_1, relu4_3, and conv5_1 before its ReLU."""
VGG19_TAPS = (8, 17, 20, 26, 28)
"""The layers of VGG19 in the same places: relu2_2, relu3_4, relu4_1, relu4_4, conv5_1. The paper names none."""
CELL = 8
"""Pixels, in each direction, that one place of the deblurring network's deep features stands for."""


@dataclass(frozen=True)
class ContentFeatures:
    """Features of pictures, and how much each kind of them counts."""

    name: str
    """The network, for the card."""
    taps: Callable[[Tensor], list[Tensor]]
    """N x 3 x H x W in [0, 1], H and W multiples of 16, to features, N x C x h x w each."""
    weights: tuple[float, ...]
    relative: bool = False
    """Differences count as shares of the features' own mean size."""

    def difference(self, output: Tensor, target: Tensor) -> Tensor:
        """Weighted sum over the taps of the mean absolute difference; gradients reach ``output`` alone.

        Both N x 3 x H x W. In float32, under autocast as well.
        """
        with torch.autocast(output.device.type, enabled=False):
            with torch.no_grad():
                wanted = self.taps(target.float())
            found = self.taps(output.float())
            total = torch.zeros((), device=output.device)
            for one, other, weight in zip(found, wanted, self.weights, strict=True):
                size = other.abs().mean().clamp(min=1e-6) if self.relative else 1.0
                total = total + weight * (one - other).abs().mean() / size
            return total


def vgg_features(name: str, layers: nn.Sequential, taps: tuple[int, ...]) -> ContentFeatures:
    """Features of a VGG's convolutional part; pictures go in as they are, as in the authors' code."""

    def tapped(picture: Tensor) -> list[Tensor]:
        found, x = [], picture
        for place in range(taps[-1] + 1):
            x = layers[place](x)
            if place in taps:
                found.append(x)
        return found

    return ContentFeatures(name, tapped, VGG_WEIGHTS)


def plain_features(name: str, network: PlainUNet) -> ContentFeatures:
    """Features of the default deblurring network at 1/4 and 1/8, and the colours of the picture at 1/8."""

    def tapped(picture: Tensor) -> list[Tensor]:
        seen = torch.cat([picture, torch.zeros_like(picture)], 1) if network.scales > 1 else picture
        shallow = network.encoder(network.head(F.pixel_unshuffle(seen, network.fold)))
        return [F.avg_pool2d(picture, CELL), shallow, network.deep(network.down(shallow))]

    return ContentFeatures(name, tapped, (1.0, 0.25, 1.0), relative=True)


def content_features(name: str, network: nn.Module) -> ContentFeatures | None:
    """The features of a network whose layers are known here; None of another one. It is used as it is, frozen.

    Args:
        name: for the card.
        network: an :class:`LPIPS` with VGG16, a :class:`VGGCritic` (VGG19) or a :class:`PlainUNet`, where it computes.
    """
    network.requires_grad_(False).eval()
    if isinstance(network, LPIPS) and network.taps[-1] == 29:
        return vgg_features(f"VGG16 of {name}", network.features, VGG16_TAPS)
    if isinstance(network, VGGCritic):
        return vgg_features(f"VGG19 of {name}", network.features, VGG19_TAPS)
    return plain_features(name, network) if isinstance(network, PlainUNet) else None
