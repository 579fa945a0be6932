"""DMPHN and DHN: the authors' function, with rule weights and with their own, patches, precision and gradients."""

import pytest
import torch
from parity import FOLDER, assert_same_keys, case, distance, fill, seeded, without_gradient

from deblurcli.device import Device
from deblurcli.networks import NETWORKS
from deblurcli.networks.dmphn import DECODED, DMPHN, ENCODED, _by_patches
from deblurcli.restore.tiles import Restorer

NOISE = 1e-6
OFFICIAL = FOLDER.parent / "official" / "dmphn"


@pytest.mark.parametrize(("name", "patches"), [("dmphn", True), ("dhn", False)])
@torch.no_grad()
def test_the_authors_function(name, patches):
    """The vectors are in [-0.5, 0.5], the network shifts inside."""
    facts, arrays = case(name)
    network = fill(DMPHN(patches))
    assert_same_keys(network, facts)
    seen = []
    network.decoder_lv2.register_forward_hook(lambda module, inputs, output: seen.append(output))
    assert distance(network(torch.from_numpy(arrays["input"]) + 0.5) - 0.5, arrays["output_0"]) < 10 * NOISE
    if patches:
        assert distance(seen[0], arrays["residual_lv2"]) < 10 * NOISE


@torch.no_grad()
def test_the_authors_weights():
    _, arrays = case("dmphn_official")
    if not OFFICIAL.is_dir():
        pytest.skip("no official weights beside the reference vectors")
    network = DMPHN().eval()
    for name, part in network.named_children():
        part.load_state_dict(torch.load(OFFICIAL / f"{name}.pkl", weights_only=True, map_location="cpu"))
    picture = torch.from_numpy(arrays["input_uint8"]).permute(2, 0, 1)[None] / 255
    restored = network(picture)
    assert distance(restored - 0.5, arrays["output_0"]) < 10 * NOISE
    with torch.autocast("cpu", torch.bfloat16):
        reduced = network(picture)
    assert reduced.dtype == torch.float32
    assert (reduced - restored).abs().mean() < 0.5 / 255
    assert (reduced - restored).abs().quantile(0.99) < 2 / 255


@pytest.mark.parametrize("grid", sorted({*ENCODED, *DECODED}))
def test_patches_are_seen_apart_and_return_to_their_place(grid):
    x, (rows, columns) = torch.rand(2, 3, 16, 8), grid
    assert torch.equal(_by_patches(torch.nn.Identity(), x, grid), x)
    means = _by_patches(lambda patch: patch.mean((2, 3), keepdim=True).expand_as(patch), x, grid)
    patches = x.unflatten(3, (columns, -1)).unflatten(2, (rows, -1)).mean((3, 5))
    torch.testing.assert_close(means[:, :, :: 16 // rows, :: 8 // columns], patches)


@pytest.mark.parametrize("name", ["dmphn", "dhn"])
def test_every_parameter_has_a_gradient_and_frames_any_size(name):
    spec = NETWORKS[name]
    network = spec.build(**spec.config)
    assert sum(p.numel() for p in network.parameters()) == 7_232_524
    network(torch.rand(1, 3, 16, 16)).square().mean().backward()
    assert without_gradient(network) == []
    restorer = Restorer(fill(network), spec, Device(torch.device("cpu"), torch.float32, "test"))
    assert restorer([seeded(1, (3, 21, 45))]).shape == (3, 21, 45)


@torch.no_grad()
def test_channels_last_and_repeated_runs_give_the_same():
    network, picture = fill(DMPHN()), seeded(2, (2, 3, 32, 40))
    expected = network(picture)
    assert torch.equal(network(picture), expected)
    network.to(memory_format=torch.channels_last)
    torch.testing.assert_close(network(picture), expected, atol=1e-5, rtol=0)
