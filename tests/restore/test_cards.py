"""What only a card does, on one that is none: frames at once, in order, cuts among them, and memory that runs out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cards import MESSAGE, FakeCard, Limited, fake_card
from end_to_end import SMALL, write_video
from scenes import scene
from small_networks import randomised
from torch import Tensor

from deblurcli.adaptation.outcome import PreparedNetwork
from deblurcli.console import Reporter
from deblurcli.device import Device, pick_device
from deblurcli.errors import DeviceError
from deblurcli.jobs.video import VideoJob
from deblurcli.media.footage import VideoFootage
from deblurcli.media.frames import Frame
from deblurcli.media.reader import VideoReader
from deblurcli.networks import NETWORKS, NetworkSpec
from deblurcli.options.compute import LARGE, ComputeOptions
from deblurcli.options.none import NoneOptions
from deblurcli.options.tta import TtaOptions
from deblurcli.options.video import VideoOptions
from deblurcli.restore import worker as worker_module
from deblurcli.restore.lucky import LuckyFrames
from deblurcli.restore.pipeline import restore_video
from deblurcli.restore.tiles import MIN_TILE, MOST_AT_ONCE, Restorer
from deblurcli.restore.worker import Worker
from deblurcli.weights.save import save_network

SILENT = Reporter.silent()
PROCESSOR = pick_device("cpu", "fp32")
HEIGHT, WIDTH = 96, 128
FRAME = HEIGHT * WIDTH
CUTS = (5, 11)
COUNT = 19


def spec(**facts: Any) -> NetworkSpec:
    return NetworkSpec(Limited, "deblur", overlap=8, **facts)


def pictures() -> list[Tensor]:
    """Nineteen frames of three shots that look nothing alike, each moved a little against the one before."""
    shots = [scene(3, HEIGHT, 192), scene(8, HEIGHT, 192) * 0.15, scene(5, HEIGHT, 192).flip(0)]
    return [
        shots[sum(number >= cut for cut in CUTS)][:, :, 2 * number : 2 * number + WIDTH].clone()
        for number in range(COUNT)
    ]


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> list[Frame]:
    with VideoReader(write_video(tmp_path_factory.mktemp("clip") / "clip.mkv", pictures())) as reader:
        return list(reader.frames())


def written(frames: Sequence[Frame], *restorers: Any, **more: Any) -> list[Frame]:
    found: list[Frame] = []
    done = restore_video(frames, found.append, restorers, SILENT, watch=lambda *_: None, **more)
    assert done.frames == len(frames) == len(found) and done.cuts == len(CUTS)
    assert [frame.pts for frame in found] == [frame.pts for frame in frames], "frames come in order"
    return found


def apart(ones: Sequence[Frame], others: Sequence[Frame]) -> int:
    """The largest difference of a sample, in codes."""
    return max(
        int(np.abs(a.astype(int) - b).max())
        for one, other in zip(ones, others, strict=True)
        for a, b in zip(one.planes, other.planes, strict=True)
    )


def counts(network: Limited) -> list[int]:
    return [count for count, _, _ in network.calls]


def test_a_card_restores_frames_together_in_order_with_a_ragged_last_call(frames: list[Frame]) -> None:
    alone, together = Limited(), Limited()
    wanted = written(frames, Restorer(alone, spec(), PROCESSOR))
    found = written(frames, Restorer(together, spec(), fake_card()))
    assert counts(alone) == [1] * COUNT and counts(together) == [MOST_AT_ONCE, MOST_AT_ONCE, COUNT - 2 * MOST_AT_ONCE]
    assert apart(found, wanted) == 0 and apart(found, frames) > 8


def video_network() -> tuple[Any, NetworkSpec]:
    """A network of three frames that encodes each of them once."""
    facts = NETWORKS["video-unet"]
    module = facts.build(width=16, deep_width=16, blocks=(0, 1, 1), base={"width": 16, "deep_width": 16, "scales": 3})
    return randomised(module, 2, 0.3), facts


def test_windows_that_go_together_see_nothing_behind_a_cut_and_encode_each_frame_once(
    frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    module, facts = video_network()
    encoded: list[int] = []
    encode = module.encode

    def noted(batch: Tensor) -> Any:
        encoded.append(len(batch))
        return encode(batch)

    monkeypatch.setattr(module, "encode", noted)
    wanted = written(frames, Restorer(module, facts, PROCESSOR))
    assert encoded == [1] * COUNT
    encoded.clear()
    found = written(frames, Restorer(module, facts, fake_card()))
    assert sum(encoded) == COUNT and len(encoded) == 3
    assert apart(found, wanted) <= 1 and apart(found, frames) > 8
    # The frames around a cut are as they are where the shots are videos of their own.
    for begin, end in ((0, CUTS[0]), (*CUTS,), (CUTS[1], COUNT)):
        own: list[Frame] = []
        restore_video(frames[begin:end], own.append, [Restorer(module, facts, PROCESSOR)], SILENT)
        assert apart(found[begin:end], own) <= 1


def test_what_waits_when_a_shot_ends_is_restored_by_the_network_of_that_shot(frames: list[Frame]) -> None:
    networks = [Limited(), Limited(), Limited()]
    written(frames, *(Restorer(network, spec(), fake_card()) for network in networks), per_shot=True)
    assert [counts(network) for network in networks] == [[5], [6], [8]]


def test_detail_from_sharper_frames_is_the_same(frames: list[Frame]) -> None:
    wanted = written(frames, Restorer(Limited(), spec(), PROCESSOR), lucky=LuckyFrames(3))
    assert apart(written(frames, Restorer(Limited(), spec(), fake_card()), lucky=LuckyFrames(3)), wanted) == 0


def test_a_frame_that_comes_out_broken_is_tried_again_alone(frames: list[Frame]) -> None:
    class Breaks(Limited):
        def forward(self, x: Tensor) -> Tensor:
            found = super().forward(x)
            if len(x) == MOST_AT_ONCE and counts(self) == [MOST_AT_ONCE]:
                found[2:4] = torch.nan
            return found

    network = Breaks()
    found = written(frames, Restorer(network, spec(), fake_card()))
    assert counts(network) == [8, 1, 1, 8, 3]
    assert apart(found, written(frames, Restorer(Limited(), spec(), PROCESSOR))) == 0


def limited(pixels: int, frames: list[Frame]) -> tuple[Limited, list[str], list[Frame]]:
    """What becomes of a video on a card whose memory ends at so many pixels, though it says that there is room."""
    network, told = Limited(pixels), list[str]()
    return network, told, written(frames, Restorer(network, spec(), fake_card(), "off", warn=told.append))


def test_memory_that_runs_out_halves_the_frames_at_once_which_is_said(frames: list[Frame]) -> None:
    wanted = written(frames, Restorer(Limited(), spec(), PROCESSOR))
    network, told, found = limited(3 * FRAME, frames)
    assert told == [
        "memory ran out on cpu; 4 frames at a time from here on",
        "memory ran out on cpu; 2 frames at a time from here on",
    ]
    assert counts(network) == [2] * 9 + [1], "the number that worked is kept"
    assert apart(found, wanted) == 0


def test_memory_too_small_for_a_frame_halves_the_tile_which_is_said(frames: list[Frame]) -> None:
    wanted = written(frames, Restorer(Limited(), spec(), PROCESSOR))
    network, told, found = limited(FRAME - 1, frames)
    assert told == [
        "memory ran out on cpu; 4 frames at a time from here on",
        "memory ran out on cpu; 2 frames at a time from here on",
        "memory ran out on cpu; 1 frame at a time from here on",
        "memory ran out on cpu; tiles are 64 pixels wide from here on",
    ]
    assert set(network.calls) == {(1, 64, 64)} and apart(found, wanted) <= 1


def test_memory_too_small_for_the_smallest_tile_is_one_error(frames: list[Frame]) -> None:
    with pytest.raises(DeviceError, match="out of memory on cpu at the smallest tile"):
        limited(MIN_TILE**2 // 2, frames)


def test_how_many_frames_go_together_follows_the_memory() -> None:
    facts = spec(bytes_per_pixel=100)

    def at_once(device: Device, height: int = HEIGHT, width: int = WIDTH, tile: str = "auto") -> int:
        return Restorer(Limited(), facts, device, tile).at_once(height, width)

    assert at_once(PROCESSOR) == 1 and at_once(fake_card()) == MOST_AT_ONCE
    assert at_once(fake_card(2 * 100 * 5 * FRAME)) in (4, 5), "half of what is free"
    assert at_once(fake_card(100 * FRAME)) == 1
    assert at_once(replace(fake_card(2 * 100 * 6 * FRAME), sharers=2)) in (2, 3)
    assert at_once(fake_card(), tile="64") == 1, "tiles come one by one"
    assert at_once(fake_card(), LARGE // 1000, 1001) == 1


def test_tiles_are_as_large_as_the_memory_of_a_card_allows() -> None:
    facts = spec(bytes_per_pixel=1000)
    sides = [Restorer(Limited(), facts, fake_card(free << 30)).side for free in (4, 16, 64)]
    assert sides == [int((free / 2 * (1 << 30) / 1000) ** 0.5) for free in (4, 16, 64)]


# A whole run


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_video(tmp_path / "in.mkv", pictures())


@pytest.fixture
def network(tmp_path: Path) -> str:
    module = randomised(NETWORKS["plain-unet"].build(**SMALL), 1, 0.3)
    save_network(tmp_path / "tiny.safetensors", module, network="plain-unet", config=SMALL, card={})
    return str(tmp_path / "tiny.safetensors")


Run = Callable[..., tuple[Any, Tensor, list[str]]]


@pytest.fixture
def run(clip: Path, network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A video restored by a device: the result, its frames, and what was warned of."""

    def restored(device: Device, method: Any) -> tuple[Any, Tensor, list[str]]:
        monkeypatch.setattr(worker_module, "pick_device", lambda *_: device)
        told: list[str] = []
        console = Reporter.silent()
        monkeypatch.setattr(console, "warn", told.append)
        compute, out = ComputeOptions(tile="off"), tmp_path / "out.mkv"
        name = "none" if isinstance(method, NoneOptions) else "tta"
        options = VideoOptions(method=name, network=network, codec="ffv1", overwrite=True)
        result = VideoJob(clip, out, options, method, compute).run(Worker(compute, console))
        return result, torch.stack(list(VideoFootage(out).pictures())), told

    return restored


