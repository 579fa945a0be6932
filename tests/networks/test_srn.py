"""SRN without LSTM: the authors' function at all scales, TensorFlow's resizing, gradients."""

import torch
from parity import assert_same_keys, case, fill, seeded, without_gradient

from deblurcli.device import Device
from deblurcli.losses import LOSSES
from deblurcli.networks import NETWORKS
from deblurcli.networks.srn import SRN, _doubled
from deblurcli.restore.tiles import Restorer

NOISE = 1.5e-6


@torch.no_grad()
def test_the_authors_function():
    facts, arrays = case("srn")
    network = fill(SRN())
    # The reference lists the TensorFlow variable and its shape as well.
    assert_same_keys(network, facts | {"keys": [entry[:3] for entry in facts["keys"]]})
    picture = torch.from_numpy(arrays["input"])
    outputs = network.outputs(picture)
    for i in range(3):
        assert (outputs[i] - torch.from_numpy(arrays[f"output_{i}"])).abs().max() < 10 * NOISE
    assert torch.equal(network(picture), outputs[2])


def test_doubling_keeps_even_positions_and_repeats_the_border():
    x = torch.tensor([[0.0, 2.0], [4.0, 10.0]])[None, None]
    rows = [[0, 1, 2, 2], [2, 4, 6, 6], [4, 7, 10, 10], [4, 7, 10, 10]]
    assert _doubled(x)[0, 0].tolist() == rows


def test_every_parameter_has_a_gradient():
    network = SRN().train()
    assert sum(p.numel() for p in network.parameters()) == 6_881_251
    outputs = network.outputs(torch.rand(1, 3, 16, 32))
    assert [output.shape[-2:] for output in outputs] == [(4, 8), (8, 16), (16, 32)]
    LOSSES[NETWORKS["srn"].loss](outputs, torch.rand(1, 3, 16, 32)).backward()
    assert without_gradient(network) == []


def test_no_gradient_flows_to_a_coarser_prediction():
    _, half, full = SRN().outputs(torch.rand(1, 3, 16, 16))
    assert torch.autograd.grad(full.sum(), half, allow_unused=True) == (None,)


@torch.no_grad()
def test_frames_of_any_size_layouts_and_precisions():
    spec, picture = NETWORKS["srn"], seeded(1, (3, 37, 50))
    exact = Restorer(fill(SRN()), spec, Device(torch.device("cpu"), torch.float32, "test"))([picture])
    assert exact.shape == (3, 37, 50)
    network = fill(SRN()).to(memory_format=torch.channels_last)
    restorer = Restorer(network, spec, Device(torch.device("cpu"), torch.bfloat16, "test"))
    torch.testing.assert_close(restorer([picture], precise=True), exact, atol=1e-5, rtol=0)
    assert torch.equal(restorer([picture]), restorer([picture]))
    assert (restorer([picture]) - exact).abs().mean() < 2 / 255
