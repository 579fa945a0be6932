"""CDVD-TSP and its PWC-Net: the authors' functions, operations and loss, gradients, what each frame is for."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from parity import assert_same_keys, case, distance, fill, seeded, without_gradient

from deblurcli.device import Device
from deblurcli.losses import LOSSES, hard_pixels, l1_hem
from deblurcli.networks import NETWORKS
from deblurcli.networks.cdvd_tsp import CDVDTSP, FRAMES, Reconstruction, aligned, box_mean, sharpness_prior
from deblurcli.networks.pwc_net import FLOW_UNIT, PWCNet, correlation, warp
from deblurcli.restore.tiles import Restorer

NOISE, FLOW_NOISE, OPERATION_NOISE, RECONSTRUCTION_NOISE = 5e-6, 3e-5, 1e-7, 1e-6
STRONG_NOISE = 1e-5
"""Of the flow under doubled weights."""


@pytest.fixture(scope="module")
def network():
    return fill(CDVDTSP()).requires_grad_(False)


def estimated(flow, first, second):
    """All levels' flow by the network proper, coarse to fine."""
    return flow.moduleNetwork.flows(flow.pyramid(first), flow.pyramid(second))


@torch.no_grad()
def test_the_authors_function(network):
    facts, arrays = case("cdvd_tsp")
    assert_same_keys(network, facts)
    clip = torch.from_numpy(arrays["input"])
    outputs = network.passes(clip)
    for i in range(4):
        assert distance(outputs[i], arrays[f"output_{i}"]) < 10 * NOISE
    assert torch.equal(network(clip), outputs[3])
    assert all(map(torch.equal, network.outputs(clip), (outputs[1], outputs[3])))
    flows = [network.flow_net(clip[:, [1, other]]) for other in (0, 2)]
    assert distance(flows[0], arrays["flow01"]) < 10 * FLOW_NOISE
    (before, seen), (after, seen_too) = (
        aligned(clip[:, other], flow) for other, flow in zip((0, 2), flows, strict=True)
    )
    assert seen.mean().item() == pytest.approx(facts["intermediates"]["mask01_fraction"])
    prior = sharpness_prior(before, clip[:, 1], after, seen * seen_too)
    assert distance(prior, arrays["luckiness1"]) < 10 * NOISE


@torch.no_grad()
def test_the_authors_reconstruction(network):
    facts, arrays = case("cdvd_tsp_recon")
    assert sum(p.numel() for p in Reconstruction().parameters()) == facts["parameters"]
    assert distance(network.recons_net(torch.from_numpy(arrays["input"])), arrays["output_0"]) < (
        10 * RECONSTRUCTION_NOISE
    )


@torch.no_grad()
def test_the_authors_flow():
    facts, arrays = case("cdvd_tsp_pwc")
    flow = fill(PWCNet(), "flow_net.")
    assert [f"flow_net.{key}" for key in flow.state_dict()] == [key for key, *_ in facts["keys"]]
    first, second = (torch.from_numpy(arrays[f"input_{which}"]) for which in ("first", "second"))
    levels = estimated(flow, first, second)
    for i, level in enumerate((6, 5, 4, 3, 2)):
        assert distance(levels[i], arrays[f"level{level}_flow"]) < 10 * FLOW_NOISE
    found = flow(torch.stack([first, second], 1))
    assert distance(found, arrays["output_flow"]) < 10 * FLOW_NOISE
    moved, visible = aligned(second, found)
    assert distance(moved, arrays["output_warp"]) < 10 * FLOW_NOISE
    assert np.array_equal(visible.numpy(), arrays["output_mask"])
    pair = [seeded(seed, (1, 3, 64, 64)) for seed in (7, 8)]
    assert distance(estimated(flow, *pair)[-1], arrays["network_output"]) < 10 * FLOW_NOISE
    for value in flow.state_dict().values():
        if value.dim() >= 2:
            value.mul_(2)
    pair = [seeded(seed, (1, 3, 128, 128)) for seed in (7, 8)]
    assert distance(estimated(flow, *pair)[-1], arrays["network_output_x2"]) < 10 * STRONG_NOISE


