"""Reblur2Deblur: what is learnt from, what moves, what stays, what is undone."""

from __future__ import annotations

import copy
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from moving import HALTING, frames
from small_networks import placed, randomised, same, weights
from torch import Tensor, nn

from deblurcli.adaptation.flow_estimate import Flow
from deblurcli.adaptation.guard import MIN_GAIN
from deblurcli.adaptation.outcome import Outcome
from deblurcli.adaptation.supervised import supervised_of
from deblurcli.adaptation.survey import Survey, survey
from deblurcli.console import Reporter
from deblurcli.device import pick_device
from deblurcli.errors import InputError, UsageError
from deblurcli.media.footage import PictureFootage
from deblurcli.methods import method_options, prepare
from deblurcli.methods.reblur2deblur import adapt, moment_of
from deblurcli.networks import NETWORKS
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.reblur2deblur import Reblur2DeblurOptions
from deblurcli.restore.worker import Worker

CPU = pick_device("cpu", "fp32")
DIS = Flow("dis")
PAPERS = Reblur2DeblurOptions(
    patches=4, patch_size=96, crop=64, steps=2, rate=1e-3, reblur_weight=1.0, reblur_model="warp", recipe="paper"
)
OPTIONS = Reblur2DeblurOptions(patches=4, patch_size=96, crop=64, steps=2, rate=1e-3, guard="off", flow="dis")


class Nothing:
    """Supervised pairs that teach nothing: black stays black."""

    def __str__(self) -> str:
        return "nothing"

    def draw(
        self, rng: np.random.Generator, side: int, frames: int, device: torch.device
    ) -> tuple[Tensor, Tensor, int]:
        return torch.zeros(1, frames, 3, side, side), torch.zeros(1, 3, side, side), 0


SEEN: list[tuple[int, ...]] = []
"""Shapes of what was restored."""


class Sharpens(nn.Module):
    """Adds what a blur along x takes away, by a learnt amount; nothing at the start. Takes a picture, or the middle one
    of several. ``scale``: how fast it learns."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.amount = nn.Parameter(torch.zeros(1, 1, 1, 1))

    def forward(self, pictures: Tensor) -> Tensor:
        SEEN.append(tuple(pictures.shape))
        picture = pictures[:, pictures.shape[1] // 2] if pictures.ndim == 5 else pictures
        blurred = nn.functional.avg_pool2d(picture, (1, 9), 1, (0, 4), count_include_pad=False)
        return picture + self.scale * self.amount * (picture - blurred)


class Guesses(nn.Module):
    """A flow network of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(6, 4, 5, padding=2), nn.Tanh(), nn.Conv2d(4, 2, 5, padding=2))

    def forward(self, pair: Tensor) -> Tensor:
        return self.layers(pair.flatten(1, 2))


@pytest.fixture(scope="module")
def turning() -> list[Tensor]:
    """A picture that passes by and rests now and then, blurred for four fifths of the time."""
    return frames(HALTING, 0.8, 2.2, 0.0)[0]


@pytest.fixture(scope="module")
def found(turning: list[Tensor]) -> Survey:
    return survey(turning, patches=8, size=96, seed=2, usual=4)


def run(
    module: nn.Module, found: Survey, options: Reblur2DeblurOptions = OPTIONS, name: str = "plain-unet", **other: Any
) -> tuple[nn.Module, Outcome]:
    sources = {"flow": DIS, "supervised": supervised_of("auto")} | other
    return adapt(placed(module, name), found, options=options, console=Reporter.silent(), **sources)


def small() -> nn.Module:
    return randomised(NETWORKS["plain-unet"].build(width=16, deep_width=16, blocks=(1, 1, 1)), 3, 0.3)


def test_both_losses_are_followed_and_the_given_network_stays(found: Survey) -> None:
    module = small()
    before = weights(module)
    adapted, done = run(module, found, replace(OPTIONS, steps=3))
    assert done.kept and not same(weights(adapted), before) and same(weights(module), before)
    assert not adapted.training and not any(p.requires_grad for p in adapted.parameters())
    losses = done.losses["supervised_losses"], done.losses["reblur_losses"]
    assert [len(values) for values in losses] == [3, 3]
    assert all(math.isfinite(value) and value >= 0 for values in losses for value in values)
    assert min(losses[0]) > 0  # random results show no motion that has to be explained
    again, redone = run(module, found, replace(OPTIONS, steps=3))
    other, _ = run(module, found, replace(OPTIONS, steps=3, seed=44))
    assert same(weights(adapted), weights(again)) and done.losses == redone.losses
    assert not same(weights(adapted), weights(other))


