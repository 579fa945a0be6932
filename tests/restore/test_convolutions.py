"""Minimal filtering is used where it was measured to be faster, and nowhere else."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_networks import randomised
from torch import nn

from deblurcli.console import Reporter
from deblurcli.jobs.doctor import speeds
from deblurcli.networks import NETWORKS
from deblurcli.networks.winograd import Kind, Quick
from deblurcli.options.compute import ComputeOptions
from deblurcli.restore import convolutions, measured, speed
from deblurcli.restore.tiles import Restorer
from deblurcli.restore.worker import Placed, Worker
from deblurcli.weights.save import save_network

FP32 = ComputeOptions(device="cpu", dtype="fp32")
CONFIG = {"width": 32, "deep_width": 24, "blocks": [1, 1, 1], "fold": 4, "scales": 1}


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file of an empty cache, with nothing measured so far."""
    monkeypatch.setenv("DEBLUR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(convolutions, "_MEASURED", {})
    return tmp_path / "cache" / measured.NAME


def faked(monkeypatch: pytest.MonkeyPatch, gains: dict[Kind, float]) -> list[Kind]:
    """What measuring would find; the kinds that are measured from now on."""
    seen: list[Kind] = []

    def found(kind: Kind) -> float:
        seen.append(kind)
        return gains.get(kind, 0.5)

    monkeypatch.setattr(convolutions, "measured", found)
    return seen


def placed(folder: Path, compute: ComputeOptions = FP32) -> Placed:
    path = folder / "small.safetensors"
    if not path.exists():
        module = randomised(NETWORKS["plain-unet"].build(**CONFIG), 1, 0.1)
        save_network(path, module, network="plain-unet", config=CONFIG, card={})
    return Worker(compute).place(str(path), "image", "deblur")


def quick_kinds(network: Placed) -> set[Kind]:
    return {(m.in_channels, m.out_channels) for m in network.module.modules() if isinstance(m, Quick)}


def test_only_what_is_faster_is_filtered(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = faked(monkeypatch, {(32, 32): 2.0, (24, 24): 1.1, (48, 32): 0.7})
    network = placed(tmp_path)
    assert quick_kinds(network) == {(32, 32)} and network.quick
    assert set(seen) == convolutions.kinds_of(network.module) == {(48, 32), (32, 32), (24, 24), (32, 48)}
    placed(tmp_path)
    assert len(seen) == 4, "measured once in a process"
    assert not cache.exists(), "a run writes nothing"


def test_slower_everywhere_means_direct(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faked(monkeypatch, {})
    network = placed(tmp_path)
    assert not network.quick and type(network.module.head) is nn.Conv2d


def test_reduced_precision_is_not_measured(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = faked(monkeypatch, {(32, 32): 2.0})
    assert not placed(tmp_path, replace(FP32, dtype="bf16")).quick and not seen


def test_only_deblurring_networks(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = faked(monkeypatch, {(64, 64): 9.0})
    spec = NETWORKS["vgg19-critic"]
    critic = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1))
    assert not convolutions.is_quick(convolutions.quick(critic, spec, Worker(FP32).device)) and not seen


def test_the_cache_is_read(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = faked(monkeypatch, {(32, 32): 2.0})
    convolutions.remeasure(placed(tmp_path).module)
    assert json.loads(cache.read_bytes())[convolutions.name_of((32, 32))] == 2.0
    monkeypatch.setattr(convolutions, "_MEASURED", {})
    seen.clear()
    assert quick_kinds(placed(tmp_path)) == {(32, 32)} and not seen
    monkeypatch.setattr(convolutions, "_MEASURED", {})
    monkeypatch.setattr(measured, "processor_name", lambda _: "another")
    placed(tmp_path)
    assert seen, "another machine's measurement is not taken"


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff", b'{"KEY": "fast"}', b'{"KEY": NaN}', b'{"KEY": -1.0}'])
def test_a_damaged_cache_is_as_good_as_none(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    faked(monkeypatch, {(32, 32): 2.0})
    cache.parent.mkdir()
    cache.write_bytes(content.replace(b"KEY", convolutions.name_of((32, 32)).encode()))
    assert quick_kinds(placed(tmp_path)) == {(32, 32)}


def test_doctor_measures_anew_and_goes_by_it(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faked(monkeypatch, {(128, 128): 2.0})
    monkeypatch.setattr(speed, "measured", lambda network, work: 1e-6 if network.quick else 2e-6)
    cache.parent.mkdir()
    cache.write_text(json.dumps({convolutions.name_of((128, 128)): 0.1}))
    rows = speeds(Reporter.silent(), FP32)
    assert len(rows) == 2 and all("by minimal filtering" in said for _, said in rows)
    kept = json.loads(cache.read_bytes())
    assert kept[convolutions.name_of((128, 128))] == 2.0
    assert {content["restoring"] for content in kept.values() if isinstance(content, dict)} == {1e-6}


def test_measuring_takes_little_and_finds_something() -> None:
    started = time.process_time()
    assert 0.01 < convolutions.measured((32, 32)) < 100
    assert time.process_time() - started < 5


@pytest.mark.parametrize("tile", ["off", "128"])
@pytest.mark.parametrize("size", [(200, 264), (193, 259)])
def test_frames_and_tiles_are_the_same(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tile: str, size: tuple[int, int]
) -> None:
    gains: dict[Kind, float] = {}
    faked(monkeypatch, gains)
    direct = placed(tmp_path)
    monkeypatch.setattr(convolutions, "_MEASURED", {})
    gains.update(dict.fromkeys(convolutions.kinds_of(direct.module), 2.0))
    filtered = placed(tmp_path)
    assert filtered.quick and not direct.quick
    frame = torch.rand(3, *size)
    one, other = (Restorer(n.module, n.spec, n.device, tile)([frame]) for n in (direct, filtered))
    assert float((one - frame).abs().max()) > 1e-3, "the network changes the frame"
    assert float((one - other).abs().max()) < 1e-4