def test_the_authors_operations():
    _, arrays = case("cdvd_tsp_ops")
    arrays = {key: torch.from_numpy(value) for key, value in arrays.items()}
    found = {
        "corr_output": correlation(arrays["corr_first"], arrays["corr_second"]),
        "backward_output": warp(arrays["warp_image"], arrays["warp_flow"]),
        "meanfilter5_output": box_mean(arrays["warp_image"]),
    }
    found["warp_output"], mask = aligned(arrays["warp_image"], arrays["warp_flow"])
    for name, value in found.items():
        assert (value - arrays[name]).abs().max() < 10 * OPERATION_NOISE, name
    assert torch.equal(mask.expand(-1, 3, -1, -1), arrays["warp_mask"])


def drawn(count, rng):
    """A tenth of ``count`` pixels, the way the reference draws them."""
    mask = np.zeros(count, np.float32)
    mask[: int(0.1 * count)] = 1
    rng.shuffle(mask)
    return torch.from_numpy(mask) > 0


def test_the_authors_hard_pixels():
    facts, arrays = case("cdvd_tsp_ops")
    difference = seeded(10, (1, 12, 20, 24)) - seeded(11, (1, 12, 20, 24))
    rng = np.random.RandomState(0)  # the reference's generator
    mask = hard_pixels(difference) | drawn(480, rng).view(1, 1, 20, 24)
    assert torch.equal(mask.float(), torch.from_numpy(arrays["hem_mask"]))
    assert (mask * difference).abs().mean().item() == pytest.approx(facts["hem"]["loss"], rel=1e-6)


def test_the_loss_is_the_mean_of_the_authors():
    facts, arrays = case("cdvd_tsp")
    facts = facts["loss"]
    outputs = [torch.from_numpy(arrays[f"output_{i}"]) for i in range(4)]
    target = torch.from_numpy(arrays["input"])[:, [1, 2, 3, 2]]
    difference = torch.cat(outputs, 1) - target.flatten(1, 2)
    rng = np.random.RandomState(0)  # the reference's generator

    def authors():
        mask = hard_pixels(difference) | drawn(48 * 48, rng).view(1, 1, 48, 48)
        return (difference.abs().mean() + 2 * (mask * difference).abs().mean()).item()

    draws = [authors() for _ in range(100)]
    assert draws[0] == pytest.approx(facts["total_L1_plus_2HEM"], rel=1e-6)
    assert l1_hem(outputs, target).item() == pytest.approx(np.mean(draws), abs=4 * np.std(draws) / 10)
    # One mask for all outputs; one per picture of a batch.
    assert l1_hem(outputs[1], target[:, 1]) != l1_hem(outputs[1:3], target[:, 1:3])
    batch = torch.cat([outputs[0], 3 * outputs[3]]), torch.cat([target[:, 0], target[:, 3]])
    each = [l1_hem(*(t[i : i + 1] for t in batch)) for i in range(2)]
    torch.testing.assert_close(l1_hem(*batch), torch.stack(each).mean())


def test_every_parameter_has_a_gradient():
    """Under doubled weights: otherwise next to nothing comes through to the coarsest levels of the flow."""
    network = fill(CDVDTSP()).train()
    with torch.no_grad():
        for value in network.flow_net.state_dict().values():
            if value.dim() >= 2:
                value.mul_(2)
    clip = F.interpolate(seeded(1, (FRAMES, 3, 8, 8)), (64, 64), mode="bicubic").clamp(0, 1)[None]
    outputs = network.outputs(clip)
    assert [output.shape for output in outputs] == [(1, 3, 64, 64)] * 2
    LOSSES[NETWORKS["cdvd-tsp"].loss](outputs, seeded(2, (1, 3, 64, 64))).backward()
    assert without_gradient(network) == []


