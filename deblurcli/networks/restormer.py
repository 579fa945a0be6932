"""Restormer: a U-shaped transformer whose attention is between channels, so that its cost grows with the pixels only.

Source: Zamir et al., "Restormer: Efficient Transformer for High-Resolution Image Restoration", CVPR 2022, section 3;
the deblurring model.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurcli.networks.blocks import chain
from deblurcli.networks.nafnet import LayerNorm2d


def conv(inputs: int, outputs: int, size: int, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, groups=groups, bias=False)


def parts(mix: nn.Conv2d, gather: nn.Conv2d, x: Tensor, count: int) -> list[Tensor]:
    """The depthwise convolution ``gather`` of the 1x1 convolution ``mix`` of x, as so many equal parts of its channels.

    Each part by its share of the weights: what follows reads tensors without gaps, and less is in memory at once.
    """
    weights = zip(mix.weight.chunk(count), gather.weight.chunk(count), strict=True)
    return [F.conv2d(F.conv2d(x, w), depthwise, padding=1, groups=len(depthwise)) for w, depthwise in weights]


def norm(channels: int) -> nn.Sequential:
    """Layer normalisation over the channels of every pixel, with scale and bias."""
    return chain(body=LayerNorm2d(channels, eps=1e-5))


class ChannelAttention(nn.Module):
    """Multi-head attention between channels (MDTA, section 3.1, eq. 1): N x C x H x W in and out.

    The attention matrix of a picture is the same for all pixels, hence it is multiplied into the weights of the last
    1x1 convolution instead of being applied to the values first.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = conv(channels, 3 * channels, 1)
        self.qkv_dwconv = conv(3 * channels, 3 * channels, 3, groups=3 * channels)
        self.project_out = conv(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = parts(self.qkv, self.qkv_dwconv, x, 3)
        # N x heads x channels of a head x pixels
        q, k = (t.flatten(2).unflatten(1, (self.heads, -1)) for t in (query, key))
        # Scaling the small product equals normalising q and k along their pixels before it.
        lengths = [torch.linalg.vector_norm(t.float(), dim=-1).clamp_min(1e-12) for t in (q, k)]
        scale = self.temperature / (lengths[0][..., :, None] * lengths[1][..., None, :])
        attention = ((q @ k.mT).float() * scale).softmax(-1)
        weight = self.project_out.weight.flatten(1).unflatten(1, (self.heads, -1)).transpose(0, 1)  # heads x C x c
        mix = (weight @ attention).transpose(1, 2).flatten(2)  # N x C x C
        mixed = value.permute(0, 2, 3, 1).flatten(1, 2) @ mix.mT  # N x pixels x C
        return mixed.unflatten(1, x.shape[-2:]).permute(0, 3, 1, 2)


class FeedForward(nn.Module):
    """A gated 3x3 neighbourhood per pixel (GDFN, section 3.2, eq. 2)."""

    def __init__(self, channels: int, expansion: float) -> None:
        super().__init__()
        hidden = int(channels * expansion)
        self.project_in = conv(channels, 2 * hidden, 1)
        self.dwconv = conv(2 * hidden, 2 * hidden, 3, groups=2 * hidden)
        self.project_out = conv(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        opening, values = parts(self.project_in, self.dwconv, x, 2)
        return self.project_out(F.gelu(opening) * values)


class Block(nn.Module):
    """Attention between channels, then the feed-forward part; each reads its input normalised and adds to it."""

    def __init__(self, channels: int, heads: int, expansion: float) -> None:
        super().__init__()
        self.norm1 = norm(channels)
        self.attn = ChannelAttention(channels, heads)
        self.norm2 = norm(channels)
        self.ffn = FeedForward(channels, expansion)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.ffn(self.norm2(x))


def resize(channels: int, up: bool = False) -> nn.Sequential:
    """Half the size and twice the channels, or with ``up`` the reverse, by moving pixels into or out of channels."""
    mixed = conv(channels, 2 * channels if up else channels // 2, 3)
    return chain(body=nn.Sequential(mixed, nn.PixelShuffle(2) if up else nn.PixelUnshuffle(2)))


class Restormer(nn.Module):
    """One blurred picture in, the sharp one out.

    Args:
        width: channels at full size; they double each time the size is halved (the decoder keeps 2 x ``width`` at full
            size).
        blocks: per scale, from full size down to an eighth.
        refinement: blocks after the decoder.
        heads: of the attention, per scale.
        expansion: width of the feed-forward part in relation to its input's.

    Input: N x 3 x H x W, RGB in [0, 1], H and W multiples of 8. Output: N x 3 x H x W, not clamped.
    """

    def __init__(
        self,
        width: int = 48,
        blocks: Sequence[int] = (4, 6, 6, 8),
        refinement: int = 4,
        heads: Sequence[int] = (1, 2, 4, 8),
        expansion: float = 2.66,
    ) -> None:
        super().__init__()
        c1, c2, c3, c4 = (width * 2**level for level in range(4))
        n1, n2, n3, n4 = blocks
        h1, h2, h3, h4 = heads

        def level(channels: int, count: int, heads: int) -> nn.Sequential:
            return nn.Sequential(*(Block(channels, heads, expansion) for _ in range(count)))

        self.patch_embed = chain(proj=conv(3, c1, 3))
        self.encoder_level1 = level(c1, n1, h1)
        self.down1_2 = resize(c1)
        self.encoder_level2 = level(c2, n2, h2)
        self.down2_3 = resize(c2)
        self.encoder_level3 = level(c3, n3, h3)
        self.down3_4 = resize(c3)
        self.latent = level(c4, n4, h4)
        self.up4_3 = resize(c4, up=True)
        self.reduce_chan_level3 = conv(2 * c3, c3, 1)
        self.decoder_level3 = level(c3, n3, h3)
        self.up3_2 = resize(c3, up=True)
        self.reduce_chan_level2 = conv(2 * c2, c2, 1)
        self.decoder_level2 = level(c2, n2, h2)
        self.up2_1 = resize(c2, up=True)
        self.decoder_level1 = level(c2, n1, h1)
        self.refinement = level(c2, refinement, h1)
        self.output = conv(c2, 3, 3)

    def forward(self, picture: Tensor) -> Tensor:
        full = self.encoder_level1(self.patch_embed(picture))
        half = self.encoder_level2(self.down1_2(full))
        quarter = self.encoder_level3(self.down2_3(half))
        x = self.latent(self.down3_4(quarter))
        x = self.decoder_level3(self.reduce_chan_level3(torch.cat([self.up4_3(x), quarter], 1)))
        x = self.decoder_level2(self.reduce_chan_level2(torch.cat([self.up3_2(x), half], 1)))
        x = self.decoder_level1(torch.cat([self.up2_1(x), full], 1))
        return picture + self.output(self.refinement(x))
