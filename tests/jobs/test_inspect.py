"""`deblur inspect`: what it finds is what is in the clip, in the table, in JSON and in the picture."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import io
import json
import sys
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import typer
from clips import make_clip, zero_span
from torch import Tensor

import deblurcli
from deblurcli import api
from deblurcli.adaptation.survey import HELD_OUT, Survey, survey
from deblurcli.adaptation.translation import RECIPES, TRANSLATOR, new_generator
from deblurcli.cli.app import app, run
from deblurcli.files import OutputFile
from deblurcli.media.clips import ClipWriter
from deblurcli.media.footage import VideoFootage
from deblurcli.media.images import write_image
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.survey import SurveyOptions
from deblurcli.reports.inspection import BLOCKS, LETTERS, Inspection, spark
from deblurcli.reports.inspection_picture import drawn
from deblurcli.weights.save import save_network

SHARP, CUT = 5, 9
QUICK = {"patches": 3, "patch_size": 64, "seed": 2}
WORDS = ["--patches", "3", "--patch-size", "64", "--seed", "2", "--device", "cpu"]
matplotlib = pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="needs matplotlib")


def pan(seed: int, speeds: list[float]) -> list[Tensor]:
    """Frames of 96 x 112 over a red picture, each blurred by the way (pixels) that the camera goes in its exposure."""
    rough = (
        torch.rand(1, 3, 30, 60, generator=torch.Generator().manual_seed(seed))
        * torch.tensor([1, 0.3, 0.3])[:, None, None]
    )
    wide = torch.nn.functional.interpolate(rough, scale_factor=4, mode="bicubic")[0].clamp(0, 1)
    at, frames = 30.0, []
    for speed in speeds:
        views = [round(at + speed * part / 8) for part in range(-4, 5)]
        frames.append(torch.stack([wide[:, 8:104, x : x + 112] for x in views]).square().mean(0).sqrt())
        at += 3
    return frames


def pictures() -> list[Tensor]:
    """Two shots; frame ``SHARP`` is the sharpest, a frame of the second shot the blurriest."""
    first = pan(1, [5, 6, 5, 6, 5, 0, 5, 6, 5])
    assert len(first) == CUT
    return first + [frame.flip(1) for frame in pan(4, [7, 8, 7, 12, 8, 7])]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "two shots.mkv"
    with OutputFile(path) as output, ClipWriter(output, Fraction(25)) as writer:
        for picture in pictures():
            writer.write(picture)
    return path


@pytest.fixture(scope="module")
def found(clip: Path) -> Inspection:
    return api.inspect(clip, device="cpu", **QUICK)


@pytest.fixture(scope="module")
def expected() -> Survey:
    """The survey of what the clip's 8 bits hold, by itself."""
    stored = [(picture * 255).round() / 255 for picture in pictures()]
    return survey(stored, patches=QUICK["patches"] + HELD_OUT, size=64, seed=QUICK["seed"])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sound, subtitles, rotation, tagged colour, variable frame rate; too small for patches of 64."""
    return make_clip(
        tmp_path_factory.mktemp("small") / "small.mp4",
        codec="libx264",
        size=(64, 48),
        frames=6,
        time_base=Fraction(1, 1000),
        pts=[0, 40, 100, 150, 260, 300],
        audio=True,
        subtitles=True,
        chapters=True,
        rotation=90,
        colour=(1, 1, 1, 1),
    )


def rows(lines: list[str]) -> dict[str, str]:
    """Findings by name: the first column is as wide as the longest name."""
    width = lines[0].index(lines[0].split()[1])
    return {line[:width].strip(): line[width:] for line in lines}


# What is found


def test_cuts_and_sharpest_frames_are_told(found: Inspection) -> None:
    said = rows(found.lines())
    assert said["cuts"] == f"1: 0.36 s (frame {CUT})"
    assert f"(frame {SHARP}), median" in said["scores"] and "(frame 12); lower" in said["scores"]
    line = said["sharpness"].split()[0]
    assert len(line) == found.survey.frames == 15 and line[SHARP] == "█" and line[12] == "▁"
    for number in range(1, 4):
        x, y, frame, seconds, _, score, *_ = said[f"patch {number}"].split()
        patch = found.survey.patches[number - 1]
        assert (int(x), int(y), int(frame), float(seconds)) == (patch.x, patch.y, SHARP, 0.2)
        assert float(score) == pytest.approx(patch.score, abs=0.06)
    assert [name for name in said if name.startswith("held out")] == [
        "held out 1",
        "held out 2",
        "held out 3",
        "held out 4",
    ]


def test_the_camera_of_a_panned_clip_is_told(found: Inspection) -> None:
    assert found.camera is not None and found.no_camera == ""
    facts, said = found.camera.facts(), rows(found.lines())["camera"]
    assert said.startswith(f"gamma {facts['gamma']}, ")
    assert said.endswith(f"median path {facts['median_path']} pixels, {facts['pieces_explained']} pieces explained")
    # Its frames were exposed over 5 and 6 pixels; the fit knows a pixel or so.
    assert 2.5 < facts["median_path"] < 9


def test_json_agrees_with_the_survey(clip: Path, expected: Survey, capsys: pytest.CaptureFixture[str]) -> None:
    before = hashlib.sha256(clip.read_bytes()).digest()
    assert run(["inspect", str(clip), "--format", "json", *WORDS]) == 0
    out, _ = capsys.readouterr()
    facts = json.loads(out)
    assert facts["source"] == str(clip) and out.count("\n") == 1
    assert facts["cuts"] == [{"frame": CUT, "time": 0.36}] and expected.cuts == [CUT]
    assert facts["frames"] == expected.frames and facts["patch_size"] == expected.size
    assert facts["sharpness"] == pytest.approx([4 * score for score in expected.sharpness], abs=2e-3)
    assert facts["times"] == pytest.approx([frame / 25 for frame in range(15)], abs=1e-3)
    for told, patch in zip(facts["patches"], expected.patches, strict=True):
        assert [told[key] for key in ("y", "x", "frame", "blurriest_frame")] == [
            *(patch.y, patch.x, patch.frame, patch.blurriest_frame)
        ]
        assert told["score"] == pytest.approx(patch.score, abs=2e-3)
        assert told["contrast"] == pytest.approx(patch.contrast, abs=2e-3)
    assert [told["held_out"] for told in facts["patches"]] == [False] * 3 + [True] * HELD_OUT
    assert facts["camera"]["pieces_explained"] >= 4 and facts["no_camera"] is None
    assert facts["video"]["codec"] == "ffv1" and facts["video"]["rate"] == "25"
    assert hashlib.sha256(clip.read_bytes()).digest() == before and [*clip.parent.iterdir()] == [clip]


def test_streams_colour_and_times(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(small), *WORDS]) == 0
    said = rows(capsys.readouterr().out.splitlines())
    assert said["video"].startswith("h264 (") and ", 64x48, " in said["video"] and "rotated" in said["video"]
    assert said["colour"] == "matrix bt709, limited range, primaries bt709, transfer bt709"
    assert "audio aac (jpn)" in said["other streams"] and "(fra)" in said["other streams"]
    assert said["chapters"] == "2" and ", 6 frames counted" in said["length"] and said["cuts"] == "none"
    assert said["camera"] == "not found: the patches are too small to see the camera's motion"
    assert "32x32" in said and "damage" not in said
    facts = deblurcli.inspect(small, device="cpu", **QUICK).facts()
    assert facts["times"] == [0, 0.04, 0.1, 0.15, 0.26, 0.3] and facts["camera"] is None
    assert [stream["kind"] for stream in facts["streams"]] == ["audio", "subtitle"] and facts["chapters"] == 2
    json.dumps(facts)


def test_guessed_colour_is_called_guessed(found: Inspection, tmp_path: Path) -> None:
    assert rows(found.lines())["colour"].startswith("RGB")
    untagged = make_clip(tmp_path / "untagged.mkv", frames=3)
    assert "(guessed)" in rows(api.inspect(untagged, device="cpu", **QUICK).lines())["colour"]


def test_damage_is_told(tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "whole.mov", codec="png", pix_fmt="rgb24", frames=20, noise=True)
    found = api.inspect(zero_span(whole, 0.5, 3000, tmp_path / "damaged.mov"), device="cpu", **QUICK)
    said = rows(found.lines())
    assert found.facts()["decode_failures"] == found.damaged >= 1 and found.survey.frames >= 15
    assert said["damage"] == found.damage[0] and "frames did not decode; each repeats the one before" in found.damage[0]


def test_a_line_of_blocks() -> None:
    assert spark(np.array([100.0, 80.0, 90.0]), "12345678") == "185"
    assert spark(np.array([90.0, 90.0])) == BLOCKS[0] * 2, "nothing changes"
    many = spark(np.linspace(120, 80, 1000), BLOCKS)
    assert len(many) == 60 and many[0] == BLOCKS[0] and many[-1] == BLOCKS[-1] and list(many) == sorted(many)


def test_terminals_without_blocks_get_letters(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stdout)
    assert run(["inspect", str(small), "-q", *WORDS]) == 0
    line = rows(stdout.buffer.getvalue().decode("ascii").splitlines())["sharpness"].split()[0]  # type: ignore[attr-defined]
    assert len(line) == 6 and set(line) <= set(LETTERS)


def test_its_options_are_those_of_the_video_command() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    ours, theirs = ({param.name: param for param in commands[name].params} for name in ("inspect", "video"))
    fields = {f.name: f for kind in (SurveyOptions, ComputeOptions) for f in dataclasses.fields(kind)}
    shared = set(ours) & set(fields)
    assert shared == {"patches", "patch_size", "seed", "device"}
    for name in shared:
        assert ours[name].default == fields[name].default and ours[name].opts == theirs[name].opts


# What a restored version explains


@pytest.fixture(scope="module")
def restored(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clip, sharpened."""
    path = tmp_path_factory.mktemp("restored") / "restored.mkv"
    with OutputFile(path) as output, ClipWriter(output, Fraction(25)) as writer:
        for picture in pictures():
            writer.write((1.5 * picture - 0.5 * torch.nn.functional.avg_pool2d(picture, 5, 1, 2)).clamp(0, 1))
    return path


