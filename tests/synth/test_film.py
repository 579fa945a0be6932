"""How exposures are recorded: noise of the right strength in the right place, lamps that stay as bright as they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from deblurcli.synth.film import Film, demosaiced
from deblurcli.synth.lamps import BRIGHTNESS, with_lamps
from deblurcli.synth.light import Response, Sensor
from deblurcli.synth.paths import BlurRange

ONE = torch.ones(1)
LINEAR = Response(ONE, 0 * ONE)
CLEAN = Sensor(0 * ONE, 0 * ONE, torch.inf * ONE)


def film(shot: float = 0.0, read: float = 0.0, red: float = 1.0, mosaic: float = 0.0) -> Film:
    return Film(shot * ONE, read * ONE, torch.tensor([[red, 1.0, 1.0]]), mosaic * ONE, CLEAN)


def grain(used: Film, level: float, side: int = 256) -> Tensor:
    """What the film adds to an even grey: 3 x side x side."""
    grey = torch.full((1, 3, side, side), level)
    return (used.capture(grey, LINEAR, np.random.default_rng(1)) - grey)[0]


@pytest.mark.parametrize("level", [0.2, 0.5, 0.8])
def test_noise_has_the_variance_of_photons_and_of_reading(level: float) -> None:
    found = grain(film(shot=1e-3, read=1e-5), level)
    assert found.var().item() == pytest.approx(1e-3 * level + 1e-5, rel=0.03)
    assert abs(found.mean().item()) < 4 * (found.var().item() / found.numel()) ** 0.5


def test_a_gain_of_two_doubles_the_variance_of_photons_and_quadruples_that_of_reading() -> None:
    red, green, _ = grain(film(shot=1e-3, red=2), 0.5)
    assert red.var().item() == pytest.approx(2 * green.var().item(), rel=0.05)
    red, green, _ = grain(film(read=1e-4, red=2), 0.5)
    assert red.var().item() == pytest.approx(4 * green.var().item(), rel=0.05)


def test_the_response_stretches_the_noise_in_the_dark() -> None:
    used, gamma = film(read=1e-5), Response(2.2 * ONE, 0 * ONE)
    spread = []
    for level in (0.02, 0.5):
        grey = torch.full((1, 3, 128, 128), level)
        spread.append(used.capture(grey, gamma, np.random.default_rng(2)).std().item())
        assert spread[-1] == pytest.approx(1e-5**0.5 * level ** (1 / 2.2 - 1) / 2.2, rel=0.1)
    assert spread[0] > 4 * spread[1]


def test_interpolated_colours_keep_ramps_and_tie_the_noise_of_neighbours() -> None:
    ramp = torch.linspace(0, 1, 33).expand(1, 3, 17, 33)
    torch.testing.assert_close(demosaiced(ramp)[..., 1:-1, 1:-1], ramp[..., 1:-1, 1:-1])
    for mosaic, least, most in ((0.0, -0.02, 0.02), (1.0, 0.35, 0.75)):
        noise = grain(film(read=1e-4, mosaic=mosaic), 0.5)
        tied = (noise[..., 1:] * noise[..., :-1]).mean() / noise.square().mean()
        assert least < tied.item() < most


def test_noise_arises_once_before_the_response_or_after_it() -> None:
    drawn = Film.draw(400, BlurRange(noisy=1.0, raw=0.5), np.random.default_rng(3))
    before, after = drawn.shot > 0, drawn.sensor.noise > 0
    assert torch.equal(before, ~after) and 0.4 < before.float().mean().item() < 0.6
    assert ((drawn.read > 0) == before).all() and (drawn.gains[:, 1] == 1).all() and (drawn.gains >= 1).all()
    none = Film.draw(50, BlurRange(noisy=0.0, compressed=0.0), np.random.default_rng(3))
    light = torch.rand(50, 3, 16, 16)
    responses = Response.draw(50, np.random.default_rng(4))
    torch.testing.assert_close(none.capture(light, responses, np.random.default_rng(5)), responses.display(light))


def test_lamps_are_brighter_than_white_but_not_in_footage_averaged_as_it_is_displayed() -> None:
    night, light = BlurRange(night=1.0), torch.full((40, 3, 64, 64), 0.5)
    power = Response(torch.full((40,), 2.2), torch.zeros(40))
    lit = with_lamps(light.clone(), power, night, np.random.default_rng(6))
    assert (lit.amin((1, 2, 3)) < 0.5).all(), "the scenes became dark"
    assert 4 < lit.max() < 2 * BRIGHTNESS[1]  # lamps may lie on each other
    assert (lit.amax((1, 2, 3)) > 1).float().mean() > 0.5
    displayed = with_lamps(light.clone(), replace(power, gamma=torch.ones(40)), night, np.random.default_rng(6))
    torch.testing.assert_close(displayed, lit.clamp(max=1))
    untouched = with_lamps(light.clone(), power, BlurRange(night=0.0), np.random.default_rng(6))
    assert torch.equal(untouched, light)
