"""The patch critic: size, score map, what a score sees, and the reference form at its full width."""

import pytest
import torch
from parity import assert_same_keys, case, fill, seeded
from torch import nn

from deblurcli.networks.critic import PatchCritic, VGGCritic, from_imagenet, is_imagenet


def test_it_is_small():
    parameters = sum(p.numel() for p in PatchCritic().parameters())
    assert parameters == 694_241
    assert 2 * parameters <= 3_000_000


@pytest.mark.parametrize(("height", "width"), [(256, 256), (64, 96), (32, 32)])
def test_score_map(height, width):
    scores = PatchCritic()(seeded(1, (2, 3, height, width)))
    assert scores.shape == (2, 1, height // 8 - 2, width // 8 - 2)
    assert scores.isfinite().all()


def test_a_score_sees_70_pixels():
    critic = PatchCritic(channels=4)
    for i, layer in enumerate(critic.model):
        if isinstance(layer, nn.InstanceNorm2d):
            critic.model[i] = nn.Identity()
    image = seeded(2, (1, 3, 160, 160)).requires_grad_()
    critic(image)[0, 0, 9, 9].backward()
    assert image.grad is not None
    seen = image.grad.abs().sum((0, 1)).nonzero()
    assert (seen.amax(0) - seen.amin(0) + 1).tolist() == [70, 70]


@torch.no_grad()
def test_reference_form_at_width_64():
    facts, arrays = case("blur2blur_d")
    critic = fill(PatchCritic(channels=64))
    assert_same_keys(critic, facts)
    for i in range(3):
        scores = critic(torch.from_numpy(arrays[f"input_{i}"]))
        assert (scores - torch.from_numpy(arrays[f"output_{i}"])).abs().max() < 4e-5


@torch.no_grad()
def test_vgg19_as_the_authors_use_it():
    facts, arrays = case("vgg19_critic")
    with torch.device("meta"):
        empty = VGGCritic()
    assert_same_keys(empty, facts)
    critic = fill(VGGCritic())
    for parameter in critic.parameters():
        if parameter.ndim >= 2:
            parameter *= 2  # as the vectors' weights
    assert sum(p.numel() for p in critic.parameters()) == facts["parameters"]
    image = torch.from_numpy(arrays["input"])
    assert torch.allclose(critic.features(image)[:, :8], torch.from_numpy(arrays["features_channel0_7"]), atol=1e-4)
    assert torch.allclose(critic(image), torch.from_numpy(arrays["output_0"]), rtol=1e-4, atol=1e-5)


def test_a_vgg19_for_a_thousand_classes_becomes_a_critic():
    with torch.device("meta"):
        tensors = dict(VGGCritic().state_dict())
        assert not is_imagenet(tensors)
        tensors |= {"classifier.6.weight": torch.zeros(1000, 4096), "classifier.6.bias": torch.zeros(1000)}
    assert is_imagenet(tensors)
    one, two = from_imagenet(tensors), from_imagenet(tensors)
    assert one["classifier.6.weight"].shape == (1, 4096) and one["classifier.6.bias"].shape == (1,)
    assert torch.equal(one["classifier.6.weight"], two["classifier.6.weight"])
    assert one["features.0.weight"] is tensors["features.0.weight"]
