"""Promise 2: the input is never touched, and an output that is the input is refused."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import make_clip
from end_to_end import QUICK, contents, deblur


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Inputs alone, with a fixed time and no right to write."""
    folder = tmp_path / "in"
    folder.mkdir()
    make_clip(folder / "clip.mkv", codec="libx264", size=(80, 64), frames=4, audio=True)
    cv2.imwrite(folder / "photo.png", np.random.default_rng(1).integers(0, 255, (40, 50, 3), np.uint8))
    for path in folder.iterdir():
        os.utime(path, (1e9, 1e9))
        path.chmod(0o444)
    return folder


def test_every_command_leaves_its_input_as_it_was(folder: Path, tmp_path: Path) -> None:
    before = contents(folder)
    clip, photo, out = folder / "clip.mkv", folder / "photo.png", tmp_path / "out"
    for method in ("none", "meta", "tta"):
        options = QUICK if method == "meta" else []
        assert deblur("video", clip, "-o", f"{out}-{method}.mkv", "--method", method, "-q", *options) == 0
    assert deblur("image", photo, "-o", f"{out}.png", "-q") == 0
    assert deblur("metrics", clip, f"{out}-none.mkv", "-q") == 0
    assert deblur("inspect", clip, "--patches", "2", "--patch-size", "64", "-q") == 0
    assert contents(folder) == before
    assert {path.stat().st_mtime for path in folder.iterdir()} == {1e9}


@pytest.mark.parametrize("options", [[], ["--overwrite"]])
@pytest.mark.parametrize("name", ["clip.mkv", "photo.png"])
def test_an_output_that_is_the_input_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, options: list[str]
) -> None:
    """By its name, by a detour, and through links."""
    source, before = folder / name, contents(folder)
    linked, same = folder.parent / f"link-{name}", folder.parent / f"same-{name}"
    linked.symlink_to(source)
    same.hardlink_to(source)
    for output in (source, folder / ".." / "in" / name, linked, same):
        command = "video" if name.endswith("mkv") else "image"
        assert deblur(command, source, "-o", output, *options) == 2, output
        assert ("is the input" in capsys.readouterr().err) or not options
        assert contents(folder) == before and linked.is_symlink()


def test_adapted_weights_never_replace_an_input(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither the network that adapts nor the video, even where overwriting is asked for."""
    weights = tmp_path / "mine.safetensors"
    weights.write_bytes((files("deblurcli") / "bundled" / "plain-unet.safetensors").read_bytes())
    video, before = tmp_path / "clip.safetensors", weights.read_bytes()
    video.write_bytes((folder / "clip.mkv").read_bytes())
    words = ["-o", tmp_path / "out.mkv", *QUICK, "--overwrite"]
    for source, saved in ((folder / "clip.mkv", weights), (video, video)):
        assert deblur("video", source, "--network", weights, "--save-adapted", saved, *words) == 2
        assert "is the input" in capsys.readouterr().err
    assert weights.read_bytes() == before and not (tmp_path / "out.mkv").exists()
