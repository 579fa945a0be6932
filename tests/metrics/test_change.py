"""Where two versions of a video differ most."""

from __future__ import annotations

import numpy as np
import pytest

from deblurcli.metrics.change import ChangeMap


def grey(height: int = 200, width: int = 300) -> np.ndarray:
    return np.full((height, width, 3), 100, np.uint8)


def test_the_change_of_a_frame_is_its_root_mean_square() -> None:
    before, after = grey(), grey()
    after[:100] += 6
    assert ChangeMap().add(before, after) == pytest.approx(6 / 2**0.5, rel=1e-5)
    assert ChangeMap().add(after, before) == pytest.approx(6 / 2**0.5, rel=1e-5)


def test_places_lie_where_the_change_is_largest_over_all_frames() -> None:
    found = ChangeMap()
    for frame in range(3):
        after = grey()
        after[48:112, 160:224] += 40
        after[140:180, 20:60] += 10
        after[0, 299] += 100 * (frame == 0)  # large once, but small
        found.add(grey(), after)
    first, second = found.places(2, 64)
    assert first == (48, 160)
    y, x = second
    assert y <= 140 and y + 64 >= 180 and x <= 20 and x + 64 >= 60
    assert 140 - 24 <= y <= 200 - 64


def test_places_have_no_pixel_in_common_and_lie_inside() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (2, 150, 210, 3), np.uint8)
    found = ChangeMap()
    found.add(*noise)
    places = found.places(6, 60)
    assert 3 <= len(places) <= 6
    covered = np.zeros((150, 210), int)
    for y, x in places:
        assert 0 <= y <= 90 and 0 <= x <= 150
        covered[y : y + 60, x : x + 60] += 1
    assert covered.max() == 1


def test_where_nothing_differs_or_nothing_fits_there_are_none() -> None:
    found = ChangeMap()
    assert found.places(3, 16) == []
    found.add(grey(), grey())
    assert found.places(3, 64) == []
    found.add(grey(), grey() + 9)
    assert found.places(1, 201) == [] and len(found.places(1, 200)) == 1
