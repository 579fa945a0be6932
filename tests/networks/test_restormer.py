"""Restormer: the authors' function, attention as the paper writes it, gradients, reduced precision."""

import torch
import torch.nn.functional as F
from parity import assert_batches_layouts_and_precisions, assert_same_keys, case, fill, seeded, without_gradient

from deblurcli.networks import NETWORKS
from deblurcli.networks.restormer import ChannelAttention, Restormer

NOISE = 2e-6


def tiny():
    return fill(Restormer(8, blocks=(1, 1, 1, 1), refinement=1))


@torch.no_grad()
def test_the_authors_function():
    facts, arrays = case("restormer")
    spec = NETWORKS["restormer"]
    network = fill(spec.build(**spec.config))
    assert_same_keys(network, facts)
    restored = network(torch.from_numpy(arrays["input"]))
    assert (restored - torch.from_numpy(arrays["output_0"])).abs().max() < 10 * NOISE


@torch.no_grad()
def test_attention_is_the_papers_equation():
    """Equation 1, step by step: normalise, attend, then project."""
    attention, x = fill(ChannelAttention(12, 3)), torch.randn(2, 12, 10, 14)
    q, k, v = (t.reshape(2, 3, 4, 140) for t in attention.qkv_dwconv(attention.qkv(x)).chunk(3, 1))
    weights = (F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT * attention.temperature).softmax(-1)
    expected = attention.project_out((weights @ v).reshape(2, 12, 10, 14))
    for layout in (torch.contiguous_format, torch.channels_last):
        torch.testing.assert_close(attention(x.contiguous(memory_format=layout)), expected, atol=1e-6, rtol=1e-5)
    assert attention(torch.zeros(1, 12, 8, 8)).abs().max() == 0


def test_every_parameter_has_a_gradient():
    network = tiny()
    network(seeded(1, (1, 3, 16, 24))).square().mean().backward()
    assert without_gradient(network) == []


@torch.no_grad()
def test_batches_layouts_and_precisions():
    pictures, network = seeded(2, (2, 3, 24, 32)), tiny()
    assert_batches_layouts_and_precisions(network, pictures)