def test_the_reblurring_loss_alone_sharpens_until_the_video_is_explained(found: Survey) -> None:
    options = replace(OPTIONS, supervised_share=1.0, supervised_loss="mse", steps=40, rate=0.03, reblur_weight=1.0)
    adapted, done = run(Sharpens(), found, options, supervised=Nothing())
    assert float(adapted.amount) > 0.1 and done.losses["supervised_losses"] == [0.0] * 40
    assert max(done.losses["reblur_losses"]) > 1e-5
    assert done.facts["residual"]["after"] > done.facts["residual"]["before"] + 0.2
    still, _ = run(Sharpens(), found, replace(options, reblur_weight=0.0), supervised=Nothing())
    assert float(still.amount) == 0


def test_exposure_and_response_are_the_video_s_unless_given(found: Survey) -> None:
    options = replace(OPTIONS, steps=0)
    _, done = run(Sharpens(), found, options)
    assert done.facts["tau"] == pytest.approx(done.facts["flow"]["exposure"] / 2) and 0.3 <= done.facts["tau"] <= 0.5
    assert done.facts["gamma"] == done.facts["flow"]["gamma"]
    _, done = run(Sharpens(), found, replace(options, tau="1", reblur_gamma="off"))
    assert done.facts["tau"] == 1 and done.facts["gamma"] is None
    _, done = run(Sharpens(), found, replace(options, reblur_gamma="1.8"))
    assert done.facts["gamma"] == 1.8


def test_the_true_exposure_explains_more_than_the_paper_s(found: Survey, turning: list[Tensor]) -> None:
    """Of a network that restores nothing where nothing is blurred, and little elsewhere."""
    residuals = []
    for tau in ("0.4", "1"):
        _, done = run(Sharpens(), found, replace(OPTIONS, tau=tau, steps=0))
        residuals.append(done.facts["residual"]["before"])
    assert residuals[0] > residuals[1] + 1


@pytest.mark.parametrize(("model", "count"), [("curve", 2), ("warp", 3), ("conv", 3), ("conv", 2)])
def test_other_models_of_blur_and_two_frames(model: str, count: int, found: Survey) -> None:
    options = replace(OPTIONS, supervised_share=1.0, supervised_loss="mse", steps=4, reblur_weight=1.0, batch=1)
    usual, _ = run(Sharpens(), found, options, supervised=Nothing())
    other, done = run(
        Sharpens(), found, replace(options, reblur_model=model, reblur_frames=count), supervised=Nothing()
    )
    assert done.kept and float(other.amount) > 0 and float(other.amount) != float(usual.amount)


def test_a_flow_network_learns_along_only_if_asked_to(found: Survey, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    flow, tuned = Flow("guesses", "", Guesses().requires_grad_(False).eval(), CPU), []
    before = weights(flow.module)
    known = Flow.tuned
    monkeypatch.setattr(Flow, "tuned", lambda self, module: tuned.append(module) or known(self, module))
    # Of the paper's recipe, in which everything counts: these guesses lead nowhere.
    options = replace(PAPERS, flow_rate=0.0)
    fixed, _ = run(Sharpens(), found, options, flow=flow, supervised=Nothing())
    assert not tuned and same(weights(flow.module), before)
    run(Sharpens(), found, replace(options, flow_rate=1e-3), flow=flow, supervised=Nothing())
    assert len(tuned) == 1 and same(weights(flow.module), before), "the network is shared by all"
    assert not any(torch.equal(a, b) for a, b in zip(weights(tuned[0]), before, strict=True))
    # Fixed as it is, it tells of the pictures what a constant flow does not.
    constant = replace(flow, module=_Constant(flow.module))
    other, _ = run(Sharpens(), found, options, flow=constant, supervised=Nothing())
    assert float(fixed.amount) != float(other.amount)


class _Constant(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pair: Tensor) -> Tensor:
        return self.network(pair.detach())


def test_statistics_of_norms_stay_as_they_were_trained(found: Survey) -> None:
    torch.manual_seed(2)
    module = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.Dropout(0.5), nn.Conv2d(6, 3, 1))
    module[1].running_mean.uniform_(), module[1].running_var.uniform_(0.5, 1)  # type: ignore[operator, union-attr]
    before = copy.deepcopy(module[1])
    for recipe in ("ours", "paper"):
        options = Reblur2DeblurOptions(patches=4, crop=64, steps=2, rate=1e-3, guard="off", flow="dis", recipe=recipe)
        adapted, done = run(module.eval(), found, options)
        norm = adapted[1]  # type: ignore[index]
        assert done.kept and torch.equal(norm.running_mean, before.running_mean)
        assert torch.equal(norm.running_var, before.running_var)
        assert norm.num_batches_tracked == 0 and not torch.equal(norm.weight, before.weight)
        again, _ = run(module, found, options)
        assert same(weights(adapted), weights(again)), "no dropout: the same every time"


