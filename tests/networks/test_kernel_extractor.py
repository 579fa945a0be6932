"""The blur kernel extractor: the authors' function, both forms, what it refuses, gradients."""

import numpy as np
import pytest
import torch
from parity import assert_same_keys, case, distance, fill, seeded, without_gradient

from deblurcli.networks import NETWORKS
from deblurcli.networks.kernel_extractor import KernelExtractor

NOISE = 1e-7


@pytest.fixture(scope="module")
def network():
    return fill(KernelExtractor())


@pytest.fixture(scope="module")
def pictures():
    """Sharp and blurred as the vectors have them."""
    return seeded(7, (2, 1, 3, 256, 256))


def random_code():
    drawn = np.random.default_rng(9).standard_normal((1, 512, 2, 2)) * 1.2
    return torch.from_numpy(drawn.astype(np.float32))


def features(seed):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((1, 64, 64, 64)).astype(np.float32))


def doubled(module):
    for parameter in module.parameters():
        if parameter.ndim >= 2:
            parameter *= 2
    return module


@torch.no_grad()
def test_the_authors_function(network, pictures):
    facts, arrays = case("kernelwizard")
    assert_same_keys(network, facts)
    assert distance(pictures[..., :8, :8], arrays["input_corner"]) == 0
    sharp, blurred = pictures
    code, deviation = network.extract(sharp, blurred)
    assert distance(code, arrays["output_k"]) < 10 * NOISE
    assert deviation.shape == code.shape and not deviation.any()
    middle = (..., slice(96, 160), slice(96, 160))
    assert distance(network.adapt(sharp, code)[middle], arrays["adapt_output_crop"]) < 10 * NOISE
    assert distance(network.adapt(sharp, random_code())[middle], arrays["adapt_random_crop"]) < 10 * NOISE
    assert torch.equal(network(sharp, blurred), network.adapt(sharp, code))


@torch.no_grad()
def test_the_authors_adapter_and_extractor(network, pictures):
    _, arrays = case("kernelwizard")
    found, middle = network.feature_extractor(pictures[0]), (..., slice(24, 40), slice(24, 40))
    code = torch.from_numpy(arrays["output_k"])
    assert distance(network.adapter(found, code)[middle], arrays["adapter_k_crop"]) < 10 * NOISE
    assert distance(network.adapter(found, random_code())[middle], arrays["adapter_random_crop"]) < 10 * NOISE


@torch.no_grad()
def test_the_authors_parts_where_the_code_matters():
    """With weights twice as large a code changes the result by as much as the features do."""
    _, arrays = case("kernelwizard")
    network = fill(KernelExtractor())
    adapted = doubled(network.adapter)(features(10), random_code())
    assert distance(adapted[..., 24:40, 24:40], arrays["adapter_x2_crop"]) < 1e-5
    code = doubled(network.kernel_extractor)(torch.cat([features(10), features(11)], 1))
    assert distance(code, arrays["output_k_x2"]) < 1e-4


def test_the_variational_form():
    facts, _ = case("kernelwizard")
    with torch.device("meta"):
        network = KernelExtractor(variational=True)
    assert sum(p.numel() for p in network.parameters()) == facts["parameters_wVAE"]
    wanted = {key: shape for key, shape, _ in facts["keys"]}
    wanted |= {key: shape for key, shape, _ in facts["keys_wVAE_that_differ"]}
    assert {key: list(value.shape) for key, value in network.state_dict().items()} == wanted


def test_mean_and_deviation_are_the_halves_of_what_f_finds():
    torch.manual_seed(1)
    network, (sharp, blurred) = KernelExtractor(width=4, variational=True), torch.rand(2, 1, 3, 256, 384)
    with torch.no_grad():
        mean, deviation = network.extract(sharp, blurred)
        both = network.kernel_extractor(torch.cat([network.feature_extractor(p) for p in (sharp, blurred)], 1))
    assert mean.shape == deviation.shape == (1, 32, 2, 3)
    assert torch.equal(torch.cat([mean, deviation], 1), both)


@pytest.mark.parametrize("name", ["kernel-extractor", "kernel-extractor-small"])
def test_what_the_table_says(name):
    spec = NETWORKS[name]
    assert (spec.role, spec.multiple_of, spec.min_size, spec.tileable) == ("kernel", 128, 256, False)
    network = spec.build(**{**(spec.config or {}), "width": 4})
    assert network(*torch.rand(2, 2, 3, 256, 256)).shape == (2, 3, 256, 256)


@pytest.mark.parametrize("shape", [(1, 3, 128, 256), (1, 3, 256, 320), (1, 3, 128, 128)])
def test_sizes_that_f_cannot_take(shape):
    with pytest.raises(ValueError, match="multiples of 128, at least 256"):
        KernelExtractor(width=4).extract(torch.zeros(shape), torch.zeros(shape))


def test_pictures_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match=r"got \(1, 3, 256, 256\) and \(1, 3, 256, 384\)"):
        KernelExtractor(width=4).extract(torch.zeros(1, 3, 256, 256), torch.zeros(1, 3, 256, 384))


@torch.no_grad()
def test_the_adapter_alone_runs_at_128(network):
    assert network.adapt(torch.zeros(1, 3, 128, 128), torch.zeros(1, 512, 1, 1)).shape == (1, 3, 128, 128)


def test_every_parameter_has_a_gradient():
    torch.manual_seed(2)
    network = KernelExtractor(width=8)
    network(*torch.rand(2, 1, 3, 256, 256)).square().mean().backward()
    assert without_gradient(network) == []


@torch.no_grad()
def test_batches_and_precisions():
    torch.manual_seed(3)
    network, (sharp, blurred) = KernelExtractor(width=8).eval(), torch.rand(2, 2, 3, 256, 256)
    exact = network(sharp, blurred)
    each = [network(*(p[None] for p in pair)) for pair in zip(sharp, blurred, strict=True)]
    torch.testing.assert_close(torch.cat(each), exact, atol=1e-5, rtol=0)
    with torch.autocast("cpu", torch.bfloat16):
        reduced = network(sharp, blurred)
    assert reduced.dtype == torch.float32
    assert (reduced - exact).abs().max() < 0.1 * (exact - sharp).abs().max()
