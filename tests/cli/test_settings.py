"""`deblur.toml` and the environment: what counts, what is refused, and that it is said."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import av
import pytest
import torch
import typer
from end_to_end import deblur, small_network, write_video

from deblurcli.cli.app import app
from deblurcli.cli.settings import settings, user_file
from deblurcli.errors import UsageError

ROOT: Any = typer.main.get_command(app)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder and a user's folder for settings without any."""
    for name in os.environ:
        if name.startswith("DEBLUR_") and name not in ("DEBLUR_PARITY", "DEBLUR_CACHE"):
            monkeypatch.delenv(name)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    return tmp_path


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def values(environment: dict[str, str], *words: str) -> dict[str, Any]:
    return {name: setting.value for name, setting in settings(ROOT, os.environ | environment)[words].items()}


def test_nothing_is_set() -> None:
    assert not any(settings(ROOT, os.environ).values())


def test_what_counts(folder: Path) -> None:
    own = user_file(os.environ)
    assert own == folder / "user" / "deblur" / "deblur.toml"
    written(own, 'device = "cpu"\n[video]\ncrf = 30\npreset = "slow"\ncodec = "libx264"\ntile = "off"\n')
    written(Path("deblur.toml"), "[video]\ncrf = 20\npreset = 'fast'\ncodec = 'libx265'\n")
    environment = {"DEBLUR_PRESET": "medium", "DEBLUR_CODEC": "a", "DEBLUR_VIDEO_CODEC": "b", "DEBLUR_VIDEO_CRF": ""}
    assert values(environment, "video") == {
        **{"device": "cpu", "tile": "off"},  # the user's
        "crf": 20,  # the folder's
        "preset": "medium",  # of every command
        "codec": "b",  # of this one
    }
    assert values(environment, "image") == {"device": "cpu"}
    assert values({"DEBLUR_TRAIN_META_RATE": "1"}, "train", "meta") == {"device": "cpu", "rate": "1"}


def test_another_file_or_none(folder: Path) -> None:
    written(Path("deblur.toml"), "[video]\ncrf = 20\n")
    other = written(folder / "other.toml", "[image]\ntta-steps = 5\n")
    assert values({"DEBLUR_CONFIG": str(other)}, "video") == {}
    assert values({"DEBLUR_CONFIG": str(other)}, "image") == {"tta_steps": 5}
    assert values({"DEBLUR_CONFIG": ""}, "video") == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[video\n", "deblur.toml is not TOML: "),
        ("[vidio]\ncrf = 1\n", "deblur.toml: [vidio] is no command"),
        ("[video]\ncrff = 1\n", "deblur.toml: crff is no option of deblur video"),
        ("crff = 1\n", "deblur.toml: crff is an option of no command"),
        ("[train]\nrate = 1\n", "deblur.toml: [train] is several commands"),
        ("[video.meta]\nsteps = 1\n", "deblur.toml: [video.meta] is no command"),
    ],
)
def test_files_that_are_refused(text: str, found: str, capsys: pytest.CaptureFixture[str]) -> None:
    written(Path("deblur.toml"), text)
    with pytest.raises(UsageError):
        settings(ROOT, os.environ)
    assert deblur("doctor") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert found in line and "; " in line
    assert deblur("video", "--help") == 0  # help helps whatever the file has


@pytest.mark.parametrize(
    ("variable", "command"),
    [("DEBLUR_VIDEO_CFR", "video"), ("DEBLUR_TRAIN_META_RAT", "train meta"), ("DEBLUR_WEIGHTS_LIST_X", "weights list")],
)
def test_misspelt_variables_are_refused(
    variable: str, command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "3")
    assert deblur("doctor") == 2
    said = capsys.readouterr().err
    assert f"{variable} names no option of deblur {command}; see deblur {command} --help, or unset it" in said
    assert deblur(*command.split(), "--help") == 0
    monkeypatch.setenv(variable, "")  # not set
    monkeypatch.setenv("DEBLUR_OF_ANOTHER_PROGRAM", "3")
    monkeypatch.setenv("DEBLUR_TTA_FRAMES", "3")
    assert deblur("doctor") == 0


def test_files_that_cannot_be_read(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    Path("deblur.toml").write_bytes(b"\xff\xfe")
    assert deblur("doctor") == 2 and "deblur.toml cannot be read: it is not UTF-8" in capsys.readouterr().err
    monkeypatch.setenv("DEBLUR_CONFIG", "none.toml")
    assert deblur("doctor") == 2 and "none.toml cannot be read: " in capsys.readouterr().err
    monkeypatch.setenv("DEBLUR_CONFIG", "")
    assert deblur("doctor") == 0


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("crf = 'high'", "deblur.toml: crf is 'high'; give N"),
        ("crf = true", "deblur.toml: crf is True; give N"),
        ("overwrite = 'perhaps'", "deblur.toml: overwrite is 'perhaps'; give true or false"),
        ("tta-frames = 1.5\nmethod = 'tta'", "deblur.toml: tta-frames is 1.5; give N"),
    ],
)
def test_values_that_are_refused(text: str, found: str, capsys: pytest.CaptureFixture[str]) -> None:
    written(Path("deblur.toml"), f"[video]\n{text}\n")
    assert deblur("video", "in.mp4", "-o", "out.mp4") == 2
    assert found in capsys.readouterr().err


@pytest.fixture
def clip(folder: Path) -> Path:
    small_network(folder / "a.safetensors")
    return write_video(folder / "in.mkv", [torch.full((3, 48, 64), 0.5)] * 3)


def test_they_are_used_and_said(
    folder: Path, clip: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"[video]\nmethod = 'none'\nnetwork = '{folder}/a.safetensors'\npatches = 4\noverwrite = true\n"
    written(Path("deblur.toml"), text)
    monkeypatch.setenv("DEBLUR_VIDEO_CODEC", "ffv1")
    assert deblur("video", clip, "-o", "out.mkv") == 0
    said = capsys.readouterr().err
    # The meta method's patches wait for it.
    assert "set by deblur.toml: method, network, overwrite\n" in said
    assert "set by DEBLUR_VIDEO_CODEC: codec\n" in said
    with av.open("out.mkv") as written_video:
        assert written_video.streams.video[0].codec_context.name == "ffv1"
    assert deblur("video", clip, "-o", "out.mkv") == 0  # overwritten
    assert deblur("video", clip, "-o", "out.mkv", "--codec", "libx264rgb", "--crf", "0", "-q") == 0
    assert capsys.readouterr().err.count("set by DEBLUR") == 1  # the command line counts more, and -q is quiet


def test_switches_of_the_environment(clip: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["video", clip, "-o", "out.mkv", "--method", "none", "--network", folder / "a.safetensors"]
    assert deblur(*words) == 0 and deblur(*words) == 2
    for value, code in (("yes", 0), ("0", 2), ("TRUE", 0), ("perhaps", 2)):
        monkeypatch.setenv("DEBLUR_OVERWRITE", value)
        assert deblur(*words) == code, value
