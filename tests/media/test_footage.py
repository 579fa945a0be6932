"""Footage: as many passes as asked, previews in bytes, shots one after the other, threads that end before files do."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from clips import make_clip

from deblurcli.errors import InputError
from deblurcli.media.footage import PictureFootage, VideoFootage, shots
from deblurcli.media.reader import VideoReader


def test_a_video_can_be_looked_through_as_often_as_asked(tmp_path: Path) -> None:
    footage = VideoFootage(make_clip(tmp_path / "a.mkv", frames=7))
    with VideoReader(footage.info.path) as reader:
        frames = list(reader.frames())
    for _ in range(2):
        for seen, frame in zip(footage.pictures(), frames, strict=True):
            assert torch.equal(seen, frame.rgb())
        for seen, frame in zip(footage.previews(), frames, strict=True):
            assert seen.dtype == torch.uint8 and torch.equal(seen, frame.preview())
    assert (footage.name, footage.total) == ("a.mkv", 7)


def test_previews_of_more_than_8_bits_are_the_pictures(tmp_path: Path) -> None:
    footage = VideoFootage(make_clip(tmp_path / "a.mkv", pix_fmt="yuv420p10le", frames=2))
    for seen, picture in zip(footage.previews(), footage.pictures(), strict=True):
        assert torch.equal(seen, picture)


def test_a_pass_that_is_given_up_leaves_no_thread(tmp_path: Path) -> None:
    footage = VideoFootage(make_clip(tmp_path / "a.mkv", frames=30))
    before = threading.active_count()
    frames = footage.previews()
    next(frames)
    assert threading.active_count() == before + 1
    frames.close()
    assert threading.active_count() == before


def test_a_missing_file_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        VideoFootage(tmp_path / "missing.mkv")


def test_shots_come_one_after_the_other_and_hold_every_frame() -> None:
    dark, bright = torch.zeros(3, 40, 60), torch.zeros(3, 40, 60)
    bright[:, ::2, :30] = torch.tensor([1.0, 0.5, 0.0])[:, None, None]
    bright[:, :, 30:] = torch.tensor([0.0, 0.3, 1.0])[:, None, None]
    footage = PictureFootage([dark] * 4 + [bright] * 3 + [dark] * 2)
    found = [(shot.name, shot.total, len(list(shot.pictures()))) for shot in shots(footage)]
    assert found == [(f"shot {number} of frames", None, count) for number, count in ((1, 4), (2, 3), (3, 2))]
    assert footage.total == 9


def test_pictures_of_a_shot_are_its_previews_in_unit_range(tmp_path: Path) -> None:
    footage = VideoFootage(make_clip(tmp_path / "a.mkv", frames=3))
    previews = list(footage.previews())
    (pictures,) = (list(shot.pictures()) for shot in shots(footage))
    assert all(torch.equal(seen, preview / 255) for seen, preview in zip(pictures, previews, strict=True))
