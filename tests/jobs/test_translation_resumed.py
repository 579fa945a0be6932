"""Blur2Blur in several runs: a translator that was learnt is kept, and what one run must do by itself begins anew."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from clips import read_planes
from end_to_end import deblur, write_video
from interrupted import FRAMES, killed, short_segments
from moving import HALTING, frames
from translators import translation_files

from deblurcli import api
from deblurcli.methods import blur2blur
from deblurcli.options.tta import TtaOptions
from deblurcli.weights.load import load_network

QUICK = ["--patches", "2", "--patch-size", "128", "--batch", "1", "--steps", "2", "--rate", "0.01", "--guard", "off"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return translation_files(tmp_path_factory.mktemp("files"))


def command(clip: Path, files: dict[str, Path], out: Path, *words: object) -> list[object]:
    exact = ["--codec", "ffv1", "--device", "cpu", "--dtype", "fp32", "-q"]
    return ["video", clip, "-o", out, "--method", "blur2blur", "--network", files["one"], *exact, *words]


def again(*words: object) -> int:
    with short_segments():
        return deblur(*words)


def left(out: Path) -> Path:
    return out.with_name(f".{out.name}.part")


def prepared_anew(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Tells what a run prepares the method for, where it does."""
    import deblurcli.jobs.video as job

    found, prepare = [], job.prepare
    monkeypatch.setattr(job, "prepare", lambda *given: found.append(given[1][0].name) or prepare(*given))
    return found


@pytest.mark.parametrize(("then", "damaged"), [("none", False), ("none", True), ("tta", False)])
def test_an_interrupted_run_goes_on_with_the_translator_that_it_had_learnt(
    files: dict[str, Path], tmp_path: Path, then: str, damaged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blur2blur, "TtaOptions", lambda: TtaOptions(steps=1, tta_frames=1))
    outs, saved = ([tmp_path / f"{name}{end}" for name in ("whole", "out")] for end in (".mkv", ".safetensors"))
    words = [[*QUICK, "--then", then, "--save-translator", path] for path in saved]
    assert again(*command(files["clip"], files, outs[0], *words[0])) == 0
    assert killed(*command(files["clip"], files, outs[1], *words[1]), stage="encoding", number=FRAMES + 2)
    kept = left(outs[1]) / "translator-00000.safetensors"
    kept.write_bytes(kept.read_bytes()[: -1 if damaged else None])
    anew = prepared_anew(monkeypatch)
    assert again(*command(files["clip"], files, outs[1], "--resume", *words[1])) == 0
    assert anew == ["clip.mkv"] * damaged and read_planes(outs[0]) == read_planes(outs[1])
    one, other = (load_network(path, role="translate") for path in saved)
    states = [found.module.state_dict() for found in (one, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0]) and one.card == other.card


def test_a_translation_that_was_undone_stays_undone_after_an_interrupt(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    still = write_video(tmp_path / "still.mkv", [frames(HALTING, 0.6, 2.2, 0.0)[0][0]] * (FRAMES + 3))
    out, saved = tmp_path / "out.mkv", tmp_path / "mine.safetensors"
    words = [*QUICK, "--save-translator", saved]
    assert killed(*command(still, files, out, *words), stage="encoding", number=FRAMES + 2)
    assert not (left(out) / "translator-00000.safetensors").exists()
    anew = prepared_anew(monkeypatch)
    assert again(*command(still, files, out, *words)) == 3 and not anew and not saved.exists()
    assert f"the translation was undone, {saved} was not written" in capsys.readouterr().err
    plain = tmp_path / "plain.mkv"
    api.deblur_video(still, plain, method="none", network=files["one"], codec="ffv1", device="cpu", dtype="fp32")
    assert read_planes(out) == read_planes(plain)


def test_a_run_by_another_translator_does_not_go_on(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, out = tmp_path / "whole.mkv", tmp_path / "out.mkv"
    words = ["--translator", files["something"]]
    assert again(*command(files["clip"], files, whole, *words)) == 0
    assert killed(*command(files["clip"], files, out, *words), stage="encoding", number=FRAMES + 2)
    assert again(*command(files["clip"], files, out, "--translator", files["nothing"])) == 2
    assert f"an interrupted run of {out} had --translator " in capsys.readouterr().err
    assert again(*command(files["clip"], files, out, "--resume", *words)) == 0
    assert read_planes(out) == read_planes(whole)


def test_a_translated_video_is_of_all_frames_and_begins_anew(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, shown = tmp_path / "out.mkv", tmp_path / "translated.mkv"
    words = ["--translator", files["something"], "--save-translated", shown]
    assert killed(*command(files["clip"], files, out, *words), stage="encoding", number=2 * FRAMES + 2)
    assert again(*command(files["clip"], files, out, "--resume", *words)) == 2
    assert "--resume with --save-translated, whose video is of all frames; leave one out" in capsys.readouterr().err
    assert again(*command(files["clip"], files, out, *words[:2])) == 2
    assert "had --save-translated given, now none; run it as before" in capsys.readouterr().err
    loud = [word for word in command(files["clip"], files, out, *words) if word != "-q"]
    assert again(*loud) == 0
    assert f"starting {out} anew: the video of --save-translated is of all frames\n" in capsys.readouterr().err
    assert len(read_planes(shown)) == len(read_planes(out)) == len(read_planes(files["clip"]))
    assert not left(shown).exists() and not left(out).exists()
