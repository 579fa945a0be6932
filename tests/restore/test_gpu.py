"""A real graphics card against the processor. ``python -m benchmarks gpu`` measures how fast it is."""

from __future__ import annotations

import pytest
import torch

from deblurcli.console import Reporter
from deblurcli.device import pick_device
from deblurcli.options.compute import ComputeOptions
from deblurcli.restore.tiles import MOST_AT_ONCE, Restorer
from deblurcli.restore.worker import Worker

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no graphics card")]


@pytest.fixture(params=["plain-unet", "video-unet"])
def pair(request: pytest.FixtureRequest) -> tuple[Restorer, Restorer]:
    """A bundled network in float32 on the card and on the processor."""
    found = []
    for device in ("cuda", "cpu"):
        worker = Worker(ComputeOptions(device=device, dtype="fp32"), Reporter.silent())
        network = worker.place(request.param, "video", "deblur")
        found.append(Restorer(network.module, network.spec, network.device))
    return found[0], found[1]


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def windows(size: int, height: int = 160, width: int = 224) -> list[list[torch.Tensor]]:
    torch.manual_seed(0)
    frames = list(torch.rand(MOST_AT_ONCE + size - 1, 3, height, width))
    return [frames[begin : begin + size] for begin in range(MOST_AT_ONCE)]


def test_frames_that_go_together_are_those_of_the_processor(pair: tuple[Restorer, Restorer]) -> None:
    card, processor = pair
    shown = windows(card.window)
    assert card.at_once(160, 224) == MOST_AT_ONCE and processor.at_once(160, 224) == 1
    for found, frames in zip(card.several(shown), shown, strict=True):
        assert (found - processor(frames)).abs().max() < 0.5 / 255


def test_memory_that_runs_out_is_survived(pair: tuple[Restorer, Restorer]) -> None:
    """Another tensor holds nearly all of the card's memory."""
    card, processor = pair
    told: list[str] = []
    card.warn, shown = told.append, windows(card.window, 512, 768)
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    taken = torch.empty(free - (512 << 20), dtype=torch.uint8, device="cuda")
    try:
        found = card.several(shown)
    finally:
        del taken
        torch.cuda.empty_cache()
    assert any("memory ran out on cuda" in said for said in told)
    assert (found[0] - processor(shown[0])).abs().mean() < 0.5 / 255


def test_reduced_precision_agrees_to_eight_bits() -> None:
    network = Worker(ComputeOptions(device="cuda"), Reporter.silent()).place("plain-unet", "video", "deblur")
    exact = Worker(ComputeOptions(device="cpu", dtype="fp32"), Reporter.silent()).place("plain-unet", "video", "deblur")
    picture = torch.rand(3, 128, 160) * 0.25 + torch.linspace(0.1, 0.7, 160)
    one, other = (Restorer(n.module, n.spec, pick_device(n.device.where.type))([picture]) for n in (network, exact))
    assert (one - other).abs().mean() < 0.5 / 255
