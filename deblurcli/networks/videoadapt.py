"""The video reblurring network: five frames in, the centre frame with the clip's own blur out.

Source: meta-transferring paper (BMVC 2022), section 3.3, figure 4, equations 1 and 2. An encoder at full, half and
quarter resolution runs on every frame; a region-to-local vision transformer (RegionViT) lets the centre frame see its
neighbours; a decoder with skip connections turns the centre frame's features into a change of the centre frame.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurcli.networks.blocks import chain, check_clip

FRAMES = 5
CENTRE = FRAMES // 2


class VideoAdapt(nn.Module):
    """Reblur the centre frame of a clip (meta-transferring paper, section 3.3).

    Input: N x 5 x 3 x H x W in [0,1], H and W multiples of ``4 * window`` (32). Output: N x 3 x H x W, not clamped:
    the centre frame plus the predicted change, added in float32 under autocast too.

    ``attention_dim`` is the width of the transformer's tokens, D' of the paper; None means ``8 * n_feats``. ``depth``
    counts its fusion blocks, two or more. ``authors_pairing`` reproduces an ordering quirk of the authors' code, see
    :class:`RegionViT`, without other parameters. Raises ValueError for any other input shape.
    """

    def __init__(
        self,
        n_feats: int = 32,
        n_layers: int = 3,
        attention_dim: int | None = None,
        heads: int = 4,
        depth: int = 4,
        window: int = 8,
        authors_pairing: bool = False,
    ) -> None:
        super().__init__()
        c1, c2, c3 = n_feats, 2 * n_feats, 4 * n_feats
        self.multiple = 4 * window
        self.conv1_e = nn.Conv2d(3, c1, 5, padding=2)
        self.conv1 = residual_units(c1, n_layers)
        self.conv2_e = nn.Conv2d(c1, c2, 5, stride=2, padding=2)
        self.conv2 = residual_units(c2, n_layers)
        self.conv3_e = nn.Conv2d(c2, c3, 5, stride=2, padding=2)
        self.conv3 = residual_units(c3, n_layers)
        self.attn3 = RegionViT(c3, attention_dim or 8 * n_feats, heads, depth, window, authors_pairing)
        self.conv4 = residual_units(c3, n_layers)
        self.conv5_d = nn.ConvTranspose2d(c3, c2, 4, stride=2, padding=1)
        self.conv5_c = nn.Conv2d(2 * c2, c2, 5, padding=2)
        self.conv5 = residual_units(c2, n_layers)
        self.conv6_d = nn.ConvTranspose2d(c2, c1, 4, stride=2, padding=1)
        self.conv6_c = nn.Conv2d(2 * c1, c1, 5, padding=2)
        self.conv6 = residual_units(c1, n_layers)
        self.decode = nn.Conv2d(c1, 3, 3, padding=1)

    def forward(self, clip: Tensor) -> Tensor:
        check_clip(clip, FRAMES, self.multiple)
        full = self.conv1(self.conv1_e(clip.flatten(0, 1)))
        half = self.conv2(self.conv2_e(full))
        quarter = self.conv3(self.conv3_e(half))
        x = self.conv4(self.attn3(quarter))
        x = self.conv5(self.conv5_c(torch.cat([self.conv5_d(x), half[CENTRE::FRAMES]], 1)))
        x = self.conv6(self.conv6_c(torch.cat([self.conv6_d(x), full[CENTRE::FRAMES]], 1)))
        return clip[:, CENTRE].float() + self.decode(x).float()


class ResidualUnit(nn.Module):
    """Two 3x3 convolutions; the input is added before the second LeakyReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.leaky_relu(self.conv1(x), 0.2)
        return F.leaky_relu(self.conv2(y) + x, 0.2)


def residual_units(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualUnit(channels) for _ in range(count)))


