"""Padding, tiles, blending, and what happens when memory runs out."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from deblurcli.adaptation.supervised import PHOTOS
from deblurcli.device import Device, pick_device
from deblurcli.errors import DeviceError, is_out_of_memory
from deblurcli.media.images import read_image
from deblurcli.networks import NETWORKS, NetworkSpec
from deblurcli.networks.spec import padded
from deblurcli.restore.tiles import MIN_TILE, Restorer, ramp, tile_spans

FP32 = pick_device("cpu", "fp32")


class LocalBlur(nn.Module):
    """A network whose result at a pixel depends on its 3 x 3 neighbourhood only."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def spec(**facts: object) -> NetworkSpec:
    return NetworkSpec(LocalBlur, "deblur", **facts)  # type: ignore[arg-type]


@given(h=st.integers(1, 70), w=st.integers(1, 70), multiple=st.sampled_from([1, 4, 8, 32]), least=st.integers(1, 64))
@settings(max_examples=60, deadline=None)
def test_padding_reaches_a_valid_size_and_keeps_the_picture(h: int, w: int, multiple: int, least: int) -> None:
    picture = torch.rand(2, 3, h, w)
    result = padded(picture, multiple, least)
    assert result.shape[-1] % multiple == result.shape[-2] % multiple == 0
    assert min(result.shape[-2:]) >= least
    assert result.shape[-1] < max(w, least) + multiple and result.shape[-2] < max(h, least) + multiple
    assert torch.equal(result[..., :h, :w], picture)


def test_padding_mirrors_then_repeats() -> None:
    row = torch.tensor([[[1.0, 2.0, 3.0]]])
    assert padded(row, 8, 1)[0, 0].tolist() == [1, 2, 3, 2, 1, 1, 1, 1]


@given(
    length=st.integers(1, 900),
    tile=st.integers(64, 300),
    overlap=st.integers(0, 15),
    step=st.sampled_from([1, 4, 8, 32]),
)
@settings(max_examples=300, deadline=None)
def test_tiles_cover_and_weights_are_positive(length: int, tile: int, overlap: int, step: int) -> None:
    spans = tile_spans(length, tile, overlap, step)
    total = torch.zeros(length)
    for start, size in spans:
        assert start % step == 0 and start + size <= length
        assert tile - step < size <= tile or size == length
        total[start : start + size] += ramp(length, size, start, overlap)
    assert (total > 0.2).all()
    for (first, size), (second, _) in pairwise(spans):
        assert first < second <= first + size - 2 * overlap + step


@pytest.mark.parametrize("shape", [(1, 1), (1, 97), (33, 2), (100, 161), (200, 64)])
def test_any_size_comes_back_at_its_size(shape: tuple[int, int]) -> None:
    network = NETWORKS["plain-unet"]
    module = network.build(width=16, deep_width=16, blocks=(1, 1, 1))
    result = Restorer(module, network, FP32)([torch.rand(3, *shape)])
    assert result.shape == (3, *shape) and result.dtype == torch.float32


@pytest.mark.parametrize("tile", ["64", "80", "128"])
def test_tiled_equals_untiled_for_a_local_network(tile: str) -> None:
    frames = [torch.rand(3, 150, 211)]
    facts = spec(overlap=12)
    whole = Restorer(LocalBlur(), facts, FP32, "off")(frames)
    assert torch.allclose(Restorer(LocalBlur(), facts, FP32, tile)(frames), whole, atol=1e-5)


def seam(picture: Tensor) -> Tensor:
    """How far the default network's result in tiles is from that of the whole picture."""
    from deblurcli.weights.load import load_network

    loaded = load_network("plain-unet", role="deblur")
    whole = Restorer(loaded.module, loaded.spec, FP32, "off")([picture])
    # On tiles of 640 pixels: through its coarse scales the network sees about as far as smaller ones reach.
    tiled = Restorer(loaded.module, loaded.spec, FP32, "640")([picture])
    assert (whole - picture).abs().mean() > 1 / 255, "nothing was restored"
    return (whole - tiled).abs()


@pytest.mark.parametrize("photo", ["car", "cutlery"])
def test_tiles_of_the_default_network_leave_no_seam(photo: str) -> None:
    """In a blurred picture the difference stays below one 8-bit step, at its edges as well."""
    piece = read_image(PHOTOS / f"{photo}.webp").rgb()
    row = torch.cat([piece, piece.flip(2)], 2)
    sharp = torch.cat([row, row.flip(1)], 1)[None, :, :704, :896]
    blurred = nn.functional.avg_pool2d(nn.functional.pad(sharp, (7, 7, 0, 0), mode="replicate"), (1, 15), 1)[0]
    difference = seam(blurred)
    assert difference.max() > 0, "the tiled path was not taken"
    assert difference.mean() < 0.2 / 255 and difference.quantile(0.99) < 1 / 255


def test_a_pattern_without_end_has_no_seam_inside() -> None:
    """Waves do not tell how they go on: near the picture's edges what is made of them depends on all that is seen."""
    y, x = torch.meshgrid(torch.arange(704.0), torch.arange(896.0), indexing="ij")
    pattern = 0.5 + 0.25 * torch.sin(x / 7 + y / 23) + 0.2 * torch.sin(y / 5)
    difference = seam(pattern.expand(3, -1, -1).contiguous())[:, 176:-176, 176:-176]
    assert difference.max() > 0, "the tiled path was not taken"
    assert difference.mean() < 0.2 / 255 and difference.quantile(0.99) < 1 / 255


