"""3x3 convolutions by minimal filtering: on processors, with a fifth of the multiplications of a direct convolution.

After Winograd's F(m x m, 3 x 3) (Lavin and Gray, Fast algorithms for convolutional neural networks, CVPR 2016). The
picture is cut into tiles of (m + 2) x (m + 2) pixels, m apart. Tiles and kernels are transformed, multiplied value by
value, which over all channels is a matrix product for each of the (m + 2)^2 values, and transformed back into m x m
pixels. The transforms of a whole picture would be many times its size. Here they are made of a block of tiles at a
time, which stays in the processor's caches.
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

from deblurcli.networks.blocks import ResBlock

Kind = tuple[int, int]
"""Channels in and out of a convolution."""

RESTORING, LEARNING = 6, 4
"""Side m of what a tile gives. Larger ones save more multiplications, but their transformed kernels are larger, which
are made anew after each step of an optimiser."""
TILES = {RESTORING: 112, LEARNING: 144}
"""Tiles in a block. The kernels are read from memory for every block, and its transforms should stay in the caches."""
FEWEST = {RESTORING: 56, LEARNING: 36}
"""Tiles of a picture for which it pays: fewer are slower than a direct convolution."""

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
    back: Tensor
    """a^2 x a^2: the transpose of the tile's matrix in both directions."""

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
    return Transforms(m, one, both, torch.kron(three, three), three.T.contiguous(), torch.kron(one, one).T.contiguous())


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
        self.tiles = picture.new_empty(most, a * a, channels)

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
    """Transformed kernels, ready to be multiplied with blocks of tiles.

    Args:
        weight: K x C x 3 x 3.
        most: tiles in a block.
        pack: in the order that oneDNN multiplies fastest, where torch has it. That takes longer than to transform them.
    """

    def __init__(self, weight: Tensor, t: Transforms, most: int, *, pack: bool) -> None:
        self.t, self.most = t, most
        self.out, channels = weight.shape[:2]
        taps = weight.detach().permute(0, 2, 3, 1).reshape(self.out, 9, channels)
        self.values = torch.bmm(t.kernel.expand(self.out, -1, -1), taps).transpose(0, 1)
        """a^2 x K x C."""
        self.packed: Tensor | None = None
        if pack and _can_pack():
            shape = [1, t.values * channels, 1, most]
            plain = self.values.reshape(-1, channels, 1, 1).contiguous().to_mkldnn()
            self.packed = torch.ops.aten.mkldnn_reorder_conv2d_weight(plain, *_ONCE, t.values, shape)
            del self.values

    def times(self, tiles: Tensor) -> Tensor:
        """Tiles (T x a^2 x C, T at most ``most``) to the values of their results, T x a^2 x K."""
        if self.packed is None:
            return torch.bmm(tiles.transpose(0, 1), self.values.transpose(1, 2)).transpose(0, 1)
        # A convolution of 1 x 1 in groups. Its kernels are packed for this very size: oneDNN would pack those for
        # another one at every call.
        tiles.as_strided((self.most, *tiles.shape[1:]), tiles.stride())[len(tiles) :].zero_()
        groups = tiles.as_strided((1, tiles[0].numel(), 1, self.most), (0, 1, 0, tiles.stride(0)))
        found = torch.ops.mkldnn._convolution_pointwise(
            groups, self.packed, None, *_ONCE, self.t.values, "none", [], ""
        )
        return found.permute(0, 2, 3, 1).view(self.most, self.t.values, self.out)[: len(tiles)]


_ONCE = [0, 0], [1, 1], [1, 1]
"""Padding, stride and dilation."""


@lru_cache
def _can_pack() -> bool:
    """Whether this torch has oneDNN's convolution with kernels that are packed once."""
    has = hasattr(torch.ops.aten, "mkldnn_reorder_conv2d_weight") and hasattr(
        torch.ops.mkldnn, "_convolution_pointwise"
    )
    return has and torch.backends.mkldnn.is_available()


def grid(height: int, width: int, m: int) -> tuple[int, int]:
    """Tiles down and across a picture."""
    return -(-height // m), -(-width // m)


def convolved(
    x: Tensor, kernels: Kernels, bias: Tensor | None, *, relu: bool = False, added: Tensor | None = None
) -> Tensor:
    """N x C x H x W to N x K x H x W, in channels-last order.

    With ``relu``, and with something of the result's shape ``added``, while the result is still in the caches.
    """
    t = kernels.t
    n, _, height, width = x.shape
    pictures = x.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)
    made = torch.empty(n, kernels.out, height, width, memory_format=torch.channels_last)
    results = x.new_empty(kernels.most, t.m**2, kernels.out)
    for number, (picture, target) in enumerate(zip(pictures, made.permute(0, 2, 3, 1), strict=True)):
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
                if relu:
                    place.relu_()
                if added is not None:
                    place += added[number, :, y : y + t.m, begin : begin + across * t.m].permute(1, 2, 0)
    return made


