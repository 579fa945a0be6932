"""The joint training stage with networks that a test can afford, prepared but not run, and in two processes."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from deblurcli.console import Reporter
from deblurcli.device import Device
from deblurcli.networks import NETWORKS, reblurring
from deblurcli.options import TrainOptions
from deblurcli.train.loop import Stage
from deblurcli.train.parallel import Workers, join
from deblurcli.train.stages import joint

SMALL = {
    "plain-unet": {"width": 16, "deep_width": 16, "blocks": [1, 1, 1], "fold": 4, "scales": 1},
    "mimo-unet": {"blocks": 1, "dropout": 0.0, "width": 4},
}


def shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks that a test can afford; the reblurring module has 8 channels."""
    for name, config in SMALL.items():
        monkeypatch.setitem(NETWORKS, name, dataclasses.replace(NETWORKS[name], config=config))
    monkeypatch.setattr(reblurring, "CHANNELS", 8)


def options(data: Path, out: Path, **changes: object) -> dict[str, object]:
    return {
        "data": data, "out": out, "batch": 2, "crops": (64,), "ring": 12, "save_every": 1e9, "iterations": 1,
        "network": "plain-unet", "device": "cpu", "dtype": "fp32",
    } | changes  # fmt: skip


def prepared(monkeypatch: pytest.MonkeyPatch, data: Path, workers: Workers = Workers(), **changes: object) -> Stage:  # noqa: B008
    """The stage as it is before the first iteration."""
    monkeypatch.setattr(joint, "run_stage", lambda stage, *rest: stage)
    keywords = options(data, data.parent / "none", **changes)
    training = TrainOptions(**{k: v for k, v in keywords.items() if k not in ("device", "dtype")})  # type: ignore[arg-type]
    device = Device(torch.device("cpu"), torch.float32, "test")
    return joint.train_joint(training, device, workers, Reporter.silent(), "")  # type: ignore[return-value]


def train_together(rank: int, folder: str, data: str) -> None:
    """One of two processes: its weights after two iterations."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29579"}
    torch.set_num_threads(1)
    workers = join(torch.device("cpu"))
    with pytest.MonkeyPatch.context() as monkeypatch:
        shrink(monkeypatch)
        stage = prepared(monkeypatch, Path(data), workers, seed=1 + rank)
    reblurrer = stage.companions[joint.REBLURRING]
    for module in (stage.module, reblurrer.module):
        workers.start_alike(module.state_dict().values())
    stage.ring.advance(0)
    for iteration in range(2):
        pictures = stage.ring.batch(iteration, 2, 64, torch.device("cpu"))
        stage.loss(stage.module, *pictures)
    sums = [float(pictures[0].sum())] + [float(p.detach().double().sum()) for p in reblurrer.module.parameters()]
    Path(folder, str(rank)).write_text(json.dumps(sums))
    dist.barrier()  # one that leaves while the other is within its last exchange aborts it
    dist.destroy_process_group()
