"""The choice of flow: what each name gives, on whole pictures and small ones, and what is refused."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from scenes import scene
from torch import Tensor

from deblurcli.adaptation.flow_estimate import MIN_SIDE, Flow, flow_of
from deblurcli.errors import UsageError, WeightsError
from deblurcli.networks import NETWORKS
from deblurcli.options.compute import ComputeOptions
from deblurcli.restore.worker import Worker
from deblurcli.synth.flow_pairs import render_pairs
from deblurcli.synth.scenes import Scenes
from deblurcli.weights.save import save_network


@pytest.fixture(scope="module")
def worker() -> Worker:
    return Worker(ComputeOptions(device="cpu"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A flow network with random weights."""
    torch.manual_seed(2)
    module = NETWORKS["flownet-small"].build()
    torch.nn.init.normal_(module.decoder.tail.weight, std=0.01)  # type: ignore[union-attr, arg-type]
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    save_network(path, module, network="flownet-small", config={}, card={})
    return path


def moved(side: int = 96) -> tuple[Tensor, Tensor]:
    """Two pictures, the second of which shows everything 3 pixels to the right and 2 above."""
    picture = scene(1, side + 8, side + 8)
    pictures = picture[:, 4:-4, 4:-4], picture[:, 6:-2, 1:-7]
    return torch.stack([pictures[0]] * 2), torch.stack([pictures[1]] * 2)


@pytest.mark.parametrize(("name", "error"), [("dis", 0.2), ("dense", 0.5)])
def test_flows_without_weights(name: str, error: float, worker: Worker) -> None:
    flow = flow_of(name, worker)
    assert (flow.name, flow.sha256, flow.module, flow.differentiable) == (name, "", None, False)
    found = flow(*moved())
    assert found.shape == (2, 2, 96, 96) and found.dtype == torch.float32
    middle = found[..., 24:-24, 24:-24].mean((0, 2, 3))
    assert (middle - torch.tensor([3.0, -2.0])).abs().max() < error
    first, second = (picture.requires_grad_() for picture in moved())
    assert not flow(first, second).requires_grad


def test_a_network_is_differentiable_in_pictures_and_as_a_copy_in_its_weights(weights: Path, worker: Worker) -> None:
    flow = flow_of(str(weights), worker)
    assert flow.name == "mine" and len(flow.sha256) == 64 and flow.differentiable and flow.module is not None
    first, second = (picture.requires_grad_() for picture in moved())
    found = flow(first, second)
    assert found.shape == (2, 2, 96, 96) and found.dtype == torch.float32
    found.square().mean().backward()
    assert first.grad is not None and first.grad.abs().max() > 0 and second.grad is not None
    assert all(p.grad is None for p in flow.module.parameters())
    own = copy.deepcopy(flow.module).requires_grad_(True)
    tuned = flow.tuned(own)
    assert (tuned.name, tuned.sha256) == (flow.name, flow.sha256)
    tuned(*moved()).square().mean().backward()
    assert all(p.grad is not None for p in own.parameters()) and flow_of(str(weights), worker).module is flow.module


def test_the_default_is_the_bundled_network(worker: Worker) -> None:
    flow = flow_of("default", worker)
    assert flow.name == "flownet-small" and flow.differentiable
    found = flow(*moved())[..., 24:-24, 24:-24].mean((0, 2, 3))
    assert (found - torch.tensor([3.0, -2.0])).abs().max() < 0.2
    first, _ = moved()
    assert flow(first, first)[..., 16:-16, 16:-16].abs().mean() < 0.15
    flat = torch.full((1, 3, 64, 64), 0.3)
    assert flow(flat, flat).abs().max() < 1


@torch.no_grad()
@pytest.mark.parametrize(("blur", "most"), [(0.0, 0.5), (1.0, 0.5)])
def test_the_default_follows_sharp_and_blurred_frames(blur: float, most: float, worker: Worker) -> None:
    """Unlike pictures at other places, and the same motion: the error is a share of that of no motion."""
    background = torch.stack([scene(seed, 208, 208) for seed in range(6)])
    scenes = Scenes(background, torch.zeros(6, 4, 208, 208), np.zeros(6, bool))
    pairs = render_pairs(scenes, 112, np.random.default_rng(3))
    frames = pairs.seen(torch.full((6, 2), blur), np.random.default_rng(1))
    found = flow_of("default", worker)(frames[:, 0], frames[:, 1])
    inside = (..., slice(32, -32), slice(32, -32))
    error, nothing = ((flow - pairs.flow)[inside].norm(dim=1).mean() for flow in (found, torch.zeros(6, 2, 112, 112)))
    assert nothing > 1 and error < most * nothing


@pytest.mark.parametrize("size", [(MIN_SIDE, MIN_SIDE), (33, 70)])
@pytest.mark.parametrize("network", ["pwc-net", "flownet-s", "flownet-small"])
def test_small_pictures_of_any_size(network: str, size: tuple[int, int], worker: Worker) -> None:
    spec = NETWORKS[network]
    module = spec.build(**(spec.config or {})).eval()
    pictures = torch.rand(2, 1, 3, *size)
    for flow in (Flow("x", "", module, worker.device), flow_of("dis", worker), flow_of("dense", worker)):
        assert flow(*pictures).shape == (1, 2, *size)


def test_what_is_no_flow_is_refused(worker: Worker, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no flow is called 'dsi'; did you mean 'dis'"):
        flow_of("dsi", worker)
    with pytest.raises(UsageError, match=r"no flow is called .xyz.; there are: .*dense.*flownet-s"):
        flow_of("xyz", worker)
    with pytest.raises(WeightsError, match="a flow network is needed here"):
        flow_of("plain-unet", worker)
    with pytest.raises(WeightsError, match="is it the right name"):
        flow_of(str(tmp_path / "none.pth"), worker)
