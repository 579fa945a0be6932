"""Pictures drawn from a seed, as detailed as photographs, and blurred."""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

HEIGHT, WIDTH = 180, 320


def scene(seed: int, height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    """3 x H x W: coarse and fine coloured texture, much light in some places and little in others."""
    draw = torch.Generator().manual_seed(seed)
    picture = torch.full((1, 3, height, width), 0.5)
    for cells, strength in ((3, 0.5), (8, 0.3), (25, 0.3)):
        texture = torch.rand(1, 3, cells, max(1, cells * width // height), generator=draw) - 0.5
        picture += strength * F.interpolate(texture, (height, width), mode="bicubic")
    return picture[0].clamp(0, 1)


def blurred(picture: Tensor, sigma: float = 1.5) -> Tensor:
    planes = [cv2.GaussianBlur(plane, (0, 0), sigma) for plane in picture.numpy()]
    return torch.from_numpy(np.stack(planes))
