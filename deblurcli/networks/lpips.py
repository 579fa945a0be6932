"""LPIPS: how unlike two pictures are to the features of a network that was trained to recognise things.

Source: Zhang, Isola, Efros, Shechtman & Wang, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric"
(CVPR 2018), equation 1, with the heads of version 0.1.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from deblurcli.networks.blocks import Layer, chain, convolutions, wide

MEAN, DEVIATION = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Mean and deviation of R, G and B in [-1, 1], by which the trunks expect their input normalised."""
EPSILON = 1e-10
"""Added to the length of a pixel's features, so that a pixel without any stays zero."""

TRUNKS: dict[str, list[Layer]] = {
    "alex": [(64, 11, 4, 2), 3, (192, 5, 1, 2), 3, *wide(384, 1), *wide(256, 2)],
    "vgg": [*wide(64, 2), 2, *wide(128, 2), 2, *wide(256, 3), 2, *wide(512, 3), 2, *wide(512, 3)],
}

TAPS = {"alex": (1, 4, 7, 9, 11), "vgg": (3, 8, 15, 22, 29)}
"""The ReLUs whose features are compared, by their place in the trunk."""


def head(channels: int) -> nn.Sequential:
    """How much each feature of a tap counts: a 1 x 1 convolution without bias, of weights that are not negative."""
    return chain(model=nn.Sequential(nn.Dropout(), nn.Conv2d(channels, 1, 1, bias=False)))


class LPIPS(nn.Module):
    """The perceptual distance of pictures: 0 for equal ones, around 0.1 for a slight blur, up to about 1.

    Input: two batches N x 3 x H x W in [0, 1], at least 31 (``alex``) or 16 (``vgg``) pixels high and wide. Output: N
    distances. ``trunk`` is alex or vgg. State-dict keys: ``features.N.*`` as in torchvision's files, ``linK.model.1``
    as in the files of heads, see :func:`from_official`.
    """

    def __init__(self, trunk: str) -> None:
        super().__init__()
        self.features = convolutions(TRUNKS[trunk])
        self.taps = TAPS[trunk]
        for number, tap in enumerate(self.taps):
            convolution = self.features[tap - 1]
            assert isinstance(convolution, nn.Conv2d)
            self.add_module(f"lin{number}", head(convolution.out_channels))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        mean, deviation = (first.new_tensor(values).view(1, 3, 1, 1) for values in (MEAN, DEVIATION))
        x = torch.cat([(2 * picture - 1 - mean) / deviation for picture in (first, second)])
        distances: list[Tensor] = []
        for place, layer in enumerate(self.features):
            x = layer(x)
            if place in self.taps:
                length = x.square().sum(1, keepdim=True).sqrt()
                one, other = (x / (length + EPSILON)).chunk(2)
                weighted = self.get_submodule(f"lin{len(distances)}")((one - other).square())
                distances.append(weighted.mean((1, 2, 3)))
        return torch.stack(distances).sum(0)


def from_official(trunk: Mapping[str, Tensor], heads: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of :class:`LPIPS` from torchvision's AlexNet or VGG16 and the heads of version 0.1.

    The classifier of the trunk's file is left behind.
    """
    return {key: value for key, value in trunk.items() if key.startswith("features.")} | dict(heads)
