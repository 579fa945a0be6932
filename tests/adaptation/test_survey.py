"""The survey: which patches it finds, at every length and size, and how much it holds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from deblurcli.adaptation.survey import draw_corners, survey
from deblurcli.metrics.self_shift import self_shift_score


def clip(count: int, height: int = 96, width: int = 128, sharp: int = 5) -> list[Tensor]:
    """A noisy picture, blurred in every frame but one."""
    generator = torch.Generator().manual_seed(1)
    picture = torch.rand(3, height, width, generator=generator)
    frames = []
    for index in range(count):
        strength = 1 if index == sharp else 3 + 2 * (index % 3)
        frames.append(F.avg_pool2d(picture, strength, 1, strength // 2, count_include_pad=False))
    return frames


def test_the_sharpest_frame_wins_and_its_window_is_kept() -> None:
    frames = clip(12, sharp=5)
    found = survey(frames, patches=6, size=64, seed=1)
    assert found.frames == 12 and found.size == 64 and len(found.patches) == 6
    for patch in found.patches:
        assert patch.frame == 5
        crops = [f[:, patch.y : patch.y + 64, patch.x : patch.x + 64] for f in frames]
        assert patch.window is not None and patch.blurriest is not None
        assert torch.equal(patch.window, torch.stack(crops[3:8]))
        scores = self_shift_score(torch.stack(crops))
        assert patch.score == pytest.approx(float(scores[5]), rel=1e-5)
        assert float(self_shift_score(patch.blurriest[None])) == pytest.approx(float(scores.max()), rel=1e-5)


def test_the_first_and_last_two_frames_are_no_candidates() -> None:
    for sharp in (0, 1, 10, 11):
        found = survey(clip(12, sharp=sharp), patches=3, size=64, seed=1)
        assert all(2 <= patch.frame <= 9 for patch in found.patches)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_short_videos_repeat_their_ends(count: int) -> None:
    frames = clip(count, sharp=0)
    found = survey(frames, patches=2, size=64, seed=1)
    assert found.frames == count
    for patch in found.patches:
        assert patch.frame == 0 and patch.window is not None
        crops = [f[:, patch.y : patch.y + 64, patch.x : patch.x + 64] for f in frames]
        assert torch.equal(patch.window, torch.stack([crops[min(max(i, 0), count - 1)] for i in range(-2, 3)]))


@pytest.mark.parametrize(
    ("height", "width", "size"), [(96, 128, 96), (70, 300, 64), (33, 33, 32), (1, 5, 32), (20, 90, 32)]
)
def test_patches_shrink_to_what_the_frame_holds(height: int, width: int, size: int) -> None:
    found = survey([torch.rand(3, height, width)] * 5, patches=3, size=256, seed=1)
    assert found.size == size
    assert all(p.window is not None and p.window.shape == (5, 3, size, size) for p in found.patches)


def test_corners_lie_inside_and_follow_the_seed() -> None:
    corners = draw_corners(500, 64, 100, 200, 7)
    assert corners.min() == 0 and corners[:, 0].max() == 36 and corners[:, 1].max() == 136
    assert (corners == draw_corners(500, 64, 100, 200, 7)).all()
    assert (corners != draw_corners(500, 64, 100, 200, 8)).any()


def test_no_more_than_five_frames_are_alive() -> None:
    import weakref

    alive: list[weakref.ref[Tensor]] = []
    most = 0

    def pictures() -> Iterator[Tensor]:
        nonlocal most
        for picture in clip(40):
            fresh = picture.clone()
            alive.append(weakref.ref(fresh))
            most = max(most, sum(r() is not None for r in alive))
            yield fresh
            del fresh

    survey(pictures(), patches=3, size=64, seed=1)
    assert most <= 7


def test_windows_never_cross_a_cut() -> None:
    one, other = clip(9, sharp=8), [f.flip(-1).mul(0.4).roll(1, 0) for f in clip(3, sharp=0) + clip(9, sharp=4)]
    found = survey([*one, *other], patches=4, size=64, seed=1)
    assert found.cuts == [9]
    for patch in found.patches:
        # Frames 7 and 8 are the last of the first shot, 9 and 10 the first of the second.
        assert 2 <= patch.frame <= 6 or 11 <= patch.frame <= 18
        assert not patch.at_end
    assert len(found.sharpness) == 21


def test_sharpness_over_time_is_lowest_where_the_video_is_sharp() -> None:
    found = survey(clip(12, sharp=5), patches=6, size=64, seed=1)
    assert min(range(12), key=lambda t: found.sharpness[t]) == 5
    crops = torch.stack([clip(12)[5][:, p.y : p.y + 64, p.x : p.x + 64] for p in found.patches])
    assert found.sharpness[5] == pytest.approx(float(self_shift_score(crops).mean()) / 4, rel=1e-4)
    assert all(p.contrast > 0 for p in found.patches)


@pytest.mark.parametrize("width", [128, 20])
def test_bytes_give_what_their_floats_give(width: int) -> None:
    frames = [(255 * frame).round().byte() for frame in clip(12, width=width)]
    found = survey(frames, patches=6, size=64, seed=1)
    expected = survey([frame / 255 for frame in frames], patches=6, size=64, seed=1)
    assert found.sharpness.tolist() == pytest.approx(expected.sharpness.tolist(), rel=1e-5)
    for mine, theirs in zip(found.patches, expected.patches, strict=True):
        assert (mine.frame, mine.blurriest_frame) == (theirs.frame, theirs.blurriest_frame)
        for crop, wanted in ((mine.window, theirs.window), (mine.blurriest, theirs.blurriest)):
            assert crop is not None and wanted is not None and torch.equal(crop, wanted)


def test_no_frames_no_patches() -> None:
    assert survey([], patches=3, size=64, seed=1).patches == []
