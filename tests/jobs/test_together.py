"""--adapt-together: one adaptation to several videos, with which each is restored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from clips import read_planes
from end_to_end import QUICK, SMALL, deblur, write_video
from small_networks import randomised
from torch import Tensor

from deblurcli import api, methods
from deblurcli.errors import InputError, UsageError
from deblurcli.networks import NETWORKS
from deblurcli.options.compute import ComputeOptions
from deblurcli.restore.worker import Worker
from deblurcli.synth.pairs import shaken
from deblurcli.weights.load import load_network
from deblurcli.weights.save import save_network

META = ["--method", "meta", *QUICK, "--steps", "4", "--rate", "1e-3", "--guard", "off"]
TTA = ["--method", "tta", "--steps", "2", "--rate", "3e-5", "--tta-frames", "4", "--tile", "off"]


def shaken_frames(seed: int, side: int = 192, frames: int = 7) -> list[Tensor]:
    """Soft shapes shaken by hand, 64 pixels smaller."""
    coarse = torch.rand(1, 3, side // 10, side // 9, generator=torch.Generator().manual_seed(seed))
    picture = torch.nn.functional.interpolate(coarse, size=(side, side + 32), mode="bicubic")[0].clamp(0, 1)
    return [blurred for blurred, _ in shaken(picture, frames, 25, 8, seed, 3.5, 0.0)]


@pytest.fixture
def videos(tmp_path: Path) -> list[Path]:
    """Two videos of different size and length."""
    (tmp_path / "in").mkdir()
    one = write_video(tmp_path / "in" / "a.mkv", shaken_frames(0))
    return [one, write_video(tmp_path / "in" / "b.mkv", shaken_frames(1, 176, 9))]


@pytest.fixture
def quick(tmp_path: Path) -> list[str]:
    """Words for a network that changes every picture and restores it in no time, and for exact frames."""
    path, network = tmp_path / "tiny.safetensors", randomised(NETWORKS["plain-unet"].build(**SMALL), 1, 0.3)
    save_network(path, network, network="plain-unet", config=SMALL, card={})
    return ["--codec", "ffv1", "--dtype", "fp32", "--network", str(path)]


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The names of the videos that a method is prepared for, each time it is."""
    calls: list[list[str]] = []
    for name in ("meta", "tta"):
        module = __import__(f"deblurcli.methods.{name}", fromlist=["prepare"])

        def noted(network: Any, footages: Any, *rest: Any, works: Any = module.prepare) -> Any:
            calls.append([footage.name for footage in footages])
            return works(network, footages, *rest)

        monkeypatch.setattr(module, "prepare", noted)
    return calls