def test_a_network_of_several_frames_restores_three_of_seven(turning: list[Tensor]) -> None:
    assert [moment_of(NETWORKS[name]) for name in ("dbn", "cdvd-tsp", "nafnet-w32", "video-unet")] == [7, 7, 3, 3]
    found = survey(turning, patches=8, size=96, seed=2, moment=7, usual=4)
    assert found.patches[0].usual[0].shape == (7, 3, 96, 96)
    SEEN.clear()
    adapted, done = run(Sharpens(), found, replace(OPTIONS, batch=2), "dbn")
    assert done.kept and float(adapted.amount) != 0
    # Three frames of two moments, and two pairs.
    assert SEEN.count((6, 5, 3, 64, 64)) == SEEN.count((2, 5, 3, 64, 64)) == 2


def test_a_video_without_seven_frames_in_a_row_is_not_adapted_to(turning: list[Tensor]) -> None:
    worker = Worker(ComputeOptions(device="cpu", dtype="fp32"))
    prepared = prepare(placed(Sharpens(), "dbn"), [PictureFootage(turning[:6])], OPTIONS, worker)
    assert prepared.outcome is not None and not prepared.outcome.kept
    assert prepared.outcome.reason == "no shot has the 7 frames in a row that explain one of them"
    single = prepare(placed(Sharpens(), "plain-unet"), [PictureFootage(turning[:6])], OPTIONS, worker)
    assert single.outcome is not None and single.outcome.kept


def test_what_pays_is_kept_and_what_spoils_is_undone(found: Survey) -> None:
    options = replace(OPTIONS, guard="strata", steps=24, rate=0.05, supervised_share=0.0)
    module = Sharpens()
    adapted, done = run(module, found, options)
    assert done.kept and adapted is not module, done.reason
    assert done.facts["gain"] >= MIN_GAIN["strata"] and "dB" in done.gain and set(done.facts["strata"]) >= {"pairs"}
    assert (
        float(adapted.amount.detach()) > 0 == float(module.amount.detach())
        and done.facts["supervised"] == "4 patches of the video"
    )
    hasty = Sharpens(10.0)
    undone, spoilt = run(hasty, found, replace(options, rate=0.9, steps=1))
    assert undone is hasty and not spoilt.kept and "the guard saw a gain of" in spoilt.reason


def test_a_still_video_is_undone_with_a_reason_or_learnt_from_with_usual_numbers(turning: list[Tensor]) -> None:
    found = survey([turning[3]] * 9, patches=8, size=96, seed=2)
    module = Sharpens()
    undone, done = run(module, found, replace(OPTIONS, guard="strata"))
    assert undone is module and done.reason == "the video moves too little to tell how long its shutter is open"
    _, done = run(module, found, OPTIONS)
    assert done.kept and done.facts["tau"] == 0.5 and done.facts["gamma"] == 2.2 and done.facts["flow"] == {}
    assert "photos of the package" in done.facts["supervised"] and "patches" not in done.facts["supervised"]