@pytest.fixture(scope="module")
def explained(clip: Path, restored: Path) -> Inspection:
    return api.inspect(clip, restored=restored, device="cpu", **QUICK)


def test_what_a_restored_version_explains_is_told(
    clip: Path, restored: Path, found: Inspection, explained: Inspection
) -> None:
    told = explained.facts()["residual"]
    measured = api.measure(restored, reblur=clip, per_frame=True)
    assert told["restored"] == pytest.approx(measured["reblur"], abs=1e-3)
    assert [told[name] for name in ("tau", "gamma")] == [measured[name] for name in ("tau", "gamma")]
    moving = {number: row["reblur"] for number, row in enumerate(measured["per_frame"]) if "reblur" in row}
    assert {row["frame"]: row["restored"] for row in told["frames"]} == pytest.approx(moving)
    # Neither the ends of the video nor those of its shots.
    assert moving and not {0, CUT - 1, CUT, 14} & set(moving)
    assert f"{told['restored']:.2f} dB" in rows(explained.lines())["residual"]
    json.dumps(explained.facts())
    # The blurriest crops, as they are and as the restored version has them.
    scores, patch = explained.facts()["restored"], explained.support[0]
    assert len(scores) == len(explained.support) and all(each["restored"] < each["input"] for each in scores)
    frame = list(VideoFootage(restored).pictures())[patch.blurriest_frame]
    side = explained.survey.size
    assert torch.allclose(
        explained.restored[0], frame[:, patch.y : patch.y + side, patch.x : patch.x + side], atol=0.01
    )
    assert f"restored {np.mean([each['restored'] for each in scores]):.1f} dB" in rows(explained.lines())["restored"]
    assert "restored" not in found.facts() and "restored" not in rows(found.lines())
    assert "residual" not in found.facts() and "residual" not in rows(found.lines())


