"""The exposure model: means of views, parts of an exposure, and gradients with respect to pictures and paths."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from deblurcli.synth.exposure import expose, expose_paths, view_at, view_from
from deblurcli.synth.scenes import expose_scenes


def smooth(seed: int, size: int = 24) -> Tensor:
    coarse = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic")


def test_the_mean_of_all_views_and_of_a_part() -> None:
    views = [torch.full((2, 3, 4, 4), float(number)) for number in range(4)]
    whole, part = expose(iter(views), 4, torch.tensor([[0, 0.5, 0.5, 0], [0, 0, 0, 1]]))
    assert (whole == 1.5).all() and (part[0] == 1.5).all() and (part[1] == 3).all()
    whole, part = expose([views[0], views[1] + views[2]], 3)
    assert (whole == 1).all() and part is whole


def test_a_path_that_stays_gives_the_picture() -> None:
    picture = smooth(1)
    assert torch.allclose(expose_paths(picture, torch.zeros(1, 5, 2, dtype=torch.float64), 7), picture)
    seen = view_from(picture.float(), torch.zeros(1, 4), (24, 24), torch.ones(1, 24, 24), "zeros")
    assert torch.allclose(seen, picture.float(), atol=1e-6)
    corner = torch.tensor([[3.0, 5.0]], dtype=torch.float64)
    assert torch.allclose(view_at(picture, corner, (8, 9)), picture[..., 5:13, 3:12])


def test_the_model_is_differentiable_in_pictures_and_paths() -> None:
    picture, paths = smooth(2, 10), torch.tensor([[[0.2, 0.3], [1.4, -0.7], [2.6, 0.6]]], dtype=torch.float64)
    both = picture.requires_grad_(True), paths.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda light, path: expose_paths(light, path, 6, (5, 6)), both)


@pytest.mark.parametrize("layers", [0, 1])
def test_scenes_are_differentiable_too(layers: int) -> None:
    light, layer = smooth(3).float(), torch.cat([smooth(4), torch.full((1, 1, 24, 24), 0.5)], 1).float()[:layers]
    camera, moving = (torch.rand(1, 5, 4, generator=torch.Generator().manual_seed(seed)) * 0.2 for seed in (5, 6))
    inputs = [tensor.requires_grad_(True) for tensor in (light, layer, camera, moving)]
    layered = torch.arange(layers)
    mean, middle = expose_scenes(light, layer, layered, camera, moving, (12, 12), torch.ones(1, 12, 12))
    gradients = torch.autograd.grad((mean.square() + middle).sum(), inputs, allow_unused=True)
    used = gradients if layers else (gradients[0], gradients[2])
    assert all(g is not None and g.isfinite().all() and g.abs().max() > 0 for g in used)
