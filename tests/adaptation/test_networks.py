"""The meta method on every deblurring network of the table, and the loss of those with several outputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from small_networks import Blurs, placed, same, weights
from torch import Tensor, nn

from deblurcli.adaptation.camera import Camera
from deblurcli.adaptation.outcome import Outcome
from deblurcli.adaptation.pairs import deblur_loss
from deblurcli.adaptation.survey import Survey, survey
from deblurcli.console import Reporter
from deblurcli.device import pick_device
from deblurcli.losses import LOSSES, charbonnier, edge, fft_l1, hard_pixels, l1
from deblurcli.methods import meta
from deblurcli.methods.meta import adapt
from deblurcli.networks import NETWORKS
from deblurcli.networks.spec import outputs
from deblurcli.options.meta import MetaOptions
from deblurcli.synth.pairs import shaken

CPU = pick_device("cpu", "fp32")
DEBLUR = [name for name, spec in NETWORKS.items() if spec.role == "deblur"]
SEVERAL = {"mimo-unet": 3, "mimo-unet-plus": 3, "mprnet": 3, "srn": 3, "cdvd-tsp": 2}
"""How many outputs the loss is of, where not one."""
TINY_UNET = {"width": 16, "deep_width": 16, "blocks": [1, 1, 1]}
TINY_NAFNET = {"width": 8, "encoders": [1, 1, 1, 1], "middle": 1, "decoders": [1, 1, 1, 1], "train_size": 32}
TINY = {
    "plain-unet": TINY_UNET,
    "video-unet": TINY_UNET | {"frames": 3, "steps": [0.5, 1.0], "blocks": [0, 1, 0], "base": TINY_UNET},
    "mimo-unet": {"blocks": 1, "dropout": 0.0, "width": 8},
    "mimo-unet-plus": {"blocks": 1, "dropout": 0.5, "width": 8},
    "nafnet-w32": TINY_NAFNET,
    "nafnet-w64": TINY_NAFNET,
    "restormer": {"width": 8, "blocks": [1, 1, 1, 1], "refinement": 1, "heads": [1, 1, 2, 2], "expansion": 2.66},
    "mprnet": {"width": 8, "step": 4, "extra": 4, "blocks": 1, "reduction": 4},
    "residual-unet": {"blocks": 1},
    "deblurgan": {"blocks": 1, "dropout": True},
}  # fmt: skip
"""Less than the registered configuration, where the network can be less."""
OPTIONS = MetaOptions(patches=4, patch_size=64, steps=2, rate=1e-4, guard="off")


def built(name: str) -> nn.Module:
    torch.manual_seed(5)
    return NETWORKS[name].build(**TINY.get(name, NETWORKS[name].config or {})).eval()


@pytest.fixture(scope="module")
def found() -> Survey:
    """Of a picture shaken by hand."""
    torch.manual_seed(6)
    picture = F.interpolate(torch.rand(1, 3, 20, 24), size=(192, 224), mode="bicubic")[0].clamp(0, 1)
    return survey([blurred for blurred, _ in shaken(picture, 9, 25, 8, 1, 2.2, 0.0)], patches=6, size=64, seed=2)


@pytest.fixture(scope="module")
def camera(found: Survey) -> tuple[object, Camera]:
    """What no network has a part in: the alignment and the camera."""
    alignment = meta.align(found.patches, CPU.where)
    return alignment, meta.camera_of(alignment)


@pytest.fixture
def run(found: Survey, camera: tuple[object, Camera], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple]:
    monkeypatch.setattr(meta, "align", lambda *_: camera[0])
    monkeypatch.setattr(meta, "camera_of", lambda _: camera[1])

    def adapted(name: str, network: nn.Module, options: MetaOptions) -> tuple[nn.Module, Outcome]:
        torch.manual_seed(7)
        modules = {}
        if options.reblurring == "network":
            modules = {"reblur": Blurs(), "critic": NETWORKS["patch-critic"].build(channels=8)}
        return adapt(placed(network, name), found, options, Reporter.silent(), **modules)

    return adapted


BOTH_WAYS = ("plain-unet", "video-unet", "mprnet")
"""Networks that learn from either model of the blur; the others from the usual one."""


@pytest.mark.parametrize(
    ("name", "reblurring"), [*((name, "flow") for name in DEBLUR), *((name, "camera") for name in BOTH_WAYS)]
)
def test_every_network_adapts_to_the_blur_of_the_video(name: str, reblurring: str, run: Callable[..., tuple]) -> None:
    network, options = built(name), replace(OPTIONS, reblurring=reblurring)
    before = weights(network)
    adapted, done = run(name, network, options)
    again, redone = run(name, network, options)
    losses = done.losses["deblur_losses"]
    assert done.kept and len(losses) == 2 and all(map(math.isfinite, losses))
    assert losses == redone.losses["deblur_losses"] and same(weights(adapted), weights(again))
    assert not same(weights(adapted), before) and same(weights(network), before)
    assert not adapted.training and adapted is not network


@pytest.mark.parametrize("name", DEBLUR)
def test_every_network_adapts_to_what_the_reblurring_network_learns(name: str, run: Callable[..., tuple]) -> None:
    network = built(name)
    before = weights(network)
    options = replace(OPTIONS, reblurring="network", steps=1, guard="pairs", freeze_deblur_in_cycle=False)
    adapted, done = run(name, network, options)
    losses = [*done.losses["reblur_losses"], *done.losses["deblur_losses"]]
    assert [len(found) for found in done.losses.values()] == [1, 1]
    assert all(map(math.isfinite, (*losses, done.facts["gain"], *(look["gain"] for look in done.facts["looks"]))))
    assert len(done.facts["looks"]) == 1 and done.kept == (adapted is not network) and same(weights(network), before)


@pytest.mark.parametrize(
    ("name", "guard"), [("mimo-unet-plus", "agreement"), ("mimo-unet-plus", "strata"), ("deblurgan", "strata")]
)
def test_with_dropout_the_result_is_one_picture_as_well(name: str, guard: str, run: Callable[..., tuple]) -> None:
    adapted, done = run(name, built(name), replace(OPTIONS, dropout=True, steps=1, guard=guard))
    (look,) = done.facts["looks"]
    assert len(done.losses["deblur_losses"]) == 1 and math.isfinite(look["gain"]) and not adapted.training


def statistics(network: nn.Module) -> dict[str, Tensor]:
    """Running statistics of norms."""
    return {name: value.clone() for name, value in network.named_buffers() if "running_" in name}


WITH_STATISTICS = [
    name for name in DEBLUR if statistics(NETWORKS[name].build(**TINY.get(name, NETWORKS[name].config or {})))
]


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("name", ["dbn"])
def test_running_statistics_stay_as_they_were_trained(name: str, run: Callable[..., tuple], dropout: bool) -> None:
    network = built(name)
    before = statistics(network)
    assert before
    adapted, done = run(name, network, replace(OPTIONS, dropout=dropout, steps=1, guard="agreement"))
    assert len(done.losses["deblur_losses"]) == 1
    for module in (adapted, network):
        after = statistics(module)
        assert after.keys() == before.keys() and all(torch.equal(after[key], before[key]) for key in before)


@pytest.mark.parametrize("name", DEBLUR)
def test_outputs_are_the_same_in_either_mode_and_hold_the_result(name: str) -> None:
    network, spec = built(name), NETWORKS[name]
    x = torch.rand(1, *([] if spec.window == 1 else [spec.window]), 3, 32, 32)
    with torch.no_grad():
        result, several = network(x), outputs(network, x)
        if name not in SEVERAL:
            assert torch.equal(several, result)
            return
        assert len(several) == SEVERAL[name] and any(torch.equal(output, result) for output in several)
        in_training = outputs(network.train(), x)
    if name != "mimo-unet-plus":  # whose features drop out
        assert all(map(torch.equal, several, in_training))


def of_each_scale(pictures: list[Tensor], target: Tensor) -> list[tuple[Tensor, Tensor]]:
    return [(p, F.interpolate(target, size=p.shape[-2:], mode="bilinear")) for p in pictures]


def mimo(pictures: list[Tensor], target: Tensor) -> Tensor:
    return sum(l1(p, wanted) + 0.1 * fft_l1(p, wanted) for p, wanted in of_each_scale(pictures, target))


def mprnet(pictures: list[Tensor], target: Tensor) -> Tensor:
    return sum(charbonnier(p, target) + 0.05 * edge(p, target) for p in pictures)


def srn(pictures: list[Tensor], target: Tensor) -> Tensor:
    return sum(l1(p, wanted) for p, wanted in of_each_scale(pictures, target))


def cdvd_tsp(pictures: list[Tensor], target: Tensor) -> Tensor:
    difference = torch.cat(pictures, 1) - torch.cat([target] * 2, 1)
    pixels = difference[0, 0].numel()
    weight = torch.where(hard_pixels(difference), 1.0, int(0.1 * pixels) / pixels)
    return difference.abs().mean() + 2 * (weight * difference.abs()).mean()


FORMULAS = {"mimo-unet": mimo, "mimo-unet-plus": mimo, "mprnet": mprnet, "srn": srn, "cdvd-tsp": cdvd_tsp}


@pytest.mark.parametrize("name", SEVERAL)
@torch.no_grad()
def test_the_loss_of_an_adaptation_is_of_all_outputs_inside_the_border(name: str) -> None:
    network, spec = built(name), NETWORKS[name]
    window, blurred = torch.rand(2, 5, 3, 32, 32), torch.rand(2, 3, 32, 32)
    target = window[:, 2]
    shown = blurred if spec.window == 1 else torch.cat([window[:, :2], blurred[:, None], window[:, 3:]], 1)
    results = network.outputs(shown.contiguous(memory_format=torch.channels_last) if spec.window == 1 else shown)
    border = 8 if results[0].shape[-1] < 32 else 5  # 5 is no whole number of pixels at a quarter of the size
    inner = [p[..., (b := border * p.shape[-1] // 32) : p.shape[-1] - b, b : p.shape[-1] - b] for p in results]
    found = deblur_loss(network, spec, window, blurred, target, 5, CPU)
    torch.testing.assert_close(found, FORMULAS[name](inner, target[..., border:-border, border:-border]))


@pytest.mark.parametrize("name", SEVERAL)
@torch.no_grad()
def test_the_loss_of_training_is_of_all_outputs(name: str) -> None:
    network, spec = built(name), NETWORKS[name]
    x = torch.rand(1, *([] if spec.window == 1 else [spec.window]), 3, 32, 32)
    target = torch.rand(1, 3, 32, 32)
    found = LOSSES[spec.loss](outputs(network, x), target)
    torch.testing.assert_close(found, FORMULAS[name](network.outputs(x), target))
    assert not torch.isclose(found, LOSSES[spec.loss](network(x), target), rtol=1e-3)
