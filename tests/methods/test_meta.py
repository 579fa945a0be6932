"""The inner update of the meta method: what moves, what stays, what is undone."""

from __future__ import annotations

import copy
from array import array
from dataclasses import replace

import numpy as np
import pytest
import torch
from end_to_end import write_video
from moving import HALTING, frames
from small_networks import Blurs, placed, same, weights
from torch import Tensor, nn

from deblurcli import deblur_video
from deblurcli.adaptation.agreement import Agreement
from deblurcli.adaptation.budget import LEAST_UPDATES, affordable
from deblurcli.adaptation.camera import align
from deblurcli.adaptation.flow import fit_flow
from deblurcli.adaptation.guard import MIN_GAIN, Diverged
from deblurcli.adaptation.outcome import Outcome
from deblurcli.adaptation.pairs import deblur_loss, pseudo_sharp, trainable
from deblurcli.adaptation.reblurring_network import real_sample
from deblurcli.adaptation.replay import replay_blur
from deblurcli.adaptation.support import SupportPatch
from deblurcli.adaptation.survey import Survey, survey
from deblurcli.console import Reporter
from deblurcli.device import pick_device
from deblurcli.errors import OfflineError, UsageError, WeightsError
from deblurcli.methods import meta
from deblurcli.methods.meta import adapt, initial_weights
from deblurcli.networks import NETWORKS
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.meta import MetaOptions
from deblurcli.restore.worker import Worker
from deblurcli.synth.pairs import shaken
from deblurcli.weights import registry
from deblurcli.weights.save import save_network

CPU = pick_device("cpu", "fp32")
SILENT = Reporter.silent()
SPEC = NETWORKS["plain-unet"]
OPTIONS = MetaOptions(
    patches=8, patch_size=64, reblurring="network", pseudo_sharp="video", guard="pairs", steps=16, rate=1e-3,
    reblur_rate=1e-4,
)  # fmt: skip
"""As in the paper, faster."""


@pytest.fixture
def networks() -> tuple[nn.Module, nn.Module, nn.Module]:
    torch.manual_seed(5)
    return (
        SPEC.build(width=16, deep_width=16, blocks=(1, 1, 1)),
        Blurs(),
        NETWORKS["patch-critic"].build(channels=8),
    )


@pytest.fixture
def support() -> Survey:
    """Patches with nothing in common between frames: enough for the reblurring network."""
    torch.manual_seed(6)
    smooth = nn.functional.interpolate(torch.rand(7, 3, 24, 24), size=96, mode="bicubic").clamp(0, 1)
    return survey(list(smooth), patches=12, size=64, seed=2)


@pytest.fixture
def clip() -> list[Tensor]:
    """A picture shaken by hand."""
    picture = nn.functional.interpolate(torch.rand(1, 3, 20, 24), size=(192, 224), mode="bicubic")[0].clamp(0, 1)
    return [blurred for blurred, _ in shaken(picture, 9, 25, 8, 1, 2.2, 0.0)]


def run(networks: tuple[nn.Module, ...], support: Survey, options: MetaOptions) -> tuple[nn.Module, Outcome]:
    deblur, reblur, critic = networks
    return adapt(placed(deblur, "plain-unet"), support, options, SILENT, reblur=reblur, critic=critic)


def test_adaptation_lowers_the_loss_on_held_out_patches(networks, support) -> None:  # type: ignore[no-untyped-def]
    before = [weights(m) for m in networks]
    adapted, done = run(networks, support, replace(OPTIONS, steps=24, rate=1e-3))
    assert done.kept and done.facts["gain"] > 0.13
    assert len(done.losses["reblur_losses"]) == len(done.losses["deblur_losses"]) == 24
    assert not same(weights(adapted), before[0])
    assert [same(weights(m), b) for m, b in zip(networks, before, strict=True)] == [True] * 3, "originals were touched"
    assert not adapted.training and not any(p.requires_grad for p in adapted.parameters())


def test_equal_seeds_give_equal_weights(networks, support) -> None:  # type: ignore[no-untyped-def]
    one, _ = run(networks, support, OPTIONS)
    two, _ = run(networks, support, OPTIONS)
    other, _ = run(networks, support, replace(OPTIONS, seed=44))
    assert same(weights(one), weights(two))
    assert not same(weights(one), weights(other))


