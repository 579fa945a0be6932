"""Critics: networks that tell real blur from generated blur, patch by patch or image by image."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurcli.networks.blocks import Layer, convolutions, wide


class PatchCritic(nn.Module):
    """A small 70x70 patch critic for Wasserstein training: a map of unbounded scores, high for real.

    Input: N x 3 x H x W in [0,1], H and W at least 32. Output: N x 1 x (H/8 - 2) x (W/8 - 2) for multiples of 8; every
    score sees a 70x70 patch. ``channels`` is the width of the first layer; ``padding`` in pixels, 2 for the critic of
    DeblurGAN (CVPR 2018), whose map is larger. It is pix2pix's patch discriminator in
    place of the discriminator of the meta-transferring paper (BMVC 2022), section 3.4, for which the authors' code uses
    a VGG19.

    InstanceNorm has no affine part, so that clamping every parameter (:func:`deblurcli.losses.clamp_parameters`)
    bounds the slope of the critic and not its normalisation.
    """

    def __init__(self, channels: int = 32, padding: int = 1) -> None:
        super().__init__()
        widths = [3, channels, 2 * channels, 4 * channels, 8 * channels]
        layers: list[nn.Module] = []
        for i, (before, after) in enumerate(pairwise(widths)):
            layers.append(nn.Conv2d(before, after, 4, stride=1 if i == 3 else 2, padding=padding))
            if i > 0:
                layers.append(nn.InstanceNorm2d(after))
            layers.append(nn.LeakyReLU(0.2))
        layers.append(nn.Conv2d(widths[-1], 1, 4, padding=padding))
        self.model = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        return self.model(image)


VGG19: list[Layer] = [*wide(64, 2), 2, *wide(128, 2), 2, *wide(256, 4), 2, *wide(512, 4), 2, *wide(512, 4), 2]
"""The layers before the classifier (Simonyan & Zisserman, ICLR 2015, configuration E)."""


class VGGCritic(nn.Module):
    """The critic of the meta-transferring paper's code: VGG19, trained on ImageNet, with one score for an image.

    Input: N x 3 x H x W in [0, 1], not normalised, H and W at least 32. Output: N x 1, high for real. The names of the
    parameters are torchvision's.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = convolutions(VGG19)
        first, second = nn.Linear(512 * 7 * 7, 4096), nn.Linear(4096, 4096)
        between = [nn.ReLU(inplace=True), nn.Dropout()]
        self.classifier = nn.Sequential(first, *between, second, *between, nn.Linear(4096, 1))

    def forward(self, image: Tensor) -> Tensor:
        return self.classifier(F.adaptive_avg_pool2d(self.features(image), 7).flatten(1))


def is_imagenet(tensors: Mapping[str, Tensor]) -> bool:
    """Whether these are the tensors of torchvision's VGG19 for the 1000 classes of ImageNet."""
    last = tensors.get("classifier.6.weight")
    return "features.34.weight" in tensors and last is not None and last.shape == (1000, 4096)


def from_imagenet(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """torchvision's VGG19 with a last layer for one score in place of that for 1000 classes, the same every time."""
    last = torch.randn(1, 4096, generator=torch.Generator().manual_seed(0)) / 64
    return {**tensors, "classifier.6.weight": last, "classifier.6.bias": torch.zeros(1)}