class RegionViT(nn.Module):
    """Cross-frame fusion blocks over regional and local tokens (meta-transferring paper, section 3.3).

    Input: 5N x C x h x w, frames of a clip adjacent, h and w multiples of ``window``.
    Output: N x C x h x w, the centre frames alone.

    Every pixel is a local token, every window a regional token. Local attention joins a window's regional token to
    its local tokens. In the authors' code the two are listed in different orders (tokens window by window, windows
    frame by frame), so that most windows meet the token of another frame, and at 64x64 cross-frame attention has no
    effect at all; ``authors_pairing`` reproduces that. Otherwise every window meets its own token, as in the paper.
    """

    def __init__(self, channels: int, dim: int, heads: int, depth: int, window: int, authors_pairing: bool) -> None:
        super().__init__()
        self.window = window
        self.authors_pairing = authors_pairing
        self.patch_embed = embedding(nn.Identity(), channels, dim)
        self.regional_embed = embedding(nn.Flatten(2), window * window * channels, dim)
        blocks = nn.ModuleList(Block(dim, heads, window, drop_path=0.1 * i / (depth - 1)) for i in range(depth))
        self.layers = nn.ModuleList([nn.ModuleDict({"blocks": blocks})])
        self.head = nn.Conv2d(dim, channels, 1)
        if not self.head.weight.is_meta:  # where there is nothing to fill, a normal draw imports for a second
            self.apply(init_transformer)

    def forward(self, x: Tensor) -> Tensor:
        height, width = (side // self.window for side in x.shape[-2:])
        windows = x.permute(0, 2, 3, 1).unflatten(2, (width, self.window)).unflatten(1, (height, self.window))
        windows = windows.transpose(2, 3).flatten(3, 4).flatten(1, 2)
        local = self.patch_embed(windows)  # 5N x windows x pixels x D
        regional = self.regional_embed(windows)  # 5N x windows x D
        *early, late, last = cast("list[Block]", list(self.layers.get_submodule("0.blocks").children()))
        for block in early:
            regional = self.pair(block.across_frames(block.within_frames(regional)))
            regional, local = block.local_attention(regional, local)
            regional = self.unpair(regional)
        # From here on nothing of the neighbours is read but their regional tokens.
        regional = self.pair(late.across_frames(late.within_frames(regional)))
        regional, local = self.refine_centre(late, regional, local)
        regional = self.pair(last.across_frames(last.within_frames(self.unpair(regional))))
        _, local = last.local_attention(regional[CENTRE::FRAMES], local)
        image = local.unflatten(2, (self.window, self.window)).unflatten(1, (height, width)).transpose(2, 3)
        return self.head(image.flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2))

    @staticmethod
    def refine_centre(block: Block, regional: Tensor, local: Tensor) -> tuple[Tensor, Tensor]:
        """Local attention that gives every frame's regional tokens, but local ones of the centre frames alone."""
        neighbours = [frame for frame in range(FRAMES) if frame != CENTRE]
        refined = [block.regional_from_local(regional[frame::FRAMES], local[frame::FRAMES]) for frame in neighbours]
        centre, local = block.local_attention(regional[CENTRE::FRAMES], local[CENTRE::FRAMES])
        refined.insert(CENTRE, centre)
        return torch.stack(refined, 1).flatten(0, 1), local

    def pair(self, regional: Tensor) -> Tensor:
        """Put at each window's place the regional token that it meets."""
        return regional.transpose(0, 1).reshape(regional.shape) if self.authors_pairing else regional

    def unpair(self, regional: Tensor) -> Tensor:
        """Put each regional token back to its own place."""
        frames, windows, dim = regional.shape
        return regional.reshape(windows, frames, dim).transpose(0, 1) if self.authors_pairing else regional


def embedding(arrange: nn.Module, features: int, dim: int) -> nn.Sequential:
    """Rearrangement, linear projection and layer norm: pixels or windows to tokens."""
    return chain(proj=nn.Sequential(arrange, nn.Linear(features, dim)), norm=nn.LayerNorm(dim))


