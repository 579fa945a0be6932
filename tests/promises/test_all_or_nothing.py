"""Promise 1: the output name appears only when the file is complete; until then it is a `.part` beside it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import cut_tail, make_clip
from end_to_end import command, contents, deblur, pan, small_network, write_video


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A clip whose end, with the index of its frames, is missing."""
    folder = tmp_path / "in"
    folder.mkdir()
    return cut_tail(make_clip(folder / "whole.mp4", codec="libx264"), 0.6, folder / "cut.mp4")


def test_until_it_is_complete_the_output_is_a_part(tmp_path: Path) -> None:
    source, out = write_video(tmp_path / "in.mkv", pan(1, 12)), tmp_path / "out" / "out.mkv"
    out.parent.mkdir()
    seen: set[frozenset[str]] = set()
    run = command("video", source, "-o", out, "--method", "none", "-q")
    while run.poll() is None:
        seen.add(frozenset(path.name for path in out.parent.iterdir()))
        time.sleep(0.005)
    assert run.returncode == 0, run.communicate()[1]
    assert list(contents(out.parent)) == ["out.mkv"]
    parts = {name for names in seen for name in names if name != "out.mkv"}
    assert len(parts) == 1 and next(iter(parts)).endswith(".part")
    # While a part is there, the name is not; with hard links both exist for a moment, of the same complete file.
    assert frozenset(parts) in seen


def test_a_failure_leaves_nothing(damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    assert deblur("video", damaged, "-o", out / "out.mkv", "--method", "none", "-q") == 4
    assert contents(out) == {} and capsys.readouterr().out == ""


def test_a_failure_leaves_the_old_file_that_was_to_be_replaced(damaged: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mkv"
    out.write_bytes(b"an earlier result")
    assert deblur("video", damaged, "-o", out, "--method", "none", "--overwrite", "-q") == 4
    assert out.read_bytes() == b"an earlier result"


def test_a_frame_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk fills up in the middle of a video."""
    from deblurcli.media.writer import VideoWriter

    source, written, write = write_video(tmp_path / "in.mkv", pan(1, 6)), [], VideoWriter.write

    def failing(writer: VideoWriter, item: object) -> None:
        written.append(item)
        if len(written) == 4:
            raise OSError(28, "No space left on device")
        write(writer, item)

    monkeypatch.setattr(VideoWriter, "write", failing)
    assert deblur("video", source, "-o", tmp_path / "out.mkv", "--method", "none", "-q") == 5
    assert "o space left" in capsys.readouterr().err
    assert list(contents(tmp_path)) == ["in.mkv"]


def test_of_a_batch_the_finished_files_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.png", "c.png"):
        cv2.imwrite(tmp_path / name, np.full((20, 30, 3), 99, np.uint8))
    (tmp_path / "b.png").write_bytes(b"not an image")
    assert deblur("image", tmp_path, "-o", f"{tmp_path / 'out'}/") == 3
    assert sorted(contents(tmp_path / "out")) == ["a.png", "c.png"]


def test_weights_appear_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Exception, match="o space left"):
        small_network(tmp_path / "w.safetensors")
    assert contents(tmp_path) == {}
