"""Meta-training: tasks that can be adapted to, first-order gradients, equation 7 whole, resumable runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurcli.adaptation.support import WINDOW
from deblurcli.device import pick_device
from deblurcli.errors import UsageError
from deblurcli.losses import l1
from deblurcli.networks import NETWORKS
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.meta_training import MetaTraining
from deblurcli.restore.worker import Worker
from deblurcli.train import tasks
from deblurcli.train.loop import train
from deblurcli.train.material import Material
from deblurcli.train.parallel import Peers
from deblurcli.train.recipe import Setting, Trainee
from deblurcli.train.stages import meta
from deblurcli.train.tasks import TaskRing, draw_task
from deblurcli.weights.load import load_network

CPU = pick_device("cpu", "fp32")
SETTING = Setting(Worker(ComputeOptions(device="cpu", dtype="fp32")), Peers(), "test")
SPEC = NETWORKS["plain-unet"]
SIZE = tasks.TaskSize(frames=8, side=160)
SMALL = {"width": 16, "deep_width": 16, "blocks": (1, 1, 1), "scales": 1}


def scene(seed: int) -> Tensor:
    """Soft shapes with strong contrast, 3 x 320 x 320 uint8."""
    generator = torch.Generator().manual_seed(seed)
    layers = [
        F.interpolate(torch.rand(1, 3, 320 // s, 320 // s, generator=generator), (320, 320), mode="bicubic")
        for s in (9, 14, 25)
    ]
    return ((sum(layers)[0] / 3 - 0.5) * 3 + 0.5).clamp(0.02, 0.98).mul(255).byte()


@pytest.fixture
def material(monkeypatch: pytest.MonkeyPatch) -> Material:
    monkeypatch.setattr(tasks, "LENGTHS", (6.0, 12.0))
    monkeypatch.setattr(meta, "VALIDATION_TASKS", 1)
    return Material({f"{n}.png": scene(n) for n in range(3)}, {}, {})


def test_a_task_is_a_video_with_a_camera_that_explains_it(material: Material) -> None:
    task = draw_task(material, [1, 2], CPU.where, SIZE)
    assert task.blurred.shape == task.sharp.shape == (8, 3, 160, 160) and task.blurred.dtype == torch.uint8
    assert task.camera is not None and len(task.support) == SIZE.patches and len(task.camera.paths) >= 4
    for patch in task.support:
        assert 2 <= patch.frame < 6 and patch.window is not None
        crop = task.blurred[patch.frame, :, patch.y : patch.y + 128, patch.x : patch.x + 128]
        assert torch.equal(patch.window[WINDOW // 2], crop.float() / 255)
        worst = task.blurred[patch.blurriest_frame, :, patch.y : patch.y + 128, patch.x : patch.x + 128]
        assert patch.blurriest is not None and torch.equal(patch.blurriest, worst.float() / 255)
        assert patch.contrast > 0
    again, other = (draw_task(material, [1, seed], CPU.where, SIZE) for seed in (2, 3))
    assert torch.equal(task.blurred, again.blurred) and not torch.equal(task.blurred, other.blurred)


def test_a_ring_keeps_a_task_for_some_iterations(material: Material) -> None:
    drawn: list[int] = []

    def draw(index: int) -> tasks.Task:
        drawn.append(index)
        return draw_task(material, [index], CPU.where, SIZE)

    ring = TaskRing(draw, 2, 5)
    batches = []
    for iteration in range(4):
        ring.advance(iteration)
        assert ring.begins == (iteration % 2 == 0)
        batches.append(ring.batch(iteration, 3, 96, CPU.where))
    assert drawn == [0, 1]
    assert batches[0][0].shape == (3, 5, 3, 96, 96) and not torch.equal(batches[0][0], batches[1][0])
    late = TaskRing(draw, 2, 5)
    late.advance(3)
    assert all(torch.equal(a, b) for a, b in zip(late.batch(3, 3, 96, CPU.where), batches[3], strict=True))


def test_a_query_set_has_every_frame_with_those_around_it() -> None:
    """As many crops as a task has frames: equation 7 sums over all of them. Ends are repeated."""
    numbers = torch.arange(6, dtype=torch.uint8)[:, None, None, None].expand(6, 3, 64, 64)
    ring = TaskRing(lambda index: tasks.Task([], None, numbers, 100 + numbers), 1, 5)
    ring.advance(0)
    blurred, sharp = (
        (windows[:, :, 0, 0, 0] * 255).round().int().tolist() for windows in ring.batch(0, 6, 64, CPU.where)
    )
    assert sorted(window[2] for window in blurred) == list(range(6))
    assert all(window == [min(max(window[2] + off, 0), 5) for off in range(-2, 3)] for window in blurred)
    assert sharp == [[100 + number for number in window] for window in blurred]


def test_the_outer_gradient_is_that_of_the_adapted_weights() -> None:
    torch.manual_seed(1)
    network, adapted = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)
    picture, target = torch.rand(1, 3, 8, 8), torch.rand(1, 3, 6, 6)
    loss = meta.outer_loss(network, adapted, lambda net: l1(net(picture), target))
    assert float(loss.detach()) == pytest.approx(float(l1(adapted(picture), target).detach()))
    loss.backward()
    l1(adapted(picture), target).backward()
    for p, q in zip(network.parameters(), adapted.parameters(), strict=True):
        assert p.grad is not None and q.grad is not None and torch.allclose(p.grad, q.grad)


@pytest.mark.parametrize("autocast", [False, True])
def test_the_inner_update_goes_on_from_its_own_weights(material: Material, autocast: bool) -> None:
    """Autocast keeps casted weights: within the training loop's, every step must still see those of the last one."""
    torch.manual_seed(2)
    network, task = SPEC.build(**SMALL), draw_task(material, [4], CPU.where, SIZE)
    device = pick_device("cpu", "bf16" if autocast else "fp32")
    before = [p.detach().clone() for p in network.parameters()]
    outside = meta.adapted_to(task, network, SPEC, 3, 1e-2, 1, device)
    with device.autocast():
        network(torch.rand(1, 3, 32, 32))
        inside = meta.adapted_to(task, network, SPEC, 3, 1e-2, 1, device)
    pairs = list(zip(outside.parameters(), inside.parameters(), before, network.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, *_ in pairs)
    assert not all(torch.equal(a, c) for a, _, c, _ in pairs) and all(torch.equal(c, d) for *_, c, d in pairs)


def run(
    material: Material, out: Path, monkeypatch: pytest.MonkeyPatch, iterations: int, stop: int = 0, **changed: object
) -> dict[str, Tensor]:
    options = MetaTraining(
        data=out, out=out, iterations=iterations, batch=1, crops=(64,), rate=1e-3, inner_steps=2, inner_rate=1e-3,
        outer_steps=2, save_every=1e-9 if stop else 5, task_frames=8, task_size=160, **changed,  # type: ignore[arg-type]
    )  # fmt: skip
    monkeypatch.setattr(meta, "learnt_from", lambda options: material)

    def small(*_: object) -> Trainee:
        torch.manual_seed(3)
        return Trainee(SPEC, SPEC.build(**SMALL), dict(SMALL), "random weights", CPU)

    monkeypatch.setattr(meta, "trainee", small)
    if stop:
        real = meta.outer_loss
        left = iter(range(stop))

        def interrupted(*args: object) -> Tensor:
            if next(left, None) is None:
                raise KeyboardInterrupt
            return real(*args)  # type: ignore[arg-type]

        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(meta, "outer_loss", interrupted)
            train(meta.meta_recipe(options, SETTING), options, SETTING)
    options = replace(options, save_every=5)
    facts = train(meta.meta_recipe(options, SETTING), options, SETTING)
    assert facts["iteration"] == iterations
    return load_network(out / "plain-unet.safetensors", role="deblur").module.state_dict()


def test_a_run_that_stops_within_a_task_goes_on_exactly(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(material, tmp_path / "whole", monkeypatch, 4)
    parts = run(material, tmp_path / "parts", monkeypatch, 4, stop=3)
    assert all(torch.equal(whole[k], parts[k]) for k in whole)
    log = (tmp_path / "whole" / "log.csv").read_text().splitlines()
    assert log[0].split(",")[4:] == [
        "validation_psnr", "validation_input_psnr", "validation_start_adapted_psnr", "validation_unadapted_psnr",
    ]  # fmt: skip


def test_the_outer_loss_can_be_the_authors(material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Adapting once for all iterations with a task, and nothing for the weights before: both change what is learnt."""
    found = [
        run(material, tmp_path / str(index), monkeypatch, 2, **changed)
        for index, changed in enumerate(({}, {"adapt_anew": False}, {"unadapted_weight": 0.0}))
    ]
    for changed in found[1:]:
        assert not all(torch.equal(a, b) for a, b in zip(found[0].values(), changed.values(), strict=True))


def test_what_cannot_be_meta_trained_is_refused(tmp_path: Path) -> None:
    options = MetaTraining(data=tmp_path, out=tmp_path, iterations=1)
    with pytest.raises(UsageError, match="--inner-steps 0"):
        replace(options, inner_steps=0)
    with pytest.raises(UsageError, match="--reblur with --reblurring camera, which has no network; add --reblurring"):
        replace(options, reblur="mine.safetensors")
    with pytest.raises(UsageError, match="--crops 288 is more than a task's video has; give 256 at most, or a larger"):
        replace(options, crops=(288,))
    with pytest.raises(UsageError, match="--patch-size 72 does not fit"):
        replace(options, patch_size=72)
