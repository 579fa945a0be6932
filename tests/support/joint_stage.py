"""The joint training stage with networks that a test can afford, prepared but not run, and in two processes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from processes import place

from deblurcli.networks import NETWORKS, reblurring
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.train import JointTraining
from deblurcli.restore.worker import Worker
from deblurcli.train.parallel import Peers, joined
from deblurcli.train.recipe import Recipe, Setting
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


def prepared(data: Path, peers: Peers = Peers(), **changes: object) -> Recipe:  # noqa: B008
    """The stage as it is before the first iteration."""
    keywords = options(data, data.parent / "none", **changes)
    compute = ComputeOptions(device=str(keywords.pop("device")), dtype=str(keywords.pop("dtype")))
    training = JointTraining(**keywords)  # type: ignore[arg-type]
    return joint.joint_recipe(training, Setting(Worker(compute), peers, ""))


def train_together(rank: int, folder: str, data: str, port: int) -> None:
    """One of two processes: its weights after two iterations, and whether it has left the other."""
    place(rank, port)
    torch.set_num_threads(1)
    with joined(torch.device("cpu")) as peers:
        with pytest.MonkeyPatch.context() as monkeypatch:
            shrink(monkeypatch)
            recipe = prepared(Path(data), peers, seed=1 + rank)
        reblurrer = recipe.companions[joint.REBLURRING]
        for module in (recipe.trainee.module, reblurrer.module):
            peers.start_alike(module.state_dict().values())
        recipe.ring.advance(0)
        for iteration in range(2):
            pictures = recipe.ring.batch(iteration, 2, 64, torch.device("cpu"))
            recipe.loss(recipe.trainee.module, *pictures)
    sums = [float(pictures[0].sum())] + [float(p.detach().double().sum()) for p in reblurrer.module.parameters()]
    Path(folder, str(rank)).write_text(json.dumps(sums))
    assert not dist.is_initialized()
