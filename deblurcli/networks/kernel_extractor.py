"""The blur kernel extractor: a code of the blur in a picture, and that blur put on another picture.

Source: Tran et al., "Explore image deblurring via encoded blur kernel space", CVPR 2021, which Blur2Blur (CVPR 2024)
makes pictures of known blur with. The state dict is that of their KernelWizard, without normalisation.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import torch
from torch import Tensor, nn

from deblurcli.networks.blocks import ResBlock, Residual, chain

FRONT_BLOCKS, KERNEL_BLOCKS, BACK_BLOCKS = 10, 4, 20
"""Residual blocks of the features, of the extractor F and behind the adapter."""
HALVINGS = 5
"""Levels of F and of the adapter; the features have halved the sides twice before."""
WIDEST = 8
"""Channels of a blur code in widths; twice that with a standard deviation."""


class KernelExtractor(nn.Module):
    """F finds the code of the blur between two pictures of a scene; ``adapt`` puts a code's blur on any sharp picture.

    Args:
        width: channels at the full resolution.
        variational: F finds a standard deviation as well, and codes are drawn.

    Pictures are N x 3 x H x W, RGB in [0, 1], H and W multiples of 128, at least 256 for F; results are not clamped.
    A code is N x 8 ``width`` x H/128 x W/128; it is adapted to pictures of the size that it was found in.
    """

    def __init__(self, width: int = 64, variational: bool = False) -> None:
        super().__init__()
        self.feature_extractor = nn.Sequential(
            *(nn.Conv2d(3, width, 3, padding=1), _leaky()),
            *(nn.Conv2d(width, width, 3, stride=2, padding=1), _leaky()),
            *(nn.Conv2d(width, width, 3, stride=2, padding=1), _leaky()),
            *(ResBlock(width) for _ in range(FRONT_BLOCKS)),
        )
        self.kernel_extractor = chain(model=code_layers(width, 2 * WIDEST if variational else WIDEST))
        self.adapter = Adapter(width)
        self.recon_trunk = nn.Sequential(
            *(ResBlock(width) for _ in range(BACK_BLOCKS)),
            *(nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2), _leaky()),
            *(nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2), _leaky()),
            *(nn.Conv2d(width, width, 3, padding=1), _leaky()),
            nn.Conv2d(width, 3, 3, padding=1),
        )
        self.variational = variational

    def extract(self, sharp: Tensor, blurred: Tensor) -> tuple[Tensor, Tensor]:
        """F: mean and standard deviation of the code of the blur; the latter is 0 unless ``variational``.

        Raises ValueError: the pictures differ in size, or it is none that F takes.
        """
        sides = sharp.shape[-2:]
        if blurred.shape != sharp.shape or any(side < 256 or side % 128 for side in sides):
            shapes = f"{tuple(sharp.shape)} and {tuple(blurred.shape)}"
            raise ValueError(f"expected two N x 3 x H x W with H and W multiples of 128, at least 256, got {shapes}")
        features = torch.cat([self.feature_extractor(sharp), self.feature_extractor(blurred)], 1)
        code = self.kernel_extractor(features)
        if not self.variational:
            return code, torch.zeros_like(code)
        mean, deviation = code.chunk(2, 1)
        return mean, deviation

    def adapt(self, sharp: Tensor, code: Tensor) -> Tensor:
        """The sharp pictures with the blur of the codes, in the size of the pictures that these were found in."""
        change = self.recon_trunk(self.adapter(self.feature_extractor(sharp), code))
        return sharp + change.to(torch.promote_types(sharp.dtype, torch.float32))

    def forward(self, sharp: Tensor, blurred: Tensor) -> Tensor:
        """``blurred`` again, made of ``sharp`` and of the mean code of the blur between them."""
        return self.adapt(sharp, self.extract(sharp, blurred)[0])


def drawn(mean: Tensor, deviation: Tensor, rng: np.random.Generator) -> Tensor:
    """A code from the normal distribution that F has found; the mean itself where the deviation is 0."""
    noise = torch.from_numpy(rng.standard_normal(tuple(mean.shape), dtype=np.float32))
    return mean + deviation * noise.to(mean.device)


class Adapter(nn.Module):
    """A U-Net from sharp features (N x width x h x w) to blurred ones, whose coarsest level takes the code in.

    Every level halves the features, hands them to the next one, doubles what comes back, and joins it with its input.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = [width, *(width * min(2**level, WIDEST) for level in range(HALVINGS))]
        inner: Level | None = None
        for level in reversed(range(HALVINGS)):
            inner = Level(widths[level], widths[level + 1], inner, outermost=level == 0)
        assert inner is not None
        self.model = inner

    def forward(self, features: Tensor, code: Tensor) -> Tensor:
        return torch.tanh(self.model(features, code))


class Level(nn.Module):
    """A level of :class:`Adapter` and those inside it: N x outer x h x w in; 2 * outer out, outer if outermost."""

    def __init__(self, outer: int, inner: int, submodule: Level | None, outermost: bool) -> None:
        super().__init__()
        down = nn.Conv2d(outer, inner, 4, stride=2, padding=1, bias=False)
        self.down = nn.Sequential(*([down] if outermost else [nn.LeakyReLU(0.2), down]))
        if submodule is not None:
            self.submodule = submodule
        up = nn.ConvTranspose2d(2 * inner, outer, 4, stride=2, padding=1, bias=outermost)
        self.up = nn.Sequential(nn.ReLU(), up)
        self.innermost, self.outermost = submodule is None, outermost

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        coarse = self.down(x)
        joined = torch.cat([coarse, code.to(coarse.dtype)], 1) if self.innermost else self.submodule(coarse, code)
        fine = self.up(joined)
        return fine if self.outermost else torch.cat([fine, x], 1)


def code_layers(width: int, widest: int) -> nn.Sequential:
    """F behind the features: N x 2 width x h x w to N x (widest * width) x h/32 x w/32."""
    # The authors' numbers count a normalisation, which does nothing here.
    layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(2 * width, width, 7, bias=False)]
    layers += [nn.Identity(), nn.ReLU()]
    channels = width
    for level in range(1, HALVINGS + 1):
        wider = width * min(2**level, widest)
        layers += [nn.Conv2d(channels, wider, 3, stride=2, padding=1, bias=False), nn.Identity(), nn.ReLU()]
        channels = wider
    return nn.Sequential(*layers, *(kernel_block(channels) for _ in range(KERNEL_BLOCKS)))


def kernel_block(channels: int) -> nn.Module:
    """x + two 3x3 convolutions with mirrored borders, a ReLU between them."""
    first = [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=False), nn.Identity(), nn.ReLU()]
    second = [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=False), nn.Identity()]
    return Residual(OrderedDict(conv_block=nn.Sequential(*first, *second)))


def _leaky() -> nn.Module:
    return nn.LeakyReLU(0.1)
