"""FlowNetS: the published function at all scales, its loss, both kinds of weights, gradients to the pictures."""

import pytest
import torch
import torch.nn.functional as F
from parity import assert_same_keys, case, distance, fill, seeded, without_gradient

from deblurcli.losses import LOSSES, multiscale_epe
from deblurcli.networks import NETWORKS
from deblurcli.networks.flownet_s import FLOW_UNIT, MEAN, FlowNetS

NOISE = 1e-7


@pytest.fixture(scope="module")
def network():
    return fill(FlowNetS())


@torch.no_grad()
def test_the_authors_function(network):
    facts, arrays = case("flownets")
    assert_same_keys(network, facts)
    normalised = torch.from_numpy(arrays["input"]).unflatten(1, (2, 3))
    pair = normalised + torch.tensor(MEAN)[:, None, None]
    outputs = network.outputs(pair)
    assert distance(outputs[0] / FLOW_UNIT, arrays["output_0"]) < 10 * NOISE
    for i in range(1, 5):
        assert distance(outputs[i] / FLOW_UNIT, arrays[f"train_output_{i}"]) < 10 * NOISE
    assert distance(network(pair), arrays["full_flow"]) < 10 * NOISE * FLOW_UNIT


@torch.no_grad()
def test_the_authors_function_at_an_odd_size(network):
    _, arrays = case("flownets")
    pair = seeded(8, (2, 3, 72, 100))[None]
    assert distance(network.outputs(pair)[0] / FLOW_UNIT, arrays["output_odd"]) < 10 * NOISE
    assert network(pair).shape == (1, 2, 72, 100)
    assert network(seeded(1, (1, 2, 3, 33, 47))).shape == (1, 2, 33, 47)


def test_the_authors_loss():
    facts, arrays = case("flownets")
    outputs = [torch.from_numpy(arrays[key]) for key in ("output_0", *(f"train_output_{i}" for i in range(1, 5)))]
    target = (seeded(9, (1, 2, 64, 96)) - 0.5) * 0.8
    expected = facts["loss"]["multiscaleEPE_weights_.005_.01_.02_.08_.32_fine_to_coarse"]
    assert multiscale_epe(outputs, target).item() == pytest.approx(expected, rel=1e-5)
    twice = multiscale_epe([output.repeat(2, 1, 1, 1) for output in outputs], target.repeat(2, 1, 1, 1))
    assert twice.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("batch_norm", "parameters"), [(False, "parameters"), (True, "parameters_bn_model")])
def test_every_parameter_has_a_gradient(batch_norm, parameters):
    facts, _ = case("flownets")
    network = FlowNetS(batch_norm).train()
    assert sum(p.numel() for p in network.parameters()) == facts[parameters]
    outputs = network.outputs(seeded(2, (2, 2, 3, 64, 96)))
    assert [output.shape[-2:] for output in outputs] == [(16, 24), (8, 12), (4, 6), (2, 3), (1, 2)]
    LOSSES[NETWORKS["flownet-s"].loss](outputs, 10 * seeded(3, (2, 2, 64, 96))).backward()
    assert without_gradient(network) == []


def test_pictures_get_a_gradient(network):
    pair = seeded(4, (1, 2, 3, 64, 64)).requires_grad_()
    network(pair).square().mean().backward()
    assert pair.grad.abs().amax((0, 2, 3, 4)).min() > 0


@torch.no_grad()
def test_batches_and_precisions(network):
    pairs = F.interpolate(seeded(5, (4, 3, 8, 8)), (64, 72), mode="bicubic").clamp(0, 1).unflatten(0, (2, 2))
    exact = network(pairs)
    torch.testing.assert_close(torch.cat([network(pair[None]) for pair in pairs]), exact, atol=1e-5, rtol=0)
    with torch.autocast("cpu", torch.bfloat16):
        reduced = network(pairs)
    assert reduced.dtype == torch.float32
    assert (reduced - exact).abs().max() < 0.05 * exact.abs().max()


def test_other_shapes_are_refused(network):
    for shape in ((1, 3, 3, 64, 64), (1, 6, 64, 64), (1, 2, 1, 64, 64)):
        with pytest.raises(ValueError, match="expected N x 2 x 3 x H x W"):
            network(torch.zeros(shape))
