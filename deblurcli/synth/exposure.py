"""The exposure model: what a sensor gathers while its shutter is open is the mean of views, in linear light.

Everything is differentiable in pictures and paths: the model that makes training data also explains the blur of a video
(:mod:`deblurcli.adaptation.camera`).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

SAMPLES_PER_PIXEL, MAX_SAMPLES = 0.6, 41
"""Views that are averaged to blur a picture: by the length of the path, and at most."""


def views_along(length: float) -> int:
    """How many views to average along a path of so many pixels: odd, so that one is the middle."""
    return int(min(max(length * SAMPLES_PER_PIXEL, 3), MAX_SAMPLES)) | 1


def expose(views: Iterable[Tensor], count: int, shares: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The light gathered over a whole exposure, and over a part of it.

    Args:
        views: what is seen at even times, B x C x H x W linear light each; one may be the sum of several.
        count: how many views there are.
        shares: B x views, the weight of each in the part; the part is the whole if not given.

    Returns:
        the mean of all views, and their sum weighted by ``shares``: B x C x H x W.
    """
    total: Tensor | float = 0.0
    part: Tensor | float = 0.0
    wanted = [] if shares is None else shares.any(0).tolist()
    for number, view in enumerate(views):
        total = total + view
        if shares is not None and wanted[number]:
            part = part + view * shares[:, number, None, None, None]
    whole = torch.as_tensor(total) / count
    return whole, whole if shares is None else torch.as_tensor(part)


def expose_paths(light: Tensor, paths: Tensor, count: int, size: tuple[int, int] | None = None) -> Tensor:
    """The exposure of pictures along paths of translation: N x 3 x H x W linear light.

    Args:
        light: N x 3 x H x W linear light.
        paths: N x K x 2 pixels, x first: where the view's upper left corner lies, at K even times of the exposure,
            with straight lines between them.
        count: views that are averaged.
        size: height and width of the view, the picture's if not given.
    """
    corners = F.interpolate(paths.transpose(1, 2), count, mode="linear", align_corners=True).unbind(-1)
    return expose((view_at(light, corner, size or (light.shape[-2], light.shape[-1])) for corner in corners), count)[0]


def view_at(picture: Tensor, corner: Tensor, size: tuple[int, int]) -> Tensor:
    """The piece of each picture (N x C x H x W) at its ``corner`` (N x 2 pixels, x first); the border repeats."""
    h, w = picture.shape[-2:]
    y = torch.arange(size[0], dtype=corner.dtype, device=corner.device) + 0.5
    x = torch.arange(size[1], dtype=corner.dtype, device=corner.device) + 0.5
    at_x = ((x + corner[:, :1]) * (2 / w) - 1)[:, None, :].expand(-1, size[0], -1)
    at_y = ((y + corner[:, 1:]) * (2 / h) - 1)[:, :, None].expand(-1, -1, size[1])
    grid = torch.stack([at_x, at_y], -1)
    return F.grid_sample(picture, grid, mode="bilinear", padding_mode="border", align_corners=False)


def view_from(picture: Tensor, pose: Tensor, size: tuple[int, int], uneven: Tensor, outside: str) -> Tensor:
    """The view of each picture (B x C x Hs x Ws) by a camera that looks at its middle.

    Args:
        pose: B x 4: translation (x, y) in pixels, rotation in radians, logarithm of the zoom.
        size: height and width of the view.
        uneven: B x height x width factor on the translation, as with depth.
        outside: what lies outside of the picture: ``border``, ``reflection`` or ``zeros``.
    """
    h, w = size
    y = torch.arange(h, device=pose.device, dtype=torch.float32) - (h - 1) / 2
    x = torch.arange(w, device=pose.device, dtype=torch.float32) - (w - 1) / 2
    yy, xx = torch.meshgrid(y, x, indexing="ij")
    dx, dy, angle, zoom = (pose[:, i, None, None] for i in range(4))
    cos, sin = torch.cos(angle) * torch.exp(zoom), torch.sin(angle) * torch.exp(zoom)
    u = cos * xx - sin * yy + dx * uneven
    v = sin * xx + cos * yy + dy * uneven
    grid = torch.stack([u * (2 / picture.shape[-1]), v * (2 / picture.shape[-2])], -1)
    return F.grid_sample(picture, grid, mode="bilinear", padding_mode=outside, align_corners=False)
