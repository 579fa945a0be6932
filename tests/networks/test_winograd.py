"""3x3 convolutions by minimal filtering: the same results and gradients as direct ones, in all sizes and kinds."""

from __future__ import annotations

import copy
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deblurcli.networks import NETWORKS, filtered_gradients, minimal_filtering, winograd
from deblurcli.networks.blocks import ResBlock
from deblurcli.networks.minimal_filtering import transforms
from deblurcli.networks.winograd import Quick, QuickBlock, kind_of, large, quickened

KINDS = [(96, 128), (128, 128), (192, 192), (128, 64), (96, 96), (128, 48), (3, 5), (1, 1)]
"""Those of the default networks, and narrow ones."""
SIZES = [(36, 48), (61, 47), (42, 3), (1, 200), (44, 80)]
"""Height and width: whole tiles, odd ones, narrower than a tile, one row, several blocks."""


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small pictures, too, go through minimal filtering, with large tiles where there are no gradients."""
    monkeypatch.setattr(winograd, "large", lambda *_: True)
    monkeypatch.setattr(filtered_gradients, "FEWEST", 1)


@pytest.fixture(params=["packed", "plain", "small tiles"])
def packing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With oneDNN's packed kernels, as where torch has none, and with small tiles."""
    if request.param == "plain":
        monkeypatch.setattr(winograd, "_can_pack", lambda: False)
    elif request.param == "small tiles":
        monkeypatch.setattr(winograd, "large", lambda *_: False)


def layers(kind: tuple[int, int], bias: bool = True) -> tuple[nn.Conv2d, Quick]:
    """A convolution in float64, and the same by minimal filtering in float32."""
    torch.manual_seed(sum(kind))
    exact = nn.Conv2d(*kind, 3, padding=1, bias=bias).double()
    (quick,) = quickened(nn.Sequential(copy.deepcopy(exact).float()), {kind})
    assert isinstance(quick, Quick)
    return exact, quick