class Grid(nn.Module):
    """A network whose result depends on where the picture's grid of 64 pixels lies."""

    def forward(self, x: Tensor) -> Tensor:
        whole = padded(x, 64, 64)
        means = nn.functional.interpolate(nn.functional.avg_pool2d(whole, 64), scale_factor=64.0)
        return means[..., : x.shape[-2], : x.shape[-1]]


def test_tiles_begin_where_the_network_does_the_same() -> None:
    frames = [torch.rand(3, 512, 832)]
    facts = spec(multiple_of=64, overlap=20), spec(multiple_of=8, stride=64, overlap=20)
    for fact in facts:
        whole = Restorer(Grid(), fact, FP32, "off")(frames)
        assert torch.allclose(Restorer(Grid(), fact, FP32, "320")(frames), whole, atol=1e-6)
    apart = Restorer(Grid(), spec(multiple_of=8, overlap=20), FP32, "330")(frames)
    assert (apart - whole).abs().max() > 0.01


class FailsAbove(nn.Module):
    """Runs out of memory on tiles of more than a number of pixels, as torch's allocators say it."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.pixels, self.failures = pixels, 0

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] * x.shape[-2] > self.pixels:
            self.failures += 1
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory")
        return x


def test_out_of_memory_halves_the_tile_and_keeps_the_size() -> None:
    network = FailsAbove(100 * 100)
    restorer = Restorer(network, spec(overlap=8), FP32, "off")
    frames = [torch.rand(3, 300, 200)]
    assert torch.allclose(restorer(frames), frames[0], atol=1e-6)
    assert restorer.side == 75 and network.failures == 2
    restorer(frames)
    assert network.failures == 2, "the size that worked must be kept"


def test_out_of_memory_at_the_smallest_tile_is_one_error() -> None:
    with pytest.raises(DeviceError, match="smallest tile"):
        Restorer(FailsAbove(MIN_TILE**2 // 2), spec(overlap=8), FP32, "off")([torch.rand(3, 300, 200)])


def test_other_errors_are_not_taken_for_memory() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        Restorer(Broken(), spec(), FP32)([torch.rand(3, 64, 64)])


def test_bf16_agrees_with_fp32_to_8_bit_rounding() -> None:
    from deblurcli.weights.load import load_network

    loaded = load_network("plain-unet", role="deblur")
    torch.manual_seed(3)
    picture = torch.rand(3, 128, 160) * 0.25 + torch.linspace(0.1, 0.7, 160)
    exact = Restorer(loaded.module, loaded.spec, FP32)([picture])
    half = Restorer(loaded.module, loaded.spec, Device(torch.device("cpu"), torch.bfloat16, "test"))([picture])
    assert (exact - half).abs().mean() < 0.5 / 255
    assert (exact - half).abs().quantile(0.999) < 2 / 255


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate"), True),
        (RuntimeError("could not create a primitive"), True),
        (RuntimeError("shapes do not match"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_errors_that_mean_too_little_memory(error: BaseException, is_one: bool) -> None:
    assert is_out_of_memory(error) == is_one


def test_of_large_frames_half_precision_is_kept_and_hardly_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    facts = NETWORKS["video-unet"]
    small = {"width": 8, "deep_width": 8, "blocks": (0, 1, 0)}
    module = facts.build(**small, base={**small, "scales": 2}).eval()
    for tail in (module.base.tail, module.fusion.tail):
        torch.nn.init.normal_(tail.weight, 0, 0.05)
    frames = [torch.rand(3, 96, 128) for _ in range(3)]
    usual = Restorer(module, facts, FP32, "64")
    whole = usual(frames)
    monkeypatch.setattr("deblurcli.restore.tiles.LARGE", 16)
    saving = Restorer(module, facts, FP32, "64")
    found = saving(frames)
    assert 0 < (found - whole).abs().max() < 0.5 / 255
    bytes_of = [
        sum(
            part.numel() * part.element_size()
            for _, held in each.kept.values()
            for made in held.values()
            for part in made
        )
        for each in (usual, saving)
    ]
    assert bytes_of[1] < bytes_of[0] / 3
    calls = []
    monkeypatch.setattr(module.base, "forward", lambda x, forward=module.base.forward: calls.append(1) or forward(x))
    saving([*frames[1:], torch.rand(3, 96, 128)])
    assert len(calls) == len(next(iter(saving.kept.values()))[1])  # of the new frame alone


def test_tiles_tell_how_much_of_the_frame_is_done() -> None:
    told: list[float] = []
    Restorer(LocalBlur(), spec(overlap=8), FP32, "64", part=told.append)([torch.rand(3, 100, 150)])
    assert len(told) > 2 and told == sorted(told) and told[-1] == 1
    told.clear()
    Restorer(LocalBlur(), spec(overlap=8), FP32, "off", part=told.append)([torch.rand(3, 100, 150)])
    assert told == []
