"""Detail from sharper frames: where it is taken, where it is not, and that a stream may begin anywhere."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
import torch
from scenes import scene
from torch import Tensor

from deblurcli.metrics.fidelity import psnr
from deblurcli.restore import lucky
from deblurcli.restore.lucky import LEAST, MEMORY, PIXEL_BYTES, LuckyFrames, reach_within

SIDE = 160


def view(step: int, seed: int = 3) -> Tensor:
    """A picture that has moved by so many pixels, 3 x S x S."""
    return scene(seed, SIDE, SIDE + 64)[:, :, step : step + SIDE].clone()


def soft(picture: Tensor, deviation: float) -> Tensor:
    """As a network leaves a frame whose blur it could not take off wholly."""
    pixels = cv2.GaussianBlur(picture.permute(1, 2, 0).numpy(), (0, 0), deviation)
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1).contiguous()


def shaken(count: int = 9) -> tuple[list[Tensor], list[Tensor]]:
    """Restored frames and their truth: the camera drifts, and rests in every fourth frame."""
    truth = [view(3 * number) for number in range(count)]
    return [frame if number % 4 == 1 else soft(frame, 2.0) for number, frame in enumerate(truth)], truth


def improved(
    frames: list[Tensor | None], reach: int = 4, cuts: tuple[int, ...] = (), *, deep: bool = False
) -> list[Tensor | None]:
    """What each gains; it must come in order, and no later than it may."""
    stage: LuckyFrames[int] = LuckyFrames(reach, deep=deep)
    found: list[tuple[int, Tensor | None]] = []
    for number, frame in enumerate(frames):
        found += stage.add(number, frame, number in cuts)
        assert len(found) >= number + 1 - reach
    found += stage.rest()
    assert [number for number, _ in found] == list(range(len(frames)))
    return [gain for _, gain in found]


def total(gain: Tensor | None) -> float:
    return 0.0 if gain is None else float(gain.abs().max())


@pytest.mark.parametrize("deep", [False, True])
def test_blurred_frames_get_the_detail_of_a_sharp_one_and_sharp_ones_stay(deep: bool) -> None:
    frames, truth = shaken()
    gains = improved(list(frames), deep=deep)
    for number, (frame, wanted, gain) in enumerate(zip(frames, truth, gains, strict=True)):
        if number % 4 == 1:
            assert gain is None
        else:
            assert gain is not None and gain.shape == frame.shape and gain.dtype == torch.float32
            assert psnr((frame + gain).clamp(0, 1), wanted) > psnr(frame, wanted) + 3


def test_frames_alike_gain_nothing_from_each_other() -> None:
    noise = torch.Generator().manual_seed(1)
    still = [view(0) + 0.01 * torch.randn(3, SIDE, SIDE, generator=noise) for _ in range(6)]
    assert max(total(gain) for gain in improved([*still])) == 0
    moving = [soft(view(2 * number), 2.0) for number in range(6)]
    assert max(total(gain) for gain in improved([*moving])) < 0.5 / 255


def test_another_scene_gives_nothing_though_it_is_sharper() -> None:
    frames: list[Tensor | None] = [soft(view(0), 2.0), view(0, seed=8).flip(-1), soft(view(4), 2.0)]
    assert max(total(gain) for gain in improved(frames)) < 1 / 255


def test_what_only_one_frame_shows_is_not_carried_over() -> None:
    """A thing that comes into the picture stays where it was seen."""
    there = view(0)
    there[:, 50:100, 50:100] = scene(9, 50, 50)
    blurred = soft(view(0), 2.0)
    gain = improved([there, blurred])[1]
    assert gain is not None
    after, wanted = (blurred + gain)[:, 55:95, 55:95], view(0)[:, 55:95, 55:95]
    assert psnr(after, wanted) > psnr(blurred[:, 55:95, 55:95], wanted) - 0.2
    around = (slice(None), slice(110, 150), slice(10, 150))
    assert psnr((blurred + gain)[around], view(0)[around]) > psnr(blurred[around], view(0)[around]) + 2


def test_nothing_crosses_a_cut_nor_comes_from_farther_away() -> None:
    frames, _ = shaken(7)
    sharp: list[Tensor | None] = [frames[1], *frames[2:5]]
    assert total(improved(sharp)[1]) > 0
    assert [total(gain) for gain in improved(sharp, cuts=(1,))] == [0] * 4
    assert [total(gain) > 0 for gain in improved(sharp, reach=1)] == [False, True, False, False]


def test_a_broken_frame_gives_and_gets_nothing() -> None:
    frames, _ = shaken(5)
    assert improved([None, frames[2], frames[3]])[0] is None
    with_hole: list[Tensor | None] = [frames[0], None, frames[2]]
    assert [total(gain) for gain in improved(with_hole)] == [0] * 3


def test_small_frames_stay_as_they_are() -> None:
    frames, _ = shaken(5)
    assert [total(gain) for gain in improved([frame[:, :40] for frame in frames])] == [0] * 5


def test_a_stream_that_begins_later_agrees_bit_for_bit() -> None:
    frames, _ = shaken(12)
    whole = improved([*frames], reach=3)
    for first in range(3, 12):
        rest = improved([*frames[first - 3 :]], reach=3)[3:]
        for one, other in itertools.zip_longest(rest, whole[first:]):
            assert (one is None) == (other is None)
            assert one is None or other is None or torch.equal(one, other)


@pytest.mark.parametrize("height", [SIDE, SIDE - 2])
def test_a_large_frame_gets_in_bands_what_it_would_at_once(height: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lucky, "AT_ONCE", 0)
    frames, truth = ([frame[:, :height] for frame in row] for row in shaken())
    monkeypatch.setattr(lucky, "BAND", SIDE)
    at_once = improved([*frames])
    monkeypatch.setattr(lucky, "BAND", 40)
    for frame, wanted, whole, gain in zip(frames, truth, at_once, improved([*frames]), strict=True):
        assert (whole is None) == (gain is None)
        if whole is not None and gain is not None:
            assert torch.equal(whole, gain)
            assert psnr((frame + gain).clamp(0, 1), wanted) > psnr(frame, wanted) + 3


def test_the_reach_follows_memory() -> None:
    assert reach_within(720, 1280, 10) == 10 and reach_within(1440, 2560, 10) == 9
    assert reach_within(2160, 3840, 10) == 4 == reach_within(2160, 4096, 10)
    assert reach_within(4320, 7680, 10) == 0 == reach_within(720, 1280, 0)
    assert reach_within(2160, 3840, 2) == 2
    assert reach_within(63, 3840, 10) == 0 and reach_within(64, 64, 10) == 10
    assert PIXEL_BYTES * 10 * 720 * 1280 < MEMORY and reach_within(4320, 7680, 10) == 0 < LEAST
