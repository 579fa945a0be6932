"""Image sequences through the commands: what goes in and out, batches, resuming, and what is looked at."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
import torch
from end_to_end import contents, deblur, small_network
from frame_folders import write_frames
from interrupted import killed
from translators import WIDTH, translating

from deblurcli.console import Reporter
from deblurcli.media.images import read_image
from deblurcli.media.probe import probe
from deblurcli.train.camera_frames import read_frames
from deblurcli.weights.save import save_network

ADDED = 5
"""What the network adds to samples of 8 bits."""
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two sequences, and a network that makes every sample lighter."""
    monkeypatch.chdir(tmp_path)
    write_frames(tmp_path / "clips" / "a", 12)
    write_frames(tmp_path / "clips" / "b", 4, first=90, pattern="img%d.jpg")
    small_network(tmp_path / "w.safetensors", change=3 / 255)
    return tmp_path


def restored(*words: object) -> int:
    return deblur("video", *words, "--method", "none", "--network", "w.safetensors")


def test_pictures_are_restored(work: Path, capfd: Captured) -> None:
    assert restored("clips/a", "-o", "out/%06d.png") == 0
    assert capfd.readouterr().out == "out/%06d.png\n"
    for path in Path("clips/a").iterdir():
        before, after = (read_image(one).samples.astype(int) for one in (path, Path("out", path.name)))
        assert (after - before).min() >= 0 and round(float((after - before).mean())) == ADDED
    assert restored("clips/a/%06d.png", "-o", "other/%06d.png") == 0
    assert contents(Path("out")) == contents(Path("other"))


def test_batch_of_sequences(work: Path, capfd: Captured) -> None:
    assert restored("clips/*", "-o", "out") == 0
    assert capfd.readouterr().out == "out/a/%06d.png\nout/b/img%d.jpg\n"
    assert sorted(path.name for path in Path("out/b").iterdir()) == [f"img{n}.jpg" for n in range(90, 94)]
    assert restored("clips/a", "clips/b") == 0
    assert sorted(path.name for path in Path("clips").iterdir()) == ["a", "a.deblurred", "b", "b.deblurred"]
    assert restored("clips/*", "--skip-existing") == 0
    assert "skipped" in capfd.readouterr().err


def test_one_failure_does_not_stop_the_rest(work: Path, capfd: Captured) -> None:
    Path("clips/a/000002.png").unlink()
    assert restored("clips/*", "-o", "out/") == 3
    out, err = capfd.readouterr()
    assert out == "out/b/img%d.jpg\n"
    assert "clips/a has 000001.png and 000003.png, but no 000002.png" in err
    assert [path.name for path in Path("out").iterdir()] == ["b"]


def test_refused_names(work: Path, capfd: Captured) -> None:
    assert restored("clips/a", "clips/b", "-o", "out/%d.png") == 2
    assert "-o out/%d.png is one file for several inputs" in capfd.readouterr().err
    assert restored("clips/a", "-o", "out") == 2
    assert "give a file such as out/%06d.png, or a folder: out/" in capfd.readouterr().err
    assert restored("clips/a", "-o", "clips/a/%06d.png") == 2
    assert "clips/a is the input's folder" in capfd.readouterr().err
    assert deblur("image", "clips/a/%06d.png", "-o", "x.png") == 4
    assert "is an image sequence, which is a video; use deblur video, or give its folder" in capfd.readouterr().err
    assert not Path("out").exists()
    assert deblur("clips/a/%06d.png") == 2
    assert "to restore it, give deblur video clips/a/%06d.png" in capfd.readouterr().err


def test_folder_of_pictures_stays_one_by_one_for_image(work: Path, capfd: Captured) -> None:
    assert deblur("image", "clips/a", "-o", "out", "--network", "w.safetensors") == 0
    assert len(capfd.readouterr().out.split()) == 12


def test_dry_run_writes_nothing(work: Path, capfd: Captured) -> None:
    before = contents(work)
    assert restored("clips/a", "-o", "out/%06d.png", "--dry-run") == 0
    assert "out/%06d.png: png gbrp" in capfd.readouterr().out
    assert contents(work) == before and not Path("out").exists()
    write_frames(Path("full"), 2)
    assert restored("clips/a", "-o", "full/%06d.png", "--dry-run") == 2


def test_resumed_behind_the_last_complete_picture(work: Path, capfd: Captured) -> None:
    assert restored("clips/a", "-o", "whole/%06d.png") == 0
    words = ["clips/a", "-o", "out/%06d.png", "--method", "none", "--network", "w.safetensors"]
    assert killed("video", *words, stage="restoring", number=9)
    left = sorted(path.name for path in Path(".out.part/frames").iterdir() if path.suffix == ".png")
    assert 1 <= len(left) < 12 and not Path("out").exists()
    # A picture that is damaged, and what is behind it, is restored again.
    (Path(".out.part/frames") / left[-1]).write_bytes(b"cut")
    capfd.readouterr()
    assert restored("clips/a", "-o", "out/%06d.png", "--resume") == 0
    assert "a run was interrupted; going on" in capfd.readouterr().err
    assert contents(Path("out")) == contents(Path("whole")) and not Path(".out.part").exists()


