"""The survey: which patches it finds, at every length and size, and how much it holds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from deblurcli.adaptation.support import USUAL, SupportPatch
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


def numbered(count: int, seed: int = 1) -> list[Tensor]:
    """A picture as soft as any, in bytes, each time brighter by one."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 8, 8, generator=generator)
    picture = (F.interpolate(coarse, size=(64, 64), mode="bicubic")[0].clamp(0, 1) * 180).byte()
    return [picture + index for index in range(count)]


def numbers_of(patch: SupportPatch, first: Tensor) -> list[list[int]]:
    """The frames that each of the usual moments of a patch is made of."""
    crop = first[:, patch.y : patch.y + 32, patch.x : patch.x + 32].float()
    return [[round(float((255 * frame - crop).mean())) for frame in moment] for moment in patch.usual]


def test_usual_moments_are_any_with_equal_chance() -> None:
    frames = numbered(12)
    counts = dict.fromkeys(range(12), 0)
    for seed in range(12):
        for patch in survey(frames, patches=40, size=32, seed=seed).patches:
            moments = numbers_of(patch, frames[0])
            assert len(moments) == USUAL and all(moment.shape == (3, 3, 32, 32) for moment in patch.usual)
            assert all(moment == [moment[1] - 1, moment[1], moment[1] + 1] for moment in moments), "frames in a row"
            middles = [moment[1] for moment in moments]
            assert len(set(middles)) == USUAL and patch.moments == 8
            for middle in middles:
                counts[middle] += 1
    assert [counts[index] for index in (0, 1, 10, 11)] == [0, 0, 0, 0]
    expected = 12 * 40 * USUAL / 8
    assert all(0.65 * expected < counts[index] < 1.35 * expected for index in range(2, 10))


def test_usual_moments_never_cross_a_cut() -> None:
    one, other = numbered(8), [frame.flip(-1) // 2 for frame in numbered(9, seed=2)]
    found = survey([*one, *other], patches=30, size=32, seed=1)
    assert found.cuts == [8]
    for patch in found.patches:
        place = (..., slice(patch.y, patch.y + 32), slice(patch.x, patch.x + 32))
        crops = torch.stack([frame[place] for frame in (*one, *other)])
        for moment in patch.usual:
            (first,) = [at for at in range(15) if torch.equal((255 * moment).round().byte(), crops[at : at + 3])]
            # Middles are at least two frames from either end of a shot.
            assert 2 <= first + 1 <= 5 or 10 <= first + 1 <= 14
        assert patch.moments == 4 + 5


def test_usual_moments_go_by_the_seed() -> None:
    frames = numbered(14)
    one, two, other = (survey(frames, patches=6, size=32, seed=seed) for seed in (3, 3, 4))
    for patch, again in zip(one.patches, two.patches, strict=True):
        assert all(map(torch.equal, patch.usual, again.usual))
    assert [numbers_of(p, frames[0]) for p in one.patches] != [numbers_of(p, frames[0]) for p in other.patches]


@pytest.mark.parametrize(("count", "kept"), [(4, 0), (5, 1), (6, 2), (20, 2)])
def test_a_short_video_has_as_many_usual_moments_as_it_can(count: int, kept: int) -> None:
    found = survey(numbered(count), patches=3, size=32, seed=1)
    assert [len(patch.usual) for patch in found.patches] == [kept] * 3
    assert all(moment.dtype == torch.float32 and moment.max() <= 1 for p in found.patches for moment in p.usual)


def test_usual_moments_are_as_long_and_as_many_as_asked_for() -> None:
    frames = numbered(12)
    usual, more = (
        survey(frames, patches=6, size=32, seed=3),
        survey(frames, patches=6, size=32, seed=3, moment=7, usual=4),
    )
    for patch, as_before in zip(more.patches, usual.patches, strict=True):
        moments = numbers_of(patch, frames[0])
        assert len(moments) == 4 and patch.moments == 6
        assert all(moment == list(range(moment[3] - 3, moment[3] + 4)) for moment in moments)
        assert patch.window is not None and as_before.window is not None and torch.equal(patch.window, as_before.window)
    assert not any(patch.usual for patch in survey(frames[:6], patches=2, size=32, seed=3, moment=7).patches)
    assert [len(p.usual) for p in survey(frames[:7], patches=2, size=32, seed=3, moment=7).patches] == [1, 1]


def test_the_pixels_of_a_frame_are_known() -> None:
    assert survey(clip(5), patches=2, size=64, seed=1).pixels == 96 * 128
