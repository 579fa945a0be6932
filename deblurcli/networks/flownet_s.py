"""FlowNetS: optical flow straight from two stacked pictures, predicted at five scales.

Source: Dosovitskiy et al., "FlowNet: Learning Optical Flow with Convolutional Networks", ICCV 2015, sections 3 and A.
The state dict has the names and shapes of the PyTorch version that most published weights are for.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurcli.networks.blocks import check_clip

FLOW_UNIT = 20.0
"""Pixels of motion that count as 1 inside the network."""
MEAN = (0.411, 0.432, 0.45)
"""Mean red, green and blue of the training pictures; subtracted from the input."""
LAYERS = [("conv1", 64, 7, 2), ("conv2", 128, 5, 2), ("conv3", 256, 5, 2), ("conv3_1", 256, 3, 1)]
for _level, _width in ((4, 512), (5, 512), (6, 1024)):
    LAYERS += [(f"conv{_level}", _width, 3, 2), (f"conv{_level}_1", _width, 3, 1)]
"""Name, channels, side of the kernel and stride of the encoder's convolutions."""
SKIPS = {5: ("conv5_1", 512), 4: ("conv4_1", 512), 3: ("conv3_1", 256), 2: ("conv2", 128)}
"""By level (2: a quarter of the resolution, 5: a 32nd) the encoder's layer that the decoder reads, and its channels."""
COARSEST = 6


def unit(inputs: int, outputs: int, size: int, stride: int, batch_norm: bool) -> nn.Sequential:
    layer = nn.Sequential(nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=not batch_norm))
    if batch_norm:
        layer.append(nn.BatchNorm2d(outputs))
    return layer.append(nn.LeakyReLU(0.1, inplace=True))


def doubling(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False)


def predictor(inputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, 2, 3, padding=1, bias=False)


class FlowNetS(nn.Module):
    """Two pictures in, the flow between them out: where the pixels of the first lie in the second.

    Args:
        batch_norm: normalise in the encoder; there are published weights with and without.

    Input: N x 2 x 3 x H x W, RGB in [0, 1], of any size. Output: flow in pixels, x first, float32, N x 2 x H x W,
    enlarged from a quarter of the resolution; the loss takes the predictions (:meth:`outputs`). The flow is
    differentiable in both pictures. Raises ValueError for any other input shape.
    """

    def __init__(self, batch_norm: bool = False) -> None:
        super().__init__()
        channels = 6
        for name, width, size, stride in LAYERS:
            self.add_module(name, unit(channels, width, size, stride, batch_norm))
            channels = width
        seen = {COARSEST: channels}  # by level, the channels that the flow is predicted from
        for level, (_, skipped) in SKIPS.items():
            width = 2 ** (level + 4)
            self.add_module(f"deconv{level}", nn.Sequential(doubling(channels, width), nn.LeakyReLU(0.1, inplace=True)))
            seen[level] = channels = skipped + width + 2
        for level, channels in seen.items():
            self.add_module(f"predict_flow{level}", predictor(channels))
        for level in SKIPS:
            self.add_module(f"upsampled_flow{level + 1}_to_{level}", doubling(2, 2))

    def forward(self, pair: Tensor) -> Tensor:
        return F.interpolate(self.outputs(pair)[0], pair.shape[-2:], mode="bilinear")

    def outputs(self, pair: Tensor) -> list[Tensor]:
        """The flow at 1/4, 1/8, 1/16, 1/32 and 1/64 of the resolution, in pixels of the full one."""
        check_clip(pair, 2)
        x = (pair - pair.new_tensor(MEAN)[:, None, None]).flatten(1, 2)
        encoded = {}
        for name, *_ in LAYERS:
            encoded[name] = x = self.get_submodule(name)(x)
        flows = [self.get_submodule(f"predict_flow{COARSEST}")(x)]
        for level, (name, _) in SKIPS.items():
            skip = encoded[name]
            h, w = skip.shape[-2:]  # sizes that were odd are one larger when doubled
            up = self.get_submodule(f"deconv{level}")(x)[..., :h, :w]
            flow = self.get_submodule(f"upsampled_flow{level + 1}_to_{level}")(flows[0])[..., :h, :w]
            x = torch.cat([skip, up, flow], 1)
            flows.insert(0, self.get_submodule(f"predict_flow{level}")(x))
        return [FLOW_UNIT * flow.float() for flow in flows]