def test_not_resumed_with_other_pictures(work: Path, capfd: Captured) -> None:
    words = ["clips/a", "-o", "out/%06d.png", "--method", "none", "--network", "w.safetensors"]
    assert killed("video", *words, stage="restoring", number=9)
    picture = read_image(Path("clips/a/000004.png")).samples
    cv2.imwrite("clips/a/000004.png", picture[::-1])
    assert restored("clips/a", "-o", "out/%06d.png") == 2
    assert "an interrupted run of out/%06d.png had input 12 pictures of" in capfd.readouterr().err
    assert restored("clips/a", "-o", "out/%06d.png", "--no-resume") == 0


def test_adapted_to_a_sequence(work: Path, capfd: Captured) -> None:
    write_frames(Path("large"), 6, size=(128, 96))
    words = ("--steps", 2, "--patches", 2, "--patch-size", 64, "--network", "w.safetensors", "--adapt-per", "shot")
    assert deblur("video", "large", "-o", "out/%06d.png", *words) in (0, 3)
    assert len(list(Path("out").iterdir())) == 6


def test_part_and_rate(work: Path) -> None:
    assert restored("clips/a", "-o", "part/%06d.png", "--fps", 10, "--start", "0.2", "--duration", "0.3") == 0
    assert sorted(path.name for path in Path("part").iterdir()) == ["000003.png", "000004.png", "000005.png"]
    assert restored("clips/a", "-o", "out.mkv", "--fps", 10) == 0
    assert probe(Path("out.mkv")).video.rate == 10


def test_looked_at_and_measured(work: Path, capfd: Captured) -> None:
    assert restored("clips/a", "-o", "out/%06d.png", "--compare", "page.html") == 0
    assert Path("page.html").stat().st_size > 10000
    capfd.readouterr()
    assert deblur("metrics", "out/%06d.png", "clips/a/%06d.png", "--format", "json") == 0
    measured = json.loads(capfd.readouterr().out)["items"][0]
    assert measured["frames"] == 12 and 33 < measured["psnr"] < 36 and "flicker" in measured
    assert deblur("metrics", "out", "clips/a", "--format", "json") == 0
    assert len(json.loads(capfd.readouterr().out)["items"]) == 12
    assert deblur("compare", "clips/a", "out/%06d.png", "-o", "side.mp4", "--fps", "12") == 0
    assert probe(Path("side.mp4")).video.rate == 12
    assert deblur("compare", "clips/a", "out") == 0
    assert Path("out.compare.html").exists()


def test_inspected(work: Path, capfd: Captured) -> None:
    write_frames(Path("large"), 5, size=(128, 96))
    words = ("--patches", 2, "--patch-size", 64, "--fps", "5", "--format", "json")
    assert deblur("inspect", "large", *words) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["container"] == "image sequence" and found["duration"] == 1.0


def test_moments(work: Path, capfd: Captured) -> None:
    words = ("--method", "none", "--network", "w.safetensors")
    assert deblur("frames", "clips/a", "-o", "taken", "--every", "0.24s", *words) == 0
    assert all(path.name.startswith("a_0000") for path in Path("taken").iterdir())
    assert len(list(Path("taken").iterdir())) == 2
    assert deblur("still", "clips/a/%06d.png", "-o", "plate.png", "--at", "0.5", "--fps", "10", *words) == 0
    before, after = (read_image(Path(name)).samples.astype(int) for name in ("clips/a/000006.png", "plate.png"))
    assert round(float((after - before).mean())) == ADDED


def test_pairs_of_a_sequence(work: Path, capfd: Captured) -> None:
    write_frames(Path("sharp"), 8, size=(128, 96))
    assert deblur("synth", "sharp/%06d.png", "-o", "pairs", "--rate", "50", "--shutter", "1") == 0
    assert probe(Path("pairs/blurred/sharp.mkv")).video.rate == 50


