"""Networks for pictures in memory: the forms that go in come out, frames know their neighbours, errors are ours."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

import deblurcli
from deblurcli.errors import InputError, UsageError
from deblurcli.files import OutputFile
from deblurcli.jobs.arrays import Network
from deblurcli.media.clips import ClipWriter
from deblurcli.media.reader import VideoReader


@pytest.fixture(scope="module")
def worker() -> deblurcli.Worker:
    return deblurcli.Worker(deblurcli.ComputeOptions(dtype="fp32"))


@pytest.fixture(scope="module")
def single(worker: deblurcli.Worker) -> Network:
    return deblurcli.load(worker=worker)


@pytest.fixture(scope="module")
def several(worker: deblurcli.Worker) -> Network:
    return deblurcli.load(command="video", worker=worker)


def clip(frames: int = 6) -> list[np.ndarray]:
    rng = np.random.default_rng(4)
    wide = rng.integers(0, 255, (61, 140, 3), np.uint8)
    return [np.ascontiguousarray(wide[:, 2 * t : 2 * t + 83]) for t in range(frames)]


def test_every_form_comes_back_as_it_was(single: Network) -> None:
    eight = clip(1)[0]
    restored = single(eight)
    assert restored.dtype == np.uint8 and restored.shape == eight.shape and (restored != eight).any()
    deep = single(eight.astype(np.uint16) * 257)
    assert deep.dtype == np.uint16
    assert np.abs(deep / 257.0 - restored).max() <= 0.51
    floats = single(eight.astype(np.float32) / 255)
    assert floats.dtype == np.float32 and floats.shape == eight.shape and 0 <= floats.min() <= floats.max() <= 1
    assert np.abs(floats * 255 - restored).max() <= 0.51
    tensor = torch.from_numpy(eight).permute(2, 0, 1) / 255
    assert torch.equal(single(tensor), torch.from_numpy(floats).permute(2, 0, 1))
    assert single(tensor.double()).dtype == torch.float64
    assert single(eight[..., 0]).shape == eight.shape[:2]
    alpha = np.dstack((eight, eight[..., 1]))
    assert np.array_equal(single(alpha), np.dstack((restored, eight[..., 1])))


def test_the_caller_keeps_the_input(single: Network) -> None:
    eight = clip(1)[0]
    floats = torch.from_numpy(eight).permute(2, 0, 1).float().div(255).requires_grad_()
    before = eight.copy(), floats.detach().clone()
    single(eight), single(floats)
    assert np.array_equal(eight, before[0]) and torch.equal(floats.detach(), before[1])
    assert not single(floats).requires_grad


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("photo.jpg", "is a str"),
        (None, "is a NoneType"),
        (np.zeros((3, 3)), "is 3x3"),
        (np.zeros((4, 5, 2), np.uint8), "is 4x5x2"),
        (np.zeros((0, 4, 3), np.uint8), "is 0x4x3"),
        (np.zeros((4, 5, 3), np.int64), "holds int64"),
        (np.full((4, 5, 3), 128.0), "far above 1"),
        (np.full((4, 5, 3), np.nan), "none that are numbers"),
        (torch.zeros(4, 5, 3), "is 4x5x3"),
        (torch.zeros(3, 4, 5, dtype=torch.uint8), "holds torch.uint8"),
    ],
)
def test_what_is_no_picture_is_refused(single: Network, wrong: object, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        single(wrong)  # type: ignore[type-var]
    assert caught.value.cure


def test_frames_are_what_the_video_command_gives(several: Network, worker: deblurcli.Worker, tmp_path: Path) -> None:
    first, second = clip(5), [255 - np.roll(f, 30, 0) for f in clip(4)]
    source, destination = tmp_path / "in.mkv", tmp_path / "out.mkv"
    with OutputFile(source) as output, ClipWriter(output, Fraction(25)) as writer:
        for frame in first + second:
            writer.write(torch.from_numpy(frame).permute(2, 0, 1) / 255)
    plain = {"method": "none", "codec": "ffv1", "lucky_frames": 0}
    deblurcli.deblur_video(source, destination, worker=worker, **plain)
    with VideoReader(destination) as reader:
        wanted = [(frame.rgb() * 255).round().byte().permute(1, 2, 0).numpy() for frame in reader.frames()]
    found = list(several.frames(iter(first + second)))
    exact = list(several.frames(frame.astype(np.float32) / 255 for frame in first + second))
    assert len(found) == len(exact) == len(wanted)
    for mine, theirs, value in zip(found, wanted, exact, strict=True):
        # One that lies between two code values may be rounded either way.
        assert all(np.abs(value * 255 - rounded).max() < 0.5 + 1e-3 for rounded in (mine, theirs))


def test_frames_are_read_as_they_are_needed(several: Network) -> None:
    taken = 0

    def frames():
        nonlocal taken
        for frame in clip(6):
            taken += 1
            yield frame

    restored = several.frames(frames())
    next(restored)
    assert taken == 2  # the frame and the one behind it
    assert len(list(restored)) == 5
    assert list(several.frames([])) == []


def test_frames_of_two_sizes_are_refused(several: Network) -> None:
    with pytest.raises(InputError, match="83x40 after others"):
        list(several.frames([clip(1)[0], clip(1)[0][:40]]))


@pytest.mark.parametrize("method", ["meta", "tta"])
def test_an_adapted_network_can_be_saved(method: str, worker: deblurcli.Worker, tmp_path: Path) -> None:
    frames = [np.kron(frame[:24, :32], np.ones((4, 4, 1), np.uint8)) for frame in clip(7)]
    options = {"patches": 2, "patch_size": 64, "steps": 2, "guard": "off"} if method == "meta" else {"steps": 1}
    adapted = deblurcli.adapt(iter(frames), method=method, worker=worker, **options)
    assert adapted.outcome is not None and adapted.outcome.method == method
    assert type(adapted.outcome.kept) is bool
    file = tmp_path / "mine.safetensors"
    adapted.save(file)
    again = deblurcli.load(file, worker=worker)
    assert np.array_equal(again(frames[3]), adapted(frames[3]))
    with pytest.raises(UsageError, match="exists"):
        adapted.save(file)
    with pytest.raises(UsageError, match="not a name of weights"):
        adapted.save(tmp_path / "mine.pt")


def test_options_of_other_methods_are_refused(worker: deblurcli.Worker) -> None:
    with pytest.raises(UsageError, match="--patches means nothing to --method tta"):
        deblurcli.adapt(clip(), method="tta", patches=2, worker=worker)
    with pytest.raises(UsageError, match="needs a video file"):
        deblurcli.adapt(clip(), adapt_per="shot", worker=worker)
