"""Promise 6: a weights file cannot execute anything; a wrong or damaged one is never used."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from end_to_end import contents, deblur, small_network

from deblurcli.weights import registry


class Attack:
    """Unpickling it makes a folder."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.canary),)


def bare(path: Path, attack: Attack) -> None:
    path.write_bytes(pickle.dumps(attack, protocol=2))


def archive(path: Path, attack: Attack) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps(attack, protocol=2))


def checkpoint(path: Path, attack: Attack) -> None:
    torch.save({"state_dict": {"weight": torch.zeros(3)}, "args": attack}, path)


def arrays(path: Path, attack: Attack) -> None:
    content = np.array([attack], dtype=object)
    with path.open("wb") as file:
        np.savez(file, mu_pris_param=content, cov_pris_param=content)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    values = np.random.default_rng(1).integers(0, 255, (200, 300, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "in.png"), values)
    return tmp_path / "in.png"


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors", "w"])
@pytest.mark.parametrize("make", [bare, archive, checkpoint, arrays])
def test_no_command_runs_what_a_file_holds(
    picture: Path, tmp_path: Path, make: Callable[[Path, Attack], None], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    canary, weights, out = tmp_path / "canary", tmp_path / name, tmp_path / "out.png"
    make(weights, Attack(canary))
    commands = [
        ["image", picture, "-o", out, "--network", weights],
        ["image", picture, "-o", out, "--tta-steps", "1", "--tta-reblur", weights],
        ["metrics", picture, "--niqe-model", weights],
        ["metrics", picture, picture, "--lpips", weights],
        ["weights", "info", weights],
        ["weights", "import", weights, "--network", "mimo-unet", "-o", tmp_path / "imported.safetensors"],
        ["train", "deblur", "--data", tmp_path, "--out", tmp_path / "run", "--from", weights, "--iterations", "1"],
    ]
    for words in commands:
        code = deblur(*words)
        assert code in (2, 4, 6), (words, code)
        assert "Traceback" not in capsys.readouterr().err
        assert not canary.exists(), words
    assert not out.exists() and not (tmp_path / "imported.safetensors").exists()


def test_the_attack_is_one(tmp_path: Path) -> None:
    checkpoint(tmp_path / "w.pth", Attack(tmp_path / "canary"))
    torch.load(tmp_path / "w.pth", weights_only=False)
    assert (tmp_path / "canary").exists()


def test_a_damaged_file_is_not_used(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = small_network(tmp_path / "whole.safetensors").read_bytes()
    out, broken = tmp_path / "out.png", tmp_path / "broken.safetensors"
    nan = whole[:-2] + b"\xff\x7f"  # the last number in half precision
    for content in (b"", whole[:-100], whole[:200], whole[100:], nan):
        broken.write_bytes(content)
        assert deblur("image", picture, "-o", out, "--network", broken) == 6
        assert capsys.readouterr().err.startswith("deblur: ") and not out.exists()
    broken.write_bytes(whole)
    assert deblur("image", picture, "-o", out, "--network", broken, "-q") == 0


def test_weights_of_the_registry_are_used_only_with_their_checksum(
    picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One bit of the bundled network flips."""
    bundled = tmp_path / "bundled"
    bundled.mkdir()
    for path in registry.BUNDLED.iterdir():
        if path.is_file():
            (bundled / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(registry, "BUNDLED", bundled)
    monkeypatch.setenv("DEBLUR_CACHE", str(tmp_path / "cache"))
    assert deblur("image", picture, "-o", tmp_path / "a.png", "--network", "plain-unet", "-q") == 0
    content = bytearray((bundled / "plain-unet.safetensors").read_bytes())
    content[-1000] ^= 1
    (bundled / "plain-unet.safetensors").write_bytes(content)
    assert deblur("image", picture, "-o", tmp_path / "b.png", "--network", "plain-unet", "--offline") in (6, 7)
    assert deblur("weights", "verify") == 6
    assert "b.png" not in contents(tmp_path)