def test_rates_are_halved_after_shares_of_the_updates(found: Survey, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    step = torch.optim.Adam.step

    def recorded(self: torch.optim.Adam, *args: Any) -> None:
        rates.append(self.param_groups[0]["lr"])
        step(self, *args)

    monkeypatch.setattr(torch.optim.Adam, "step", recorded)
    run(Sharpens(), found, replace(OPTIONS, steps=20, rate=8e-3, batch=1, supervised_loss="mse"))
    assert rates == [8e-3] * 3 + [4e-3] * 2 + [2e-3] * 5 + [1e-3] * 10


def test_the_paper_s_recipe_and_what_is_given_besides() -> None:
    ours, paper = Reblur2DeblurOptions(), Reblur2DeblurOptions(recipe="paper")
    assert (ours.steps, ours.rate, ours.reblur_weight, ours.reblur_frames) == (60, 3e-5, 0.1, 3)
    assert (ours.tau, ours.reblur_gamma, ours.flow_rate, ours.reblur_model) == ("auto", "auto", 0, "curve")
    assert (paper.steps, paper.rate, paper.reblur_model, paper.flow) == (200, 1e-4, "conv", "default")
    assert ours.flow == "dis" and Reblur2DeblurOptions(flow_rate=1e-5).flow == "default"
    assert (ours.guard, ours.initial, ours.supervised_loss) == ("strata", "auto", "own")
    assert (paper.tau, paper.reblur_gamma, paper.supervised_loss, paper.supervised_share) == ("1", "off", "mse", 1)
    assert (paper.flow_rate, paper.guard, paper.initial, paper.papers) == (1e-4, "off", "own", True)
    assert Reblur2DeblurOptions(recipe="paper", rate=2e-5).flow_rate == 2e-5
    given = Reblur2DeblurOptions(recipe="paper", tau=0.5, guard="strata", flow_rate=0.0, supervised_loss="own")
    assert (given.tau, given.guard, given.flow_rate, given.supervised_loss) == ("0.5", "strata", 0, "own")
    assert given.given_tau == 0.5 and given.given_gamma is None and given.reblur_gamma == "off"
    assert Reblur2DeblurOptions(recipe="paper", flow="dis").flow_rate == 0


def test_the_paper_s_recipe_counts_every_pixel_and_keeps_the_last_weights(
    found: Survey, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = Reblur2DeblurOptions(
        patches=4, crop=64, steps=4, rate=0.01, flow="dis", recipe="paper", supervised_share=1.0, batch=1
    )
    last, done = run(Sharpens(), found, options, supervised=Nothing())
    assert done.kept and done.reason == "without a guard" and done.facts["tau"] == 1 and done.facts["gamma"] is None
    monkeypatch.setattr("deblurcli.adaptation.update.AVERAGED", 0.0)
    again, _ = run(Sharpens(), found, options, supervised=Nothing())
    assert float(last.amount) == float(again.amount) != 0, "no average"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"tau": "0"}, r"--tau 0 is out of range; give auto, or a number above 0"),
        ({"tau": "off"}, r"--tau off is out of range; give auto, or"),
        ({"reblur_gamma": "nan"}, r"--reblur-gamma nan is out of range; give auto or off, or a number"),
        ({"reblur_frames": 4}, r"--reblur-frames 4 is unknown; give 2 or 3"),
        ({"crop": 416}, r"--crop is out of range; give 64 to 384"),
        ({"crop": 100}, r"--crop 100 does not fit the networks; give a multiple of 32"),
        (
            {"flow": "dis", "flow_rate": 1e-4},
            r"--flow-rate with --flow dis, which is no network; leave one",
        ),
        ({"recipe": "mine"}, r"--recipe mine is unknown; give one of ours, paper"),
        ({"reblur_weight": -1}, r"--reblur-weight -1(.0)? is negative; give 0 or more"),
        ({"guard": "pairs"}, r"--guard pairs is unknown; give one of strata, off"),
        ({"supervised_share": 2}, r"--supervised-share is out of range; give 0 to 1"),
        ({"replay": 0.1}, r"--replay means nothing to --method reblur2deblur"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_line(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        method_options("reblur2deblur", given)
    line = str(caught.value)
    assert "\n" not in line and re.search(said.replace("; ", ".*"), line), line


def test_sources_that_are_not_there_are_named(turning: list[Tensor], tmp_path: Path) -> None:
    worker, network = Worker(ComputeOptions(device="cpu", dtype="fp32")), placed(Sharpens(), "plain-unet")
    missing = str(tmp_path / "none")
    with pytest.raises(InputError, match=r"--supervised .*none does not exist"):
        prepare(network, [PictureFootage(turning)], replace(OPTIONS, supervised=missing), worker)
    with pytest.raises(UsageError, match="no flow is called 'dense-flow'"):
        prepare(network, [PictureFootage(turning)], replace(OPTIONS, flow="dense-flow"), worker)


def test_the_default_network_adapts_offline_with_what_is_in_the_package(turning: list[Tensor]) -> None:
    worker = Worker(ComputeOptions(device="cpu", dtype="fp32", offline=True))
    options = Reblur2DeblurOptions(patches=2, patch_size=64, crop=64, steps=1, batch=1, guard="off")
    network = worker.place("default", "video", "deblur")
    prepared = prepare(network, [PictureFootage(turning)], options, worker)
    assert prepared.outcome is not None and prepared.outcome.kept and prepared.window == 3
    restored = prepared([frame[:, :64, :64] for frame in turning[:3]])
    assert restored.shape == (3, 64, 64) and bool(torch.isfinite(restored).all())


def test_videos_together_share_the_patches(turning: list[Tensor]) -> None:
    worker = Worker(ComputeOptions(device="cpu", dtype="fp32"))
    footages = [PictureFootage(turning, "one"), PictureFootage([frame.flip(-1) for frame in turning], "other")]
    prepared = prepare(placed(Sharpens(), "plain-unet"), footages, OPTIONS, worker)
    assert prepared.outcome is not None and prepared.outcome.kept
    assert prepared.outcome.facts["videos"] == ["one", "other"] and "2 videos together" in prepared.outcome.work
