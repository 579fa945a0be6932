"""DBN: the authors' graph, plain and with strong deep layers, gradients and the frames of its window."""

import pytest
import torch
from parity import assert_same_keys, case, distance, fill, seeded, without_gradient

from deblurcli.device import Device
from deblurcli.networks import NETWORKS
from deblurcli.networks.dbn import CENTRE, DBN, FRAMES
from deblurcli.restore.tiles import Restorer

NOISE = 5e-7


@torch.no_grad()
def test_the_authors_function():
    facts, arrays = case("dbn")
    network = fill(DBN())
    assert_same_keys(network, facts)
    seen = []
    network.F15.register_forward_hook(lambda module, inputs, output: seen.append(output))
    clip = torch.from_numpy(arrays["input"]).unflatten(1, (FRAMES, 3))
    assert distance(network(clip), arrays["output_0"]) < 10 * NOISE
    assert distance(seen.pop(), arrays["F15"]) < 10 * NOISE
    for value in network.state_dict().values():
        if value.dim() >= 2:
            value.mul_(2)
    assert distance(network(clip), arrays["output_x2"]) < 10 * NOISE
    assert distance(seen.pop(), arrays["F15_x2"]) < 10 * NOISE


def test_every_parameter_has_a_gradient():
    """In eval mode: a bias before batch statistics has none by construction."""
    network = DBN().eval()
    assert sum(p.numel() for p in network.parameters()) == 15_305_291
    network(torch.rand(1, FRAMES, 3, 32, 40)).square().mean().backward()
    assert without_gradient(network) == []


@torch.no_grad()
def test_frames_of_any_size_layouts_and_precisions():
    spec, frames = NETWORKS["dbn"], list(seeded(1, (FRAMES, 3, 19, 34)).unbind())
    exact = Restorer(fill(DBN()), spec, Device(torch.device("cpu"), torch.float32, "test"))(frames)
    assert exact.shape == (3, 19, 34)
    network = fill(DBN()).to(memory_format=torch.channels_last)
    restorer = Restorer(network, spec, Device(torch.device("cpu"), torch.bfloat16, "test"))
    torch.testing.assert_close(restorer(frames, precise=True), exact, atol=1e-5, rtol=0)
    assert torch.equal(restorer(frames), restorer(frames))
    assert (restorer(frames) - exact).abs().mean() < 0.5 / 255


@torch.no_grad()
def test_every_frame_matters_and_the_centre_is_added():
    network, clip = fill(DBN()), seeded(2, (1, FRAMES, 3, 16, 16))
    before = network(clip)
    for frame in range(FRAMES):
        moved = clip.clone()
        moved[:, frame] = 1 - moved[:, frame]
        assert (network(moved) - before).abs().max() > 1e-4
    network.F15.bn.weight.zero_()
    network.F15.bn.bias.zero_()
    assert torch.equal(network(clip), torch.sigmoid(clip[:, CENTRE]))


@pytest.mark.parametrize("shape", [(1, 5, 3, 8, 12), (1, 3, 3, 8, 8), (1, 5, 1, 8, 8), (5, 3, 8, 8)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="expected N x 5 x 3 x H x W"):
        DBN()(torch.zeros(shape))
