"""Edge strength: exact on a ramp and a step, and Sobel's operator everywhere else."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from deblurcli.metrics.edge_strength import edge_strength


def test_of_a_ramp_it_is_the_square_of_its_slope():
    ramp = torch.arange(20) / 100
    assert edge_strength(ramp.expand(3, 10, 20)) == pytest.approx(0.01**2)
    assert edge_strength(ramp[:, None].expand(3, 20, 10)) == pytest.approx(0.01**2)
    assert edge_strength(torch.full((3, 9, 9), 0.3)) == 0


def test_it_is_sobels_operator():
    picture = torch.rand(3, 30, 40, generator=torch.Generator().manual_seed(1))
    grey = picture.mean(0).numpy().astype(np.float64)
    across, down = (cv2.Sobel(grey, cv2.CV_64F, *order)[1:-1, 1:-1] / 8 for order in ((1, 0), (0, 1)))
    assert edge_strength(picture) == pytest.approx((across**2 + down**2).mean(), rel=1e-5)
