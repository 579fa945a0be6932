"""3x3 convolutions by minimal filtering: on processors, with a fifth of the multiplications of a direct convolution.

After Winograd's F(m x m, 3 x 3) (Lavin and Gray, Fast algorithms for convolutional neural networks, CVPR 2016): the picture
is cut into tiles of (m + 2) x (m + 2) pixels, m apart. Tiles and kernels are transformed, multiplied value by value,
which over all channels is a matrix product for each of the (m + 2)^2 values, and transformed back into m x m pixels.
The transforms of a whole picture would be many times its size. Here they are made of a block of tiles at a time, which
stays in the processor's caches.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

Kind = tuple[int, int]
"""Channels in and out of a convolution."""

RESTORING, LEARNING = 6, 4
"""Side m of what a tile gives. Larger ones save more multiplications, but their transformed kernels are larger, which
are made anew after each step of an optimiser."""
TILES = {RESTORING: 56, LEARNING: 36}
"""Tiles in a block for one thread. Their transforms are about as large as a core's second cache, and the matrix products
large enough to be fast."""

POINTS = [Fraction(*p) for p in ((0, 1), (1, 1), (-1, 1), (2, 1), (-2, 1), (1, 2), (-1, 2))]
"""Where the polynomials are evaluated; the last point is at infinity."""


@dataclass(frozen=True)
class Transforms:
    """The matrices of F(m x m, 3 x 3), float32, with a = m + 2."""

    m: int
    tile: Tensor
    """a x a, applied to a tile's columns and rows."""
    kernel: Tensor
    """a^2 x 9: both directions at once, the horizontal one first."""
    result: Tensor
    """m^2 x a^2, likewise."""
    spread: Tensor
    """a x m: the transpose of the result's matrix of one direction."""

    @property
    def values(self) -> int:
        """Values of a transformed tile."""
        return len(self.tile) ** 2


@lru_cache
def transforms(m: int) -> Transforms:
    """Toom and Cook's construction, in exact fractions. m up to 6."""
    points = POINTS[: m + 1]
    tile, kernel = [], []
    for n, point in enumerate(points):
        others = points[:n] + points[n + 1 :]
        scale = Fraction(1)
        for other in others:
            scale *= point - other
        tile.append([*_expanded(others), Fraction(0)])
        kernel.append([point**power / scale for power in range(3)])
    tile.append(_expanded(points))
    kernel.append([Fraction(0), Fraction(0), Fraction(1)])
    result = [[*(point**power for point in points), Fraction(power == m - 1)] for power in range(m)]
    one, two, three = (torch.tensor([[float(x) for x in row] for row in rows]) for rows in (tile, kernel, result))
    # Kernels are stored row by row: their vertical direction comes first.
    both = torch.einsum("hj,vi->hvij", two.double(), two.double()).reshape(-1, 9).float()
    return Transforms(m, one, both, torch.kron(three, three).contiguous(), three.T.contiguous())


def _expanded(roots: list[Fraction]) -> list[Fraction]:
    """Coefficients of the product of (x - root), from the constant one on."""
    found = [Fraction(1)]
    for root in roots:
        found = [low - root * high for low, high in zip([Fraction(0), *found], [*found, Fraction(0)], strict=True)]
    return found


