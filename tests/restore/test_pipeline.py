"""The per-video loop: order, broken frames, failures of any stage."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from clips import make_clip
from end_to_end import write_video
from scenes import scene
from torch import Tensor

from deblurcli.console import Reporter
from deblurcli.media.ahead import QUEUE_FRAMES, ahead
from deblurcli.media.footage import unit
from deblurcli.media.frames import Frame
from deblurcli.media.layout import Colour, layout_of
from deblurcli.media.reader import VideoReader
from deblurcli.restore.fading import Fading
from deblurcli.restore.lucky import LuckyFrames
from deblurcli.restore.pipeline import restore_frame, restore_video, waiting_frames

SILENT = Reporter.silent()


def view(step: int, seed: int = 3) -> Tensor:
    """A picture that has moved by so many pixels, 3 x 96 x 128."""
    return scene(seed, 96, 192)[:, :, step : step + 128].clone()


class Identity:
    window = 1

    def __call__(self, frames: list[Tensor], *, precise: bool = False) -> Tensor:
        return frames[len(frames) // 2]


@pytest.fixture
def frames(tmp_path: Path) -> list[Frame]:
    with VideoReader(make_clip(tmp_path / "clip.mkv", frames=12)) as reader:
        return list(reader.frames())


def same(one: Frame, other: Frame) -> bool:
    return one.pts == other.pts and all(np.array_equal(a, b) for a, b in zip(one.planes, other.planes, strict=True))


def test_identity_passes_every_item_in_order(frames: list[Frame]) -> None:
    items = [frames[0], "packet 1", *frames[1:7], "packet 2", *frames[7:], "packet 3"]
    written: list[object] = []
    done = restore_video(items, written.append, [Identity()], SILENT)
    assert done.frames == 12 and done.replaced == 0
    assert [i for i in written if isinstance(i, str)] == ["packet 1", "packet 2", "packet 3"]
    kept = [i for i in written if isinstance(i, Frame)]
    assert len(kept) == 12 and all(same(a, b) for a, b in zip(kept, frames, strict=True))


def test_a_broken_result_is_tried_in_full_precision_then_replaced(frames: list[Frame]) -> None:
    class Overflows(Identity):
        def __call__(self, frames: list[Tensor], *, precise: bool = False) -> Tensor:
            return frames[0] + (0.1 if precise else float("nan"))

    change, broken = restore_frame(Overflows(), [frames[0].rgb()])
    assert not broken and torch.allclose(change, torch.full_like(change, 0.1))

    class Broken(Identity):
        calls = 0

        def __call__(self, frames: list[Tensor], *, precise: bool = False) -> Tensor:
            self.calls += 1
            return frames[0] * (float("inf") if self.calls in (4, 5) else 1)

    written: list[Frame] = []
    done = restore_video(frames, written.append, [Broken()], SILENT)
    assert done.replaced == 1 and done.frames == 12
    assert all(same(a, b) for a, b in zip(written, frames, strict=True))


def test_an_absurd_change_is_refused(frames: list[Frame]) -> None:
    class Inverts(Identity):
        def __call__(self, frames: list[Tensor], *, precise: bool = False) -> Tensor:
            return (frames[0] < 0.5).float()

    change, broken = restore_frame(Inverts(), [torch.zeros(3, 8, 8)])
    assert broken and not change.any()


@pytest.mark.parametrize("stage", ["decode", "infer", "encode"])
def test_a_failure_in_any_stage_stops_all_and_is_raised(frames: list[Frame], stage: str) -> None:
    def items() -> Iterator[Frame]:
        for index in range(1000):
            if stage == "decode" and index == 6:
                raise OSError("decode failed")
            yield frames[index % 12]

    class Fails(Identity):
        calls = 0

        def __call__(self, frames: list[Tensor], *, precise: bool = False) -> Tensor:
            self.calls += 1
            if stage == "infer" and self.calls == 6:
                raise OSError("infer failed")
            return frames[0]

    written = []

    def write(item: object) -> None:
        if stage == "encode" and len(written) == 6:
            raise OSError("encode failed")
        written.append(item)

    started, before = time.monotonic(), threading.active_count()
    with pytest.raises(OSError, match=f"{stage} failed"):
        restore_video(items(), write, [Fails()], SILENT)
    assert time.monotonic() - started < 10
    assert threading.active_count() == before


def test_few_frames_wait_between_stages() -> None:
    """A slow encoder holds the decoder back: memory does not grow with the length of the video."""
    picture = np.zeros((16, 16), np.uint8)
    layout = layout_of("gray", Colour("bt601", full_range=True, guessed=True))
    ahead, decoded, encoded = [], 0, 0

    def items() -> Iterator[Frame]:
        nonlocal decoded
        for index in range(80):
            decoded += 1
            yield Frame((picture,), layout, index, Fraction(1, 25), 1)

    def write(item: Frame) -> None:
        nonlocal encoded
        time.sleep(0.004)
        encoded += 1
        ahead.append(decoded - encoded)

    restore_video(items(), write, [Identity()], SILENT)
    assert encoded == 80
    assert max(ahead) <= 2 * QUEUE_FRAMES + 4


def test_items_are_made_ahead_but_not_far() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for item in range(50):
            made.append(item)
            yield item

    for count, item in enumerate(ahead(items())):
        assert item == count
        assert len(made) <= count + QUEUE_FRAMES + 3
    assert len(made) == 50


def test_a_failure_ahead_is_raised_after_what_came_before_it_or_at_once() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        list(ahead(items()))


def test_nothing_goes_on_when_the_rest_is_not_wanted() -> None:
    threads = threading.active_count()
    items = ahead(itertools.count())
    assert next(items) == 0
    items.close()
    assert threading.active_count() == threads


class Darker(Identity):
    def __call__(self, frames: list[Tensor], *, precise: bool = False) -> Tensor:
        return unit(frames[0]) * 0.9


def test_large_frames_are_bytes_and_come_out_nearly_the_same(
    frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds: list[torch.dtype] = []

    class Noting(Darker):
        def __call__(self, frames: list[Tensor], *, precise: bool = False) -> Tensor:
            kinds.append(frames[0].dtype)
            return super().__call__(frames)

    found: list[list[Frame]] = []
    for large, kind in ((1 << 40, torch.float32), (16, torch.uint8)):
        monkeypatch.setattr("deblurcli.restore.pipeline.LARGE", large)
        kinds.clear()
        found.append([])
        restore_video(frames, found[-1].append, [Noting()], SILENT)
        assert set(kinds) == {kind}
    for usual, saving in zip(*found, strict=True):
        assert usual.pts == saving.pts
        for a, b in zip(usual.planes, saving.planes, strict=True):
            assert np.abs(a.astype(int) - b.astype(int)).max() <= 1
    untouched: list[Frame] = []
    restore_video(frames, untouched.append, [Identity()], SILENT, waiting=0)
    assert all(same(a, b) for a, b in zip(frames, untouched, strict=True))


def test_stages_that_take_turns_give_the_same_frames_in_one_thread(frames: list[Frame]) -> None:
    found: list[list[Frame]] = []
    writers: list[set[int]] = []
    for waiting in (4, 1, 0):
        found.append([])
        writers.append(set())

        def write(frame: Frame, to: list[Frame] = found[-1], by: set[int] = writers[-1]) -> None:
            by.add(threading.get_ident())
            to.append(frame)

        restore_video(frames, write, [Darker()], SILENT, waiting=waiting)
    assert all(same(a, b) and same(a, c) for a, b, c in zip(*found, strict=True))
    assert [threading.get_ident() in by for by in writers] == [False, False, True]
    with pytest.raises(OSError, match="full"):
        restore_video(frames, failing, [Darker()], SILENT, waiting=0)


def failing(frame: Frame) -> None:
    raise OSError("full")


def test_a_processor_does_not_decode_ahead_for_large_frames() -> None:
    assert waiting_frames(2160, 3840, torch.device("cpu")) == QUEUE_FRAMES
    assert waiting_frames(4320, 7680, torch.device("cpu")) == 0
    assert waiting_frames(4320, 7680, torch.device("cuda")) == 1


class Fuzzy(Identity):
    """Leaves every third frame sharp."""

    def __init__(self, first: int = 0) -> None:
        self.number = first - 1

    def __call__(self, frames: list[Tensor], *, precise: bool = False) -> Tensor:
        self.number += 1
        frame = frames[len(frames) // 2]
        return (
            frame if self.number % 3 == 1 else torch.nn.functional.avg_pool2d(frame, 5, 1, 2, count_include_pad=False)
        )


@pytest.mark.parametrize("fading", [False, True])
def test_detail_from_sharper_frames_is_the_same_behind_an_interrupt(tmp_path: Path, fading: bool) -> None:
    pictures = [view(2 * number) for number in range(14)]
    with VideoReader(write_video(tmp_path / "clip.mkv", pictures)) as reader:
        frames = list(reader.frames())

    def restored(before: int) -> list[Frame]:
        written: list[Frame] = []
        lucky: LuckyFrames = LuckyFrames(3)
        fades: Fading | None = Fading(1.0) if fading else None
        needed = max(0, before - 3 - (Fading.reach if fading else 0))
        done = restore_video(frames, written.append, [Fuzzy(needed)], SILENT, before=before, lucky=lucky, fading=fades)
        assert done.frames == len(written) == len(frames) - before and 0 < done.lucky <= len(written)
        return written

    whole = restored(0)
    plain: list[Frame] = []
    restore_video(frames, plain.append, [Fuzzy()], SILENT)
    changed = [number for number, pair in enumerate(zip(whole, plain, strict=True)) if not same(*pair)]
    assert set(changed) >= {number for number in range(len(frames)) if number % 3 != 1}
    for before in (2, 5, 9, 12):
        assert all(same(one, other) for one, other in zip(restored(before), whole[before:], strict=True))


def test_frames_that_wait_for_sharper_ones_hold_no_cut_up(tmp_path: Path) -> None:
    """Nothing is taken across a cut, and a broken frame gives nothing."""
    dark = [picture * 0.1 for picture in (view(0, 5), view(2, 5), view(4, 5))]
    with VideoReader(write_video(tmp_path / "clip.mkv", [*(view(2 * n) for n in range(3)), *dark])) as reader:
        frames = list(reader.frames())

    class SharpThenSoft(Fuzzy):
        def __call__(self, frames: list[Tensor], *, precise: bool = False) -> Tensor:
            found = super().__call__(frames, precise=precise)
            return (
                frames[0]
                if self.number < 3
                else torch.nn.functional.avg_pool2d(found, 5, 1, 2, count_include_pad=False)
            )

    found: list[list[Frame]] = [[], []]
    for written, lucky in zip(found, (LuckyFrames(3), None), strict=True):
        done = restore_video(frames, written.append, [SharpThenSoft()], SILENT, lucky=lucky, watch=lambda *_: None)
        assert done.cuts == 1
    assert all(same(one, other) for one, other in zip(found[0][:3], found[1][:3], strict=True))
