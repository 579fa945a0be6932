"""The inner update of the meta method: what moves, what stays, what is undone."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_networks import Blurs, placed, same, weights
from torch import Tensor, nn

from deblurcli.adaptation.agreement import Agreement
from deblurcli.adaptation.camera import align
from deblurcli.adaptation.guard import Diverged, Guard
from deblurcli.adaptation.outcome import Outcome
from deblurcli.adaptation.pairs import pseudo_sharp, trainable
from deblurcli.adaptation.reblurring_network import real_sample
from deblurcli.adaptation.survey import Survey, survey
from deblurcli.console import Reporter
from deblurcli.device import pick_device
from deblurcli.errors import OfflineError, UsageError
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
    patches=8, patch_size=64, reblurring="network", guard="pairs", steps=16, rate=1e-3, reblur_rate=1e-4
)


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
    assert done.kept and done.facts["loss_after"] < 0.97 * done.facts["loss_before"]
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
    options = replace(OPTIONS, reblurring="camera", steps=24, rate=1e-3)
    before = weights(networks[0])
    adapted, done = adapt(placed(networks[0], "plain-unet"), found, options, SILENT)
    assert done.kept and done.facts["loss_after"] < 0.985 * done.facts["loss_before"]
    assert done.facts["camera"]["pieces_explained"] >= 4
    assert done.losses["reblur_losses"] == [] and len(done.losses["deblur_losses"]) == 24
    assert same(weights(networks[0]), before) and not same(weights(adapted), before)
    again, _ = adapt(placed(networks[0], "plain-unet"), found, options, SILENT)
    assert same(weights(adapted), weights(again)), "equal seeds, equal weights"


def test_nothing_is_adapted_where_no_camera_explains_the_video(networks) -> None:  # type: ignore[no-untyped-def]
    generator = torch.Generator().manual_seed(3)
    found = survey([torch.rand(3, 96, 96, generator=generator) for _ in range(9)], patches=6, size=64, seed=2)
    options = replace(OPTIONS, reblurring="camera")
    adapted, done = adapt(placed(networks[0], "plain-unet"), found, options, SILENT)
    assert adapted is networks[0] and not done.kept and "do not explain" in done.reason


def test_pseudo_pairs_are_made_of_what_the_unadapted_network_restores(networks, clip) -> None:  # type: ignore[no-untyped-def]
    found = survey(clip, patches=2, size=64, seed=2)
    moment = found.patches[0].clip(CPU.where)[:, 2]
    network = networks[0].eval()
    with torch.no_grad():
        network.tail.bias.fill_(0.01)
        expected = network(moment).clamp(0, 1)
    camera = MetaOptions(patch_size=64)
    assert torch.equal(pseudo_sharp(network, SPEC, found.patches[0], camera, CPU), expected)
    for options in (replace(camera, pseudo_sharp="video"), replace(camera, reblurring="network")):
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
    entries["plain-unet"] = replace(entries["plain-unet"], adapt_from="plain-unet")
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
        meta_learned = initial_weights(network, MetaOptions(), worker)
        assert meta_learned is not None and meta_learned.name == "plain-unet-meta", "of both defaults"
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
    assert 0.99 * done.facts["loss_before"] < done.facts["loss_after"] <= done.facts["loss_before"]


def test_a_guard_settles_on_the_best_weights_it_has_seen() -> None:
    layer = nn.Linear(1, 1, bias=False)
    losses = iter([0.9, 0.95])
    guard = Guard(layer, lambda network: next(losses), before=1.0, min_gain=0.01)
    for step in (1, 2):
        with torch.no_grad():
            layer.weight.fill_(step)
        guard.look(step)
    assert guard.settle() and guard.best_step == 1 and float(layer.weight.detach()) == 1
    with torch.no_grad():
        layer.weight.fill_(float("nan"))
    with pytest.raises(Diverged, match="not finite"):
        guard.look(3)


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
    assert np.isnan(unguarded.facts["loss_before"])


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

    options = replace(OPTIONS, batch=batch, steps=None, patches=6)
    _, done = run((networks[0], Counted(), networks[2]), support, options)
    assert len(done.losses["deblur_losses"]) == options.updates == 6 // batch
    held_out = len(support.patches) - 6
    looks = held_out * (1 + min(4, len(done.losses["deblur_losses"])))  # before, and at every look
    assert len(seen) == 6 // batch + 6 + looks


def test_patches_count_by_their_contrast_if_asked_to(networks, support) -> None:  # type: ignore[no-untyped-def]
    assert len({round(patch.contrast, 3) for patch in support.patches}) > 1
    even, _ = run(networks, support, replace(OPTIONS, rate=1e-3))
    weighted, _ = run(networks, support, replace(OPTIONS, rate=1e-3, weighting="contrast"))
    assert not same(weights(even), weights(weighted))


def test_only_biases_move_if_asked_to(networks, support) -> None:  # type: ignore[no-untyped-def]
    vectors = trainable(networks[0], "biases")
    assert vectors and all(p.ndim == 1 for p in vectors)
    assert len(trainable(networks[0], "all")) == len(list(networks[0].parameters())) > len(vectors)
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
    assert len(done.losses["deblur_losses"]) == 16 and done.facts["loss_before"] > 0
    other = Survey([*support.patches[:3], support.patches[-1]], support.size, support.sharpness)
    two, _ = run(networks, other, replace(OPTIONS, patches=3))
    assert same(weights(one), weights(two))


def test_one_patch_and_copy_of_networks(networks, support) -> None:  # type: ignore[no-untyped-def]
    backup = copy.deepcopy(networks[2].state_dict())
    run(networks, Survey(support.patches[:1], support.size, support.sharpness), OPTIONS)
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
    assert done.kept and done.facts["loss_after"] < done.facts["loss_before"]
    assert not same(weights(adapted), weights(network))