def blocks(height: int, width: int, most: int) -> Iterator[tuple[int, int, int, int]]:
    """A grid of tiles as few blocks of at most so many: top, left, height and width of each, in tiles."""
    down, across = min(
        ((down, min(most // down, width)) for down in range(1, min(most, height) + 1)),
        key=lambda size: -(-height // size[0]) * -(-width // size[1]),
    )
    for top in range(0, height, down):
        for left in range(0, width, across):
            yield top, left, min(down, height - top), min(across, width - left)


class Spreader:
    """Transforms the tiles of blocks, with buffers that are used again.

    Args:
        picture: H x W x C.
        matrix: a x n, applied in both directions to n x n pixels.
        step: pixels from tile to tile.
        most: tiles in a block.

    Pixels outside of the picture are 0; the first tile begins n - step - 1 pixels before it, or with it if step is n.
    """

    def __init__(self, picture: Tensor, matrix: Tensor, step: int, most: int) -> None:
        self.picture, self.matrix, self.step = picture, matrix, step
        a, n = matrix.shape
        channels = picture.shape[2]
        self.before = 0 if step == n else 1
        self.columns = picture.new_empty(step * most + n - step, a, channels)
        self.tiles = picture.new_zeros(most, a * a, channels)

    def __call__(self, top: int, left: int, down: int, across: int) -> Tensor:
        """The values of a block's tiles: T x a^2 x C, the horizontal direction first."""
        height, width, channels = self.picture.shape
        a, n = self.matrix.shape
        step, before = self.step, self.before
        span = step * across + n - step
        begin = step * left - before
        first, last = max(begin, 0), min(begin + span, width)
        columns = self.columns[:span]
        columns[: first - begin].zero_()
        columns[last - begin :].zero_()
        inside = columns[first - begin : last - begin]
        overlapping = columns.as_strided((across, n, a * channels), (step * a * channels, a * channels, 1))
        for row in range(down):
            begin = step * (top + row) - before
            low, high = max(begin, 0), min(begin + n, height)
            pixels = self.picture[low:high, first:last].transpose(0, 1)
            torch.bmm(self.matrix[:, low - begin : high - begin].expand(last - first, -1, -1), pixels, out=inside)
            values = self.tiles[row * across : (row + 1) * across].view(across, a, a * channels)
            torch.bmm(self.matrix.expand(across, -1, -1), overlapping, out=values)
        return self.tiles[: down * across]


class Kernels:
    """Transformed kernels, ready to be multiplied with blocks of one size.

    Args:
        weight: K x C x 3 x 3.
        mirrored: those of the convolution that leads gradients back: from K channels to C, turned by half a circle.
        most: tiles in a block.
    """

    def __init__(self, weight: Tensor, t: Transforms, most: int, *, mirrored: bool = False) -> None:
        count, channels = weight.shape[:2]
        taps = weight.detach().permute(0, 2, 3, 1).reshape(count, 9, channels)
        values = torch.bmm((t.kernel.flip(1) if mirrored else t.kernel).expand(count, -1, -1), taps)  # K x a^2 x C
        self.t, self.most = t, most
        made = values.permute(1, 2, 0) if mirrored else values.transpose(0, 1)  # a^2 x out x in
        self.out, into = made.shape[1:]
        self.packed: Tensor | None = None
        if _can_pack():
            shape = [1, t.values * into, 1, most]
            plain = made.reshape(-1, into, 1, 1).contiguous().to_mkldnn()
            self.packed = torch._C._nn.mkldnn_reorder_conv2d_weight(plain, *_ONCE, t.values, shape)
        else:
            self.plain = made.transpose(1, 2)

    def times(self, tiles: Tensor) -> Tensor:
        """Tiles (T x a^2 x C, T at most ``most``) to the values of their results, T x a^2 x K."""
        if self.packed is None:
            return torch.bmm(tiles.transpose(0, 1), self.plain).transpose(0, 1)
        # A convolution of 1 x 1 in groups. Its kernels are packed for this very size: oneDNN would pack those for
        # another one at every call.
        if len(tiles) < self.most:
            tiles = tiles.as_strided((self.most, *tiles.shape[1:]), tiles.stride())
        groups = tiles.view(1, 1, self.most, -1).permute(0, 3, 1, 2)
        found = torch.ops.mkldnn._convolution_pointwise(
            groups, self.packed, None, *_ONCE, self.t.values, "none", [], ""
        )
        return found.permute(0, 2, 3, 1).view(self.most, self.t.values, self.out)  # type: ignore[no-any-return]


_ONCE = [0, 0], [1, 1], [1, 1]
"""Padding, stride and dilation."""


@lru_cache
def _can_pack() -> bool:
    """Whether this torch has oneDNN's convolution with kernels that are packed once."""
    has = hasattr(torch._C._nn, "mkldnn_reorder_conv2d_weight") and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
    return has and torch.backends.mkldnn.is_available()


def capacity(m: int) -> int:
    """Tiles in a block: more than one thread shares the work on larger ones."""
    return TILES[m] * min(torch.get_num_threads(), 2)


def grid(height: int, width: int, m: int) -> tuple[int, int]:
    """Tiles down and across a picture."""
    return -(-height // m), -(-width // m)


def convolved(x: Tensor, kernels: Kernels, bias: Tensor | None) -> Tensor:
    """N x C x H x W to N x K x H x W, in channels-last order."""
    t = kernels.t
    n, _, height, width = x.shape
    pictures = x.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)
    made = x.new_empty(n, height, width, kernels.out)
    results = x.new_empty(kernels.most, t.m**2, kernels.out)
    for picture, target in zip(pictures, made, strict=True):
        spread = Spreader(picture, t.tile, t.m, kernels.most)
        for top, left, down, across in blocks(*grid(height, width, t.m), kernels.most):
            tiles = down * across
            found = kernels.times(spread(top, left, down, across))[:tiles]
            torch.bmm(t.result.expand(tiles, -1, -1), found, out=results[:tiles])
            for row in range(down):
                # The horizontal direction is first: pixels of a row of tiles are x, then y.
                pixels = results[row * across : (row + 1) * across].view(across * t.m, t.m, kernels.out)
                y, begin = t.m * (top + row), t.m * left
                place = target[y : y + t.m, begin : begin + across * t.m]
                turned = pixels[: place.shape[1], : place.shape[0]].transpose(0, 1)
                if bias is None:
                    place.copy_(turned)
                else:
                    torch.add(turned, bias, out=place)
    return made.permute(0, 3, 1, 2)


def weight_gradient(x: Tensor, slope: Tensor, t: Transforms, most: int) -> Tensor:
    """The gradient of the kernels, K x C x 3 x 3, from a convolution's input and its result's gradient."""
    channels, count = x.shape[1], slope.shape[1]
    total = x.new_zeros(t.values, channels, count)
    for picture, change in zip(*(y.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1) for y in (x, slope)), strict=True):
        seen, given = Spreader(picture, t.tile, t.m, most), Spreader(change, t.spread, t.m, most)
        for block in blocks(*grid(*picture.shape[:2], t.m), most):
            total.baddbmm_(seen(*block).permute(1, 2, 0), given(*block).transpose(0, 1))
    taps = t.kernel.T @ total.view(t.values, -1)
    return taps.view(3, 3, channels, count).permute(3, 2, 0, 1)


class _Learnt(torch.autograd.Function):
    """The convolution with gradients, all three by minimal filtering."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, layer: Quick) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.layer, ctx.has_bias = layer, bias is not None
        return convolved(x, layer.kernels(LEARNING), bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        x, _ = ctx.saved_tensors  # the weight is saved so that torch notices where it has changed meanwhile
        for_x, for_weight, for_bias = ctx.needs_input_grad[:3]
        return (
            convolved(slope, ctx.layer.kernels(LEARNING, mirrored=True), None) if for_x else None,
            weight_gradient(x, slope, transforms(LEARNING), capacity(LEARNING)) if for_weight else None,
            slope.sum((0, 2, 3)) if ctx.has_bias and for_bias else None,
            None,
        )


_KEPT: WeakKeyDictionary[nn.Module, dict[tuple[int, bool], tuple[tuple[int, int, int], Kernels]]] = WeakKeyDictionary()
"""Transformed kernels of layers; beside the modules, so that copies and weights files know nothing of them."""


class Quick(nn.Conv2d):
    """A 3x3 convolution by minimal filtering, where the picture is large enough; otherwise direct.

    For float32 on the processor; under autocast and elsewhere it is an ordinary convolution. Its gradients have no
    gradients themselves.
    """

    def forward(self, input: Tensor) -> Tensor:
        learning = torch.is_grad_enabled() and (input.requires_grad or self.weight.requires_grad)
        if not self._pays(input, LEARNING if learning else RESTORING):
            return super().forward(input)
        if learning:
            return _Learnt.apply(input, self.weight, self.bias, self)  # type: ignore[no-any-return]
        return convolved(input, self.kernels(RESTORING), self.bias)

    def _pays(self, x: Tensor, m: int) -> bool:
        """Whether minimal filtering is possible, and blocks are full enough."""
        plain = x.device.type == "cpu" and x.dtype == self.weight.dtype == torch.float32 and x.dim() == 4
        if not plain or torch.is_autocast_enabled("cpu"):
            return False
        down, across = grid(*x.shape[-2:], m)
        return 2 * down * across >= capacity(m)

    def kernels(self, m: int, *, mirrored: bool = False) -> Kernels:
        """The transformed kernels, made again only where the weight has changed."""
        most = capacity(m)
        state = (self.weight._version, self.weight.data_ptr(), most)
        kept = _KEPT.setdefault(self, {})
        if (m, mirrored) not in kept or kept[m, mirrored][0] != state:
            kept[m, mirrored] = state, Kernels(self.weight, transforms(m), most, mirrored=mirrored)
        return kept[m, mirrored][1]


def kind_of(layer: nn.Module) -> Kind | None:
    """Channels in and out of a layer that minimal filtering can compute; None: it cannot."""
    if not isinstance(layer, nn.Conv2d) or layer.kernel_size != (3, 3) or layer.padding_mode != "zeros":
        return None
    same = layer.padding in ((1, 1), "same") and layer.stride == layer.dilation == (1, 1) and layer.groups == 1
    return (layer.in_channels, layer.out_channels) if same else None


def quickened(network: nn.Module, kinds: Collection[Kind]) -> nn.Module:
    """The network itself, whose convolutions of these kinds are :class:`Quick`; weights and their names stay."""
    for parent in list(network.modules()):
        for name, layer in parent.named_children():
            if kind_of(layer) in kinds and type(layer) is nn.Conv2d:
                setattr(parent, name, _quick(layer))
    return network


def _quick(layer: nn.Conv2d) -> Quick:
    made = Quick(layer.in_channels, layer.out_channels, 3, padding=1, bias=layer.bias is not None, device="meta")
    made.weight, made.bias = layer.weight, layer.bias
    return made.train(layer.training)