def test_a_folder_is_one_video_for_metrics_and_synth_too(work: Path, capfd: Captured) -> None:
    """Where a folder usually is pictures, each for itself, --sequences makes its numbered ones a video."""
    write_frames(Path("sharp"), 8, size=(128, 96))
    write_frames(Path("other"), 8, size=(128, 96))
    assert deblur("synth", "sharp", "-o", "pairs", "--rate", "50", "--shutter", "1", "--sequences") == 0
    assert probe(Path("pairs/blurred/sharp.mkv")).video.rate == 50
    capfd.readouterr()
    deblur("synth", "sharp", "-o", "stills")  # each picture for itself
    assert "[8/8] sharp/000008.png" in capfd.readouterr().err
    capfd.readouterr()
    found = []
    for names in (("sharp", "other", "--sequences"), ("sharp/%06d.png", "other/%06d.png")):
        assert deblur("metrics", *names, "--format", "json", "--lpips", "off") == 0
        (item,) = json.loads(capfd.readouterr().out)["items"]
        assert item.pop("name") in ("sharp", "%06d.png")
        found.append(item)
    assert found[0] == found[1] and found[0]["frames"] == 8 and "flicker" in found[0]
    assert deblur("metrics", "sharp", "other", "--format", "json", "--lpips", "off") == 0
    out, err = capfd.readouterr()
    assert len(json.loads(out)["items"]) == 8 and "--sequences takes numbered ones as a video" in err
    assert deblur("metrics", "sharp", "other/000001.png", "--sequences") == 4


def test_frames_of_a_camera_to_learn_translating_from(work: Path) -> None:
    """A folder of frames, and their pattern, are one scene."""
    write_frames(Path("camera"), 8, size=(128, 96))
    whole, named = (
        read_frames([Path(name)], 64, "blurry", Reporter.silent()) for name in ("camera", "camera/%06d.png")
    )
    assert {frame.scene for frame in whole} == {frame.scene for frame in named} == {Path("camera")}
    assert len(whole) == 8 and len(named) >= 2


def test_adapted_to_together(work: Path, capfd: Captured) -> None:
    for name in ("one", "two"):
        write_frames(Path("both") / name, 6, size=(128, 96))
    words = ("--steps", 1, "--patches", 2, "--patch-size", 64, "--network", "w.safetensors", "--adapt-together")
    assert deblur("video", "both/*", "-o", "out/", *words) in (0, 3)
    assert "adapting to 2 videos together" in capfd.readouterr().err
    assert len(list(Path("out").glob("*/*.png"))) == 12


def test_translated_frames_are_written_as_what_they_are(work: Path, capfd: Captured) -> None:
    path, module = Path("t.safetensors"), translating(0.2)
    save_network(path, module, network="blur-translator", config=WIDTH, card={}, dtype=torch.float32)
    assert restored("clips/a", "-o", "in.mkv") == 0
    words = ("--method", "blur2blur", "--translator", "t.safetensors", "--network", "w.safetensors", "--then", "none")
    assert deblur("video", "in.mkv", "-o", "x/%d.png", *words, "--save-translated", "t.mkv") == 2
    assert (
        "--save-translated t.mkv with pictures as output; give pictures there, too: t/%d.png" in capfd.readouterr().err
    )
    assert deblur("video", "in.mkv", "-o", "out.mkv", *words, "--save-translated", "of_video/%d.png") in (0, 3)
    assert deblur("video", "in.mkv", "-o", "out/%d.png", *words, "--save-translated", "with_pictures/%d.png") in (0, 3)
    assert deblur("video", "clips/a", "-o", "again/%d.png", *words, "--save-translated", "of_pictures.mkv") in (0, 3)
    assert len(list(Path("with_pictures").iterdir())) == 12 and probe(Path("of_pictures.mkv")).video.pix_fmt == "bgr0"
    one, other = (read_image(Path(folder, "5.png")).samples.astype(int) for folder in ("of_video", "with_pictures"))
    assert abs(one - other).max() <= 3  # the first were rounded as a video's samples


def test_a_percent_sign_alone_is_no_sequence(work: Path, capfd: Captured) -> None:
    assert deblur("image", "50%.png", "-o", "x.png") == 4
    assert "50%.png does not exist; check the path" in capfd.readouterr().err
    assert restored("clips/a/%.png", "-o", "out/%d.png") == 4
    assert "clips/a/%.png has not one number such as %06d" in capfd.readouterr().err


def test_photos_that_are_no_video(work: Path, capfd: Captured) -> None:
    for name in ("a.png", "b.png"):
        Path("photos").mkdir(exist_ok=True)
        (Path("photos") / name).write_bytes(Path("clips/a/000001.png").read_bytes())
    assert restored("photos", "-o", "out/") == 4
    assert "2 images left alone: use deblur image" in capfd.readouterr().err


def test_a_list_of_what_failed_keeps_the_places(work: Path, capfd: Captured) -> None:
    Path("clips/a/000002.png").unlink()
    words = (f"{work}/./clips/a/%06d.png", f"{work}/./clips/b", "-o", "out", "--failed", "failed.txt")
    assert restored(*words) == 3
    assert Path("failed.txt").read_text() == f"{work}/./clips/a/%06d.png\n"
    assert "deblur: a/%06d.png: " in capfd.readouterr().err
    Path("clips/a/000001.png").rename("clips/a/000002.png")
    assert restored("--files-from", "failed.txt", "-o", "out") == 0
    assert len(list(Path("out/clips/a").iterdir())) == 11
