"""Each restored frame of a video is handed on to the next one: until a cut, sixteen frames, or a frame that breaks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
import pytest
import torch
from blend import ENCODES, HEIGHT, WIDTH, Blend, frames_of
from cards import fake_card
from scenes import scene
from torch import Tensor

import deblurcli
from deblurcli.console import Reporter
from deblurcli.device import pick_device
from deblurcli.media.frames import Frame
from deblurcli.restore.lucky import LuckyFrames
from deblurcli.restore.pipeline import restore_video
from deblurcli.restore.tiles import RESTART, Restorer

FP32 = pick_device("cpu", "fp32")
SILENT = Reporter.silent()


def written(frames: Sequence[Frame], before: int = 0, reach: int = 0, restorer: Restorer | None = None) -> list[Frame]:
    found: list[Frame] = []
    lucky = LuckyFrames(reach) if reach else None
    restore_video(
        frames, found.append, [restorer or Restorer(Blend(), ENCODES, FP32)], SILENT, before=before, lucky=lucky
    )
    return found


def same(ones: Sequence[Frame], others: Sequence[Frame]) -> bool:
    pairs = zip(ones, others, strict=True)
    return all(np.array_equal(a, b) for x, y in pairs for a, b in zip(x.planes, y.planes, strict=True))


def test_what_became_of_a_frame_is_what_the_next_window_sees() -> None:
    pictures = [scene(seed, HEIGHT, WIDTH) for seed in range(4)]
    network, restorer = Blend(), Restorer(Blend(), ENCODES, FP32)
    first = restorer([pictures[0], pictures[0], pictures[1]])
    second = restorer(pictures[:3])
    alone = [network.encode(picture[None]) for picture in pictures]
    after = network.fuse([network.encoded(alone[0][0], first[None]), *alone[1:3]])[0].clamp(0, 1)
    before = network.fuse(alone[:3])[0].clamp(0, 1)
    assert torch.allclose(second, after, atol=1e-6) and not torch.allclose(second, before, atol=1e-3)
    assert torch.equal(restorer(pictures[:3]), second), "asked again, the same"
    restorer.restart()
    assert torch.allclose(restorer(pictures[:3]), before, atol=1e-6)
    assert torch.allclose(restorer([pictures[3]] * 3), network.fuse([alone[3]] * 3)[0].clamp(0, 1), atol=1e-6)


@pytest.mark.parametrize("reach", [0, 3])
def test_a_video_goes_on_after_any_frame_as_if_it_had_not_stopped(reach: int) -> None:
    frames = [*frames_of(*[1] * (2 * RESTART + 5)), *frames_of(*[2] * (RESTART + 3))]
    whole = written(frames, reach=reach)
    for before in range(0, len(frames) + 1, 1 if reach else 3):
        assert same(written(frames, before, reach), whole[before:]), f"after frame {before}"


def test_a_long_shot_is_restored_as_if_it_were_alone() -> None:
    shots = [frames_of(*[seed] * length) for seed, length in ((1, RESTART + 5), (2, 2 * RESTART + 3), (3, 2))]
    video = [frame for shot in shots for frame in shot]
    assert same(written(video), list(chain.from_iterable(map(written, shots))))


def test_after_sixteen_frames_it_begins_anew() -> None:
    frames = frames_of(*[1] * (RESTART + 6))
    other = [*frames[:3], *frames_of(*[1] * 9)[-1:], *frames[4:]]
    ones, others = written(frames), written(other)
    differ = [not same([one], [two]) for one, two in zip(ones, others, strict=True)]
    assert all(differ[2:6]) and not any(differ[:2]) and not any(differ[RESTART:])


def test_a_broken_result_is_not_handed_on() -> None:
    class Breaks(Blend):
        calls = 0

        def fuse(self, encoded: list[tuple[Tensor, ...]]) -> Tensor:
            self.calls += 1
            return super().fuse(encoded) * (torch.nan if self.calls in (3, 4) else 1)

    frames = frames_of(*[1] * 8)
    found = written(frames, restorer=Restorer(Breaks(), ENCODES, FP32))
    assert same(found[:2], written(frames)[:2]) and same(found[2:3], frames[2:3])
    pictures = [frame.rgb() for frame in frames]
    fourth = Restorer(Blend(), ENCODES, FP32)(pictures[2:5])
    assert same(found[3:4], [frames[3].with_change(fourth - pictures[3])])


def test_of_large_frames_results_are_handed_on_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = frames_of(*[1] * (RESTART + 3))
    wanted = written(frames)
    for module in ("tiles", "pipeline"):
        monkeypatch.setattr(f"deblurcli.restore.{module}.LARGE", 16)
    network = Blend()
    network.base = torch.nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    restorer = Restorer(network, ENCODES, FP32)
    found = written(frames, restorer=restorer)
    pairs = list(zip(found, wanted, strict=True))
    assert max(np.abs(a.astype(int) - b).max() for x, y in pairs for a, b in zip(x.planes, y.planes, strict=True)) <= 2
    kept = [
        held for frames in (restorer.kept, restorer.done) for _, places in frames.values() for held in places.values()
    ]
    assert kept and len(kept) <= 3
    assert all(len(encodings) == 1 and encodings[0].dtype == torch.uint8 for encodings in kept)


def test_a_card_hands_on_as_the_processor_does() -> None:
    frames = frames_of(*[1] * (RESTART + 9))
    assert same(written(frames, restorer=Restorer(Blend(), ENCODES, fake_card())), written(frames))


def test_pictures_in_memory_come_out_as_those_of_a_video() -> None:
    network = deblurcli.load(command="video", device="cpu", dtype="fp32")
    frames = frames_of(*[1] * (RESTART + 3))
    pictures = [np.ascontiguousarray((frame.rgb() * 255).round().byte().permute(1, 2, 0).numpy()) for frame in frames]
    ones, again = list(network.frames(pictures)), list(network.frames(pictures))
    assert all(np.array_equal(one, two) for one, two in zip(ones, again, strict=True)), "a video begins anew"
    last = list(network.frames(pictures[RESTART - 1 :]))
    assert not np.array_equal(ones[RESTART - 1], last[0]), "it has a frame before it there"
