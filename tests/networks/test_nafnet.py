"""NAFNet: the authors' function with global and local means, gradients, modes, reduced precision."""

import pytest
import torch
import torch.nn.functional as F
from parity import assert_same_keys, case, distance, fill, seeded, without_gradient

from deblurcli.networks import NETWORKS
from deblurcli.networks.nafnet import LayerNorm2d, MeanPool, NAFBlock, NAFNet, local_means, spread

NOISE = 1e-6


def tiny(**options):
    return fill(NAFNet(8, encoders=(1, 2), decoders=(1, 1), **options))


@pytest.mark.parametrize("width", [32, 64])
@torch.no_grad()
def test_the_authors_function(width):
    facts, arrays = case(f"nafnet_w{width}")
    spec = NETWORKS[f"nafnet-w{width}"]
    network = fill(spec.build(**spec.config))  # its windows of 384 cover these small pictures
    assert_same_keys(network, facts)
    assert distance(network(torch.from_numpy(arrays["input"])), arrays["output_0"]) < 10 * NOISE
    if width == 32:
        assert distance(network(torch.from_numpy(arrays["input_odd"])), arrays["output_1"]) < 10 * NOISE


@torch.no_grad()
def test_the_authors_function_with_local_means():
    facts, arrays = case("nafnet_w32_local")
    network = fill(NAFNet(train_size=64))
    assert distance(network(torch.from_numpy(arrays["input"])), arrays["output_0"]) < 10 * NOISE
    odd = network(seeded(7, (1, 3, 98, 118)))
    corner = torch.tensor(facts["odd_case"]["output_corner_8x8_channel0_bottom_right"])
    assert odd.shape[-2:] == (98, 118) and (odd[0, 0, -8:, -8:] - corner).abs().max() < 10 * NOISE
    for built, table in (
        (network, "window_sizes_this_case"),
        (NAFNet(train_size=256), "window_sizes_default_train_size_256"),
    ):
        pools = {key: [m.window] * 2 for key, m in built.named_modules() if isinstance(m, MeanPool)}
        assert pools == facts[table]


@pytest.mark.parametrize("window", [(4, 5), (9, 4), (6, 12), (9, 11)])
def test_the_authors_local_mean(window):
    _, arrays = case("nafnet_w32_local")
    x = torch.from_numpy(arrays["pool_input"])
    means = spread(local_means(x, window), x.shape[-2:])
    assert distance(means, arrays[f"pool_output_{window[0]}x{window[1]}"]) < 10 * NOISE


@pytest.mark.parametrize("window", [(4, 3), (12, 3), (4, 10), (1, 1), (20, 20)])
def test_local_means_are_those_of_the_windows(window):
    x = seeded(1, (2, 3, 12, 10))
    inside = min(window[0], 12), min(window[1], 10)
    torch.testing.assert_close(local_means(x, window), F.avg_pool2d(x, inside, stride=1))


@pytest.mark.parametrize("train_size", [None, 16])
def test_every_parameter_has_a_gradient(train_size):
    network = tiny(train_size=train_size)
    network(seeded(2, (1, 3, 40, 44))).square().mean().backward()
    assert without_gradient(network) == []


@torch.no_grad()
def test_means_are_local_in_eval_mode_only():
    local, whole, picture = tiny(train_size=16), tiny(), seeded(3, (1, 3, 40, 44))
    assert (local(picture) - whole(picture)).abs().max() > 1e-4
    assert torch.equal(local.train()(picture), whole(picture))


@torch.no_grad()
def test_a_new_block_changes_nothing_and_norms_are_per_pixel():
    x = seeded(5, (2, 6, 5, 7))
    assert torch.equal(NAFBlock(6, window=None)(x), x)
    deviation = x.var(1, correction=0, keepdim=True).add(1e-6).sqrt()
    torch.testing.assert_close(LayerNorm2d(6, eps=1e-6)(x), (x - x.mean(1, keepdim=True)) / deviation)


@torch.no_grad()
def test_layouts_and_precisions():
    picture, network = seeded(4, (2, 3, 40, 44)), tiny(train_size=16)
    exact = network(picture)
    network.to(memory_format=torch.channels_last)
    torch.testing.assert_close(network(picture), exact, atol=1e-5, rtol=0)
    with torch.autocast("cpu", torch.bfloat16):
        reduced = network(picture)
    assert reduced.dtype == torch.float32
    assert (reduced - exact).abs().max() < 0.05 * (exact - picture).abs().max()
