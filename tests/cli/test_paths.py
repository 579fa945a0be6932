"""Names that cannot be, on every way into a command: one line, and the code of what it would have been."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from end_to_end import deblur, small_network

LONG = "x" * 256


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    cv2.imwrite(str(folder / "p.png"), np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8))
    small_network(folder / "w.safetensors")
    return folder


LINES = [
    (f"video {LONG} -o o.mp4", 4),
    (f"image p.png {LONG} -o o/", 4),
    (f"metrics {LONG}", 4),
    (f"metrics p.png {LONG}", 4),
    (f"metrics {LONG} p.png", 4),
    (f"compare {LONG} p.png", 4),
    (f"compare p.png {LONG}", 4),
    (f"compare p.png p.png -o {LONG}.html", 5),
    (f"metrics p.png --before {LONG}", 4),
    (f"video p.png -o o.mp4 --network w.safetensors --compare {LONG}.html", 5),
    (f"inspect {LONG}", 4),
    (f"synth {LONG} -o o", 4),
    (f"train deblur --data {LONG} --out o --iterations 1", 4),
    (f"image p.png -o {LONG}", 5),
    (f"image p.png -o {LONG}.png --network w.safetensors", 5),
    (f"image p.png -o {LONG}/ --network w.safetensors", 5),
    (f"synth p.png -o {LONG}", 5),
    (f"train deblur --data . --out {LONG} --iterations 1", 5),
    (f"video p.png -o o.mp4 --network w.safetensors --save-adapted {LONG}.safetensors", 5),
    (f"video p.png -o o.mp4 --network w.safetensors --save-residual {LONG}.png", 5),
    (f"metrics p.png --reblur {LONG}", 4),
    (f"inspect p.png --restored {LONG}", 4),
    (f"weights import w.safetensors --network plain-unet -o {LONG}.safetensors", 5),
    (f"image p.png -o o.png --network {LONG}", 6),
    (f"image p.png -o o.png --network {LONG}.safetensors", 6),
    (f"weights import {LONG} --network plain-unet -o o.safetensors", 6),
    (f"weights info {LONG}.safetensors", 6),
]
"""Command lines, and their exit codes."""


@pytest.mark.parametrize(("line", "code"), LINES, ids=[line.replace(LONG, "LONG") for line, _ in LINES])
def test_a_name_of_256_bytes(
    work: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], line: str, code: int
) -> None:
    monkeypatch.chdir(work)
    before = sorted(path.name for path in work.iterdir())
    assert deblur(*line.split()) == code
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 1 and "unexpected" not in err and LONG in err
    assert sorted(path.name for path in work.iterdir()) == before


@pytest.mark.parametrize("line", ["weights list", "doctor", "weights path plain-unet-gone", "weights pull nafnet-w32"])
def test_a_cache_that_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], line: str
) -> None:
    monkeypatch.setenv("DEBLUR_CACHE", str(tmp_path / LONG))
    assert deblur(*line.split()) == 6
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 1 and "unexpected" not in err


def test_words_that_are_no_command(
    work: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(work)
    for word, said in {
        "clip.mp4": "give deblur video clip.mp4\n",
        "my photo.HEIC": "give deblur image 'my photo.HEIC'\n",
        "p.png": "give deblur image p.png\n",
        LONG: "give one of",
    }.items():
        assert deblur(word) == 2
        assert said in capfd.readouterr().err


def test_metrics_name_what_is_not_there(
    work: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(work)
    for line, said in {
        "metrics . nosuch": "nosuch does not exist; check the path",
        "metrics nosuch": "nosuch does not exist; check the path",
        "metrics no*such": "the pattern no*such matches no image or video; check the pattern",
    }.items():
        assert deblur(*line.split()) == 4
        assert capfd.readouterr().err == f"deblur: {said}\n"


def test_a_network_of_another_role_is_refused_before_it_is_fetched(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(work)
    monkeypatch.setenv("DEBLUR_CACHE", str(tmp_path / "cache"))
    assert deblur("image", "p.png", "-o", "o.png", "--network", "lpips-alex", "--offline") == 6
    assert "'lpips-alex' is a metric network; a deblur network is needed here" in capfd.readouterr().err
    assert not (tmp_path / "cache").exists()


def test_info_of_a_file(work: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    from deblurcli.weights.state import save_state

    monkeypatch.chdir(work)
    assert deblur("weights", "info", "w.safetensors") == 0
    rows = dict(line.split(maxsplit=1) for line in capfd.readouterr().out.splitlines())
    assert rows["path"] == "w.safetensors" and rows["network"] == "plain-unet" and rows["role"] == "deblur"
    assert '"width": 16' in rows["config"] and rows["size"] == f"{Path('w.safetensors').stat().st_size} bytes"
    save_state(Path("state.safetensors"), {}, {}, {"iteration": 7, "seed": 1})
    assert deblur("weights", "info", "./state.safetensors") == 0
    out = capfd.readouterr().out
    assert "the state of a training run" in out and "iteration 7" in out
    Path("odd.safetensors").write_bytes(b"odd")
    assert deblur("weights", "info", "odd.safetensors") == 6
    assert capfd.readouterr().err == "deblur: odd.safetensors: not a safetensors file; is it the right file?\n"
    for name in ("state", "odd"):
        Path(f"{name}.safetensors").unlink()
