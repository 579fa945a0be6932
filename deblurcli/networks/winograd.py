"""3x3 convolutions by minimal filtering: on processors, with a fifth of the multiplications of a direct convolution.

The method of :mod:`deblurcli.networks.minimal_filtering`: over all channels, the product value by value is a matrix
product for each of the (m + 2)^2 values. The transforms of a whole picture would be many times its size. Here they are
made of a block of tiles at a time, which stays in the processor's caches. While a network learns,
:mod:`deblurcli.networks.filtered_gradients` does it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import lru_cache, partial
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from deblurcli.networks import filtered_gradients
from deblurcli.networks.blocks import ResBlock
from deblurcli.networks.filtered_gradients import LEARNING, LearntKernels, tiles_of
from deblurcli.networks.minimal_filtering import Transforms, grid, transforms

Made = TypeVar("Made")

Kind = tuple[int, int]
"""Channels in and out of a convolution."""

RESTORING = 6
"""Side m of what a tile gives. Larger ones save more multiplications, and lose more digits."""
MOST = 112
"""Tiles in a block. The kernels are read from memory for every block, and its transforms should stay in the caches."""


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

    Pixels outside of the picture are 0; the first tile begins a pixel before it.
    """

    def __init__(self, picture: Tensor, matrix: Tensor, step: int, most: int) -> None:
        self.picture, self.matrix, self.step = picture, matrix, step
        a, n = matrix.shape
        channels = picture.shape[2]
        self.columns = picture.new_empty(step * most + n - step, a, channels)
        self.tiles = picture.new_empty(most, a * a, channels)

    def __call__(self, top: int, left: int, down: int, across: int) -> Tensor:
        """The values of a block's tiles: T x a^2 x C, the horizontal direction first."""
        height, width, channels = self.picture.shape
        a, n = self.matrix.shape
        step = self.step
        span = step * across + n - step
        begin = step * left - 1
        first, last = max(begin, 0), min(begin + span, width)
        columns = self.columns[:span]
        columns[: first - begin].zero_()
        columns[last - begin :].zero_()
        inside = columns[first - begin : last - begin]
        overlapping = columns.as_strided((across, n, a * channels), (step * a * channels, a * channels, 1))
        for row in range(down):
            begin = step * (top + row) - 1
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


_KEPT: WeakKeyDictionary[nn.Module, dict[str, tuple[tuple[object, ...], Any]]] = WeakKeyDictionary()
"""Transformed kernels of layers; beside the modules, so that copies and weights files know nothing of them."""


class Quick(nn.Conv2d):
    """A 3x3 convolution by minimal filtering, where the picture is large enough; otherwise direct.

    For float32 on the processor; under autocast and elsewhere it is an ordinary convolution. Its gradients have no
    gradients themselves.
    """

    def forward(self, input: Tensor) -> Tensor:
        if not possible(input, self.weight):
            return super().forward(input)
        filtered = tiles_of(input) >= filtered_gradients.FEWEST
        if self.learns(input):
            return filtered_gradients.convolved(input, self.weight, self.bias, self.learnt_kernels(), filtered=filtered)
        if self.pays(input):
            return self.convolved(input)
        return (
            filtered_gradients.results(input, self.small_kernels(), self.bias) if filtered else super().forward(input)
        )

    def convolved(self, x: Tensor, *, relu: bool = False, added: Tensor | None = None) -> Tensor:
        """As :func:`convolved`, without gradients."""
        return convolved(x, self.kernels(), self.bias, relu=relu, added=added)

    def learns(self, x: Tensor) -> bool:
        """Whether gradients will be wanted."""
        return torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad)

    def pays(self, x: Tensor) -> bool:
        """Whether minimal filtering is possible without gradients, and the picture large enough for large tiles."""
        return possible(x, self.weight) and large(x.shape[-2], x.shape[-1])

    def kernels(self) -> Kernels:
        """The transformed kernels, made again only where the weight has changed."""
        # oneDNN packs for a number of threads.
        return self._kept("restoring", (torch.get_num_threads(),), self._packed)

    def _packed(self) -> Kernels:
        return Kernels(self.weight, transforms(RESTORING), MOST, pack=True)

    def small_kernels(self) -> LearntKernels:
        """Those of smaller tiles, for pictures that have few."""
        return self._kept("learning", (self.weight.requires_grad,), partial(LearntKernels, self.weight))

    def learnt_kernels(self) -> LearntKernels:
        """Those with gradients. They are new ones, too, where a backward pass has not come to its end."""
        found = self.small_kernels()
        if found.gathered:
            del _KEPT[self]["learning"]
            found = self.small_kernels()
        return found

    def _kept(self, kind: str, state: tuple[object, ...], make: Callable[[], Made]) -> Made:
        state = (self.weight._version, self.weight.data_ptr(), *state)
        kept = _KEPT.setdefault(self, {})
        if kind not in kept or kept[kind][0] != state:
            kept[kind] = state, make()
        found: Made = kept[kind][1]
        return found


def possible(x: Tensor, weight: Tensor) -> bool:
    """Whether minimal filtering is possible here: in float32 on the processor, which nothing reduces."""
    plain = x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32 and x.dim() == 4
    return plain and not torch.is_autocast_enabled("cpu")


@lru_cache
def large(height: int, width: int) -> bool:
    """Whether tiles of 6 take fewer products than tiles of 4, although their blocks are filled up."""
    count = sum(1 for _ in blocks(*grid(height, width, RESTORING), MOST))
    down, across = grid(height, width, LEARNING)
    return count * MOST * (RESTORING + 2) ** 2 <= down * across * (LEARNING + 2) ** 2


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
        if not first.learns(x) and not second.learns(x) and first.pays(x):
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