def test_the_fitted_camera_needs_no_reblurring_network(networks, clip) -> None:  # type: ignore[no-untyped-def]
    found = survey(clip, patches=12, size=64, seed=2)
    options = replace(OPTIONS, reblurring="camera", pseudo_sharp="restored", steps=24, rate=1e-3)
    before = weights(networks[0])
    adapted, done = adapt(placed(networks[0], "plain-unet"), found, options, SILENT)
    assert done.kept and done.facts["gain"] > 0.065
    assert done.facts["camera"]["pieces_explained"] >= 4
    assert done.losses["reblur_losses"] == [] and len(done.losses["deblur_losses"]) == 24
    assert same(weights(networks[0]), before) and not same(weights(adapted), before)
    again, _ = adapt(placed(networks[0], "plain-unet"), found, options, SILENT)
    assert same(weights(adapted), weights(again)), "equal seeds, equal weights"


FLOW = replace(OPTIONS, reblurring="flow", pseudo_sharp="restored", guard="strata")


@pytest.fixture
def turning() -> list[Tensor]:
    """A picture that passes by and rests now and then, blurred for four fifths of the time."""
    return frames(HALTING, 0.8, 2.2, 0.0)[0]


def test_the_blur_along_the_flow_is_the_default_and_goes_by_the_seed(networks, turning) -> None:  # type: ignore[no-untyped-def]
    usual = MetaOptions()
    assert (usual.reblurring, usual.guard, usual.steps) == ("flow", "strata", "auto")
    found = survey(turning, patches=6, size=96, seed=2)
    network, options = placed(networks[0], "plain-unet"), replace(FLOW, patches=4, steps=8, guard="off")
    before = weights(networks[0])
    adapted, done = adapt(network, found, options, SILENT)
    assert done.facts["flow"] == fit_flow(found.patches, lambda window: window[:, 2]).facts()
    assert done.facts["camera"] == {} and done.losses["reblur_losses"] == [] and len(done.losses["deblur_losses"]) == 8
    again, redone = adapt(network, found, options, SILENT)
    assert same(weights(adapted), weights(again)) and done.losses == redone.losses
    other, _ = adapt(network, found, replace(options, seed=44), SILENT)
    assert not same(weights(adapted), weights(other))
    assert same(weights(networks[0]), before) and not same(weights(adapted), before)


