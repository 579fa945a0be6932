"""Several videos surveyed as one: each has its share, whatever its size, and one that cannot be read is left out."""

from __future__ import annotations

from collections.abc import Generator

import pytest
import torch
from torch import Tensor

from deblurcli.adaptation.group import joined, seen_in_each, shares, surveyed
from deblurcli.adaptation.survey import HELD_OUT, survey
from deblurcli.console import Reporter
from deblurcli.errors import InputError
from deblurcli.media.footage import Footage, PictureFootage
from deblurcli.options.survey import SurveyOptions

SILENT = Reporter.silent()


def frames(seed: int, count: int = 8, height: int = 128, width: int = 160) -> list[Tensor]:
    """Noise that changes from frame to frame only in its contrast; 3 x H x W."""
    picture = torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))
    return [0.5 + (picture - 0.5) * (1 - 0.05 * (index % 3)) for index in range(count)]


class Broken(Footage):
    """A video that cannot be read to its end."""

    name, total = "broken", None

    def pictures(self) -> Generator[Tensor, None, None]:
        yield from frames(1, 3)
        raise InputError("broken is damaged", "copy it again")


@pytest.mark.parametrize(
    ("total", "videos", "found"), [(12, 1, [12]), (12, 5, [3, 3, 2, 2, 2]), (4, 6, [1, 1, 1, 1, 0, 0]), (6, 3, [2] * 3)]
)
def test_shares_are_even(total: int, videos: int, found: list[int]) -> None:
    assert shares(total, videos) == found


def test_one_video_is_surveyed_as_by_itself() -> None:
    options = SurveyOptions(patches=3, patch_size=64)
    found = surveyed([PictureFootage(frames(1), "a")], options, SILENT)
    alone = survey(frames(1), patches=3 + HELD_OUT, size=64, seed=options.seed)
    assert [(p.y, p.x, p.frame, p.score) for p in found.patches] == [
        (p.y, p.x, p.frame, p.score) for p in alone.patches
    ]
    assert found.facts() == alone.facts() and "videos" not in found.facts() and str(found) == str(alone)
    support, held_out = found.parted(3)
    assert (len(support), len(held_out)) == (3, HELD_OUT)


def test_several_share_the_patches_of_one_and_stay_what_they_are() -> None:
    options = SurveyOptions(patches=5, patch_size=64)
    videos = {"a": frames(1, 8), "b": frames(2, 6), "c": frames(3, 7)}
    found = surveyed([PictureFootage(shown, name) for name, shown in videos.items()], options, SILENT)
    support, held_out = found.parted(options.patches)
    assert [p.video for p in support] == [0, 1, 2, 0, 1] and [p.video for p in held_out] == [0, 0, 1, 2]
    assert found.frames == 21 and found.pixels == 128 * 160 and found.size == 64
    for patch in found.patches:
        shown = list(videos.values())[patch.video]
        crops = [f[:, patch.y : patch.y + 64, patch.x : patch.x + 64] for f in shown[patch.frame - 2 : patch.frame + 3]]
        assert patch.window is not None and torch.equal(patch.window, torch.stack(crops))
    facts = found.facts()
    assert facts["videos"] == ["a", "b", "c"] and [p["video"] for p in facts["patches"][:3]] == ["a", "b", "c"]
    assert str(found) == "9 patches of 64x64 out of 21 frames of 3 videos together"
    assert len({(p.y, p.x) for p in found.patches}) == 9, "other places in each video"


def test_where_one_is_small_the_patches_of_all_are() -> None:
    large, small = frames(1), frames(2, 6, 70, 90)
    one = survey(large, patches=3, size=128, seed=1)
    two = survey(small, patches=3, size=128, seed=2)
    one.learnt, two.learnt = 2, 1
    assert (one.size, two.size) == (128, 64)
    found = joined([one, two], ["large", "small"])
    assert found.size == 64 and [p.video for p in found.patches] == [0, 1, 0, 0, 1, 1] and found.learnt == 3
    for patch in found.patches:
        shown = [large, small][patch.video]
        crop = shown[patch.frame][:, patch.y : patch.y + 64, patch.x : patch.x + 64]
        assert patch.window is not None and torch.equal(patch.window[2], crop)
        assert patch.window.untyped_storage().nbytes() == 4 * patch.window.numel()
        assert patch.turn is None or patch.turn.shape == (5, 3, 64, 64)
        assert patch.blurriest is not None and patch.blurriest.shape == (3, 64, 64)
        assert {three.shape for three in patch.usual} == {(3, 3, 64, 64)}
    assert any(patch.turn is not None for patch in found.patches)
    assert found.pixels == (8 * 128 * 160 + 6 * 70 * 90) // 14
    assert found.frames == 14 and found.cuts == []


def test_cuts_are_counted_through_all_of_them() -> None:
    dark = [frame * torch.tensor([0.0, 0.1, 0.4])[:, None, None] for frame in frames(5, 4)]
    found = survey(frames(1, 4) + dark, patches=1, size=64, seed=1)
    found.learnt = 1
    assert found.cuts == [4]
    assert joined([found, found, found], ["a", "b", "c"]).cuts == [4, 12, 20]


def test_what_cannot_be_read_is_named_and_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    options = SurveyOptions(patches=4, patch_size=64)
    good = [PictureFootage(frames(seed), f"good {seed}") for seed in (1, 2)]
    said: list[str] = []
    console = Reporter.silent()
    console.warn = said.append  # type: ignore[method-assign, assignment]
    found = surveyed([Broken(), *good], options, console)
    assert said == ["not adapted to: broken is damaged; copy it again"]
    assert found.videos == ["good 1", "good 2"] and {p.video for p in found.patches} == {0, 1}
    support, held_out = found.parted(options.patches)
    # Four patches for three videos: two of the first, which is left out with them.
    assert [p.video for p in support] == [0, 1] and [p.video for p in held_out] == [0, 1]
    with pytest.raises(InputError, match="broken is damaged"):
        surveyed([Broken(), Broken()], options, console)
    assert len(said) == 2
    assert seen_in_each(good, lambda number, footage: (number, footage.name), console) == [
        (0, (0, "good 1")),
        (1, (1, "good 2")),
    ]


def test_a_video_without_frames_has_no_part() -> None:
    found = surveyed([PictureFootage([], "empty"), PictureFootage(frames(1), "a")], SurveyOptions(patches=2), SILENT)
    support, held_out = found.parted(2)
    assert [p.video for p in support] == [1] and {p.video for p in held_out} == {1} and found.size == 128
    nothing = surveyed([PictureFootage([], "empty"), PictureFootage([], "empty")], SurveyOptions(patches=2), SILENT)
    assert nothing.patches == [] and nothing.frames == 0