def gradients(
    x: Tensor, slope: Tensor, kernels: Kernels, wanted: tuple[bool, bool] = (True, True)
) -> tuple[Tensor | None, Tensor | None]:
    """Those of the input and of the kernels as far as ``wanted``, from the input and the gradient of the result."""
    t, most = kernels.t, kernels.most
    a, m = len(t.tile), t.m
    n, channels, height, width = x.shape
    down, across = grid(height, width, m)
    total: Tensor | None = None
    wide = m * across + 2
    made = x.new_zeros(n, m * down + 2, wide, channels)
    # Neighbouring tiles overlap; every second one does not.
    steps = (2 * m * wide * channels, 2 * m * channels, wide * channels, channels, 1)
    both = [y.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1) for y in (x, slope)]
    for picture, change, target in zip(*both, made, strict=True):
        seen, given = Spreader(picture, t.tile, m, most), Spreader(change, t.spread, m, most)
        for top, left, high, broad in blocks(down, across, most):
            changes = given(top, left, high, broad).transpose(0, 1)
            if wanted[1]:
                tiles = seen(top, left, high, broad).permute(1, 2, 0)
                total = torch.bmm(tiles, changes) if total is None else total.baddbmm_(tiles, changes)
            if not wanted[0]:
                continue
            values = torch.bmm(changes, kernels.values).transpose(0, 1)
            pieces = torch.bmm(t.back.expand(high * broad, -1, -1), values).view(high, broad, a, a, channels)
            for down_by, right_by in ((0, 0), (0, 1), (1, 0), (1, 1)):
                turned = pieces[down_by::2, right_by::2].transpose(2, 3)
                place = target[m * (top + down_by) :, m * (left + right_by) :]
                place.as_strided(turned.shape, steps, place.storage_offset()).add_(turned)
    inner = made[:, 1 : 1 + height, 1 : 1 + width].permute(0, 3, 1, 2)
    for_x = inner.contiguous(memory_format=torch.channels_last) if wanted[0] else None
    if total is None:
        return for_x, None
    taps = t.kernel.T @ total.view(t.values, -1)
    return for_x, taps.view(3, 3, channels, kernels.out).permute(3, 2, 0, 1)


class _Learnt(torch.autograd.Function):
    """The convolution with gradients, all three by minimal filtering."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, layer: Quick) -> Tensor:
        # The weight is saved so that torch notices where it has changed meanwhile.
        ctx.save_for_backward(x, weight)
        ctx.kernels, ctx.has_bias = layer.kernels(LEARNING), bias is not None
        return convolved(x, ctx.kernels, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        x, _ = ctx.saved_tensors
        for_x, for_weight = gradients(x, slope, ctx.kernels, ctx.needs_input_grad[:2])
        for_bias = slope.sum((0, 2, 3)) if ctx.has_bias and ctx.needs_input_grad[2] else None
        return for_x, for_weight, for_bias, None


_KEPT: WeakKeyDictionary[nn.Module, dict[int, tuple[tuple[int, int, int], Kernels]]] = WeakKeyDictionary()
"""Transformed kernels of layers; beside the modules, so that copies and weights files know nothing of them."""


class Quick(nn.Conv2d):
    """A 3x3 convolution by minimal filtering, where the picture is large enough; otherwise direct.

    For float32 on the processor; under autocast and elsewhere it is an ordinary convolution. Its gradients have no
    gradients themselves.
    """

    def forward(self, input: Tensor) -> Tensor:
        m = self.use(input)
        if not self.pays(input, m):
            return super().forward(input)
        if m == LEARNING:
            return _Learnt.apply(input, self.weight, self.bias, self)
        return self.convolved(input)

    def convolved(self, x: Tensor, *, relu: bool = False, added: Tensor | None = None) -> Tensor:
        """As :func:`convolved`, without gradients."""
        return convolved(x, self.kernels(RESTORING), self.bias, relu=relu, added=added)

    def use(self, x: Tensor) -> int:
        """``RESTORING``, or ``LEARNING`` where gradients will be wanted."""
        learning = torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad)
        return LEARNING if learning else RESTORING

    def pays(self, x: Tensor, m: int) -> bool:
        """Whether minimal filtering is possible, and the picture large enough."""
        plain = x.device.type == "cpu" and x.dtype == self.weight.dtype == torch.float32 and x.dim() == 4
        if not plain or torch.is_autocast_enabled("cpu"):
            return False
        down, across = grid(x.shape[-2], x.shape[-1], m)
        return down * across >= FEWEST[m]

    def kernels(self, m: int) -> Kernels:
        """The transformed kernels, made again only where the weight has changed."""
        # oneDNN packs for a number of threads.
        state = (self.weight._version, self.weight.data_ptr(), torch.get_num_threads())
        kept = _KEPT.setdefault(self, {})
        if m not in kept or kept[m][0] != state:
            kept[m] = state, Kernels(self.weight, transforms(m), TILES[m], pack=m == RESTORING)
        return kept[m][1]


class QuickBlock(ResBlock):
    """A residual block of two such convolutions: ReLU and sum are done while a block of tiles is in the caches."""

    def __init__(self, block: ResBlock, kinds: Collection[Kind]) -> None:
        nn.Module.__init__(self)
        quickened(block, kinds)
        self.conv1, self.conv2 = block.conv1, block.conv2
        self.train(block.training)

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.conv1, self.conv2
        if not (isinstance(first, Quick) and isinstance(second, Quick)):
            return super().forward(x)
        if {first.use(x), second.use(x)} == {RESTORING} and first.pays(x, RESTORING):
            return second.convolved(first.convolved(x, relu=True), added=x)
        return super().forward(x)


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
            if type(layer) is nn.Conv2d and kind_of(layer) in kinds:
                setattr(parent, name, _quick(layer))
            elif type(layer) is ResBlock:
                setattr(parent, name, QuickBlock(layer, kinds))
    return network


def _quick(layer: nn.Conv2d) -> Quick:
    made = Quick(layer.in_channels, layer.out_channels, 3, padding=1, bias=layer.bias is not None, device="meta")
    made.weight, made.bias = layer.weight, layer.bias
    return made.train(layer.training)
