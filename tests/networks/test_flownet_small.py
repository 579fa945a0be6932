"""FlowNet-small: sizes, gradients to the pictures, its correlation and enlargement against plain ones, precisions."""

import pytest
import torch
import torch.nn.functional as F
from parity import seeded, without_gradient

from deblurcli.losses import LOSSES, robust_epe
from deblurcli.networks import NETWORKS
from deblurcli.networks.flownet_small import BLOCK, MATCHED, RADIUS, FlowNetSmall, correlation, distinct, enlarged


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(1)
    made = FlowNetSmall()
    # As it begins, the decoder adds nothing to the displacements that it finds.
    torch.nn.init.normal_(made.decoder.tail.weight, std=0.01)
    return made.eval()


@torch.no_grad()
@pytest.mark.parametrize("size", [(32, 32), (33, 70), (64, 96), (5, 1)])
def test_any_size(network, size):
    pair = seeded(1, (2, 2, 3, *size))
    full, *coarse = network.outputs(pair)
    assert full.shape == (2, 2, *size) and torch.equal(network(pair), full)
    expected = [(-(-size[0] // side), -(-size[1] // side)) for side in (4, 4, 8, 16)]
    assert [flow.shape[-2:] for flow in coarse] == expected


def test_every_parameter_and_both_pictures_have_a_gradient(network):
    pair = seeded(2, (1, 2, 3, 64, 64)).requires_grad_()
    LOSSES[NETWORKS["flownet-small"].loss](network.outputs(pair), 10 * seeded(3, (1, 2, 64, 64))).backward()
    assert without_gradient(network) == []
    assert pair.grad.abs().amax((0, 2, 3, 4)).min() > 0


@torch.no_grad()
def test_batches_and_precisions(network):
    pairs = F.interpolate(seeded(5, (4, 3, 12, 12)), (64, 80), mode="bicubic").clamp(0, 1).unflatten(0, (2, 2))
    exact = network(pairs)
    torch.testing.assert_close(torch.cat([network(pair[None]) for pair in pairs]), exact, atol=2e-3, rtol=0)
    with torch.autocast("cpu", torch.bfloat16):
        reduced = network(pairs)
    assert reduced.dtype == torch.float32
    assert (reduced - exact).abs().mean() < 0.1 * exact.abs().mean()


def test_other_shapes_are_refused(network):
    for shape in ((1, 3, 3, 64, 64), (1, 6, 64, 64), (1, 2, 1, 64, 64)):
        with pytest.raises(ValueError, match="expected N x 2 x 3 x H x W"):
            network(torch.zeros(shape))


@pytest.mark.parametrize("size", [(3, 5), (7, BLOCK), (6, 2 * BLOCK + 1)])
def test_the_correlation_is_that_of_one_displacement_after_the_other(size):
    first, second = (seeded(seed, (2, 8, *size)).double().requires_grad_() for seed in (6, 7))
    h, w = size
    around = F.pad(second, (RADIUS,) * 4, mode="replicate")
    side = range(2 * RADIUS + 1)
    expected = torch.stack([(first * around[..., y : y + h, x : x + w]).sum(1) for y in side for x in side], 1)
    found = correlation(first, second)
    torch.testing.assert_close(found, expected)
    weights = seeded(8, tuple(found.shape)).double()
    wanted = torch.autograd.grad((expected * weights).sum(), (first, second))
    torch.testing.assert_close(torch.autograd.grad((found * weights).sum(), (first, second)), wanted)


def test_distinct_features_have_length_one_and_nothing_in_common():
    features = 5 + seeded(9, (4, MATCHED, 6, 7))
    found = distinct(features)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(4, 6, 7))
    alike = torch.einsum("chw,cij->hwij", found[0], found[0]).mean()
    assert alike < 0.2 < F.normalize(features, dim=1)[0].mean((1, 2)).square().sum()
    # Each pair by itself.
    torch.testing.assert_close(distinct(features[[0, 2]]), found[[0, 2]])


def test_enlarging_keeps_a_constant_flow_and_counts_fine_pixels():
    flow = torch.tensor([1.5, -0.25]).view(1, 2, 1, 1).expand(1, 2, 3, 4)
    found = enlarged(flow, seeded(10, (1, 9 * 16, 3, 4)))
    torch.testing.assert_close(found, 4 * flow[..., :1, :1].expand(1, 2, 12, 16))
    # All the weight on the neighbour to the right, in every fine pixel.
    scores = torch.zeros(1, 9, 16, 3, 4)
    scores[:, 5] = 50.0
    steps = torch.arange(4.0).expand(1, 2, 3, 4)
    right = enlarged(steps, scores.flatten(1, 2))
    torch.testing.assert_close(right[0, 0, 0], 4 * torch.tensor([1.0, 2, 3, 3]).repeat_interleave(4))


def test_the_robust_loss():
    target = torch.zeros(2, 2, 8, 8)
    target[:, 0] = 3.0
    target[:, 1] = 4.0
    zero = torch.zeros(2, 2, 8, 8)
    one = robust_epe([zero], target)
    assert one.item() == pytest.approx(5**0.5, rel=1e-3)
    half = robust_epe([zero, zero[..., ::2, ::2]], target)
    assert half.item() == pytest.approx(1.5 * one.item(), rel=1e-5)
    assert robust_epe(target, target).item() == pytest.approx(0.05**0.5, rel=1e-5)
