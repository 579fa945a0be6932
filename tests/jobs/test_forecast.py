"""The time that is told before the work: sums of work times speed, and what is printed of them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import make_clip
from end_to_end import contents, deblur, shaken_video, small_network
from interrupted import killed

from deblurcli import api
from deblurcli.adaptation.work import Clip, Speeds, Work
from deblurcli.jobs import run_plan
from deblurcli.jobs.forecast import Forecast, duration, fast, forecast
from deblurcli.media.images import Image, encoded
from deblurcli.methods import METHODS, method_options
from deblurcli.networks import NETWORKS
from deblurcli.restore import measured, speed

VIDEO = NETWORKS["video-unet"]
CLIP = Clip(60, 448, 256)
SPEEDS = Speeds(3e-6, 8e-6, 2e-6)
"""Seconds a pixel of two slow processor cores."""


def total(method: str, clip: Clip = CLIP, speeds: Speeds = SPEEDS, **given: Any) -> Forecast:
    return forecast(clip, method_options(method, given), VIDEO, speeds)


def test_restoring_is_pixels_times_speed() -> None:
    found = total("none")
    assert found.adapting == 0
    assert found.restoring == pytest.approx(60 * 448 * 256 * (3e-6 + 0.12 * 2e-6), rel=0.05)
    assert fast(CLIP, SPEEDS) == pytest.approx(60 * 448 * 256 * 2e-6, rel=0.15)


@pytest.mark.parametrize(
    ("method", "given", "seconds"),
    [
        # Measured on two clips in seconds of one core, at the speeds of that machine: 26.6, 74.8, 35.9 (20 steps);
        # on one of them, at speeds that were 8 % lower, 28.4 for 40 steps of blur2blur.
        ("meta", {}, 27),
        ("tta", {}, 71),
        ("reblur2deblur", {"steps": 20}, 36),
        ("blur2blur", {"steps": 40}, 26),
    ],
)
def test_adapting_is_what_was_measured(method: str, given: dict[str, Any], seconds: float) -> None:
    found = forecast(CLIP, method_options(method, given), VIDEO, Speeds(2.88e-6, 8.39e-6, 2.24e-6))
    assert found.adapting == pytest.approx(seconds, rel=0.15)


def test_test_time_adaptation_of_a_large_frame_looks_at_a_piece_of_it() -> None:
    """Measured: 80 s for two steps, of which each has eight pieces of 512x448 with 192 columns beside them."""
    large = forecast(Clip(24, 896, 512), method_options("tta", {"steps": 2}), VIDEO, Speeds(2.9e-6, 8.6e-6, 2.3e-6))
    assert large.adapting == pytest.approx(80, rel=0.15)


def test_more_work_takes_longer_and_a_faster_machine_less() -> None:
    for method in METHODS:
        assert total(method, Clip(120, 448, 256)).restoring == pytest.approx(2 * total(method).restoring)
        half = Speeds(SPEEDS.restoring / 2, SPEEDS.updating / 2, SPEEDS.single / 2)
        if method != "blur2blur":  # which learns for minutes on every machine
            assert total(method, speeds=half).total == pytest.approx(total(method).total / 2)
    assert total("meta", steps="80").adapting > total("meta", steps="40").adapting
    assert total("reblur2deblur", guard="off").adapting < total("reblur2deblur").adapting
    assert 600 < total("blur2blur").adapting < 640
    assert total("blur2blur", minutes=2).adapting < 160
    assert total("blur2blur", translator="a.safetensors").adapting == 0
    assert total("tta", steps=0).adapting == 0
    assert total("tta", adapt_per="frame").restoring > 5 * total("none").restoring


def test_every_method_tells_the_time_of_each_of_its_stages() -> None:
    for method in METHODS:
        found = total(method)
        assert list(found.stages)[-2:] == ["restoring", "finishing"] and found.course == found.stages
        assert all(seconds > 0 for seconds in found.stages.values()), method
        assert (
            found.total == pytest.approx(sum(found.stages.values())) == pytest.approx(found.adapting + found.restoring)
        )
    followed = total("blur2blur", then="tta")
    assert followed.stages["adapting"] == pytest.approx(total("tta").adapting)


def test_work_takes_its_amounts_times_the_speeds() -> None:
    speeds = Speeds(10, 100, 1000)
    assert Work(1, 2, 3, 4).at(speeds) == (Work(1) + Work(0, 2, 3, 4)).at(speeds) == 10 + 200 + 3000 + 4
    assert Work(5).at(Speeds(1, float("inf"), 1)) == 5, "what is not done takes no time, however slow"


def test_what_adapts_to_each_shot_has_no_stage_of_its_own() -> None:
    found = total("meta", adapt_per="shot")
    assert list(found.course) == ["restoring", "finishing"] and sum(found.course.values()) == pytest.approx(found.total)
    assert found.adapting == total("meta").adapting


def test_an_adaptation_that_is_there_takes_no_time() -> None:
    assert forecast(CLIP, method_options("meta", {}), VIDEO, SPEEDS, adapted=True).adapting == 0


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "1 s"), (3.4, "3 s"), (9.6, "10 s"), (42, "40 s"), (99, "100 s"), (130, "2 min"), (3900, "1 h 5 min")],
)
def test_times_for_people(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_the_line_of_a_plan() -> None:
    plan = run_plan.RunPlan("in.mp4", CLIP, Forecast({"adapting": 130, "restoring": 41}), 28)
    assert (
        plan.line() == "in.mp4: 60 frames of 448x256: about 2 min adapting, 40 s restoring; --quality fast takes 30 s"
    )
    quick = Forecast({"restoring": 40, "finishing": 1})
    assert run_plan.RunPlan("in.mp4", CLIP, quick, None).line() == "in.mp4: 60 frames of 448x256: about 40 s"
    assert run_plan.RunPlan("in.mp4", None, None, None).line() == ""


# The speed of this machine


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file of an empty cache, with nothing measured so far."""
    monkeypatch.setenv("DEBLUR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(speed, "_MEASURED", {})
    return tmp_path / "cache" / measured.NAME


def placed(path: Path) -> Any:
    worker = api.restoring.Worker(api.restoring.ComputeOptions(device="cpu", dtype="fp32"))
    return worker.place(str(small_network(path)), "image", "deblur")


def test_speed_is_measured_kept_and_read(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = placed(tmp_path / "w.safetensors")
    assert speed.cached(network, "restoring") is None
    found = speed.remeasured(network)
    assert 0 < found["restoring"] < 1e-3 and 0 < found["updating"] < 1e-2
    assert speed.cached(network, "restoring") == found["restoring"]
    monkeypatch.setattr(speed, "measured", lambda *_: pytest.fail("it is in the cache"))
    assert speed.speed_of(network, "updating") == found["updating"]
    assert [path.name for path in table.parent.iterdir()] == [measured.NAME]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"KEY": {"restoring": -1}}', b'{"KEY": [1]}', b"\xff\x00"])
def test_a_damaged_cache_is_as_good_as_none(table: Path, tmp_path: Path, content: bytes) -> None:
    network = placed(tmp_path / "w.safetensors")
    table.parent.mkdir()
    table.write_bytes(content.replace(b"KEY", speed.key_of(network).replace('"', '\\"').encode()))
    assert speed.cached(network, "restoring") is None
    speed.remeasured(network)
    assert speed.cached(network, "restoring")


def test_another_machine_s_speed_is_not_taken(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = placed(tmp_path / "w.safetensors")
    speed.remeasured(network)
    monkeypatch.setattr(measured, "processor_name", lambda where: "another")
    assert speed.cached(network, "restoring") is None


# What a run says, and a dry one


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Speeds that need no measuring."""
    monkeypatch.setattr(run_plan, "speed_of", lambda network, work: {"restoring": 1e-4, "updating": 3e-4}[work])


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_network(tmp_path_factory.mktemp("weights") / "w.safetensors")


def test_a_dry_run_tells_all_and_writes_nothing(
    tmp_path: Path, network: Path, known: None, capfd: pytest.CaptureFixture[str]
) -> None:
    make_clip(tmp_path / "in.mkv", audio=True, subtitles=True, frames=12)
    before = contents(tmp_path)
    words = ("video", tmp_path / "in.mkv", "--network", network, "--method", "tta", "--report", tmp_path / "r.jsonl")
    assert deblur(*words, "--dry-run") == 0
    rows = dict(line.split(None, 1) for line in capfd.readouterr().out.splitlines())
    assert rows["input"] == "12 frames of 64x48, ffv1 yuv420p"
    assert rows["output"] == f"{tmp_path / 'in.deblurred.mkv'}: ffv1 yuv420p"
    assert rows["copied"] == "audio 1 (aac), subtitle 2 (subrip)"
    assert rows["network"] in ("w in fp32 on cpu", "w in bf16 on cpu")
    assert rows["method"] == "tta, for the video" and rows["tiles"] == "whole frames"
    assert rows["time"].startswith("about ") and "--quality fast takes" in rows["time"]
    assert rows["disk"].startswith("needs about")
    words = ("video", tmp_path / "in.mkv", "--network", network, "--method", "none", "--dry-run", "-o")
    for out, copied, lost in (
        (tmp_path / "o/%06d.png", "nothing", "audio stream 1 (aac) dropped"),
        ("-", "nothing", "y4m holds pictures alone: without sound"),
        (tmp_path / "o.avi", "audio 1 (aac)", "subtitle stream 2 (subrip) dropped"),
    ):
        assert deblur(*words, out) == 0
        told = capfd.readouterr().out.splitlines()
        assert f"copied    {copied}" in told, out
        assert any(lost in line for line in told if line.startswith("not kept")), out
    assert contents(tmp_path) == before and [path.name for path in tmp_path.iterdir()] == ["in.mkv"]


def test_the_plan_is_an_event_and_a_line(
    tmp_path: Path, network: Path, known: None, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_plan, "SHORT", 0)
    make_clip(tmp_path / "in.mkv", frames=3)
    words = ("video", tmp_path / "in.mkv", "--network", network, "--method", "none", "--overwrite")
    assert deblur(*words) == 0
    assert "in.mkv: 3 frames of 64x48: about 1 s; --quality fast takes 1 s\n" in capfd.readouterr().err
    assert deblur(*words, "--log", "json") == 0
    events = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    plan = next(event for event in events if event["type"] == "plan")
    assert plan["frames"] == 3 and plan["adapting"] == 0 and plan["restoring"] == pytest.approx(1, abs=0.5)
    assert plan["method"] == "none" and plan["source"].endswith("in.mkv")


def test_a_dry_run_is_refused_as_the_run_would_be(
    tmp_path: Path, network: Path, known: None, capfd: pytest.CaptureFixture[str]
) -> None:
    make_clip(tmp_path / "in.mkv", frames=30)
    (tmp_path / "exists.mkv").touch()
    plain = ("--network", network, "--method", "none", "--tile", "off", "-q")
    for out, code in (("exists.mkv", 2), ("in.mkv", 2), ("none/out.mkv", 5), ("out.gif", 5)):
        words = ("video", tmp_path / "in.mkv", "-o", tmp_path / out, *plain)
        assert deblur(*words, "--dry-run") == deblur(*words) == code, out
    assert deblur("video", tmp_path / "in.mkv", "--dry-run", "--resume", *plain) == 2
    assert deblur("video", tmp_path / "gone.mkv", "--dry-run", *plain) == 4
    assert deblur("video", tmp_path / "in.mkv", "--dry-run", "--network", tmp_path / "gone.safetensors") == 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["exists.mkv", "in.mkv"]


def test_a_dry_run_leaves_an_interrupted_one_alone(
    tmp_path: Path, network: Path, known: None, capfd: pytest.CaptureFixture[str]
) -> None:
    make_clip(tmp_path / "in.mkv", frames=30)
    words = ("video", tmp_path / "in.mkv", "-o", tmp_path / "o.mkv", "--network", network, "--method", "none", "-q")
    assert killed(*words, stage="encoding", number=14)
    left = contents(tmp_path)
    assert deblur(*words, "--dry-run") == 0
    assert deblur(*words, "--dry-run", "--codec", "libx264") == 2
    assert "--codec usual, now libx264" in capfd.readouterr().err
    assert contents(tmp_path) == left


def test_a_dry_batch_makes_no_folder_and_names_what_fails(
    tmp_path: Path, network: Path, known: None, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "clips").mkdir()
    for name in ("a.mkv", "b.mkv"):
        make_clip(tmp_path / "clips" / name, frames=3)
    (tmp_path / "clips" / "c.mkv").write_bytes(b"no video")
    words = ("video", tmp_path / "clips", "-o", tmp_path / "out", "--network", network, "--method", "none")
    assert deblur(*words, "--dry-run") == 3
    out, err = capfd.readouterr()
    assert out.count("output ") == 2 and "c.mkv" in err
    assert [path.name for path in tmp_path.iterdir()] == ["clips"]


def test_a_dry_run_of_an_image(tmp_path: Path, network: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.png").write_bytes(encoded(Image(np.zeros((40, 50, 3), np.uint8)), "a.png")[0])
    assert deblur("image", tmp_path / "a.png", "--network", network, "--dry-run") == 0
    out = capfd.readouterr().out
    assert "1 picture of 50x40" in out and "a.deblurred.png" in out and "no adapting" in out
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["none", "meta"])
def test_a_plan_is_near_to_what_the_run_takes(method: str, tmp_path: Path, table: Path) -> None:
    """Wide bounds: other programs may take the processor while it is measured, or while it works."""
    clip, plans = shaken_video(tmp_path / "in.mkv", 40), []

    class Plans(api.restoring.Reporter):
        def event(self, kind: str, /, **facts: Any) -> None:
            if kind == "plan":
                plans.append(facts)

    console = Plans(api.restoring.Reporter.silent().sink)
    run_plan_short, run_plan.SHORT = run_plan.SHORT, 0
    try:
        started = time.monotonic()
        api.deblur_video(clip, tmp_path / "out.mkv", method=method, console=console)
        spent = time.monotonic() - started
    finally:
        run_plan.SHORT = run_plan_short
    assert 0.3 < (plans[0]["adapting"] + plans[0]["restoring"]) / spent < 3
