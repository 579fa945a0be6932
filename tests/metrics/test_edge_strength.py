"""Edge strength: exact on a ramp and a step, and Sobel's operator everywhere else."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from deblurcli.metrics.edge_strength import edge_strength, edge_strengths


def test_of_a_ramp_it_is_its_slope():
    ramp = torch.arange(20) / 100
    assert edge_strength(ramp.expand(3, 10, 20)) == pytest.approx(0.01)
    assert edge_strength(ramp[:, None].expand(3, 20, 10)) == pytest.approx(0.01)
    assert edge_strength(torch.full((3, 9, 9), 0.3)) == 0


def test_it_is_sobels_operator():
    picture = torch.rand(3, 30, 40, generator=torch.Generator().manual_seed(1))
    grey = picture.mean(0).numpy().astype(np.float64)
    across, down = (cv2.Sobel(grey, cv2.CV_64F, *order)[1:-1, 1:-1] / 8 for order in ((1, 0), (0, 1)))
    assert edge_strength(picture) == pytest.approx(np.quantile(np.hypot(across, down), 0.99), rel=1e-3)


def test_a_large_picture_is_looked_at_in_parts(monkeypatch):
    picture = torch.rand(3, 31, 40)
    whole = edge_strength(picture), edge_strengths(picture)
    monkeypatch.setattr("deblurcli.metrics.edge_strength.ROWS", 8)
    assert (edge_strength(picture), edge_strengths(picture)) == whole


def test_a_narrower_edge_is_stronger_however_little_of_the_picture_it_is():
    def edge(pixels):
        return ((torch.arange(100) - 50) / pixels + 0.5).clamp(0, 1).expand(3, 10, 100)

    found = [edge_strength(edge(pixels)) for pixels in (2, 4, 8, 16)]
    assert found == sorted(found, reverse=True) and found[0] > 3 * found[-1]
