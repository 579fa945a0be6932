"""The residual of files: `deblur metrics --reblur` and `deblur video --save-residual`."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from clips import make_clip, read_planes
from end_to_end import write_video
from moving import frames

from deblurcli import api
from deblurcli.cli.app import run
from deblurcli.errors import DeblurError
from deblurcli.media.images import read_image
from deblurcli.methods import METHODS
from deblurcli.reports.residual_map import COLOURS, UNKNOWN, coloured

TRUE = {"tau": 0.3, "reblur_gamma": 2.2}
WORDS = ["--tau", "0.3", "--reblur-gamma", "2.2"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """in/, sharp/ and half/, each with the clips a.mkv and b.mkv; b stands still for its first three frames."""
    folder = tmp_path_factory.mktemp("clips")
    for name, seed in (("a", 1), ("b", 2)):
        blurred, sharp = frames((6,) * 7, 0.6, 2.2, 0.0, seed)
        if name == "b":
            blurred, sharp = [blurred[0]] * 3 + blurred[:4], [blurred[0]] * 3 + sharp[:4]
        half = [(one + other) / 2 for one, other in zip(blurred, sharp, strict=True)]
        for of, pictures in (("in", blurred), ("sharp", sharp), ("half", half)):
            (folder / of).mkdir(exist_ok=True)
            write_video(folder / of / f"{name}.mkv", pictures)
    return folder


# deblur metrics --reblur


def test_the_truth_explains_the_input_better(clips: Path) -> None:
    source = clips / "in" / "a.mkv"
    found = [api.measure(clips / of / "a.mkv", reblur=source, **TRUE) for of in ("in", "half", "sharp")]
    explained = [scores["reblur"] for scores in found]
    assert explained == sorted(explained) and explained[2] > explained[0] + 10
    # What the input itself reaches is told with each, and is the same.
    assert {scores["reblur_input"] for scores in found} == {explained[0]}
    assert all(scores["tau"] == 0.3 and scores["gamma"] == 2.2 and scores["moving"] == 1 for scores in found)


def test_the_exposure_is_found_where_it_is_not_given(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = api.measure(clips / "sharp" / "a.mkv", reblur=clips / "in" / "a.mkv")
    assert (found["tau"], found["gamma"]) == (0.3, 2.2)
    assert found["reblur"] == api.measure(clips / "sharp" / "a.mkv", reblur=clips / "in" / "a.mkv", **TRUE)["reblur"]
    assert run(["metrics", str(clips / "in" / "a.mkv"), "--reblur", str(clips / "in" / "a.mkv")]) == 0
    out, err = capsys.readouterr()
    assert "0.000" in out and "inf" in out
    assert "without any blur" in err and "--tau" in err


def test_frames_that_stand_still_have_no_score(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(clips / "sharp" / "b.mkv"), "--reblur", str(clips / "in" / "b.mkv"), *WORDS]
    assert run(["metrics", *arguments, "--format", "csv", "--per-frame", "-q"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [bool(row["reblur"]) for row in rows] == [False, False, False, True, True, True, False]
    found = api.measure(arguments[0], reblur=arguments[2], **TRUE)
    assert found["moving"] == pytest.approx(3 / 5)
    assert found["reblur"] == pytest.approx(np.mean([float(row["reblur"]) for row in rows if row["reblur"]]))


def test_a_video_without_motion_has_no_score(tmp_path: Path) -> None:
    still = [torch.rand(3, 64, 80, generator=torch.Generator().manual_seed(3))] * 3
    source = write_video(tmp_path / "in.mkv", still)
    found = api.measure(source, reblur=source)
    assert found["moving"] == 0 and not {"reblur", "reblur_input", "tau", "gamma"} & set(found)


def test_with_a_reference_and_in_folders_by_name(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["metrics", *(str(clips / of) for of in ("half", "sharp")), "--reblur", str(clips / "in"), *WORDS]
    assert run([*words, "--format", "json", "-q"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [item["name"] for item in found["items"]] == ["a.mkv", "b.mkv"]
    alone = api.measure(clips / "half" / "a.mkv", clips / "sharp" / "a.mkv", reblur=clips / "in" / "a.mkv", **TRUE)
    assert found["items"][0] == {"name": "a.mkv", **alone} and {"psnr", "reblur", "flicker"} <= set(alone)
    assert run([*words, "-q"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert "reblur dB" in header and "input dB" in header and "moving" in header and len(rows) == 3


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["sharp/a.mkv", "--reblur", "gone.mkv"], 4),
        (["sharp/a.mkv", "--reblur", ""], 2),
        (["sharp/a.mkv", "--reblur", "in"], 4),
        (["sharp", "--reblur", "in/a.mkv"], 4),
        (["sharp/a.mkv", "--reblur", "short.mkv"], 4),
        (["sharp/a.mkv", "--reblur", "small.mkv"], 4),
        (["photo.png", "--reblur", "in/a.mkv"], 4),
        (["sharp/a.mkv", "--reblur", "photo.png"], 4),
        (["sharp/a.mkv", "--tau", "0.5"], 2),
        (["sharp/a.mkv", "--reblur", "in/a.mkv", "--tau", "0"], 2),
        (["sharp/a.mkv", "--reblur", "in/a.mkv", "--tau", "nan"], 2),
        (["sharp/a.mkv", "--reblur", "in/a.mkv", "--reblur-gamma", "2.2"], 2),
        (["sharp/a.mkv", "--reblur", "in/a.mkv", "--tau", "0.3", "--reblur-gamma", "0.5"], 2),
    ],
)
def test_what_is_refused(
    clips: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
) -> None:
    monkeypatch.chdir(clips)
    if not Path("short.mkv").exists():
        write_video(Path("short.mkv"), frames((6,) * 5, 0.6, 2.2, 0.0)[0])
        make_clip(Path("small.mkv"), frames=6)
        cv2.imwrite("photo.png", np.zeros((160, 160, 3), np.uint8))
    assert run(["metrics", *arguments]) == code
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("deblur: ") and "; " in err and err.count("\n") == 1


# deblur video --save-residual

RESTORING = {"method": "none", "codec": "ffv1", "dtype": "fp32"}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A piece of the blurred frames: 4 of 80 x 96."""
    blurred, _ = frames((6,) * 5, 0.6, 2.2, 0.0)
    return write_video(tmp_path_factory.mktemp("small") / "in.mkv", [frame[:, :80, :96] for frame in blurred])


