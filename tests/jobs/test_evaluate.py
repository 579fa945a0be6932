"""`deblur evaluate`: every video under every network and method, each paper's way of measuring, and going on."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from end_to_end import deblur, small_network, write_video
from trees import make_dataset

from deblurcli import api, load
from deblurcli.datasets.read import clips
from deblurcli.errors import InputError, UsageError
from deblurcli.jobs import evaluate as job
from deblurcli.media.footage import unit
from deblurcli.metrics.conventions import CONVENTIONS
from deblurcli.metrics.fidelity import psnr, ssim
from deblurcli.metrics.registration import aligned_fidelity
from deblurcli.options.evaluate import CONVENTION_NAMES
from deblurcli.reports.published import PUBLISHED

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset ``data/`` of the GoPro layout, and ``w.safetensors`` that makes pictures a little brighter."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEBLUR_CACHE", str(tmp_path / "cache"))
    make_dataset(tmp_path / "data", "gopro", (64, 72))
    small_network(tmp_path / "w.safetensors", 0.02)
    return tmp_path


def evaluated(**options: Any) -> dict[str, Any]:
    chosen = {"layout": "gopro", "network": "w.safetensors", "device": "cpu"} | options
    return api.evaluate("data", "out", chosen.pop("layout"), **chosen)


def restored_pairs(
    layout: str = "gopro", limit: int | None = None
) -> dict[str, list[tuple[torch.Tensor, torch.Tensor]]]:
    """What the network makes of each frame through another door, and the sharp one."""
    network = load("w.safetensors", device="cpu")
    return {
        clip.name: [(network(unit(blurred)), unit(sharp)) for blurred, sharp in clip.frames(limit)]
        for clip in clips(Path("data"), layout)
    }


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def test_videos_and_their_means_are_measured(work: Path) -> None:
    found = evaluated()
    frames = restored_pairs()
    assert [row["video"] for row in found["videos"]] == ["test/three", "test/two"] == list(frames)
    for row in found["videos"]:
        pairs = frames[row["video"]]
        assert row["frames"] == 3
        assert row["scores"]["psnr"] == pytest.approx(mean([psnr(*pair) for pair in pairs]))
        assert row["scores"]["ssim"] == pytest.approx(mean([ssim(*pair) for pair in pairs]))
    (row,) = found["means"]
    assert row["scores"]["psnr"] == pytest.approx(mean([psnr(*pair) for each in frames.values() for pair in each]))
    assert (row["video"], row["frames"], row["adapted"], row["replaced"]) == ("mean", 6, 0, 0)
    assert found["convention"] == "clean-images" and found["failures"] == []


def test_the_mean_is_over_frames_not_over_videos(work: Path) -> None:
    for name in ("blur", "sharp"):
        for number in ("000010", "000011"):
            Path(f"data/test/three/{name}/{number}.png").unlink()
    found = evaluated()
    one, two = (row["scores"]["psnr"] for row in found["videos"])
    assert found["means"][0]["scores"]["psnr"] == pytest.approx((one + 3 * two) / 4) != (one + two) / 2


@pytest.mark.parametrize("name", CONVENTIONS)
def test_each_convention_is_what_it_says(name: str, work: Path) -> None:
    made = make_dataset(work / "data", "realblur-j", (64, 72))
    layout = "realblur-j" if name == "realblur" else "gopro"
    found = evaluated(layout=layout, convention=name, limit=1)
    for row, (pair,) in zip(found["videos"], restored_pairs(layout, 1).values(), strict=True):
        border = 4 if name == "cdvd-tsp" else 0
        picture, sharp = (p[:, border : p.shape[1] - border, border : p.shape[2] - border] for p in pair)
        mode = {"meta-transferring": "luma", "blur2blur": "volume3d", "nafnet": "volume3d"}.get(name, "channel")
        wanted = (psnr(picture, sharp), ssim(picture, sharp, mode))
        if name == "realblur":
            wanted = aligned_fidelity(picture, sharp)
        assert (row["scores"]["psnr"], row["scores"]["ssim"]) == pytest.approx(wanted)
    assert made and tuple(CONVENTIONS) == CONVENTION_NAMES


def test_a_dataset_is_measured_as_its_authors_do(work: Path) -> None:
    make_dataset(work / "data", "realblur-j", (64, 72))
    usual = evaluated(layout="realblur-j", limit=1)
    assert (usual["convention"], usual["limit"]) == ("realblur", 1)
    assert [row["frames"] for row in usual["videos"]] == [1, 1]


def test_the_same_command_goes_on(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    real = job._evaluated

    def stopping(clip: Any, *others: Any) -> Any:
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append(clip.name)
        return real(clip, *others)

    def counting(clip: Any, *others: Any) -> Any:
        done.append(clip.name)
        return real(clip, *others)

    monkeypatch.setattr(job, "_evaluated", stopping)
    with pytest.raises(KeyboardInterrupt):
        evaluated()
    assert done == ["test/three"] and len(Path("out/state.jsonl").read_text().splitlines()) == 1
    monkeypatch.setattr(job, "_evaluated", counting)
    found = evaluated()
    assert done == ["test/three", "test/two"] and len(found["videos"]) == 2
    assert evaluated() == found and len(done) == 2
    # Other pictures, weights, options or ways of measuring are measured anew.
    evaluated(convention="nafnet")
    small_network(work / "w.safetensors", 0.01)
    evaluated()
    picture = Path("data/test/two/blur/000009.png")
    picture.write_bytes(picture.read_bytes() + b"\0")
    evaluated()
    assert len(done) == 2 + 2 + 2 + 1


def test_a_state_that_is_none_is_refused_and_nothing_foreign_is_replaced(work: Path) -> None:
    Path("out").mkdir()
    Path("out/scores.csv").write_text("mine")
    with pytest.raises(UsageError, match=r"scores\.csv exists"):
        evaluated()
    assert Path("out/scores.csv").read_text() == "mine"
    Path("out/state.jsonl").write_text('{"key": 1}\n')
    with pytest.raises(InputError, match=r"state\.jsonl is no state of an evaluation: .*; take it away to begin anew"):
        evaluated()


def test_a_video_that_cannot_be_read_does_not_stop_the_rest(work: Path, capsys: Captured) -> None:
    Path("data/test/three/blur/000010.png").write_bytes(b"")
    words = "evaluate data --layout gopro -o out --network w.safetensors --device cpu"
    assert deblur(*words.split()) == 3
    shown = capsys.readouterr()
    assert "test/three, w, none: 000010.png is empty" in shown.err and "of 2 files 1 failed" in shown.err
    assert shown.out.splitlines()[1].split()[:2] == ["w", "none"]
    document = json.loads(Path("out/scores.json").read_text())
    assert [row["video"] for row in document["videos"]] == ["test/two"] and len(document["failures"]) == 1
    assert "## Not done" in Path("out/scores.md").read_text()


def test_results_stand_beside_the_published_figures(work: Path, capsys: Captured) -> None:
    network = small_network(work / "srn.safetensors")
    words = "evaluate data --layout gopro -o out --network srn.safetensors --network w.safetensors --device cpu"
    assert network.exists() and deblur(*words.split(), "--method", "none", "--lpips", "off", "--niqe") == 0
    table = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    assert [line[0].split()[0] for line in table[:8]] == ["network", *["srn"] * 6, "w"]
    assert table[1][-1].strip() == "measured" and "ICLR 2022), table 2" in table[2][-1]
    page = Path("out/scores.md").read_text()
    assert "| srn | L1 + reblur n2, TTA 5 | 30.440 | 0.9067 | 0.0983" not in page  # no column of LPIPS was measured
    assert "| srn | L1 + reblur n2, TTA 5 | 30.440 | 0.9067 |" in page and "`clean-images`" in page
    rows = list(csv.DictReader(Path("out/scores.csv").read_text().splitlines()))
    assert [(row["network"], row["video"]) for row in rows] == [
        *(("srn", "test/three"), ("srn", "test/two"), ("w", "test/three"), ("w", "test/two")),
        *(("srn", "mean"), ("w", "mean")),
    ]
    assert float(rows[4]["psnr"]) == pytest.approx((float(rows[0]["psnr"]) + float(rows[1]["psnr"])) / 2)


QUICK = {
    "meta": {"patches": 2, "patch_size": 64, "steps": 2, "batch": 1},
    "tta": {"steps": 1, "tta_frames": 2},
    "reblur2deblur": {"patches": 2, "patch_size": 64, "steps": 2, "batch": 1},
}


@pytest.mark.parametrize("method", QUICK)
def test_methods_adapt_to_each_video(method: str, work: Path) -> None:
    shutil.rmtree("data/test/two")
    found = evaluated(method=["none", method], tile="off", limit=2, **QUICK[method])
    assert found["failures"] == []
    plain, adapted = found["means"]
    assert (plain["method"], adapted["method"]) == ("none", method)
    assert adapted["adapted"] + adapted["undone"] == 1 and adapted["adapting"] > 0
    assert adapted["scores"]["psnr"] == pytest.approx(plain["scores"]["psnr"], abs=3)


def test_a_network_of_several_frames_sees_those_around(work: Path) -> None:
    shutil.rmtree("data/test/two")
    found = evaluated(network="default", limit=2)
    network = load("default", command="video", device="cpu")
    for row, clip in zip(found["videos"], clips(Path("data"), "gopro"), strict=True):
        blurred, sharp = zip(*clip.frames(2), strict=True)
        restored = network.frames(unit(picture) for picture in blurred)
        scores = [psnr(one, unit(other)) for one, other in zip(restored, sharp, strict=True)]
        assert row["scores"]["psnr"] == pytest.approx(mean(scores))


def test_pairs_of_videos_and_of_pictures_of_any_size_are_evaluated(work: Path) -> None:
    for side in ("blurred", "sharp"):
        Path("own", side).mkdir(parents=True)
        write_video(Path("own", side, "a.mkv"), [torch.full((3, 48, 64), 0.5)] * 3)
    found = api.evaluate("own", "out", "synth", network="w.safetensors", device="cpu", limit=2)
    (row,) = found["videos"]
    assert (row["video"], row["frames"]) == ("blurred/a.mkv", 2)


def test_options_that_no_method_has_are_refused(work: Path) -> None:
    with pytest.raises(UsageError, match="--steps means nothing to --method none"):
        evaluated(steps=3)
    with pytest.raises(UsageError, match="--adapt-per shot; give --adapt-per video"):
        evaluated(method="meta", adapt_per="shot")
    with pytest.raises(UsageError, match="--method met is unknown"):
        evaluated(method="met")
    with pytest.raises(UsageError, match="--layout gopr is unknown"):
        evaluated(layout="gopr")


def published(layout: str, network: str, method: str) -> float:
    (row,) = [row for row in PUBLISHED if (row.layout, row.network, row.method) == (layout, network, method)]
    assert row.psnr is not None
    return row.psnr


def test_the_published_figures_give_the_gains_that_the_papers_state() -> None:
    networks = ("mimo-unet-plus", "mprnet", "restormer", "cdvd-tsp")
    for layout, stated in (("dvd", 0.27), ("reds", 0.29), ("realblur-j", 0.28)):
        gains = [
            row.psnr - next(o.psnr for o in PUBLISHED if (o.layout, o.network, o.method) == (layout, name, "baseline"))
            for name in networks
            for row in PUBLISHED
            if (row.layout, row.network, row.method) == (layout, name, "meta")
        ]
        assert len(gains) == 4 and mean(gains) == pytest.approx(stated, abs=0.01)
    for network, stated in (("restormer", (2.63, 2.12, 2.91)), ("nafnet", (2.20, 2.31, 2.67))):
        for layout, gain in zip(("rb2v", "reds", "rsblur"), stated, strict=True):
            base = published(layout, network, "trained on GoPro")
            assert published(layout, network, "Blur2Blur (GoPro)") - base == pytest.approx(gain)
