"""``--recipe``: what each stands for, and that a run does it: optimiser, schedule, clipping, averaging, losses."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from end_to_end import deblur, small_network
from safetensors.torch import load_file
from torch import Tensor, nn
from trees import make_dataset

from deblurcli import optimiser
from deblurcli.errors import UsageError
from deblurcli.losses import charbonnier, edge, mse
from deblurcli.networks import NETWORKS
from deblurcli.optimiser import Muon, new_optimiser, set_share
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.meta import MetaOptions
from deblurcli.options.recipes import AUTHORS, CLEAN_IMAGES, KERNEL, OURS, PAPERS, REBLURRING, RECIPE_NAMES, Regime
from deblurcli.options.train import STAGES, DeblurTraining, JointTraining, ReblurTraining
from deblurcli.restore.worker import Worker
from deblurcli.train import loop
from deblurcli.train.parallel import Peers
from deblurcli.train.recipe import Setting, chosen_loss
from deblurcli.train.stages.reblur import MIN_CRITIC_RATE, reblur_recipe, smoothness_loss

NEEDED: dict[str, dict[str, Any]] = {
    "hybrid": {"videos": ("a.mp4",)},
    "blur2blur": {"blurry": ("b",), "data": ("d",)},
    "deblur": {"network": "mprnet"},
}
OPTIONS: dict[tuple[str, str], dict[str, Any]] = {
    ("deblur", "ours"): {"rate": 0.005, "loss": "own"},
    ("deblur", "paper"): {"rate": 2e-4, "loss": "own"},
    ("deblur", "authors"): {"rate": 2e-4, "loss": "own"},
    ("hybrid", "ours"): {"rate": 0.005, "loss": "own", "tau": 0.5, "reblur_gamma": 2.2, "reblur_weight": 0.1},
    ("hybrid", "paper"): {"rate": 1e-4, "loss": "mse", "tau": 1.0, "reblur_gamma": 1.0, "reblur_weight": 0.1},
    ("joint", "ours"): {"rate": 0.005, "loss": "own", "reblur_weight": 1.0},
    ("joint", "paper"): {"rate": 1e-4, "loss": "l1", "reblur_weight": 1.0},
    ("module", "ours"): {"rate": 0.005},
    ("module", "paper"): {"rate": 1e-4},
    ("meta", "ours"): {
        "rate": 0.005, "inner_steps": 8, "inner_rate": 6e-5, "outer_steps": 4, "unadapted_weight": 0.5,
        "adapt_anew": True, "reblurring": "camera", "windows": "video", "loss": "own",
        "task_size": 256, "patches": 6, "patch_size": 128,
    },
    ("meta", "paper"): {
        "rate": 2.5e-6, "inner_steps": 20, "inner_rate": 2.5e-6, "outer_steps": 1, "unadapted_weight": 0.0,
        "adapt_anew": True, "reblurring": "network", "windows": "sharp", "reblur_rate": 1e-6, "reblur_outer_rate": 1e-6,
        "cycle_weight": 0.01, "critic_rate": 1e-6, "task_size": 720, "patches": 20, "patch_size": 256,
    },
    ("meta", "authors"): {
        "rate": 2.5e-6, "inner_steps": 20, "inner_rate": 2.5e-6, "outer_steps": 12, "unadapted_weight": 0.0,
        "adapt_anew": False, "reblurring": "network", "reblur_rate": 2.5e-6, "reblur_outer_rate": 2.5e-6,
        "task_size": 720, "patches": 20, "patch_size": 256,
    },
    ("fusion", "ours"): {"rate": 0.005},
    ("reblur", "ours"): {
        "rate": 0.02, "windows": "transfer", "smoothness_weight": 0.05, "adversarial_weight": 0.001,
        "cycle_weight": 0.0, "edge_weight": 0.0, "critic_rate": 1e-4,
    },
    ("reblur", "paper"): {
        "rate": 1e-4, "windows": "sharp", "smoothness_weight": 0.0, "adversarial_weight": 1.0, "cycle_weight": 0.0,
        "edge_weight": 0.0, "critic_rate": 2e-6,
    },
    ("reblur", "authors"): {
        "rate": 1e-4, "windows": "sharp", "smoothness_weight": 0.0, "adversarial_weight": 1.0, "cycle_weight": 1.0,
        "edge_weight": 0.05, "critic_rate": 2e-6,
    },
    ("flow", "ours"): {"rate": 0.02},
    ("flow", "paper"): {"rate": 1e-4},
    ("kernel", "ours"): {"rate": 0.005},
    ("kernel", "authors"): {"rate": 1e-4},
    **{("blur2blur", recipe): {"rate": 2e-4} for recipe in RECIPE_NAMES},
}  # fmt: skip
"""Every stage and recipe that there is, and what its options are then."""


def options_of(stage: str, recipe: str, **given: Any) -> Any:
    return STAGES[stage](**{"out": "o", "data": "d", "iterations": 1, "recipe": recipe} | NEEDED.get(stage, {}) | given)


@pytest.mark.parametrize(("stage", "recipe"), [(stage, recipe) for stage in STAGES for recipe in RECIPE_NAMES])
def test_options_of_every_stage_and_recipe(stage: str, recipe: str) -> None:
    if (stage, recipe) not in OPTIONS:
        with pytest.raises(UsageError, match=f"there is no --recipe {recipe} of this stage; give ours"):
            options_of(stage, recipe)
        return
    found = options_of(stage, recipe)
    expected = OPTIONS[stage, recipe]
    assert {name: getattr(found, name) for name in expected} == expected
    assert not [f.name for f in fields(found) if getattr(found, f.name) is None and "| None" not in str(f.type)]
    assert (found.regime.optimiser == "muon") == (recipe == "ours" or stage == "blur2blur")


def test_meta_training_with_a_network_adapts_as_the_method_does() -> None:
    found = options_of("meta", "ours", reblurring="network")
    usual = MetaOptions(reblurring="network")
    assert (found.inner_steps, found.inner_rate) == (usual.patches, usual.beta)
    assert (found.reblur_rate, found.critic_rate, found.cycle_weight) == (
        usual.reblur_rate, usual.critic_rate, usual.cycle_weight
    )  # fmt: skip
    assert options_of("meta", "ours", reblurring="network", inner_steps=3).inner_steps == 3


def test_what_is_given_counts_more() -> None:
    found = options_of("reblur", "authors", rate=0.25, adversarial_weight=0.0, edge_weight=0.5)
    assert (found.rate, found.adversarial_weight, found.edge_weight, found.cycle_weight) == (0.25, 0.0, 0.5, 1.0)


def test_networks_without_a_recipe_are_refused() -> None:
    for network, recipe in (("plain-unet", "paper"), ("dmphn", "paper"), ("residual-unet", "authors")):
        with pytest.raises(UsageError, match=f"--recipe {recipe} with {network}, of which none is known; give") as told:
            options_of("deblur", recipe, network=network)
        assert "\n" not in str(told.value)
    with pytest.raises(UsageError, match="--recipe theirs is unknown"):
        options_of("deblur", "theirs")


def test_every_regime_is_of_a_network_and_names_its_source() -> None:
    assert set(AUTHORS) <= set(PAPERS) <= {name for name, spec in NETWORKS.items() if spec.role == "deblur"}
    assert all(len(regime.source) > 8 for regime in (*PAPERS.values(), *AUTHORS.values(), KERNEL, REBLURRING))


class TestSchedules:
    def test_halved(self) -> None:
        shares = [CLEAN_IMAGES.share(at) for at in (0, 0.49, 0.5, 0.74, 0.75, 0.9, 1)]
        assert shares == [1, 1, 0.5, 0.5, 0.25, 0.125, 0.125]

    @pytest.mark.parametrize(("network", "last"), [("mprnet", 1e-6), ("restormer", 1e-6), ("nafnet-w32", 1e-7)])
    def test_cosine_is_that_of_torch(self, network: str, last: float) -> None:
        regime, steps = PAPERS[network], 40
        theirs = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=regime.rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(theirs, steps, eta_min=last)
        for step in range(steps + 1):
            assert math.isclose(regime.rate * regime.share(step / steps), theirs.param_groups[0]["lr"], rel_tol=1e-6)
            theirs.step()
            schedule.step()

    def test_restarts(self) -> None:
        """Of 600,000 iterations, at 50, 150, 300 and 450 thousand."""
        for at in (0, 1 / 12, 1 / 4, 1 / 2, 3 / 4):
            assert KERNEL.share(at) == 1
        for before in (1 / 12, 1 / 4, 1 / 2, 3 / 4, 1):
            assert KERNEL.share(before - 1e-9) == pytest.approx(1e-4, abs=1e-6)
        assert KERNEL.share((1 / 12 + 1 / 4) / 2) == pytest.approx((1 + 1e-4) / 2)

    def test_linear_polynomial_warm_up_and_constant(self) -> None:
        assert [PAPERS["deblurgan"].share(at) for at in (0, 0.5, 0.75, 1)] == [1, 1, 0.5, 0]
        assert PAPERS["srn"].share(0.36) == pytest.approx(0.64**0.3)
        code = AUTHORS["restormer"]  # constant for 92,000 of 300,000 iterations, then a cosine over 208,000
        assert [code.share(at) for at in (0, 0.3, 92 / 300)] == [1, 1, 1] and code.share(1) == pytest.approx(
            1e-6 / 3e-4
        )
        assert code.share(196 / 300) == pytest.approx(0.5 * (1 + 1e-6 / 3e-4))
        warm = AUTHORS["mprnet"]
        assert warm.share(0) == 0 and warm.share(0.0005) == 0.5 and warm.share(0.001) == 1
        assert [options_of("meta", "paper").regime.share(at) for at in (0, 0.5, 1)] == [1, 1, 1]


class TestOptimisers:
    def test_are_those_of_the_recipe(self) -> None:
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 3, 3))
        assert isinstance(new_optimiser(net, OURS, 0.1), Muon)
        nafnet = new_optimiser(net, PAPERS["nafnet-w32"], 1e-3)
        assert type(nafnet) is torch.optim.AdamW
        (group,) = nafnet.param_groups
        assert (group["lr"], group["betas"], group["weight_decay"]) == (1e-3, (0.9, 0.9), 1e-3)
        assert len(group["params"]) == 4
        assert new_optimiser(net, AUTHORS["nafnet-w32"], 1e-3).param_groups[0]["weight_decay"] == 0
        assert type(new_optimiser(net, PAPERS["deblurgan"], 1e-4)) is torch.optim.Adam

    def test_a_part_may_be_slower(self) -> None:
        net = nn.ModuleDict({"flow_net": nn.Linear(2, 2), "recons_net": nn.Linear(2, 3)})
        made = new_optimiser(net, PAPERS["cdvd-tsp"], 1e-4)
        assert [group["lr"] for group in made.param_groups] == pytest.approx([1e-6, 1e-4])
        assert [sum(p.numel() for p in group["params"]) for group in made.param_groups] == [6, 9]
        assert {name.split(".")[0] for name, _ in NETWORKS["cdvd-tsp"].build().named_parameters()} == {
            "flow_net",
            "recons_net",
        }
        set_share(made, 0.5)
        assert [group["lr"] for group in made.param_groups] == pytest.approx([5e-7, 5e-5])

    def test_one_that_knows_no_peak_keeps_its_rate(self) -> None:
        critic = torch.optim.RMSprop(nn.Linear(2, 2).parameters(), lr=1e-4)
        set_share(critic, 0.1)
        assert critic.param_groups[0]["lr"] == 1e-4


class TestLosses:
    def test_of_networks(self) -> None:
        picture, sharp = torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8)
        for network in ("dbn", "srn"):
            options = options_of("deblur", "paper", network=network)
            assert isinstance(options, DeblurTraining)
            assert torch.equal(chosen_loss(options, NETWORKS[network])([picture], sharp), mse(picture, sharp))
        joint = options_of("joint", "paper", network="mimo-unet")
        assert isinstance(joint, JointTraining)
        small = torch.rand(1, 3, 4, 4)
        found = chosen_loss(joint, NETWORKS["mimo-unet"])([small, picture], sharp)
        assert torch.equal(found, (picture - sharp).abs().mean())

    def test_of_the_reblurring_network(self, tmp_path: Path) -> None:
        make_dataset(tmp_path, "gopro", (64, 64))
        setting = Setting(Worker(ComputeOptions(device="cpu", dtype="fp32")), Peers(), "test")
        given: dict[str, Any] = {
            "out": tmp_path / "o", "pairs": tmp_path, "layout": "gopro", "iterations": 1, "crops": (64,), "batch": 1,
            "ring": 6, "adversarial_weight": 0.0, "cycle_weight": 0.0, "recipe": "authors",
        }  # fmt: skip
        recipe = reblur_recipe(ReblurTraining(**given), setting)
        recipe.ring.advance(0)
        blurred, sharp = recipe.ring.batch(0, 1, 64, torch.device("cpu"))
        net = recipe.trainee.module.eval()
        made = net(sharp)
        expected = charbonnier(made, blurred) + 0.05 * edge(made, blurred)
        assert torch.allclose(recipe.loss(net, blurred, sharp), expected)
        with_smoothness = reblur_recipe(ReblurTraining(**given, smoothness_weight=0.5), setting)
        more = expected + 0.5 * smoothness_loss(made, blurred)
        assert torch.allclose(with_smoothness.loss(net, blurred, sharp), more) and float(more.detach()) > expected
        (critic,) = recipe.companions.values()
        rates = []
        for progress in (0.0, 0.5, 1.0):
            set_share(critic.optimiser, REBLURRING.share(progress))
            rates.append(critic.optimiser.param_groups[0]["lr"])
        assert rates == pytest.approx([2e-6, 1e-6, MIN_CRITIC_RATE], rel=1e-3)


def test_the_strength_of_blur_is_compared_in_each_direction() -> None:
    sharp = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    along, across = (F.avg_pool2d(sharp, kernel, 1, (kernel[0] // 2, kernel[1] // 2)) for kernel in ((1, 5), (5, 1)))
    assert float(smoothness_loss(along, along)) == 0
    none, wrong = float(smoothness_loss(sharp, along)), float(smoothness_loss(across, along))
    assert none > 1 and wrong > 0.5
    half = float(smoothness_loss((sharp + along) / 2, along))
    assert 0.1 < half < none, "too weak"
    picture = sharp.clone().requires_grad_(True)
    smoothness_loss(picture, along).backward()
    assert picture.grad is not None and bool(torch.isfinite(picture.grad).all())


class TestRuns:
    @pytest.fixture
    def clips(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
        """The norms to which gradients are shortened in a run."""
        found: list[float] = []
        real = nn.utils.clip_grad_norm_

        def noted(parameters: Any, longest: float) -> Tensor:
            found.append(longest)
            return real(parameters, longest)

        monkeypatch.setattr(optimiser.nn.utils, "clip_grad_norm_", noted)
        yield found

    def run(self, tmp_path: Path, recipe: str, regime: Regime, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
        """Train a small network for 8 iterations in a regime; returns its weights."""
        make_dataset(tmp_path / "data", "gopro", (80, 96))
        known = DeblurTraining.RECIPES[recipe][1]
        monkeypatch.setattr(DeblurTraining, "RECIPES", DeblurTraining.RECIPES | {recipe: (regime, known)})
        words = ["train", "deblur", "--pairs", tmp_path / "data", "--layout", "gopro", "--out", tmp_path / "run"]
        words += ["--batch", "1", "--crops", "64", "--ring", "6", "--device", "cpu", "--dtype", "fp32", "-q"]
        words += ["--iterations", "8", "--recipe", recipe, "--save-every", "0.000001"]
        assert deblur(*words, "--from", small_network(tmp_path / "w.safetensors", 0.01)) == 0
        return load_file(tmp_path / "run" / loop.STATE)

    def test_a_paper_s(self, tmp_path: Path, clips: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
        state = self.run(tmp_path, "paper", CLEAN_IMAGES, monkeypatch)
        assert set(clips) == {math.inf}
        assert any(key.startswith("optimiser/") and key.endswith("exp_avg_sq") for key in state), "Adam's moments"
        last = {key.removeprefix("module/"): value for key, value in state.items() if key.startswith("module/")}
        assert all(torch.equal(value, state[f"average/{key}"]) for key, value in last.items())
        with (tmp_path / "run" / "log.csv").open() as file:
            rates = [float(row["rate"]) for row in csv.DictReader(file)][1:]
        assert rates == pytest.approx([1e-4] * 4 + [5e-5] * 2 + [2.5e-5] * 2)

    def test_clipping(self, tmp_path: Path, clips: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
        self.run(tmp_path, "authors", AUTHORS["restormer"], monkeypatch)
        assert set(clips) == {0.01}

    def test_ours(self, tmp_path: Path, clips: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
        state = self.run(tmp_path, "ours", OURS, monkeypatch)
        assert set(clips) == {1.0} and any(key.endswith("/momentum") for key in state)
        last = {key.removeprefix("module/"): value for key, value in state.items() if key.startswith("module/")}
        assert not all(torch.equal(value, state[f"average/{key}"]) for key, value in last.items())