def test_the_map_of_a_restored_video_is_drawn_and_told(small: Path, tmp_path: Path) -> None:
    source, picture = small, tmp_path / "map.png"
    result = api.deblur_video(source, tmp_path / "out.mkv", save_residual=picture, **RESTORING)
    facts = result.facts["residual"]
    assert read_image(picture).samples.shape == (80, 96, 3)
    assert facts["moving"] == 1 and 0 < facts["tau"] <= 0.7
    [line] = [line for line in result.lines if line.startswith("residual: ")]
    assert f"{facts['restored']:.2f} dB" in line and f"{facts['input']:.2f} dB" in line
    json.dumps(result.facts)
    # What is measured while restoring is what is measured of the file, but for its rounding to 8 bits.
    exposure = {"tau": facts["tau"], "reblur_gamma": facts["gamma"]}
    again = api.measure(tmp_path / "out.mkv", reblur=source, **exposure)
    assert again["reblur"] == pytest.approx(facts["restored"], abs=0.05)
    assert again["reblur_input"] == pytest.approx(facts["input"], abs=1e-3)


def test_the_frames_are_the_same_and_nothing_is_told_without_it(small: Path, tmp_path: Path) -> None:
    source = small
    with_map = api.deblur_video(source, tmp_path / "a.mkv", save_residual=tmp_path / "map.png", **RESTORING)
    without = api.deblur_video(source, tmp_path / "b.mkv", **RESTORING)
    assert read_planes(tmp_path / "a.mkv") == read_planes(tmp_path / "b.mkv")
    assert "residual" in with_map.facts and "residual" not in without.facts
    assert not any("residual" in line for line in without.lines)


def test_every_method_has_it(small: Path, tmp_path: Path) -> None:
    """The exposure is the video's, whatever restores it, and with it what the input itself explains."""
    told = []
    for method in METHODS:
        options = RESTORING | {"method": method} | ({} if method == "none" else {"steps": 1})
        picture = tmp_path / f"{method}.png"
        facts = api.deblur_video(small, tmp_path / f"{method}.mkv", save_residual=picture, **options).facts["residual"]
        told.append([facts[name] for name in ("tau", "gamma", "input", "moving")])
        assert picture.exists() and told[-1] == told[0] and facts["restored"] is not None


def test_a_video_without_motion_has_nothing_to_explain(tmp_path: Path) -> None:
    still = [torch.rand(3, 64, 80, generator=torch.Generator().manual_seed(3))] * 4
    source = write_video(tmp_path / "in.mkv", still)
    result = api.deblur_video(source, tmp_path / "out.mkv", save_residual=tmp_path / "map.png", **RESTORING)
    assert result.facts["residual"]["restored"] is None and "no frame moves" in " ".join(result.lines)
    assert (read_image(tmp_path / "map.png").samples == UNKNOWN).all()


@pytest.mark.parametrize(
    ("name", "code"),
    [("map.jpg", 2), ("exists.png", 2), ("nowhere/map.png", 5), ("in.mkv", 2), ("folder.png", 5)],
)
def test_a_map_that_cannot_be_written_is_known_before_any_work(
    small: Path, tmp_path: Path, name: str, code: int
) -> None:
    (tmp_path / "exists.png").touch()
    (tmp_path / "folder.png").mkdir()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DeblurError) as raised:
        api.deblur_video(small, tmp_path / "out.mkv", save_residual=tmp_path / name, method="none")
    assert raised.value.code == code and "; " in str(raised.value)
    assert sorted(tmp_path.iterdir()) == before


def test_one_map_for_several_videos_is_refused(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["video", str(clips / "in"), "-o", f"{tmp_path}/out/", "--save-residual", str(tmp_path / "map.png")]
    assert run(words) == 2
    assert "--save-residual with several videos; give one video" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_without_the_video_there_is_no_map(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("deblurcli.media.writer.VideoWriter.write", fail)
    with pytest.raises((DeblurError, OSError)):
        api.deblur_video(small, tmp_path / "out.mkv", save_residual=tmp_path / "map.png", **RESTORING)
    assert list(tmp_path.iterdir()) == []


# The picture


def test_the_colours_are_those_of_the_scale() -> None:
    values = torch.tensor([[*COLOURS, 100.0, float("nan"), 2.0]])
    samples = coloured(values).samples[0]
    assert [tuple(colour) for colour in samples[:5]] == list(COLOURS.values())
    assert tuple(samples[5]) == COLOURS[32.0] and tuple(samples[6]) == UNKNOWN
    assert tuple(samples[7]) == (20, 10, 65)
    brightness = coloured(torch.linspace(0, 32, 65)[None]).samples[0].astype(float) @ [0.299, 0.587, 0.114]
    assert (np.diff(brightness) > 0).all()