def test_correlation_compares_displaced_pixels():
    first, second = (seeded(seed, (2, 3, 6, 7)).requires_grad_() for seed in (3, 4))
    volume = correlation(first, second, radius=2)
    assert volume.shape == (2, 25, 6, 7)
    expected = (first[1, :, 4, 3] * second[1, :, 4 - 2, 3 + 1]).mean()  # row 0, column 3 of the displacements
    torch.testing.assert_close(volume[1, 3, 4, 3], expected)
    assert torch.equal(volume[:, 0, :2], torch.zeros(2, 2, 7))  # two rows up is outside
    gradient = torch.autograd.grad(volume[1, 3, 4, 3], (first, second))
    torch.testing.assert_close(gradient[0][1, :, 4, 3], second[1, :, 2, 4] / 3)
    torch.testing.assert_close(gradient[1][1, :, 2, 4], first[1, :, 4, 3] / 3)


@torch.no_grad()
def test_warping_moves_by_whole_pixels_and_tells_what_is_seen():
    picture, flow = seeded(5, (1, 3, 8, 12)), torch.zeros(1, 2, 8, 12)
    flow[:, 0], flow[:, 1] = 3, -2
    moved, visible = aligned(picture, flow)
    torch.testing.assert_close(moved[..., 2:, :9], picture[..., :6, 3:], atol=1e-5, rtol=0)
    expected = torch.zeros(1, 1, 8, 12)
    expected[..., 2:, :9] = 1
    assert torch.equal(visible, expected) and moved[..., :2, :].abs().max() == 0
    torch.testing.assert_close(warp(picture, flow), moved, atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_prior_is_high_where_neighbours_agree():
    frame, visible = seeded(6, (1, 3, 16, 16)), torch.ones(1, 1, 16, 16)
    visible[..., :4] = 0
    assert torch.equal(sharpness_prior(frame, frame, frame, visible), visible)
    brighter = sharpness_prior(frame + 0.2, frame, frame, visible)[..., 4:12, 8]
    torch.testing.assert_close(brighter, torch.full_like(brighter, np.exp(-np.sqrt(3 * 0.2**2 / 2))))


@torch.no_grad()
def test_flow_takes_any_size(network):
    pair = seeded(7, (2, 2, 3, 50, 70))
    found = network.flow_net(pair)
    assert found.shape == (2, 2, 50, 70)
    torch.testing.assert_close(network.flow_net(pair[1:]), found[1:], atol=1e-4, rtol=0)
    resized = [F.interpolate(picture, (64, 128), mode="bilinear") for picture in pair.unbind(1)]
    flow = FLOW_UNIT * F.interpolate(estimated(network.flow_net, *resized)[-1], (50, 70), mode="bilinear")
    torch.testing.assert_close(found[:, 0], flow[:, 0] * 70 / 128)
    torch.testing.assert_close(found[:, 1], flow[:, 1] * 50 / 64)


@torch.no_grad()
def test_frames_of_any_size_layouts_and_precisions(network):
    spec = NETWORKS["cdvd-tsp"]
    frames = list(F.interpolate(seeded(8, (FRAMES, 3, 8, 8)), (45, 50), mode="bicubic").clamp(0, 1).unbind())
    exact = Restorer(network, spec, Device(torch.device("cpu"), torch.float32, "test"))(frames)
    assert exact.shape == (3, 45, 50)
    placed = fill(CDVDTSP()).to(memory_format=torch.channels_last)
    restorer = Restorer(placed, spec, Device(torch.device("cpu"), torch.bfloat16, "test"))
    torch.testing.assert_close(restorer(frames, precise=True), exact, atol=1e-5, rtol=0)
    assert torch.equal(restorer(frames), restorer(frames))
    assert (restorer(frames) - exact).abs().mean() < 1 / 255
    for other in range(FRAMES):
        changed = [frame.flip(-1) if i == other else frame for i, frame in enumerate(frames)]
        assert (restorer(changed, precise=True) - exact).abs().max() > 1e-3


@pytest.mark.parametrize("shape", [(1, 5, 3, 8, 6), (1, 3, 3, 8, 8), (1, 5, 1, 8, 8), (5, 3, 8, 8)])
def test_other_shapes_are_refused(network, shape):
    with pytest.raises(ValueError, match="expected N x 5 x 3 x H x W"):
        network(torch.zeros(shape))
    with pytest.raises(ValueError, match="expected N x 2 x 3 x H x W"):
        network.flow_net(torch.zeros(shape))