def test_a_run_on_a_card_gives_the_frames_of_the_processor(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    several = PreparedNetwork.several

    def noted(self: PreparedNetwork, windows: Sequence[list[Tensor]]) -> list[Tensor]:
        calls.append(len(windows))
        return several(self, windows)

    monkeypatch.setattr(PreparedNetwork, "several", noted)
    _, wanted, _ = run(PROCESSOR, NoneOptions())
    assert calls == []
    result, found, told = run(fake_card(), NoneOptions())
    assert calls == [8, 8, 3] and told == [] and result.differences == []
    assert (found - wanted).abs().max() <= 1.01 / 255 and isinstance(fake_card(), FakeCard)


def test_an_adaptation_for_which_memory_runs_out_goes_on_with_smaller_patches_which_is_said(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    backward, failed = Tensor.backward, []

    def fails_first(loss: Tensor, *args: Any, **kwargs: Any) -> None:
        if not failed:
            failed.append(1)
            raise torch.OutOfMemoryError(MESSAGE)
        backward(loss, *args, **kwargs)

    monkeypatch.setattr(Tensor, "backward", fails_first)
    result, found, _ = run(fake_card(), TtaOptions(steps=2, rate=1e-3, tta_frames=2))
    assert failed and len(found) == COUNT and result.differences == []
    assert any("on smaller pieces, since memory ran out" in line for line in result.lines)