class Sharpens(nn.Module):
    """Adds what a blur along x takes away, by a learnt amount; nothing at the start. ``scale``: how fast it learns."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.amount = nn.Parameter(torch.zeros(1, 1, 1, 1))

    def forward(self, picture: Tensor) -> Tensor:
        blurred = nn.functional.avg_pool2d(picture, (1, 9), 1, (0, 4), count_include_pad=False)
        return picture + self.scale * self.amount * (picture - blurred)


def test_what_pays_on_all_strata_is_kept_and_what_spoils_them_is_undone(turning) -> None:  # type: ignore[no-untyped-def]
    found, options = survey(turning, patches=8, size=96, seed=2), replace(FLOW, patches=4, steps=24)
    module = Sharpens()
    adapted, done = adapt(placed(module, "plain-unet"), found, replace(options, rate=0.05), SILENT)
    assert done.kept and adapted is not module, done.reason
    assert done.facts["gain"] >= MIN_GAIN["strata"] and "dB" in done.gain
    assert done.facts["best_step"] == 24
    assert [look["step"] for look in done.facts["looks"]] == [24]
    assert set(done.facts["strata"]) == {"pairs", "real"}
    assert float(adapted.amount.detach()) > 0 == float(module.amount.detach())
    hasty = Sharpens(10.0)
    undone, spoilt = adapt(placed(hasty, "plain-unet"), found, replace(options, rate=0.9, steps=1), SILENT)
    assert undone is hasty and not spoilt.kept and spoilt.facts["gain"] < MIN_GAIN["strata"]
    assert "the guard saw a gain of" in spoilt.reason


def test_the_average_of_the_steps_is_the_result(networks, turning, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """Without its memory it is the last step."""
    found = survey(turning, patches=6, size=96, seed=2)
    network, options = placed(networks[0], "plain-unet"), replace(FLOW, patches=4, steps=4, guard="off")
    averaged, _ = adapt(network, found, options, SILENT)
    monkeypatch.setattr("deblurcli.adaptation.update.AVERAGED", 0.0)
    last, _ = adapt(network, found, options, SILENT)

    def moved(module: nn.Module) -> float:
        return sum(float((p - q).abs().sum()) for p, q in zip(weights(module), weights(networks[0]), strict=True))

    assert 0 < moved(averaged) < moved(last)


def test_identity_alone_leaves_a_network_as_it_is_where_that_is_idempotent(networks, turning) -> None:  # type: ignore[no-untyped-def]
    """An untrained network changes nothing: what it restores is restored to itself."""
    found = survey(turning, patches=6, size=96, seed=2)
    network, options = placed(networks[0].eval(), "plain-unet"), replace(FLOW, patches=4, steps=8, guard="off")
    picture = turning[4][None, :, :96, :96]
    changes = []
    for identity in (1.0, 0.0):
        adapted, done = adapt(network, found, replace(options, identity=identity), SILENT)
        with torch.no_grad():
            changes.append(float((adapted(picture) - networks[0](picture)).abs().mean()))
        assert len(done.losses["deblur_losses"]) == 8
    assert changes[0] < 2e-4 and changes[1] > 10 * changes[0]


def test_replayed_blur_is_mixed_in_if_asked_to(networks, turning, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    seen: list[int] = []

    def replayed(picture: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor, int]:
        seen.append(1)
        return replay_blur(picture, rng)

    monkeypatch.setattr("deblurcli.adaptation.pairs.replay_blur", replayed)
    found = survey(turning, patches=5, size=96, seed=2)
    network, options = placed(networks[0], "plain-unet"), replace(FLOW, patches=4, guard="off", identity=0.0)
    adapt(network, found, replace(options, steps=4), SILENT)
    assert not seen, "not by default"
    adapt(network, found, replace(options, steps=4, replay=1.0), SILENT)
    assert len(seen) == 4
    _, done = adapt(network, found, replace(options, steps=40, replay=0.5, crop=64), SILENT)
    assert len(done.losses["deblur_losses"]) == 40 and 10 < len(seen) - 4 < 30
    with pytest.raises(UsageError, match="--identity and --replay together are more than 1"):
        MetaOptions(identity=0.6, replay=0.5)


def test_updates_learn_from_pieces_as_large_as_asked_for(networks, turning) -> None:  # type: ignore[no-untyped-def]
    sides: list[int] = []

    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = networks[0]

        def forward(self, picture: Tensor) -> Tensor:
            if torch.is_grad_enabled():
                sides.append(picture.shape[-1])
            return self.network(picture)

    found = survey(turning, patches=5, size=96, seed=2)
    for crop, side in ((None, 96), (64, 64), (224, 96)):
        sides.clear()
        options = replace(FLOW, patches=4, steps=2, guard="off", crop=crop)
        _, done = adapt(placed(Watched(), "plain-unet"), found, options, SILENT)
        assert done.kept and sides == [side] * 2


def test_a_crop_that_the_network_cannot_take_is_no_crash(turning) -> None:  # type: ignore[no-untyped-def]
    """Either refused when it is given, or what networks can take is cut."""
    found = survey(turning, patches=5, size=96, seed=2)
    network = NETWORKS["mimo-unet"].build(blocks=1, dropout=0.0, width=8)
    try:
        options = replace(FLOW, patches=4, steps=1, guard="off", crop=75)
    except UsageError as error:
        assert "--crop" in str(error)
        return
    _, done = adapt(placed(network, "mimo-unet"), found, options, SILENT)
    assert done.kept and len(done.losses["deblur_losses"]) == 1


def a_survey(frames: int, height: int, width: int, patches: int = 16, size: int = 256) -> Survey:
    """As long and as large as said, without any pictures."""
    locations = [SupportPatch(0, 0) for _ in range(patches)]
    return Survey(locations, size, height * width, array("f", [0.0] * frames))


def test_a_longer_video_affords_more_updates_up_to_a_limit() -> None:
    options = MetaOptions()
    counts = [affordable(a_survey(frames, 720, 1280), options, 192, alone=True) for frames in (1, 5, 8, 30, 10_000)]
    assert counts[0] == 0 < LEAST_UPDATES < counts[1] < counts[2] <= counts[3] == counts[4] == options.updates == 100
    assert (
        affordable(a_survey(60, 240, 320), options, 192, alone=True)
        < counts[3]
        <= affordable(a_survey(60, 720, 1280), options, 192, alone=True)
    )
    eight = a_survey(8, 720, 1280)
    assert affordable(eight, options, 64, alone=True) > affordable(eight, options, 192, alone=True), (
        "smaller pieces, more of them"
    )
    assert affordable(eight, replace(options, batch=4), 192, alone=True) <= counts[2] // 4 + 1
    assert affordable(eight, replace(options, guard="off"), 192, alone=True) >= counts[2]
    assert affordable(eight, options, 192) < counts[2], "a whole network's updates take longer"


def test_as_many_updates_as_asked_for_are_taken_however_short_the_video() -> None:
    short, long = a_survey(3, 96, 96, size=64), a_survey(1000, 1080, 1920)
    for found in (short, long):
        assert affordable(found, MetaOptions(steps=300), 192) == affordable(found, MetaOptions(steps="300"), 192) == 300
        assert affordable(found, MetaOptions(steps=0), 192) == 0
        network = MetaOptions(reblurring="network")
        assert affordable(found, network, 192) == affordable(found, MetaOptions(), 192)
    for steps in ("many", "-1", "2.5", ""):
        with pytest.raises(UsageError, match="--steps"):
            MetaOptions(steps=steps)


def test_a_video_that_is_too_short_to_pay_is_left_alone_unless_steps_are_asked_for(networks, turning) -> None:  # type: ignore[no-untyped-def]
    found, network = survey(turning, patches=5, size=96, seed=2), placed(networks[0], "plain-unet")
    usual = MetaOptions(patches=4, patch_size=96)
    adapted, done = adapt(network, found, usual, SILENT)
    assert adapted is networks[0] and not done.kept and "too short" in done.reason and "--steps" in done.reason
    assert done.losses["deblur_losses"] == []
    adapted, done = adapt(network, found, replace(usual, steps=1, guard="off"), SILENT)
    assert done.kept and len(done.losses["deblur_losses"]) == 1


def test_the_fusion_moves_if_asked_to(turning) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(7)
    tiny = {"width": 16, "deep_width": 16, "blocks": (1, 1, 1)}
    network = NETWORKS["video-unet"].build(**tiny, base=tiny)
    found, moved = survey(turning, patches=5, size=64, seed=2), {}
    for part in ("all", "biases", "fusion"):
        options = replace(FLOW, patches=4, steps=4, guard="off", part=part)
        adapted, done = adapt(placed(network, "video-unet"), found, options, SILENT)
        assert done.kept and len(done.losses["deblur_losses"]) == 4
        before = network.state_dict()
        moved[part] = {name for name, value in adapted.state_dict().items() if not torch.equal(value, before[name])}
    assert moved["all"] and all(name.startswith("base.") for name in moved["all"])
    assert moved["biases"] < moved["all"] and all(before[name].ndim <= 1 for name in moved["biases"])
    assert {name.split(".")[0] for name in moved["fusion"]} == {"base", "fusion"}


def test_the_fusion_is_judged_with_the_whole_network(turning) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(7)
    tiny = {"width": 16, "deep_width": 16, "blocks": (1, 1, 1)}
    network = NETWORKS["video-unet"].build(**tiny, base=tiny)
    found = survey(turning, patches=5, size=64, seed=2)
    adapted, done = adapt(
        placed(network, "video-unet"), found, replace(FLOW, patches=4, steps=4, part="fusion"), SILENT
    )
    assert [look["step"] for look in done.facts["looks"]] == [4] and np.isfinite(done.facts["looks"][0]["gain"])
    assert sum(stratum["pieces"] for stratum in done.facts["strata"]["pairs"]) == 8
    assert done.kept == (adapted is not network)


def test_nothing_is_adapted_where_no_camera_explains_the_video(networks) -> None:  # type: ignore[no-untyped-def]
    generator = torch.Generator().manual_seed(3)
    found = survey([torch.rand(3, 96, 96, generator=generator) for _ in range(9)], patches=6, size=64, seed=2)
    options = replace(OPTIONS, reblurring="camera", pseudo_sharp="restored")
    adapted, done = adapt(placed(networks[0], "plain-unet"), found, options, SILENT)
    assert adapted is networks[0] and not done.kept and "do not explain" in done.reason


def test_pseudo_pairs_are_made_of_what_the_unadapted_network_restores(networks, clip) -> None:  # type: ignore[no-untyped-def]
    found = survey(clip, patches=2, size=64, seed=2)
    moment = found.patches[0].clip(CPU.where)[:, 2]
    network = networks[0].eval()
    with torch.no_grad():
        network.tail.bias.fill_(0.01)
        expected = network(moment).clamp(0, 1)
    usual = MetaOptions(patch_size=64)
    assert torch.equal(pseudo_sharp(network, SPEC, found.patches[0], usual, CPU), expected)
    for reblurring in ("camera", "network"):
        options = replace(usual, reblurring=reblurring)
        assert torch.equal(pseudo_sharp(network, SPEC, found.patches[0], options, CPU), expected)
        options = replace(options, pseudo_sharp="video")
        assert torch.equal(pseudo_sharp(network, SPEC, found.patches[0], options, CPU), moment)
    before = found.patches[0].clip(CPU.where).clone()
    run((network, *networks[1:]), found, replace(OPTIONS, pseudo_sharp="restored"))
    assert torch.equal(found.patches[0].clip(CPU.where), before), "the survey stays as it was"


def test_adaptation_starts_from_meta_learned_weights(networks, support) -> None:  # type: ignore[no-untyped-def]
    deblur, reblur, critic = networks
    initial = copy.deepcopy(deblur)
    with torch.no_grad():
        for p in initial.parameters():
            p.add_(0.01)
    modules = {"initial": initial, "reblur": reblur, "critic": critic}
    network, unguarded = placed(deblur, "plain-unet"), replace(OPTIONS, guard="off", steps=0)
    adapted, _ = adapt(network, support, unguarded, SILENT, **modules)
    assert same(weights(adapted), weights(initial)) and not same(weights(adapted), weights(deblur))
    with torch.no_grad():
        for p in initial.parameters():
            p.add_(1.0)
    undone, done = adapt(network, support, OPTIONS, SILENT, **modules)
    assert undone is deblur and not done.kept, "what comes of them is judged against the network's own"


def test_meta_learned_weights_are_those_of_the_weights_not_of_their_name(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    worker = Worker(ComputeOptions(device="cpu", dtype="fp32"))
    loaded = worker.place("plain-unet", "image", "deblur")
    entries = dict(registry.installed().weights)
    entries["plain-unet"] = replace(entries["plain-unet"], adapt_from={"flow": "plain-unet"})
    monkeypatch.setattr(registry, "installed", lambda: registry.Registry(entries, {}))
    found = initial_weights(loaded, MetaOptions(), worker)
    assert found is not None and found.name == "plain-unet"
    assert initial_weights(loaded, MetaOptions(initial="own"), worker) is None
    same_name, other_name = (replace(loaded.loaded, **other) for other in ({"sha256": "0" * 64}, {"name": "mine"}))
    assert initial_weights(replace(loaded, loaded=same_name), MetaOptions(), worker) is None, "a file of the same name"
    assert initial_weights(replace(loaded, loaded=other_name), MetaOptions(), worker) is None


def test_weights_to_adapt_from_may_be_named(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("DEBLUR_CACHE", str(tmp_path))
    worker = Worker(ComputeOptions(device="cpu", dtype="fp32"))
    single, several = worker.place("plain-unet", "image", "deblur"), worker.place("video-unet", "video", "deblur")
    for network in (single, several):
        assert initial_weights(network, MetaOptions(), worker) is None, "none are registered for the defaults"
    found = initial_weights(several, MetaOptions(initial="plain-unet"), worker)
    assert found is not None and found.sha256 == single.sha256, "for its single-frame part"
    path = tmp_path / "small.safetensors"
    small = {"width": 16, "deep_width": 16, "blocks": (1, 1, 1), "scales": 1}
    save_network(path, SPEC.build(**small), network="plain-unet", config=small, card={})
    for network in (single, several):
        with pytest.raises(UsageError, match=f"is no {network.network}, nor its part that adapts"):
            initial_weights(network, MetaOptions(initial=str(path)), worker)
    offline = Worker(ComputeOptions(device="cpu", dtype="fp32", offline=True))
    with pytest.raises(OfflineError):
        initial_weights(single, MetaOptions(initial="nafnet-w32"), offline)


def test_a_gain_that_is_too_small_to_trust_is_undone(networks, support) -> None:  # type: ignore[no-untyped-def]
    adapted, done = run(networks, support, replace(OPTIONS, rate=1e-7))
    assert not done.kept and adapted is networks[0]
    (look,) = done.facts["looks"]
    assert 0 <= done.facts["gain"] < 0.04 and abs(look["gain"]) < 0.04 and look["step"] == 16


def test_agreement_is_best_for_what_the_sharp_moments_show(clip) -> None:  # type: ignore[no-untyped-def]
    found = align(survey(clip, patches=12, size=64, seed=2).patches, CPU.where)
    agreement = Agreement(found)
    blurred = agreement.loss(lambda clips: clips[:, 2])
    grain = 0.05 * torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(1))
    assert agreement.loss(lambda clips: clips[:, 2] + grain) > 1.2 * blurred
    done = iter(agreement.sharp.split(8))
    assert agreement.loss(lambda clips: next(done)) < 0.1 * blurred
    pieces = found.moments.pieces[found.explained].flip(0)[: len(agreement.clips)]
    assert torch.equal(agreement.clips[:, 2], pieces), "the blurred piece is the middle of its clip"


def test_the_guard_tells_the_blur_of_the_video_from_another(networks, clip) -> None:  # type: ignore[no-untyped-def]
    """To learn blur that the video does not have lowers the loss of the pseudo pairs, and is undone nevertheless."""

    class Darkens(Blurs):
        def forward(self, window: Tensor) -> Tensor:
            return window[:, window.shape[1] // 2] * (0.3 + 0.4 * self.amount)

    found = survey(clip, patches=12, size=64, seed=2)
    one, pairs = run((networks[0], Darkens(), networks[2]), found, replace(OPTIONS, guard="pairs"))
    assert pairs.kept and one is not networks[0]
    other, agreement = run((networks[0], Darkens(), networks[2]), found, replace(OPTIONS, guard="agreement"))
    assert not agreement.kept and other is networks[0] and "guard" in agreement.reason
    third, unguarded = run((networks[0], Darkens(), networks[2]), found, replace(OPTIONS, guard="off"))
    assert unguarded.kept and not same(weights(third), weights(networks[0]))
    assert (unguarded.facts["gain"], unguarded.facts["looks"], unguarded.gain) == (0, [], "")


def test_nothing_is_kept_that_cannot_be_judged(networks, support) -> None:  # type: ignore[no-untyped-def]
    adapted, done = run(networks, support, replace(OPTIONS, guard="agreement"))
    assert not done.kept and adapted is networks[0] and "do not explain" in done.reason


@pytest.mark.parametrize("batch", [1, 3])
def test_updates_take_as_many_patches_as_the_batch(networks, support, batch: int) -> None:  # type: ignore[no-untyped-def]
    seen: list[int] = []

    class Counted(Blurs):
        def forward(self, window: Tensor) -> Tensor:
            seen.append(1)
            return super().forward(window)

    options = replace(OPTIONS, batch=batch, steps=6 // batch, patches=6)
    _, done = run((networks[0], Counted(), networks[2]), support, options)
    assert len(done.losses["deblur_losses"]) == options.updates == 6 // batch
    held_out = len(support.patches) - 6
    looks = held_out * (1 + len(done.facts["looks"]) + 1)  # before, at every look, and half-way
    assert len(done.facts["looks"]) == 1
    assert len(seen) == 6 // batch + 6 + looks


def test_patches_count_by_their_contrast_if_asked_to(networks, support) -> None:  # type: ignore[no-untyped-def]
    assert len({round(patch.contrast, 3) for patch in support.patches}) > 1
    even, _ = run(networks, support, replace(OPTIONS, rate=1e-3))
    weighted, _ = run(networks, support, replace(OPTIONS, rate=1e-3, weighting="contrast"))
    assert not same(weights(even), weights(weighted))


def test_only_biases_move_if_asked_to(networks, support) -> None:  # type: ignore[no-untyped-def]
    vectors = trainable(networks[0], SPEC, "biases")
    assert vectors and all(p.ndim == 1 for p in vectors)
    assert len(trainable(networks[0], SPEC, "all")) == len(list(networks[0].parameters())) > len(vectors)
    (_, one), (_, other) = (run(networks, support, replace(OPTIONS, part=part)) for part in ("biases", "all"))
    (first, *rest), (other_first, *other_rest) = (done.losses["deblur_losses"] for done in (one, other))
    assert first == other_first and rest != other_rest


def test_dropout_goes_by_the_seed_and_leaves_the_global_generator_alone(support) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(5)
    spec = NETWORKS["mimo-unet-plus"]
    network, critic = spec.build(blocks=1, dropout=0.5, width=8), NETWORKS["patch-critic"].build(channels=8)
    options = replace(OPTIONS, dropout=True, guard="off", steps=3, patches=3)
    before, found = torch.get_rng_state(), []
    for _ in range(2):
        whole = placed(network, "mimo-unet-plus")
        adapted, _ = adapt(whole, support, options, SILENT, reblur=Blurs(), critic=critic)
        found.append(weights(adapted))
        assert torch.equal(torch.get_rng_state(), before)
        torch.rand(1)
        before = torch.get_rng_state()
    assert same(*found)


@pytest.mark.parametrize("choice", ["blurriest", "neighbour"])
def test_the_critic_sees_the_real_sample_that_was_chosen(support, choice: str) -> None:  # type: ignore[no-untyped-def]
    patch = support.patches[0]
    real = real_sample(patch, choice, np.random.default_rng(0))
    if choice == "blurriest":
        assert torch.equal(real, patch.blurriest)
    else:
        assert any(torch.equal(real, patch.window[t]) for t in (0, 1, 3, 4))
        assert not torch.equal(real, patch.window[2])


def test_dropout_is_on_only_if_asked_for(networks, support) -> None:  # type: ignore[no-untyped-def]
    modes: set[bool] = set()

    class Watched(Blurs):
        def forward(self, window: Tensor) -> Tensor:
            modes.add(self.training)
            return super().forward(window)

    run((networks[0], Watched(), networks[2]), support, OPTIONS)
    assert modes == {False}
    adapted, _ = run((networks[0], Watched(), networks[2]), support, replace(OPTIONS, dropout=True))
    assert modes == {False, True} and adapted is not networks[0] and not adapted.training


def test_the_guard_undoes_what_makes_held_out_patches_worse(networks, support) -> None:  # type: ignore[no-untyped-def]
    adapted, done = run(networks, support, replace(OPTIONS, rate=0.5))
    assert not done.kept and ("guard" in done.reason or "finite" in done.reason or "became" in done.reason)
    assert adapted is networks[0]


def test_the_guard_undoes_a_loss_that_is_not_finite(networks, support) -> None:  # type: ignore[no-untyped-def]
    class Breaks(Blurs):
        calls = 0

        def forward(self, window: Tensor) -> Tensor:
            type(self).calls += 1
            return super().forward(window) * (float("nan") if type(self).calls == 3 else 1)

    before = weights(networks[0])
    adapted, done = run((networks[0], Breaks(), networks[2]), support, OPTIONS)
    assert not done.kept and "nan" in done.reason
    assert adapted is networks[0] and same(weights(adapted), before)


def test_the_deblurring_network_moves_in_the_cycle_unless_frozen(networks, support) -> None:  # type: ignore[no-untyped-def]
    free, _ = run(networks, support, replace(OPTIONS, cycle_weight=1.0, freeze_deblur_in_cycle=False))
    frozen, _ = run(networks, support, replace(OPTIONS, cycle_weight=1.0))
    assert not same(weights(free), weights(frozen))


def test_the_reblurring_network_learns_in_phase_one_only(networks, support, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    seen: list[float] = []

    class Watched(Blurs):
        def forward(self, window: Tensor) -> Tensor:
            seen.append(float(self.amount.detach()))
            return super().forward(window)

    run((networks[0], Watched(), networks[2]), support, OPTIONS)
    phase_one, rest = seen[:16], seen[16:]
    assert len(set(phase_one)) == 16
    assert len(set(rest)) == 1


def test_zero_steps_change_nothing(networks, support) -> None:  # type: ignore[no-untyped-def]
    adapted, done = run(networks, support, replace(OPTIONS, steps=0))
    assert done.kept and done.losses["reblur_losses"] == done.losses["deblur_losses"] == []
    assert same(weights(adapted), weights(networks[0]))


def test_held_out_patches_are_never_learnt_from(networks, support) -> None:  # type: ignore[no-untyped-def]
    one, done = run(networks, support, replace(OPTIONS, patches=3))
    assert len(done.losses["deblur_losses"]) == 16 and len(done.facts["looks"]) == 1
    other = replace(support, patches=[*support.patches[:3], support.patches[-1]])
    two, _ = run(networks, other, replace(OPTIONS, patches=3))
    assert same(weights(one), weights(two))


def test_one_patch_and_copy_of_networks(networks, support) -> None:  # type: ignore[no-untyped-def]
    backup = copy.deepcopy(networks[2].state_dict())
    run(networks, replace(support, patches=support.patches[:1]), OPTIONS)
    assert all(torch.equal(v, backup[k]) for k, v in networks[2].state_dict().items())


def test_a_network_that_sees_neighbours_adapts_on_windows(support: Survey) -> None:
    torch.manual_seed(7)
    spec = NETWORKS["video-unet"]
    network = spec.build(
        width=16, deep_width=16, blocks=(1, 1, 1), base={"width": 16, "deep_width": 16, "blocks": (1, 1, 1)}
    )
    options = replace(OPTIONS, steps=12, rate=3e-3)
    critic = NETWORKS["patch-critic"].build(channels=8)
    whole = placed(network, "video-unet")
    adapted, done = adapt(whole, support, options, SILENT, reblur=Blurs(), critic=critic)
    assert done.kept and done.facts["gain"] > 0.04
    assert not same(weights(adapted), weights(network))


def test_a_reblurring_network_of_ones_own(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    config = {"n_feats": 16}
    module = NETWORKS["videoadapt-small"].build(**config)
    path = tmp_path / "mine.safetensors"
    save_network(path, module, network="videoadapt-small", config=config, card={})
    theirs = NETWORKS["videoadapt"].build().state_dict()
    torch.save({f"module.{key}": value for key, value in theirs.items()}, tmp_path / "reblur_1.pt")
    picture = nn.functional.interpolate(torch.rand(1, 3, 20, 24), size=(96, 128), mode="bicubic")[0].clamp(0, 1)
    clip = write_video(tmp_path / "in.mkv", [blurred for blurred, _ in shaken(picture, 6, 25, 6, 1, 2.2, 0.0)])
    used: list[tuple[str, bool]] = []

    def learn(reblur, *words, **more):  # type: ignore[no-untyped-def]
        used.append((type(reblur).__name__, reblur.attn3.authors_pairing))
        raise Diverged("that is all")

    monkeypatch.setattr("deblurcli.methods.meta.learn_to_reblur", learn)
    for reblur, pairing in ((path, False), (tmp_path / "reblur_1.pt", True)):
        words = {"reblurring": "network", "patches": 2, "patch_size": 64, "guard": "off", "overwrite": True}
        words["steps"] = 1
        result = deblur_video(clip, tmp_path / "out.mkv", network="plain-unet", reblur=reblur, **words)
        assert used[-1] == ("VideoAdapt", pairing) and result.destination.exists()
    assert len(used) == 2
    with pytest.raises(WeightsError, match="a reblur network is needed here"):
        deblur_video(clip, tmp_path / "no.mkv", reblurring="network", reblur="plain-unet", method="meta")


@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_a_reblurring_network_gets_restored_moments_among_blurred_frames_and_the_noise_is_added(
    noise: float, networks, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    found = survey(frames(HALTING, 0.8, 2.2, noise)[0], patches=6, size=96, seed=2)
    turned = [patch for patch in found.patches[:4] if patch.turn is not None]
    assert turned and not torch.equal(turned[0].turn, turned[0].window)
    pairs: list[tuple[Tensor, Tensor]] = []
    seen: list[Tensor] = []

    class Passes(Blurs):
        """Shows what it is given, and changes nothing."""

        def forward(self, window: Tensor) -> Tensor:
            seen.append(window.detach())
            return window[:, 2] + 0 * super().forward(window)

    def noted(network, spec, window, blurred, target, *more, **words):  # type: ignore[no-untyped-def]
        pairs.append((blurred, target))
        return deblur_loss(network, spec, window, blurred, target, *more, **words)

    monkeypatch.setattr(meta, "deblur_loss", noted)
    network = networks[0].eval()
    with torch.no_grad():
        network.tail.bias.fill_(0.01)
    options = replace(OPTIONS, patches=4, pseudo_sharp="restored", guard="off", identity=0.0, cycle_weight=0.0, steps=4)
    adapt(placed(network, "plain-unet"), found, options, SILENT, reblur=Passes(), critic=networks[2])
    turns = torch.stack([patch.turn for patch in turned])
    for window in seen[-4:]:  # those before are of the network's own updates
        nearest = turns[int((turns[:, 0] - window[:, 0]).abs().mean((1, 2, 3)).argmin())]
        assert torch.equal(nearest[[0, 1, 3, 4]], window[0, [0, 1, 3, 4]])
        with torch.no_grad():
            assert torch.allclose(window[:, 2], network(nearest[None, 2]).clamp(0, 1), atol=1e-5)
    added = torch.stack([(blurred - target).std() for blurred, target in pairs])
    assert len(pairs) == 4
    assert float(added.mean()) > 0.01 if noise else float(added.mean()) < 0.005


def test_a_reblurring_network_has_an_update_for_each_patch_before(networks, turning) -> None:  # type: ignore[no-untyped-def]
    found = survey(turning * 8, patches=6, size=96, seed=2)
    options = replace(OPTIONS, patches=4, pseudo_sharp="restored", guard="off", steps="auto", crop=64)
    _, done = run(networks, found, options)
    assert len(done.losses["reblur_losses"]) == 4 < len(done.losses["deblur_losses"])


def test_a_reblurring_network_needs_the_kind_of_reblurring() -> None:
    with pytest.raises(UsageError, match="--reblur with --reblurring flow, which has no network; add"):
        MetaOptions(reblur="mine.safetensors")
