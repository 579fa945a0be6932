"""A worker loads every network once, reads a changed file again, and keeps to the precisions that a network lists."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from small_networks import randomised

from deblurcli.console import Reporter
from deblurcli.device import Device
from deblurcli.errors import WeightsError
from deblurcli.jobs.batch import run_batch
from deblurcli.jobs.engine import Here
from deblurcli.jobs.image import ImageJob
from deblurcli.jobs.plan import Plan
from deblurcli.networks import NETWORKS
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.image import ImageOptions
from deblurcli.options.tta import TtaOptions
from deblurcli.restore import worker as worker_module
from deblurcli.restore.worker import Worker
from deblurcli.weights.save import save_network

COMPUTE = ComputeOptions(device="cpu", dtype="fp32", tile="off")
TINY = {"width": 16, "deep_width": 16, "blocks": [1, 1, 1], "fold": 4, "scales": 1}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "tiny.safetensors", 1)


def write(path: Path, seed: int) -> Path:
    module = randomised(NETWORKS["plain-unet"].build(**TINY), seed, 0.1)
    save_network(path, module, network="plain-unet", config=TINY, card={})
    return path


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the networks that are loaded from now on."""
    seen: list[str] = []
    load = worker_module.load_chosen

    def counted(name: str, *args: object, **kwargs: object) -> object:
        seen.append(name)
        return load(name, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(worker_module, "load_chosen", counted)
    return seen


def test_a_batch_loads_each_network_once(file: Path, tmp_path: Path, loads: list[str]) -> None:
    tta = TtaOptions(rate=1e-4)
    jobs = []
    for number in range(5):
        source = tmp_path / f"{number}.png"
        cv2.imwrite(str(source), np.full((24, 32, 3), 40 * number, np.uint8))
        options = ImageOptions(network=str(file), tta_steps=1)
        jobs.append(ImageJob(source, tmp_path / "out" / source.name, options, tta, COMPUTE))
    planned = Plan([(job.source, job.destination) for job in jobs], batch=True)
    run_batch(jobs, planned, Here(Worker(COMPUTE)), Reporter.silent())
    assert loads == [str(file), "reblurring-module"]
    assert len(list((tmp_path / "out").iterdir())) == 5


def test_a_file_is_read_again_when_it_has_changed(file: Path, loads: list[str]) -> None:
    worker = Worker(COMPUTE)
    first = worker.place(str(file), "video", "deblur")
    assert worker.place(str(file), "image", "deblur") is first and loads == [str(file)]
    write(file, 2)
    second = worker.place(str(file), "video", "deblur")
    assert second.sha256 != first.sha256 and len(loads) == 2
    with pytest.raises(WeightsError, match="a reblur network is needed"):
        worker.place(str(file), "meta", "reblur")
    with pytest.raises(WeightsError, match="cannot be read"):
        worker.place(str(file.with_name("nothing.safetensors")), "video", "deblur")


def test_the_default_is_kept_by_the_name_of_its_weights(loads: list[str]) -> None:
    worker = Worker(COMPUTE)
    default = worker.place("default", "image", "deblur")
    assert worker.place(default.name, "video", "deblur") is default and loads == [default.name]
    assert not default.module.training and not any(p.requires_grad for p in default.module.parameters())


def test_a_network_keeps_to_its_precisions(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    half = Device(torch.device("cpu"), torch.float16, "test")
    monkeypatch.setattr(worker_module, "pick_device", lambda *_: half)
    spec = NETWORKS["plain-unet"]
    worker = Worker(COMPUTE, Reporter())
    assert worker.place(str(file), "video", "deblur").device == half
    monkeypatch.setitem(NETWORKS, "plain-unet", replace(spec, dtypes=("fp32", "bf16")))
    worker = Worker(COMPUTE, Reporter())
    for _ in range(2):
        placed = worker.place(str(file), "video", "deblur")
        assert placed.device.precision == "fp32" and placed.device.where == half.where
    assert capsys.readouterr().err.count("runs in fp32") == 1, "said once"