def apart(found: Tensor, wanted: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    return float((found - wanted).abs().max().detach() / wanted.abs().max().detach())


@pytest.mark.parametrize("m", [2, 4, 6])
def test_transforms_give_the_convolution_exactly(m: int) -> None:
    t = transforms(m)
    tile, kernel = torch.rand(m + 2, m + 2, dtype=torch.float64), torch.rand(3, 3, dtype=torch.float64)
    both = torch.kron(t.tile, t.tile).double()
    values = both @ tile.T.reshape(-1) * (t.kernel.double() @ kernel.reshape(-1))
    found = (t.result.double() @ values).view(m, m).T
    assert torch.allclose(found, tile.unfold(0, 3, 1).unfold(1, 3, 1).mul(kernel).sum((-1, -2)), atol=1e-5)
    assert t.values == (m + 2) ** 2


def test_products_of_roots() -> None:
    assert minimal_filtering._expanded([Fraction(1), Fraction(-2)]) == [Fraction(-2), Fraction(1), Fraction(1)]


@pytest.mark.parametrize("most", [1, 7, 56, 1000])
@pytest.mark.parametrize("size", [(1, 1), (3, 54), (30, 54), (8, 7), (2, 900)])
def test_blocks_cover_every_tile_once(size: tuple[int, int], most: int) -> None:
    seen = torch.zeros(size)
    for top, left, down, across in winograd.blocks(*size, most):
        assert down * across <= most
        seen[top : top + down, left : left + across] += 1
    assert torch.equal(seen, torch.ones(size))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_layer_gives_the_same(kind: tuple[int, int], packing: None) -> None:
    exact, quick = layers(kind)
    x = torch.randn(2, kind[0], 43, 58, dtype=torch.float64)
    with torch.no_grad():
        assert apart(quick(x.float()), exact(x)) < 1e-4


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("threads", [1, 2])
def test_every_size_gives_the_same(size: tuple[int, int], threads: int, packing: None) -> None:
    exact, quick = layers((20, 24), bias=threads == 1)
    x = torch.randn(1, 20, *size, dtype=torch.float64)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.no_grad():
            found = quick(x.float())
    finally:
        torch.set_num_threads(before)
    assert apart(found, exact(x)) < 1e-4 and found.is_contiguous(memory_format=torch.channels_last)


def test_what_was_in_memory_does_not_matter() -> None:
    exact, quick = layers((20, 24))
    x = torch.randn(1, 20, 13, 9)
    poison = [torch.full((56, 64, 20), float("nan")) for _ in range(3)]
    del poison
    with torch.no_grad():
        assert apart(quick(x), exact(x.double())) < 1e-4


@pytest.mark.parametrize(
    ("kind", "size", "count"), [((20, 24), (31, 45), 2), ((128, 128), (48, 48), 1), ((4, 3), (5, 70), 1)]
)
def test_gradients_are_the_same(kind: tuple[int, int], size: tuple[int, int], count: int) -> None:
    exact, quick = layers(kind)
    x = torch.randn(count, kind[0], *size, dtype=torch.float64, requires_grad=True)
    shallow = x.detach().float().requires_grad_()
    result = exact(x)
    slope = torch.randn_like(result)
    wanted = torch.autograd.grad(result, [x, *exact.parameters()], slope)
    found = torch.autograd.grad(quick(shallow), [shallow, *quick.parameters()], slope.float())
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape and apart(one, other) < 1e-4


def test_gradients_only_where_they_are_wanted() -> None:
    exact, quick = layers((20, 24), bias=False)
    x = torch.randn(1, 20, 30, 30)
    quick(x).sum().backward()
    exact(x.double()).sum().backward()
    assert apart(quick.weight.grad, exact.weight.grad) < 1e-4
    quick.requires_grad_(False)
    seen = x.clone().requires_grad_()
    quick(seen).sum().backward()
    assert quick.weight.grad is not None and seen.grad is not None


def test_gradients_of_gradients_are_refused() -> None:
    _, quick = layers((20, 24))
    x = torch.randn(1, 20, 30, 30, requires_grad=True)
    (slope,) = torch.autograd.grad(quick(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_changed_weights_are_seen() -> None:
    exact, quick = layers((20, 24))
    x = torch.randn(1, 20, 30, 30)
    optimiser = torch.optim.SGD(quick.parameters(), 0.1)
    for _ in range(2):
        with torch.no_grad():
            before = quick(x)
        loss = quick(x).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            exact.load_state_dict(quick.state_dict())
            assert apart(quick(x), exact(x.double())) < 1e-4 and not torch.equal(quick(x), before)
    other = copy.deepcopy(quick)
    with torch.no_grad():
        other.weight.zero_()
        assert torch.equal(other(x), other.bias[:, None, None].expand(24, 30, 30)[None]) and quick(x).std() > 0


@pytest.mark.parametrize("inputs", [torch.float64, torch.bfloat16, "autocast"])
def test_other_precisions_are_direct(inputs: torch.dtype | str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "convolved", lambda *_, **__: pytest.fail("not in float32"))
    _, quick = layers((20, 24))
    x = torch.randn(1, 20, 60, 60)
    with torch.no_grad():
        if isinstance(inputs, str):
            with torch.autocast("cpu", torch.bfloat16):
                assert quick(x).dtype == torch.bfloat16
        else:
            assert quick.to(inputs)(x.to(inputs)).dtype == inputs


@pytest.mark.parametrize(
    ("size", "count", "way"),
    [
        ((8, 12), 1, "direct"),
        ((8, 12), 2, "small"),
        ((24, 24), 1, "small"),
        ((64, 64), 1, "small"),
        ((84, 96), 1, "large"),
    ],
)
def test_the_size_decides(size: tuple[int, int], count: int, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    exact, quick = layers((20, 24))
    x, seen = torch.randn(count, 20, *size), []

    def told(name: str, act: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def noted(*given: Any, **options: Any) -> Tensor:
            seen.append(name)
            return act(*given, **options)

        return noted

    monkeypatch.setattr(winograd, "convolved", told("large", winograd.convolved))
    monkeypatch.setattr(filtered_gradients, "results", told("small", filtered_gradients.results))
    with torch.no_grad():
        assert apart(quick(x), exact(x.double())) < 1e-4
    assert seen == ([] if way == "direct" else [way]) and large(*size) == (way == "large")


def used_twice(layer: nn.Module, x: Tensor, small: Tensor) -> Tensor:
    """Something of what a layer makes of a picture and then, as at a coarser scale, of another."""
    return layer(x).square().sum() + layer(small).cos().sum()


@pytest.mark.parametrize("small", [(24, 31), (7, 3)])
@pytest.mark.parametrize("gathered", [1, 96])
def test_a_layer_at_several_scales(small: tuple[int, int], gathered: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filtered_gradients, "FEWEST", 9)
    monkeypatch.setattr(filtered_gradients, "GATHERED", gathered)
    exact, quick = layers((20, 24))
    pictures = [torch.randn(2, 20, *size, dtype=torch.float64) for size in ((40, 36), small)]
    for changed in (False, True):
        with torch.no_grad():
            for layer in (exact, quick):
                layer.weight.add_(0.1 * changed)
        wanted = torch.autograd.grad(used_twice(exact, *pictures), [*exact.parameters()])
        for _ in range(2):
            found = torch.autograd.grad(used_twice(quick, *(x.float() for x in pictures)), [*quick.parameters()])
            assert all(apart(one, other) < 1e-4 for one, other in zip(found, wanted, strict=True))


def test_two_graphs_and_one_gone_through_twice() -> None:
    exact, quick = layers((20, 24))
    x, small = (torch.randn(1, 20, side, side) for side in (40, 20))
    (wanted,) = torch.autograd.grad(used_twice(exact, x.double(), small.double()), exact.weight)
    first, second = used_twice(quick, x, small), used_twice(quick, x, small)
    for graph in (second, first, first):
        (found,) = torch.autograd.grad(graph, quick.weight, retain_graph=True)
        assert apart(found, wanted) < 1e-4


def test_a_backward_pass_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    exact, quick = layers((20, 24))
    x, small = (torch.randn(1, 20, side, side) for side in (40, 20))
    first = quick(x)
    lost = quick(first[:, :20])
    first.register_hook(lambda _: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(MemoryError):
        lost.sum().backward()
    (wanted,) = torch.autograd.grad(used_twice(exact, x.double(), small.double()), exact.weight)
    (found,) = torch.autograd.grad(used_twice(quick, x, small), quick.weight)
    assert apart(found, wanted) < 1e-4


def test_kernels_made_without_gradients_have_them_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "large", lambda *_: False)
    _, quick = layers((20, 24))
    x = torch.randn(1, 20, 30, 30)
    with torch.no_grad():
        quick(x)
    quick(x).sum().backward()
    assert quick.weight.grad is not None and quick.weight.grad.abs().max() > 0


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(8, 8, 3),
        nn.Conv2d(8, 8, 3, padding=1, stride=2),
        nn.Conv2d(8, 8, 3, padding=1, groups=2),
        nn.Conv2d(8, 8, 3, padding=2, dilation=2),
        nn.Conv2d(8, 8, 5, padding=2),
        nn.Conv2d(8, 8, 1),
        nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"),
        nn.ConvTranspose2d(8, 8, 3, padding=1),
        nn.Conv3d(8, 8, 3, padding=1),
    ],
    ids=str,
)
def test_other_layers_stay(layer: nn.Module) -> None:
    network = nn.Sequential(layer)
    assert kind_of(layer) is None and quickened(network, {(8, 8)})[0] is layer


def test_only_the_kinds_asked_for_change() -> None:
    network = nn.Sequential(nn.Conv2d(8, 8, 3, padding="same"), nn.Conv2d(8, 4, 3, padding=1))
    weights = [*network.parameters()]
    quickened(network, {(8, 8)})
    assert type(network[0]) is Quick and type(network[1]) is nn.Conv2d
    assert all(one is other for one, other in zip(network.parameters(), weights, strict=True))


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("kinds", [set(), {(24, 24)}])
def test_blocks_are_the_same(grad: bool, kinds: set[tuple[int, int]]) -> None:
    torch.manual_seed(0)
    exact = ResBlock(24).double()
    block = quickened(nn.Sequential(copy.deepcopy(exact).float()), kinds)[0]
    assert type(block) is QuickBlock and block.state_dict().keys() == exact.state_dict().keys()
    x = torch.randn(2, 24, 37, 45, dtype=torch.float64)
    with torch.set_grad_enabled(grad):
        assert apart(block(x.float()), exact(x)) < 1e-4


@pytest.mark.parametrize("name", ["plain-unet", "video-unet", "mimo-unet"])
def test_a_whole_network_is_the_same(name: str) -> None:
    torch.manual_seed(0)
    spec = NETWORKS[name]
    exact = spec.build(**(spec.config or {})).eval()
    for parameter in exact.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.01)
    network = quickened(copy.deepcopy(exact), {kind for m in exact.modules() if (kind := kind_of(m))})
    assert [*network.state_dict()] == [*exact.state_dict()] and any(isinstance(m, Quick) for m in network.modules())
    shape = (1, spec.window, 3, 96, 128) if spec.window > 1 else (1, 3, 96, 128)
    x = torch.rand(shape)
    with torch.no_grad():
        found, wanted = (y[-1] if isinstance(y, list | tuple) else y for y in (network(x), exact(x)))
        assert float((found - wanted).abs().max()) < 1e-4
