"""MPRNet: three stages that restore quarters, halves and at last the whole of the picture.

Source: Zamir et al., "Multi-Stage Progressive Image Restoration", CVPR 2021, section 3; the deblurring model.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from deblurcli.networks.blocks import Residual, chain


def conv(inputs: int, outputs: int, size: int = 3) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False)


def split(x: Tensor, dim: int) -> Tensor:
    """Both halves along a dimension as pictures of their own: N x C x H x W becomes 2N x C x H/2 x W (``dim`` 2)."""
    return torch.cat(x.chunk(2, dim))


def join(x: Tensor, dim: int) -> Tensor:
    """The inverse of :func:`split`."""
    return torch.cat(x.chunk(2), dim)


class AttentionBlock(nn.Module):
    """Residual block with channel attention (CAB, figure 3b of the paper); ``act`` is the network's one PReLU."""

    def __init__(self, channels: int, reduction: int, act: nn.PReLU) -> None:
        super().__init__()
        inner = channels // reduction
        layers = [conv(channels, inner, 1), nn.ReLU(inplace=True), conv(inner, channels, 1), nn.Sigmoid()]
        self.CA = chain(conv_du=nn.Sequential(*layers))  # from the channels' means to a factor for each
        self.body = nn.Sequential(conv(channels, channels), act, conv(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        change = self.body(x)
        return torch.addcmul(x, change, self.CA(change.mean((2, 3), keepdim=True)))


def attention_pair(channels: int, reduction: int, act: nn.PReLU) -> nn.Sequential:
    return nn.Sequential(*(AttentionBlock(channels, reduction, act) for _ in range(2)))


def down(inputs: int, outputs: int) -> nn.Sequential:
    """Half the size (bilinear, which at this factor is the mean of four pixels), then other channels."""
    return chain(down=nn.Sequential(nn.AvgPool2d(2), conv(inputs, outputs, 1)))


class Up(nn.Module):
    """Twice the size (bilinear) and other channels; the channels first, which gives the same for less work."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.up = nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), conv(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        resize, mix = self.up
        return resize(mix(x))


Scales = Sequence[Tensor]
"""Features at full, half and quarter size."""


class Encoder(nn.Module):
    """Features of three scales. ``fuses``: the stage before adds its own (CSFF, figure 3d of the paper)."""

    def __init__(self, widths: Sequence[int], reduction: int, act: nn.PReLU, fuses: bool = False) -> None:
        super().__init__()
        c1, c2, c3 = widths
        self.fuses = fuses
        levels = (attention_pair(width, reduction, act) for width in widths)
        self.encoder_level1, self.encoder_level2, self.encoder_level3 = levels
        self.down12, self.down23 = down(c1, c2), down(c2, c3)
        if fuses:
            self.csff_enc1, self.csff_enc2, self.csff_enc3 = (conv(width, width, 1) for width in widths)
            self.csff_dec1, self.csff_dec2, self.csff_dec3 = (conv(width, width, 1) for width in widths)

    def forward(self, x: Tensor, encoded: Scales = (), decoded: Scales = ()) -> Scales:
        full = self.encoder_level1(x)
        if self.fuses:
            full = full + self.csff_enc1(encoded[0]) + self.csff_dec1(decoded[0])
        half = self.encoder_level2(self.down12(full))
        if self.fuses:
            half = half + self.csff_enc2(encoded[1]) + self.csff_dec2(decoded[1])
        quarter = self.encoder_level3(self.down23(half))
        if self.fuses:
            quarter = quarter + self.csff_enc3(encoded[2]) + self.csff_dec3(decoded[2])
        return full, half, quarter


class Decoder(nn.Module):
    """From the encoder's features back to full size, with attention on the skip connections."""

    def __init__(self, widths: Sequence[int], reduction: int, act: nn.PReLU) -> None:
        super().__init__()
        c1, c2, c3 = widths
        levels = (attention_pair(width, reduction, act) for width in widths)
        self.decoder_level1, self.decoder_level2, self.decoder_level3 = levels
        self.skip_attn1, self.skip_attn2 = AttentionBlock(c1, reduction, act), AttentionBlock(c2, reduction, act)
        self.up21, self.up32 = Up(c2, c1), Up(c3, c2)

    def forward(self, encoded: Scales) -> Scales:
        quarter = self.decoder_level3(encoded[2])
        half = self.decoder_level2(self.up32(quarter) + self.skip_attn2(encoded[1]))
        full = self.decoder_level1(self.up21(half) + self.skip_attn1(encoded[0]))
        return full, half, quarter


class SupervisedAttention(nn.Module):
    """A stage's restored picture, and its features weighted by that picture (SAM, figure 4 of the paper)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv(channels, channels, 1)
        self.conv2 = conv(channels, 3, 1)
        self.conv3 = conv(3, channels, 1)

    def forward(self, features: Tensor, picture: Tensor) -> tuple[Tensor, Tensor]:
        restored = picture + self.conv2(features)
        return features + self.conv1(features) * self.conv3(restored).sigmoid(), restored


class OriginalResolution(nn.Module):
    """The last stage: full size throughout, fed by the stage before at three scales (ORSNet, figure 3c)."""

    def __init__(self, channels: int, widths: Sequence[int], blocks: int, reduction: int, act: nn.PReLU) -> None:
        super().__init__()
        c1, c2, c3 = widths

        def group() -> nn.Module:  # ORB of the paper
            attention = (AttentionBlock(channels, reduction, act) for _ in range(blocks))
            return Residual(OrderedDict(body=nn.Sequential(*attention, conv(channels, channels))))

        self.orb1, self.orb2, self.orb3 = (group() for _ in range(3))
        self.up_enc1, self.up_dec1 = Up(c2, c1), Up(c2, c1)
        self.up_enc2 = nn.Sequential(Up(c3, c2), Up(c2, c1))
        self.up_dec2 = nn.Sequential(Up(c3, c2), Up(c2, c1))
        self.conv_enc1, self.conv_enc2, self.conv_enc3 = (conv(c1, channels, 1) for _ in range(3))
        self.conv_dec1, self.conv_dec2, self.conv_dec3 = (conv(c1, channels, 1) for _ in range(3))

    def forward(self, x: Tensor, encoded: Scales, decoded: Scales) -> Tensor:
        x = self.orb1(x) + self.conv_enc1(encoded[0]) + self.conv_dec1(decoded[0])
        x = self.orb2(x) + self.conv_enc2(self.up_enc1(encoded[1])) + self.conv_dec2(self.up_dec1(decoded[1]))
        return self.orb3(x) + self.conv_enc3(self.up_enc2(encoded[2])) + self.conv_dec3(self.up_dec2(decoded[2]))


class MPRNet(nn.Module):
    """One blurred picture in, the sharp one out.

    Args:
        width: channels at full size in the first two stages.
        step: channels more at each halving of the size.
        extra: channels more in the last stage.
        blocks: attention blocks in each of the last stage's three groups.
        reduction: how much narrower the inside of channel attention is.

    Input: N x 3 x H x W, RGB in [0, 1], H and W multiples of 8. Output, not clamped: the picture that stage three
    restores; the loss is of all three, see :meth:`outputs`.
    """

    def __init__(self, width: int = 96, step: int = 48, extra: int = 32, blocks: int = 8, reduction: int = 4) -> None:
        super().__init__()
        act = nn.PReLU()  # one slope for the whole network
        widths = (width, width + step, width + 2 * step)
        self.shallow_feat1, self.shallow_feat2, self.shallow_feat3 = (
            nn.Sequential(conv(3, width), AttentionBlock(width, reduction, act)) for _ in range(3)
        )
        self.stage1_encoder = Encoder(widths, reduction, act)
        self.stage1_decoder = Decoder(widths, reduction, act)
        self.stage2_encoder = Encoder(widths, reduction, act, fuses=True)
        self.stage2_decoder = Decoder(widths, reduction, act)
        self.stage3_orsnet = OriginalResolution(width + extra, widths, blocks, reduction, act)
        self.sam12 = SupervisedAttention(width)
        self.sam23 = SupervisedAttention(width)
        self.concat12 = conv(2 * width, width)
        self.concat23 = conv(2 * width, width + extra)
        self.tail = conv(width + extra, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.outputs(x)[0]

    def outputs(self, x: Tensor) -> list[Tensor]:
        """The pictures that stages three, two and one restore."""
        # Stage 1: quarters through the encoder, top and bottom halves through the decoder.
        halves = split(x, 2)
        encoded = [join(scale, 3) for scale in self.stage1_encoder(self.shallow_feat1(split(halves, 3)))]
        decoded = self.stage1_decoder(encoded)
        features, first = self.sam12(decoded[0], halves)
        # Stage 2: halves through the encoder, the whole through the decoder.
        features = self.concat12(torch.cat([self.shallow_feat2(halves), features], 1))
        encoded = [join(scale, 2) for scale in self.stage2_encoder(features, encoded, decoded)]
        decoded = self.stage2_decoder(encoded)
        features, second = self.sam23(decoded[0], x)
        # Stage 3: the whole at full size.
        features = self.concat23(torch.cat([self.shallow_feat3(x), features], 1))
        third = x + self.tail(self.stage3_orsnet(features, encoded, decoded))
        return [third, second, join(first, 2)]
