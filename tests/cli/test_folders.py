"""A folder with every kind of file in it: each is done, or named with the reason, or counted; the code is true."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import make_clip
from end_to_end import deblur, small_network

from deblurcli.media.inputs import IMAGES, VIDEOS, look

pytestmark = pytest.mark.skipif(os.name != "posix", reason="names, links and pipes as on POSIX")

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip, a picture and a network, to copy."""
    folder = tmp_path_factory.mktemp("made")
    make_clip(folder / "clip.mp4", codec="libx264", size=(80, 64), frames=3)
    make_clip(folder / "clip.mkv", codec="libx264", frames=3).rename(folder / "clip.ogv")
    cv2.imwrite(str(folder / "photo.png"), np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8))
    small_network(folder / "w.safetensors")
    return folder


@pytest.fixture
def work(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``in/`` with all kinds of files."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "b.ogv", "._a.mp4", "sub/c.mp4", "odd\x1b[31m\u202e\n.mp4"):
        Path("in", name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(made / ("clip.ogv" if name.endswith("ogv") else "clip.mp4"), Path("in", name))
    for name in ("p.png", "raw.DNG", ".p.png"):
        shutil.copy(made / "photo.png", Path("in", name))
    for name in ("notes.txt", "clip.srt", "Thumbs.db", ".DS_Store", "z.zip"):
        Path("in", name).write_bytes(b"PK\3\4 anything")
    Path("in/empty.mp4").touch()
    Path("in/text.heic").write_text("no picture")
    Path("in/broken.mp4").symlink_to("nowhere")
    os.mkfifo("in/pipe.mp4")
    os.mkfifo("in/pipe.png")
    return made


def test_of_a_folder_of_videos(work: Path, capfd: Captured) -> None:
    assert deblur("video", "in", "-o", "out", "--method", "none", "--network", work / "w.safetensors") == 3
    out, err = capfd.readouterr()
    assert out == "out/a.mp4\nout/b.mkv\nout/odd\x1b[31m\u202e\n.mp4\n"
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.mp4", "b.mkv", "odd\x1b[31m\u202e\n.mp4"]
    assert "\x1b" not in err and "\u202e" not in err
    for line in (
        "deblur: in/broken.mp4 is a link that leads nowhere; give the file itself",
        "deblur: empty.mp4 is empty (0 bytes); copy or record it again",
        "deblur: in/pipe.mp4 is not a regular file; save it as a file first",
        ".ogv files are read, but not written: b.ogv became b.mkv",
        "4 images left alone: use deblur image",
        "7 other files left alone",
        "1 folder in folders left alone: --recursive takes them, too",
        "deblur: of 6 files 3 failed; the lines above say why",
    ):
        assert line in err.splitlines(), line


@pytest.mark.timeout(60)
def test_of_a_folder_of_images(work: Path, capfd: Captured) -> None:
    assert deblur("image", "in", "-o", "out", "--network", work / "w.safetensors") == 3
    out, err = capfd.readouterr()
    assert out == "out/p.png\n"
    assert "deblur: in/raw.DNG is a raw photo; develop it into a .tif of 16 bits first" in err
    assert "deblur: in/pipe.png is not a regular file" in err and "deblur: text.heic" in err
    assert "6 videos left alone: use deblur video\n7 other files left alone\n" in err
    assert err.endswith("deblur: of 4 files 3 failed; the lines above say why\n")


def test_what_another_command_restores_does_not_change_the_code(work: Path, capfd: Captured) -> None:
    for name in ("empty.mp4", "broken.mp4", "pipe.mp4"):
        Path("in", name).unlink()
    assert deblur("video", "in", "-o", "out", "--method", "none", "--network", work / "w.safetensors") == 0
    assert capfd.readouterr().err.endswith("3 files done; 3 about as sharp\n")


def test_a_folder_without_any_says_what_it_has(work: Path, capfd: Captured) -> None:
    for path in [*Path("in").glob("*.m*"), *Path("in").glob("*.ogv")]:
        path.unlink()
    assert deblur("video", "in", "-o", "out") == 4
    words = "4 images left alone: use deblur image; 6 other files left alone"
    assert capfd.readouterr().err.startswith(f"deblur: folder in has no videos to restore; {words}")
    assert not Path("out").exists()


def test_a_pattern_takes_media_and_what_it_names(work: Path) -> None:
    names = [path.name for path in look(["in/*"], IMAGES.suffixes).files]
    assert names == ["p.png", "pipe.png", "raw.DNG", "text.heic"]
    assert [path.name for path in look(["in/*.txt", "in/cl*.srt"], IMAGES.suffixes).files] == ["notes.txt", "clip.srt"]
    assert [path.name for path in look(["i*/z.zip"], VIDEOS.suffixes).files] == ["z.zip"]


def test_an_output_beside_another_of_its_name_keeps_both_suffixes(work: Path, capfd: Captured) -> None:
    shutil.copy(work / "clip.mp4", "in/b.mkv")
    words = ["-o", "out/", "--method", "none", "--network", work / "w.safetensors"]
    assert deblur("video", "in/b.mkv", "in/b.ogv", *words) == 0
    assert capfd.readouterr().out == "out/b.mkv\nout/b.ogv.mkv\n"


def test_an_unreadable_folder_in_a_folder_is_one_that_failed(
    work: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed, scanned = Path.iterdir, os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "sub":
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    monkeypatch.setattr(os, "scandir", lambda path=".": refuse(path) if Path(path).name == "sub" else scanned(path))
    words = ["-o", "out/", "--method", "none", "--network", work / "w.safetensors", "--recursive"]
    assert deblur("video", "in", *words) == 3
    assert "deblur: in/sub cannot be read: permission denied; check the path and its permissions" in (
        capfd.readouterr().err
    )


@pytest.mark.parametrize(
    ("command", "name", "said"),
    [
        ("image", "in/a.mp4", "deblur: in/a.mp4 is a video; use deblur video\n"),
        ("video", "in/p.png", "deblur: in/p.png is an image; use deblur image\n"),
        ("image", "in/b.ogv", "deblur: in/b.ogv is a video; use deblur video\n"),
        ("image", "in/raw.DNG", "deblur: in/raw.DNG is a raw photo; develop it into a .tif of 16 bits first\n"),
        ("image", "in/pipe.png", "deblur: in/pipe.png is not a regular file; save it as a file first\n"),
        ("video", "in/gone.mp4", "deblur: in/gone.mp4 does not exist; check the path\n"),
        ("image", "gone*", "deblur: the pattern gone* matches no image; check the pattern, and the folder it starts"),
    ],
)
def test_one_file_of_another_kind_is_4_with_the_command_to_use(
    work: Path, capfd: Captured, command: str, name: str, said: str
) -> None:
    assert deblur(command, name, "-o", "out.png" if command == "image" else "out.mp4") == 4
    out, err = capfd.readouterr()
    assert out == "" and err.startswith(said) and err.count("\n") == 1


def test_without_a_suffix_the_one_proposed_is_written(work: Path, capfd: Captured) -> None:
    assert deblur("video", "in/b.ogv", "-o", "out") == 2
    assert "give a file such as out.mkv, or a folder: out/" in capfd.readouterr().err
    assert deblur("video", "in/b.ogv", "-o", "out.xyz", "--method", "none") == 5
    assert "out.xyz has no known video suffix; use one of" in capfd.readouterr().err


def test_an_input_in_the_output_folder_is_restored_or_named(work: Path, capfd: Captured) -> None:
    words = ["--method", "none", "--network", work / "w.safetensors"]
    assert deblur("video", "in/sub/c.mp4", "-o", "in", *words) == 0
    assert capfd.readouterr().out == "in/c.mp4\n"
    before = Path("in/a.mp4").read_bytes()
    for given in ("in/a.mp4", "in/a*.mp4"):
        assert deblur("video", given, "-o", "in", *words) == 2
        assert "deblur: in/a.mp4 is the input; choose another output name" in capfd.readouterr().err
    assert Path("in/a.mp4").read_bytes() == before
    shutil.copy(work / "photo.png", "in/sub/q.png")
    assert deblur("image", "in/sub/q.png", "-o", "in", "--network", work / "w.safetensors") == 0
    assert capfd.readouterr().out == "in/q.png\n"
    # An output is never the input of another file of the batch, which may lie there now.
    Path("in/in/sub").mkdir(parents=True)
    shutil.copy(work / "clip.mp4", "in/in/sub/c.mp4")
    before = Path("in/in/sub/c.mp4").read_bytes()
    assert deblur("video", "././in/sub/c.mp4", "in/in/sub/c.mp4", "-o", "in", "--overwrite", *words) == 3
    assert "deblur: in/in/sub/c.mp4 is an input; choose another output name" in capfd.readouterr().err
    assert Path("in/in/sub/c.mp4").read_bytes() == before
