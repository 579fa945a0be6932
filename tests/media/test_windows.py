"""Networks that take several frames: windows stay within a shot, and every frame is encoded once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from blend import ENCODES, HEIGHT, WIDTH, Blend, frames_of
from scenes import scene
from torch import Tensor, nn

from deblurcli.console import Reporter
from deblurcli.device import Device, pick_device
from deblurcli.media.frames import Frame
from deblurcli.media.shots import windows
from deblurcli.networks import NETWORKS, NetworkSpec
from deblurcli.restore.pipeline import Restoration, restore_video
from deblurcli.restore.tiles import RESTART, Restorer

FP32 = pick_device("cpu", "fp32")


@pytest.mark.parametrize(("count", "size"), [(0, 3), (1, 1), (1, 5), (2, 5), (3, 3), (9, 5)])
def test_the_ends_of_a_shot_are_repeated(count: int, size: int) -> None:
    found = list(windows(range(count), size, lambda item: False))
    assert [middle for middle, _ in found] == list(range(count))
    for middle, around in found:
        wanted = [min(max(middle + offset, 0), count - 1) for offset in range(-(size // 2), size // 2 + 1)]
        assert around == wanted


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("shots", ["aabbbb", "abc", "aaaaaaabaa", "aaabbbccc"])
def test_windows_of_a_video_are_those_of_its_shots(shots: str, size: int) -> None:
    items = list(enumerate(shots))
    asked: list[tuple[int, str]] = []

    def starts_shot(item: tuple[int, str]) -> bool:
        asked.append(item)
        return item[0] > 0 and shots[item[0] - 1] != item[1]

    found = list(windows(items, size, starts_shot))
    assert asked == items and [middle for middle, _ in found] == items
    assert all(len(around) == size and around[size // 2] == middle for middle, around in found)
    assert {shot for (_, shot), around in found for _, other in around if other != shot} == set()


def test_a_window_waits_for_no_more_frames_than_it_holds() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        while taken < 100:
            taken += 1
            yield taken

    for middle, _ in windows(items(), 5, lambda item: False):
        assert taken <= middle + 2


def restored(frames: list[Frame], restorer: Restorer) -> tuple[list[Frame], Restoration]:
    written: list[Frame] = []
    done = restore_video(frames, written.append, [restorer], Reporter.silent())
    assert done.frames == len(frames) and not done.replaced
    return written, done


def expected(frames: list[Frame]) -> list[np.ndarray]:
    """The network on windows of one shot, each with the result of the frame before, as 8-bit RGB."""
    network, pictures = Blend(), [frame.rgb() for frame in frames]
    encoded = [network.encode(picture[None]) for picture in pictures]
    results = []
    for index, encoding in enumerate(encoded):
        before = encoded[max(index - 1, 0)]
        if index % RESTART:
            before = network.encoded(before[0], torch.from_numpy(results[-1])[None])
        fused = network.fuse([before, encoding, encoded[min(index + 1, len(pictures) - 1)]])
        results.append(fused[0].numpy())
    shown = [frame.with_change(torch.from_numpy(r) - p) for frame, r, p in zip(frames, results, pictures, strict=True)]
    return [frame.rgb().numpy() for frame in shown]


@pytest.mark.parametrize(("tile", "tiles"), [("off", 1), ("80", 4)])
def test_every_frame_is_encoded_once(tile: str, tiles: int) -> None:
    network, frames = Blend(), frames_of(*[1] * 10)
    found, done = restored(frames, Restorer(network, ENCODES, FP32, tile))
    assert len(network.sizes) == 10 * tiles and done.cuts == 0 and all(network.channels_last)
    for mine, wanted in zip(found, expected(frames), strict=True):
        assert np.abs(mine.rgb().numpy() - wanted).max() < 1.01 / 255 * (tiles > 1) + 1e-6


@pytest.mark.parametrize("count", [1, 2])
def test_videos_shorter_than_a_window(count: int) -> None:
    network, frames = Blend(), frames_of(*[1] * count)
    found, _ = restored(frames, Restorer(network, ENCODES, FP32))
    assert len(network.sizes) == count
    for mine, wanted in zip(found, expected(frames), strict=True):
        assert np.allclose(mine.rgb(), wanted, atol=1e-6)


@pytest.mark.parametrize("encodes", [True, False])
def test_a_shot_is_restored_as_if_it_were_alone(encodes: bool) -> None:
    spec = NetworkSpec(Blend, "deblur", window=3, encodes=encodes)
    shots = frames_of(*[1] * 5, *[2] * 4, 3)
    found, done = restored(shots, Restorer(Blend(), spec, FP32))
    assert done.cuts == 2
    for first, last in ((0, 5), (5, 9), (9, 10)):
        alone, _ = restored(shots[first:last], Restorer(Blend(), spec, FP32))
        for mine, wanted in zip(found[first:last], alone, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(mine.planes, wanted.planes, strict=True))


def test_cuts_are_not_looked_for_when_no_window_could_cross_them() -> None:
    class Same(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x

    _, done = restored(frames_of(1, 1, 2, 2), Restorer(Same(), NetworkSpec(Same, "deblur"), FP32))
    assert done.cuts == 0


def test_encodings_are_held_for_one_window_only() -> None:
    restorer = Restorer(Blend(), ENCODES, FP32, "80")
    pictures = [scene(seed, HEIGHT, WIDTH) for seed in range(12)]
    for around in zip(pictures, pictures[1:], pictures[2:], strict=False):
        restorer(list(around))
        assert [id(frame) for frame in around] == list(restorer.kept)
        assert all(len(encodings) == 4 for _, encodings in restorer.kept.values())
    restorer([pictures[0]] * 3)
    assert len(restorer.kept) == 1


def test_precision_has_encodings_of_its_own() -> None:
    network, window = Blend(), [scene(seed, HEIGHT, WIDTH) for seed in range(3)]
    restorer = Restorer(network, ENCODES, Device(torch.device("cpu"), torch.bfloat16, "test"))
    restorer(window)
    restorer(window, precise=True)
    restorer(window)
    assert network.autocast == [True] * 3 + [False] * 3


def test_a_smaller_tile_drops_the_encodings() -> None:
    network, window = Blend(memory=80 * 80), [scene(seed, HEIGHT, WIDTH) for seed in range(3)]
    restorer = Restorer(network, ENCODES, FP32, "off")
    found = restorer(window)
    assert restorer.side == 64
    assert torch.allclose(found, Restorer(Blend(), ENCODES, FP32, "64")(window))
    assert {region[2:] for _, encodings in restorer.kept.values() for region, _ in encodings} == {(64, 64)}


def test_the_default_network_of_videos_is_fused_from_encodings() -> None:
    spec = next(spec for spec in NETWORKS.values() if spec.encodes)
    base = {"width": 8, "deep_width": 8, "blocks": (1, 1, 1)}
    torch.manual_seed(1)
    network = spec.build(width=8, deep_width=8, base=base).eval()
    window = [scene(1, 64, 96 + 8)[:, :, i : i + 96] for i in range(spec.window)]
    with torch.no_grad():
        whole = network(torch.stack(window)[None])[0].clamp(0, 1)
    assert torch.allclose(Restorer(network, spec, FP32, "off")(window), whole, atol=1e-5)
