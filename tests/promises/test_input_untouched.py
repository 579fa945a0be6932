"""Promise 2: the input is never touched, and an output that is the input is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import make_clip
from end_to_end import QUICK, contents, deblur, small_network

from deblurcli.api import deblur_image
from deblurcli.errors import UsageError


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
    assert deblur("metrics", f"{out}-none.mkv", "--before", clip, "-q") == 0
    for suffix in ("html", "mp4", "png"):
        assert deblur("compare", clip, f"{out}-none.mkv", "-o", f"{out}.compared.{suffix}", "-q") == 0
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


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
def test_no_output_of_a_batch_replaces_an_input_of_another_file(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], link: Callable[[Path, Path], None]
) -> None:
    """The name of one file's output leads to the next file."""
    network, second, out = small_network(tmp_path / "w.safetensors"), tmp_path / "second.png", tmp_path / "out"
    second.write_bytes((folder / "photo.png").read_bytes())
    out.mkdir()
    link(out / "photo.png", second)
    before = second.read_bytes()
    words = ["-o", f"{out}/", "--overwrite", "--network", network, "-q"]
    assert deblur("image", folder / "photo.png", second, *words) == 3
    said, err = capsys.readouterr()
    assert f"{out / 'photo.png'} is an input; choose another output name" in err
    assert said == f"{out / 'second.png'}\n" and second.read_bytes() == before
    assert (out / "photo.png").samefile(second)


def test_no_output_of_a_batch_replaces_an_earlier_one(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As names that differ in case alone would, where the file system takes them for one."""
    network, one, out = small_network(tmp_path / "w.safetensors"), tmp_path / "one", tmp_path / "out"
    for name in ("a/1.png", "b/1.png"):
        (one / name).parent.mkdir(parents=True)
        (one / name).write_bytes((folder / "photo.png").read_bytes())
    (out / "a").mkdir(parents=True)
    (out / "b").symlink_to("a")
    words = ["-o", out, "--recursive", "--overwrite", "--network", network, "-q"]
    assert deblur("image", one, *words) == 3
    assert f"{out / 'b' / '1.png'} is the output of {one / 'a' / '1.png'}" in capsys.readouterr().err


def test_pairs_never_replace_the_photos_of_the_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("pairs/blurred/c.png", "pairs/sharp/d.png", "d.png", "c.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(name, np.random.default_rng(1).integers(0, 255, (140, 150, 3), np.uint8))
    before = contents(tmp_path)
    # Its own photo as the blurred one, and that of another file as the sharp one.
    assert deblur("synth", "pairs/blurred/c.png", "-o", "pairs", "--overwrite") == 2
    assert deblur("synth", "d.png", "pairs/./sharp/d.png", "-o", "pairs", "--overwrite") == 2
    Path("e.png").hardlink_to("pairs/sharp/d.png")
    assert deblur("synth", "d.png", "e.png", "-o", "pairs", "--overwrite") == 3
    err = capsys.readouterr().err
    assert "pairs/blurred/c.png is the input" in err and "pairs/sharp/d.png is an input" in err
    after = contents(tmp_path)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"e.png", "pairs/blurred/e.png", "pairs/sharp/e.png"}


def test_half_a_pair_is_never_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pairs/sharp").mkdir(parents=True)
    Path("pairs/sharp/c.png").write_bytes(b"another's")
    cv2.imwrite("c.png", np.random.default_rng(1).integers(0, 255, (140, 150, 3), np.uint8))
    assert deblur("synth", "c.png", "-o", "pairs") == 2
    assert set(contents(tmp_path)) == {"c.png", "pairs/sharp/c.png"}
    assert Path("pairs/sharp/c.png").read_bytes() == b"another's"


def test_no_output_replaces_weights_that_an_option_names(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever option names them: the adapted network over the weights that it starts from."""
    network, start = small_network(tmp_path / "w.safetensors"), small_network(tmp_path / "start.safetensors")
    before = start.read_bytes()
    words = ["--network", network, "--initial", start, "--save-adapted", start, "--overwrite", *QUICK]
    assert deblur("video", folder / "clip.mkv", "-o", tmp_path / "out.mkv", *words) == 2
    assert f"{start} is an input" in capsys.readouterr().err
    assert start.read_bytes() == before and not (tmp_path / "out.mkv").exists()


def test_python_keeps_them_too(folder: Path, tmp_path: Path) -> None:
    network = small_network(tmp_path / "w.png")
    network.rename(tmp_path / "w.safetensors")
    (tmp_path / "out.png").hardlink_to(tmp_path / "w.safetensors")
    with pytest.raises(UsageError, match=r"out\.png is an input"):
        deblur_image(folder / "photo.png", tmp_path / "out.png", network=tmp_path / "w.safetensors", overwrite=True)


def test_imported_weights_replace_nothing_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither a file that is imported, from a folder or from the cache, nor one that is no weights."""
    files = tmp_path / "files"
    files.mkdir()
    small_network(files / "a.safetensors")
    (tmp_path / "any.txt").write_text("a letter")
    (tmp_path / "b.safetensors").write_text("another's")
    before = contents(tmp_path)
    words = ["weights", "import", files, "--network", "plain-unet"]
    for output, said in (
        (files / "a.safetensors", "is the input"),
        (tmp_path / "any.txt", "is not a name of weights; let it end in .safetensors"),
        (tmp_path / "b.safetensors", "exists; use --overwrite or another name"),
    ):
        flags = [] if output.name == "b.safetensors" else ["--overwrite"]
        assert deblur(*words, "-o", output, *flags) == 2
        assert said in capsys.readouterr().err
    assert contents(tmp_path) == before


def test_a_training_run_replaces_no_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder for weights, state and log may hold other things: pictures to learn from, weights to start from."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("1", "2", "curve"):
        picture = np.random.default_rng(1).integers(0, 255, (260, 300, 3), np.uint8)
        cv2.imwrite(str(photos / f"{name}.png"), picture)
    out = tmp_path / "out"
    out.mkdir()
    words = ["train", "deblur", "--data", photos, "--iterations", "1", "--crops", "64", "--batch", "1", "--ring", "6"]
    start = small_network(out / "plain-unet.safetensors")
    before = contents(tmp_path)
    for folder, flags, said in ((out, ["--from", start], "plain-unet.safetensors"), (photos, [], "curve.png")):
        assert deblur(*words, "--out", folder, *flags) == 2
        assert f"{folder / said} exists, but there is no state.safetensors to go on from" in capsys.readouterr().err
    start.rename(tmp_path / "start.safetensors")
    (out / "log.csv").write_text("date,weather\n")
    assert deblur(*words, "--out", out, "--from", tmp_path / "start.safetensors") == 2
    assert f"{out / 'log.csv'} exists" in capsys.readouterr().err
    assert (out / "log.csv").read_text() == "date,weather\n"
    pictures = {name: digest for name, digest in before.items() if name.startswith("photos/")}
    assert {f"photos/{name}": digest for name, digest in contents(photos).items()} == pictures