def records(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    """The record of each file that was restored with ``--log json``, by its name."""
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    return {Path(line["source"]).name: line for line in lines if line["type"] == "summary"}


@pytest.mark.parametrize("method", [META, TTA], ids=["meta", "tta"])
def test_all_are_restored_with_one_adaptation_to_all(
    method: list[str],
    videos: list[Path],
    tmp_path: Path,
    quick: list[str],
    prepared: list[list[str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is saved restores both as they were; an adaptation to one of them alone is another."""
    saved, words = tmp_path / "both.safetensors", [*method, *quick]
    out = tmp_path / "out"
    code = deblur(
        "video", *videos, "-o", f"{out}/", "--adapt-together", "--save-adapted", saved, *words, "--log", "json"
    )
    found = records(capsys)
    assert code == 0 and prepared == [["a.mkv", "b.mkv"]]
    assert sorted(path.name for path in out.iterdir()) == ["a.mkv", "b.mkv"] == sorted(found)
    for record in found.values():
        (adaptation,) = record["adaptations"]
        assert adaptation["kept"] and adaptation["videos"] == ["a.mkv", "b.mkv"] and record["differences"] == []
    plain = ["--method", "none", *quick, "--network", saved, "--tile", "off"]
    assert deblur("video", *videos, "-o", f"{tmp_path / 'again'}/", *plain, "-q") == 0
    for name in ("a.mkv", "b.mkv"):
        assert read_planes(out / name) == read_planes(tmp_path / "again" / name)
    assert deblur("video", videos[0], "-o", tmp_path / "alone.mkv", *words, "-q") == 0
    assert read_planes(tmp_path / "alone.mkv") != read_planes(out / "a.mkv")
    assert load_network(saved, role="deblur").card["adapted_to"] == "a.mkv, b.mkv"


def test_one_that_cannot_be_read_is_named_and_left_out(
    videos: list[Path], tmp_path: Path, quick: list[str], prepared: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """It comes first, so that another's job must adapt."""
    bad = tmp_path / "in" / "0.mkv"
    bad.write_bytes(b"no video")
    words = ["--adapt-together", *META, "--patches", "3", *quick]
    assert deblur("video", tmp_path / "in", "-o", f"{tmp_path / 'out'}/", *words) == 3
    said = capsys.readouterr().err
    assert prepared == [["a.mkv", "b.mkv"]] and "not adapted to: 0.mkv is text or not a video; " in said
    assert "of 3 files 1 failed" in said and "adapting to 3 videos together" in said
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.mkv", "b.mkv"]
    assert deblur("video", *videos, "-o", f"{tmp_path / 'two'}/", *words, "-q") == 0
    for name in ("a.mkv", "b.mkv"):
        assert read_planes(tmp_path / "out" / name) == read_planes(tmp_path / "two" / name)


def test_what_exists_is_neither_restored_nor_adapted_to(
    videos: list[Path], tmp_path: Path, quick: list[str], prepared: list[list[str]]
) -> None:
    third = write_video(tmp_path / "in" / "c.mkv", shaken_frames(2))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b.mkv").write_bytes(b"mine")
    words = ["-o", tmp_path / "out", "--adapt-together", "--skip-existing", *META, *quick, "-q"]
    assert deblur("video", *videos, third, *words) == 0
    assert prepared == [["a.mkv", "c.mkv"]] and (tmp_path / "out" / "b.mkv").read_bytes() == b"mine"
    assert deblur("video", *videos, third, *words) == 0 and len(prepared) == 1


def test_one_name_in_two_folders_is_told_apart(
    tmp_path: Path, quick: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("x", "y"):
        (tmp_path / "in" / folder).mkdir(parents=True)
        write_video(tmp_path / "in" / folder / "a.mkv", shaken_frames(len(folder)))
    words = ["--recursive", "--adapt-together", *META, *quick, "--log", "json"]
    assert deblur("video", tmp_path / "in", "-o", f"{tmp_path / 'out'}/", *words) == 0
    (adaptation,) = records(capsys)["a.mkv"]["adaptations"]
    assert adaptation["videos"] == [str(tmp_path / "in" / folder / "a.mkv") for folder in ("x", "y")]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--method", "none"], "--adapt-together with --method none; give --method meta or tta"),
        (["--adapt-per", "shot"], "--adapt-together with --adapt-per shot; give --adapt-per video"),
        (
            ["--method", "tta", "--adapt-per", "frame"],
            "--adapt-together with --adapt-per frame; give --adapt-per video",
        ),
        (["--patches", "1"], "--adapt-together with 2 videos, which would share --patches 1; give --patches 2 or more"),
        (["--method", "tta", "--tta-frames", "1"], "share --tta-frames 1; give --tta-frames 2 or more"),
        (["--save-adapted", "a.mp4"], "a.mp4 is not a name of weights"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(
    words: list[str], said: str, videos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert deblur("video", *videos, "-o", f"{tmp_path / 'out'}/", "--adapt-together", *words) == 2
    assert said in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*"))


def test_weights_that_exist_are_not_replaced(
    videos: list[Path], tmp_path: Path, quick: list[str], prepared: list[list[str]]
) -> None:
    saved = tmp_path / "there.safetensors"
    saved.write_bytes(b"mine")
    words = ["--adapt-together", "--save-adapted", saved, *META, *quick, "-q"]
    assert deblur("video", *videos, "-o", f"{tmp_path / 'out'}/", *words) == 2
    assert saved.read_bytes() == b"mine" and prepared == []
    assert deblur("video", *videos, "-o", f"{tmp_path / 'out'}/", *words, "--overwrite") == 0
    assert saved.read_bytes() != b"mine" and len(prepared) == 1


def test_an_adaptation_that_is_undone_is_for_all(
    videos: list[Path], tmp_path: Path, quick: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--adapt-together", *META[:-4], "--rate", "0.9", *quick]
    assert deblur("video", *videos, "-o", f"{tmp_path / 'out'}/", *words, "--log", "json") == 0
    assert [record["adaptations"][0]["kept"] for record in records(capsys).values()] == [False, False]
    plain = ["--method", "none", "--tile", "off", *quick, "-q"]
    assert deblur("video", *videos, "-o", f"{tmp_path / 'plain'}/", *plain) == 0
    for name in ("a.mkv", "b.mkv"):
        assert read_planes(tmp_path / "out" / name) == read_planes(tmp_path / "plain" / name)


def test_python_callers_name_the_others(
    videos: list[Path], tmp_path: Path, quick: list[str], prepared: list[list[str]]
) -> None:
    """With one worker there is one adaptation, in whatever order the videos are named; another group is another."""
    worker = Worker(ComputeOptions(device="cpu", dtype="fp32", tile="off"))
    options: dict[str, Any] = {"patches": 2, "patch_size": 64, "steps": 4, "rate": 1e-3, "guard": "off"}
    options |= {"codec": "ffv1", "network": quick[-1], "worker": worker}
    one = api.deblur_video(videos[0], tmp_path / "a.mkv", adapt_together=[videos[1]], **options)
    two = api.deblur_video(videos[1], tmp_path / "b.mkv", adapt_together=[str(video) for video in videos], **options)
    assert prepared == [["a.mkv", "b.mkv"]]
    assert one.facts["adaptations"] == two.facts["adaptations"] and "2 videos together" in " ".join(two.lines)
    write_video(videos[1], shaken_frames(5))
    api.deblur_video(videos[0], tmp_path / "c.mkv", adapt_together=[videos[1]], **options)
    assert len(prepared) == 2 and read_planes(tmp_path / "a.mkv") != read_planes(tmp_path / "c.mkv")
    with pytest.raises(UsageError, match="--adapt-together with --method none"):
        api.deblur_video(videos[0], tmp_path / "d.mkv", method="none", adapt_together=[videos[1]])
    with pytest.raises(UsageError, match="is an input"):
        api.deblur_video(videos[0], videos[1], adapt_together=[videos[1]], overwrite=True, **options)


def test_methods_prepare_for_what_can_be_read(videos: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        api.deblur_video(tmp_path / "gone.mkv", tmp_path / "o.mkv", adapt_together=[videos[0]])
    sharing = [name for name, entry in methods.METHODS.items() if entry.shared]
    assert sharing == ["meta", "tta", "reblur2deblur", "blur2blur"]