class Block(nn.Module):
    """A cross-frame fusion block: regional, cross-frame and local attention, then an MLP.

    ``drop_path``: chance that a branch is left out in train mode, per frame (regional) or per window (local).
    """

    def __init__(self, dim: int, heads: int, window: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = Attention(dim, heads, window)
        self.cross_attn = CrossAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim)
        self.norm3 = nn.LayerNorm(dim)
        self.norm4 = nn.LayerNorm(dim)
        self.mlp = chain(fc1=nn.Linear(dim, 4 * dim), act=nn.GELU(), fc2=nn.Linear(4 * dim, dim))
        self.drop_path = drop_path

    def within_frames(self, regional: Tensor) -> Tensor:
        """Regional self-attention (RSA): the windows of one frame attend to each other. 5N x windows x D."""
        return regional + self.drop(self.attn(self.norm1(regional)), 1)

    def across_frames(self, regional: Tensor) -> Tensor:
        """Cross self-attention (CSA, equations 1 and 2): the centre frame attends to each of the five frames.

        As in the authors' code the normalised tokens replace the incoming ones, and the attention is added to the
        centre frame's; the paper drops the latter's own tokens instead.
        """
        z = self.norm4(regional).unflatten(0, (-1, FRAMES))
        seen = z[:, CENTRE] + self.cross_attn(z)
        z = torch.cat([z[:, :CENTRE], seen[:, None], z[:, CENTRE + 1 :]], 1)
        return self.drop(z.flatten(0, 1), 1)

    def local_attention(self, regional: Tensor, local: Tensor) -> tuple[Tensor, Tensor]:
        """Local self-attention (LSA): each window's regional token and its pixels attend to each other."""
        tokens = torch.cat([regional.unsqueeze(2), local], 2)
        tokens = tokens + self.drop(self.attn(self.norm2(tokens), pixels=True), 2)
        tokens = tokens + self.drop(self.mlp(self.norm3(tokens)), 2)
        return tokens[:, :, 0], tokens[:, :, 1:]

    def regional_from_local(self, regional: Tensor, local: Tensor) -> Tensor:
        """The regional tokens that :meth:`local_attention` gives, without computing its local ones."""
        tokens = self.norm2(torch.cat([regional.unsqueeze(2), local], 2))
        regional = regional + self.drop(self.attn(tokens, queries=1).squeeze(2), 2)
        return regional + self.drop(self.mlp(self.norm3(regional)), 2)

    def drop(self, branch: Tensor, leading: int) -> Tensor:
        """Stochastic depth: in train mode zero a share of the items that the first ``leading`` dimensions number."""
        if not self.training or self.drop_path == 0:
            return branch
        keep = 1 - self.drop_path
        shape = branch.shape[:leading] + (1,) * (branch.dim() - leading)
        return branch * branch.new_empty(shape).bernoulli_(keep).div_(keep)


class Attention(nn.Module):
    """Self-attention, shared by regional and local tokens; pixels of a window add a relative position bias."""

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        row, col = np.indices((window, window), np.int64).reshape(2, -1)
        down, right = row[:, None] - row, col[:, None] - col
        index = (down + window - 1) * (2 * window - 1) + right + window - 1
        self.register_buffer("relative_position_index_patch", torch.from_numpy(index))
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, pixels: bool = False, queries: int | None = None) -> Tensor:
        """Attend among the tokens of the last but one dimension (... x tokens x D).

        ``pixels``: the first token is a regional one, the rest are a window's pixels, whose mutual attention is
        biased. ``queries``: give only the first so many tokens' result.
        """
        q, k, v = split_heads(self.qkv(x).flatten(0, -3), 3, self.heads)
        bias = self.position_bias().to(q.dtype) if pixels else None
        y = F.scaled_dot_product_attention(q[:, :, :queries], k, v, attn_mask=bias)
        return self.proj(y.transpose(1, 2).flatten(2).unflatten(0, x.shape[:-2]))

    def position_bias(self) -> Tensor:
        """heads x tokens x tokens; zero wherever the regional token takes part."""
        index: Tensor = self.get_buffer("relative_position_index_patch")
        bias = self.relative_position_bias_table[index.flatten()].unflatten(0, index.shape)
        return F.pad(bias.permute(2, 0, 1), (1, 0, 1, 0)).unsqueeze(0)


class CrossAttention(nn.Module):
    """The centre frame's tokens query each frame's; the five answers are joined (equations 1 and 2)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.kv = nn.Linear(dim, 2 * dim)
        self.q = nn.Linear(dim, dim)
        self.proj = nn.Linear(FRAMES * dim, dim)

    def forward(self, z: Tensor) -> Tensor:
        """N x 5 x windows x D -> N x windows x D."""
        (q,) = split_heads(self.q(z[:, CENTRE]), 1, self.heads)
        k, v = split_heads(self.kv(z.flatten(0, 1)), 2, self.heads)
        y = F.scaled_dot_product_attention(q.repeat_interleave(FRAMES, 0), k, v)
        return self.proj(y.unflatten(0, (-1, FRAMES)).permute(0, 3, 1, 2, 4).flatten(2))


def split_heads(x: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    """B x tokens x (parts * D) -> ``parts`` tensors B x heads x tokens x D/heads."""
    return x.unflatten(-1, (parts, heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)


def init_transformer(module: nn.Module) -> None:
    """Vision-transformer initialisation: normal of deviation 0.02, zero biases."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, Attention):
        nn.init.normal_(module.relative_position_bias_table, std=0.02)