@matplotlib
def test_the_picture_shows_what_is_missed(found: Inspection, explained: Inspection, tmp_path: Path) -> None:
    write_image(tmp_path / "more.png", drawn(explained))
    write_image(tmp_path / "less.png", drawn(found))
    more, less = reds(tmp_path / "more.png"), reds(tmp_path / "less.png")
    assert more[1] == less[1] and more[0] > less[0] + 300


def test_a_restored_version_that_does_not_fit_is_refused(
    clip: Path, small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for restored, code, said in (
        (small, 4, "compare pictures of equal size"),
        (tmp_path / "gone.mkv", 4, "does not exist"),
        (tmp_path, 4, "is a folder"),
        ("", 2, "--restored is empty"),
    ):
        assert run(["inspect", str(clip), "--restored", str(restored), *WORDS]) == code
        printed, err = capsys.readouterr()
        if said != "is a folder":
            assert said in err
        assert printed == "" and err.startswith("deblur: ") and err.count("\n") == 1


# What a translator makes of it


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A translator that changes nothing."""
    path = tmp_path_factory.mktemp("weights") / "mycamera.safetensors"
    module, config = new_generator(RECIPES["ours"], 1, width=8, blocks=1)
    save_network(path, module, network=TRANSLATOR, config=config, card={})
    return path


def test_what_a_translator_makes_of_the_blurriest_patches_is_told(
    clip: Path, found: Inspection, translator: Path, tmp_path: Path
) -> None:
    """Behind one that changes nothing, the default network of images makes them sharper."""
    inspection = api.inspect(clip, translator=translator, device="cpu", **QUICK)
    told = inspection.facts()["translation"]
    assert told["translator"] == "mycamera" and len(told["patches"]) == QUICK["patches"]
    for scores, patch in zip(told["patches"], found.survey.patches, strict=False):
        assert scores["input"] == scores["translated"] == pytest.approx(patch.blurriest_score, abs=0.01)
        assert scores["restored"] < scores["input"]
    mean = sum(scores["input"] for scores in told["patches"]) / QUICK["patches"]
    line = f"mycamera: blurriest patches, input {mean:.1f} dB, translated {mean:.1f} dB, restored "
    assert rows(inspection.lines())["translator"].startswith(line)
    assert "translation" not in found.facts() and "translator" not in rows(found.lines())


@matplotlib
def test_the_picture_shows_input_translated_and_restored(clip: Path, translator: Path, tmp_path: Path) -> None:
    sizes = []
    for name, more in (("plain", {}), ("more", {"translator": translator})):
        api.inspect(clip, tmp_path / f"{name}.png", device="cpu", **QUICK, **more)
        sizes.append(cv2.imread(str(tmp_path / f"{name}.png")).shape)
    (plain, _, _), (more, _, _) = sizes
    assert more - plain == pytest.approx(3 * 1.95 * 165, abs=3), "three rows"


def test_a_translator_that_is_none_is_refused(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for translator, code, said in (
        ("plain-unet", 6, "a translate network is needed here"),
        (str(tmp_path / "gone.safetensors"), 6, "gone.safetensors"),
        ("", 2, "--translator is empty"),
    ):
        assert run(["inspect", str(clip), "--translator", translator, *WORDS]) == code
        printed, err = capsys.readouterr()
        assert said in err and printed == "" and err.startswith("deblur: ") and err.count("\n") == 1


# The picture


def reds(path: Path) -> tuple[int, int, float]:
    """Height, width, and the share of the picture that is clearly red, as the clip is and the curve is not."""
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(int)
    assert picture.ndim == 3 and picture.shape[2] == 3
    blue, green, red = picture[..., 0], picture[..., 1], picture[..., 2]
    return *picture.shape[:2], float(((red > 1.5 * green + 20) & (red > 1.5 * blue + 20)).mean())


@matplotlib
def test_the_picture_shows_the_crops(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "what $found$.png"
    assert run(["inspect", str(clip), "-o", str(path), *WORDS]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == str(path) and "deblur:" not in err
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n") and [*tmp_path.iterdir()] == [path]
    height, width, red = reds(path)
    # A curve, and three rows of three crops.
    assert 700 < width < 3000 and 700 < height < 3000 and red > 0.15


@matplotlib
def test_the_picture_without_a_camera_has_a_row_less(found: Inspection, tmp_path: Path) -> None:
    none = dataclasses.replace(found, camera=None, no_camera="nothing moves")
    write_image(tmp_path / "with.png", drawn(found))
    write_image(tmp_path / "without.png", drawn(none))
    (height, width, red), (less, same, fewer) = reds(tmp_path / "with.png"), reds(tmp_path / "without.png")
    assert same == width and less < height - 100 and fewer * less * same < 0.9 * red * height * width


@matplotlib
def test_one_frame_is_enough(tmp_path: Path) -> None:
    with OutputFile(tmp_path / "one.mkv") as output, ClipWriter(output, Fraction(25)) as writer:
        writer.write(pictures()[0])
    found = api.inspect(tmp_path / "one.mkv", tmp_path / "one.png", device="cpu", **QUICK)
    assert found.survey.frames == 1 and cv2.imread(str(tmp_path / "one.png")) is not None
    assert dict(rows(found.lines()))["camera"] == "not found: one frame shows no motion"
    assert len(rows(found.lines())["sharpness"].split()[0]) == 1


@matplotlib
def test_pictures_that_exist_are_kept_or_replaced(small: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.png"
    path.write_text("mine")
    words = ["inspect", str(small), "-q", "-o", str(path), *WORDS]
    assert run(words) == 2 and path.read_text() == "mine"
    assert run([*words, "--overwrite"]) == 0 and cv2.imread(str(path)) is not None


def test_bad_inputs_and_outputs_leave_no_file(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        pytest.skip("needs matplotlib")
    (tmp_path / "text.mp4").write_text("this is not a video\n" * 20)
    out = str(tmp_path / "out.png")
    for words, code, said in (
        ([str(tmp_path / "text.mp4"), "-o", out], 4, "not a video"),
        ([str(tmp_path / "gone.mp4"), "-o", out], 4, "does not exist"),
        ([str(tmp_path), "-o", out], 4, "is a folder"),
        ([str(small), "-o", str(tmp_path / "out.jpg")], 2, "let it end in .png"),
        ([str(small), "-o", str(tmp_path / "no" / "out.png")], 5, "does not exist"),
        ([str(small), "-o", ""], 2, "empty"),
        (["", "-o", out], 2, "empty"),
        ([str(small), "--patches", "0"], 2, "--patches 0"),
        ([str(small), "--format", "xml"], 2, "--format xml is unknown"),
        ([str(small), "--device", "cuda:99"], 8, "not present"),
    ):
        assert run(["inspect", *words]) == code, words
        printed, err = capsys.readouterr()
        assert printed == "" and err.startswith("deblur: ") and err.count("\n") == 1 and said in err, words
    assert [path.name for path in tmp_path.iterdir()] == ["text.mp4"]


def test_without_matplotlib_the_cure_comes_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "matplotlib" else real(name, *more)
    )
    monkeypatch.setattr("deblurcli.jobs.inspect.open_video", None)
    assert run(["inspect", "in.mp4", "-o", str(tmp_path / "report.png")]) == 2
    cure = "deblur: drawing report.png needs matplotlib; run: pip install 'deblurcli[plot]'\n"
    assert capsys.readouterr() == ("", cure) and not [*tmp_path.iterdir()]
