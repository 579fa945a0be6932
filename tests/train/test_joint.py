"""Joint training: the two losses and whose gradients they are, exact resumption, what is exported, what is refused."""

from __future__ import annotations

import copy
import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from joint_stage import options, prepared, shrink, train_together
from processes import free_port
from stopping import Stop, StopsAt
from torch import Tensor, nn

from deblurcli import api
from deblurcli.device import Device
from deblurcli.errors import DeblurError, UsageError, WeightsError
from deblurcli.losses import l1, l1_fft
from deblurcli.networks import NETWORKS
from deblurcli.networks.lpips import LPIPS
from deblurcli.optimiser import Muon
from deblurcli.train.material import Material, pack_material
from deblurcli.train.stages import joint
from deblurcli.train.stages.module import restored_pairs
from deblurcli.weights.load import LoadedNetwork, load_network
from deblurcli.weights.save import save_network


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of rectangles."""
    path = tmp_path_factory.mktemp("data") / "packed.safetensors"
    generator = torch.Generator().manual_seed(1)
    photos = {}
    for index in range(4):
        photos[f"{index}.png"] = picture = torch.zeros(3, 180, 200, dtype=torch.uint8)
        for _ in range(60):
            y, x, h, w, *colour = torch.randint(180, (7,), generator=generator).tolist()
            picture[:, y : y + h // 3, x : x + w // 3] = torch.tensor(colour, dtype=torch.uint8).view(3, 1, 1)
    pack_material(Material(photos, {}, {}), path)
    return path


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.rand(3, 3, 64, 64, generator=generator), torch.rand(3, 3, 64, 64, generator=generator)


def of(run: Path, network: str = "plain-unet") -> LoadedNetwork:
    role = "reblur-image" if network == joint.REBLURRING else NETWORKS[network].role
    return load_network(run / f"{network}.safetensors", role=role)  # type: ignore[arg-type]


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("left_alone", ["pseudo", "real", "none"])
def test_each_step_has_its_loss_and_moves_its_own_network(left_alone: str, data: Path) -> None:
    """Equations 1 to 5, written down plainly, against one iteration of the stage; and table 3 of the paper."""
    recipe = prepared(data, reblur_weight=0.7, left_alone=left_alone)
    reblurrer, network = recipe.companions[joint.REBLURRING], recipe.trainee.module.train()
    nn.init.normal_(network.tail.weight, 0, 0.05)  # type: ignore[arg-type, union-attr]
    blurred, sharp = batch()
    before, deblurrer = copy.deepcopy(reblurrer.module), copy.deepcopy(network)
    loss = recipe.loss(network, blurred, sharp)
    assert all(p.grad is None for p in network.parameters()), "the module's own loss reached the deblurring network"
    mine = [p.grad.clone() for p in reblurrer.module.parameters()]  # type: ignore[union-attr]
    loss.backward()
    assert all(torch.equal(p.grad, g) for p, g in zip(reblurrer.module.parameters(), mine, strict=True))

    quarter = (..., slice(32), slice(32))
    before.requires_grad_(False)
    restored = deblurrer(blurred)
    expected = l1_fft(restored, sharp) + 0.7 * l1(before(restored[quarter]), before(sharp[quarter]))
    expected.backward()
    torch.testing.assert_close(loss, expected)
    for found, wanted in zip(network.parameters(), deblurrer.parameters(), strict=True):
        torch.testing.assert_close(found.grad, wanted.grad, atol=1e-6, rtol=1e-4)

    before.requires_grad_(True)
    with torch.no_grad():
        restored, pseudo_sharp = deblurrer(blurred)[quarter], deblurrer(sharp[quarter][::2])
    own = l1(before(restored), blurred[quarter])
    if left_alone != "none":
        kept = pseudo_sharp if left_alone == "pseudo" else sharp[quarter][::2]
        own = own + l1(before(kept), kept)
    own.backward()
    for p, gradient in zip(before.parameters(), mine, strict=True):
        torch.testing.assert_close(gradient, p.grad, atol=1e-6, rtol=1e-4)
        p.grad = gradient
    Muon(before, joint.REBLUR_RATE).step()
    assert same(reblurrer.module, before)


def test_every_weight_learns_under_autocast(data: Path) -> None:
    """Autocast remembers weights: first used without gradients, they would have none."""
    recipe = prepared(data, adversarial_weight=0.001)
    before = copy.deepcopy(recipe.companions)
    nn.init.normal_(recipe.trainee.module.tail.weight, 0, 0.05)  # type: ignore[arg-type, union-attr]
    with torch.autocast("cpu", torch.bfloat16):
        loss = recipe.loss(recipe.trainee.module.train(), *batch())
    loss.backward()
    assert all(p.grad is not None for p in recipe.trainee.module.parameters())
    assert set(before) == {joint.REBLURRING, "patch-critic"}
    for name, companion in recipe.companions.items():
        for (key, p), old in zip(companion.module.named_parameters(), before[name].module.parameters(), strict=True):
            # In a critic, normalisation takes the biases before it out again.
            assert not torch.equal(p, old) or (name == "patch-critic" and key.endswith("bias")), key


def test_the_optional_terms(monkeypatch: pytest.MonkeyPatch, data: Path, tmp_path: Path) -> None:
    torch.manual_seed(2)
    perceptual, file = LPIPS("alex").eval(), tmp_path / "perceptual.safetensors"
    save_network(file, perceptual, network="lpips-alex", config={}, card={})
    used: list[LoadedNetwork] = []

    def remembered(name: str, role: str) -> LoadedNetwork:
        used.append(load_network(name, role=role))  # type: ignore[arg-type]
        return used[-1]

    monkeypatch.setattr(joint, "load_network", remembered)
    blurred, sharp = batch()
    plain = prepared(data)
    with_term = prepared(data, perceptual_weight=0.3, perceptual=str(file))
    losses = [recipe.loss(recipe.trainee.module, blurred, sharp) for recipe in (plain, with_term)]
    # A new network returns its input.
    distance = perceptual(blurred[..., :32, :32], sharp[..., :32, :32]).mean()
    torch.testing.assert_close(losses[1] - losses[0], 0.3 * distance, atol=1e-5, rtol=1e-3)
    losses[1].backward()
    assert all(p.grad.isfinite().all() for p in with_term.trainee.module.parameters())  # type: ignore[union-attr]
    assert len(used) == 1 and all(p.grad is None for p in used[0].module.parameters())

    adversarial = prepared(data, adversarial_weight=10.0)
    loss = adversarial.loss(adversarial.trainee.module, blurred, sharp)
    score = adversarial.companions["patch-critic"].module(blurred[..., :32, :32]).mean()
    torch.testing.assert_close(loss - losses[0], -10 * score, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("network", ["plain-unet", "mimo-unet"])
def test_another_loss_is_of_the_result_alone(data: Path, network: str) -> None:
    recipe = prepared(data, network=network, loss="l1", reblur_weight=0.0)
    blurred, sharp = batch()
    expected = l1(recipe.trainee.module(blurred), sharp)
    torch.testing.assert_close(recipe.loss(recipe.trainee.module, blurred, sharp), expected)


def test_the_picture_among_several_outputs() -> None:
    small, large, other = torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 16, 16), torch.ones(1, 3, 16, 16)
    assert joint.picture_of(large) is large
    assert joint.picture_of([small, large]) is large, "MIMO-UNet's order"
    assert joint.picture_of([large, other]) is large, "MPRNet's order"


def test_without_weight_the_deblurring_network_goes_its_own_way(data: Path, tmp_path: Path) -> None:
    api.train_network("deblur", **options(data, tmp_path / "alone", iterations=3))
    api.train_network("joint", **options(data, tmp_path / "joint", iterations=3, reblur_weight=0.0))
    assert same(of(tmp_path / "alone").module, of(tmp_path / "joint").module)
    module = of(tmp_path / "joint", joint.REBLURRING)
    assert module.config == {"blocks": 2} and module.card["reblurring_start"] == "random weights"


def test_a_stopped_run_resumes_to_the_same_weights(data: Path, tmp_path: Path) -> None:
    def keywords(run: str) -> dict[str, object]:
        return options(data, tmp_path / run, iterations=4, adversarial_weight=0.001)

    api.train_network("joint", **keywords("whole"))
    with pytest.raises(Stop):
        api.train_network("joint", console=StopsAt(2), **keywords("parts"))
    api.train_network("joint", **keywords("parts"))
    for network in ("plain-unet", joint.REBLURRING, "patch-critic"):
        assert same(of(tmp_path / "whole", network).module, of(tmp_path / "parts", network).module), network
    with (tmp_path / "parts" / "log.csv").open() as log:
        rows = list(csv.DictReader(log))
    assert [row["iteration"] for row in rows] == ["0", "2", "4"]
    assert 0 < float(rows[-1]["validation_reblur_psnr"]) <= 40


def test_several_outputs_and_a_module_that_goes_on(data: Path, tmp_path: Path) -> None:
    api.train_network("joint", **options(data, tmp_path / "one", network="mimo-unet", reblur_blocks=1))
    first = of(tmp_path / "one", joint.REBLURRING)
    assert first.config == {"blocks": 1}
    start = str(tmp_path / "one" / f"{joint.REBLURRING}.safetensors")
    api.train_network("joint", **options(data, tmp_path / "on", network="mimo-unet", reblur_start=start))
    second = of(tmp_path / "on", joint.REBLURRING)
    assert second.config == {"blocks": 1} and second.card["reblurring_start"] == f"{first.name} ({first.sha256[:12]})"
    difference = max(
        float((a - b).detach().abs().max())
        for a, b in zip(first.module.parameters(), second.module.parameters(), strict=True)
    )  # fmt: skip
    assert 0 < difference < 0.01


def test_a_module_is_trained_for_a_network_that_stays(data: Path, tmp_path: Path) -> None:
    """Its pairs are what the network makes of blurred and sharp pictures with their surroundings, and the former."""
    api.train_network("deblur", **options(data, tmp_path / "deblur"))
    weights = tmp_path / "deblur" / "plain-unet.safetensors"
    network, written = of(tmp_path / "deblur"), weights.read_bytes()
    torch.nn.init.normal_(network.module.tail.weight, 0, 0.05)  # type: ignore[arg-type, union-attr]
    pictures = torch.rand(2, 3, 128, 128), torch.rand(2, 3, 128, 128)
    device = Device(torch.device("cpu"), torch.float32, "test")
    made, blurred = restored_pairs(lambda count, rng: pictures, network.module, device)(2, np.random.default_rng(0))
    with torch.no_grad():
        for found, picture in zip(made.unbind(1), pictures, strict=True):
            wanted = network.module(picture)[..., 32:-32, 32:-32]
            assert (wanted - picture[..., 32:-32, 32:-32]).abs().mean() > 1e-4
            torch.testing.assert_close(found, wanted)
    assert torch.equal(blurred, pictures[0][..., 32:-32, 32:-32])

    keywords = {"network": joint.REBLURRING, "deblurring": str(weights), "iterations": 3}
    api.train_network("module", **options(data, tmp_path / "one", reblur_blocks=1, **keywords))
    first = of(tmp_path / "one", joint.REBLURRING)
    assert first.config == {"blocks": 1} and first.card["deblurring"] == f"plain-unet ({network.sha256[:12]})"
    assert weights.read_bytes() == written and 0 < first.card["validation_input_psnr"] <= 40
    start = str(tmp_path / "one" / f"{joint.REBLURRING}.safetensors")
    api.train_network("module", **options(data, tmp_path / "two", start=start, **keywords))
    second = of(tmp_path / "two", joint.REBLURRING)
    assert second.config == {"blocks": 1} and second.card["start"] == f"{first.name} ({first.sha256[:12]})"
    assert not same(first.module, second.module)


@pytest.mark.parametrize(
    ("stage", "changes", "error", "said"),
    [
        ("module", {}, UsageError, "plain-unet is a deblur network"),
        ("module", {"network": joint.REBLURRING, "deblurring": "video-unet"}, UsageError, "takes 3 frames"),
        (
            "module",
            {"network": joint.REBLURRING, "start": "default", "reblur_blocks": 1},
            UsageError,
            "--reblur-blocks and --from exclude each other",
        ),
        ("joint", {"deblurring": "default2"}, UsageError, "--deblurring means nothing to deblur train joint"),
        ("joint", {"loss": "l2"}, UsageError, "give one of own, l1"),
        ("reblur", {"loss": "l1"}, UsageError, "--loss means nothing to deblur train reblur"),
        ("joint", {"reblur_weight": -1.0}, UsageError, "--reblur-weight is out of range"),
        ("joint", {"reblur_blocks": 5}, UsageError, "give 1 to 4"),
        ("joint", {"reblur_blocks": 1, "reblur_start": "default"}, UsageError, "exclude each other"),
        ("joint", {"network": "dbn"}, UsageError, "takes 5 frames"),
        ("joint", {"network": "reblurring-module"}, UsageError, "trains deblur networks"),
        ("joint", {"reblur_start": "plain-unet"}, WeightsError, "a reblur-image network is needed"),
        ("joint", {"perceptual_weight": 0.3}, WeightsError, "deblur weights pull lpips-vgg"),
        ("joint", {"perceptual": "lpips-alex"}, UsageError, "give --perceptual-weight"),
        ("joint", {"perceptual_weight": 0.1, "perceptual": "plain-unet"}, WeightsError, "a metric network is needed"),
        ("deblur", {"reblur_weight": 0.5}, UsageError, "--reblur-weight means nothing to deblur train deblur"),
        ("reblur", {"reblur_start": "default"}, UsageError, "--reblur-from means nothing to deblur train reblur"),
    ],
)
def test_what_is_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, changes: dict, error: type, said: str
) -> None:  # type: ignore[type-arg]
    monkeypatch.setenv("DEBLUR_CACHE", str(tmp_path / "cache"))
    with pytest.raises(error, match=said) as caught:
        api.train_network(stage, **options(data, tmp_path / "run", **changes))
    assert isinstance(caught.value, DeblurError) and "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_two_processes_train_one_module(data: Path, tmp_path: Path) -> None:
    torch.multiprocessing.spawn(train_together, (str(tmp_path), str(data), free_port()), nprocs=2)
    one, other = (json.loads(Path(tmp_path, str(rank)).read_text()) for rank in range(2))
    assert one[0] != other[0], "both saw the same crops"
    assert one[1:] == other[1:]
