"""The guard: which weights it settles on, when it undoes them, and when it ends the steps."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from deblurcli.adaptation.guard import Diverged, Guard
from deblurcli.adaptation.update import update

Curve = Callable[[float], float]


def guarded(gain: Curve, least: float = 0.05, start: float = 0.0) -> tuple[nn.Linear, Guard]:
    """A network of one weight, and a guard whose gain is a function of that."""
    layer = nn.Linear(1, 1, bias=False)
    put(layer, start)
    return layer, Guard(layer, lambda network: gain(weight(network)), copy.deepcopy(layer.state_dict()), least)


def weight(layer: nn.Module) -> float:
    return float(next(layer.parameters()).detach())


def put(layer: nn.Module, value: float) -> None:
    with torch.no_grad():
        next(layer.parameters()).fill_(value)


def put_unadapted(guard: Guard, value: float) -> None:
    guard.unadapted["weight"].fill_(value)


def after(guard: Guard, layer: nn.Module, *values: float) -> list[bool]:
    """What the guard's looks say as the weight becomes each of some values."""
    said = []
    for step, value in enumerate(values, 1):
        put(layer, value)
        said.append(guard.look(step))
    return said


def test_it_settles_half_way_to_the_best_weights_it_has_seen() -> None:
    """What an adaptation forgets grows with the square of the distance, and the guard does not see it."""
    layer, guard = guarded({0.0: 0.0, 1.0: 0.3, 2.0: 0.5, 3.0: 0.4}.__getitem__, start=1.0)
    put_unadapted(guard, 0.0)
    assert after(guard, layer, 1.0, 2.0, 3.0) == [True, True, False]
    assert guard.settle() and weight(layer) == 1
    assert (guard.best, guard.best_step) == (0.3, 2), "the gain is that of the weights that are kept"
    assert guard.looks == [(1, 0.3), (2, 0.5), (3, 0.4)]


def test_half_way_to_the_last_weights_may_be_worth_keeping_where_no_look_was() -> None:
    layer, guard = guarded(lambda w: 1 - (w - 1) ** 2)
    assert after(guard, layer, 2.2) == [False]
    assert guard.settle() and weight(layer) == pytest.approx(1.1) and guard.best_step == 1


def test_half_way_starts_from_the_unadapted_weights_not_from_those_adapted_from() -> None:
    layer, guard = guarded(lambda w: 1 - (w - 1) ** 2, start=0.0)
    put(layer, 5.0)  # meta-learned ones
    after(guard, layer, 1.6)
    assert guard.settle() and weight(layer) == pytest.approx(0.8)


@pytest.mark.parametrize(("gain", "kept"), [(-0.3, False), (0.0, False), (0.04, False), (0.05, True), (0.2, True)])
def test_below_the_least_gain_it_is_undone(gain: float, kept: bool) -> None:
    """What counts is the gain of the weights that are kept, whatever those twice as far away gain."""
    layer, guard = guarded({1.0: 1.0, 0.5: gain}.__getitem__, least=0.05)
    after(guard, layer, 1.0)
    assert guard.settle() == kept
    assert guard.best == gain


def test_without_a_look_nothing_is_worth_keeping() -> None:
    layer, guard = guarded(lambda w: w)
    put(layer, 3.0)
    assert not guard.settle() and weight(layer) == 0 and guard.best_step == 0


def test_what_it_has_seen_does_not_move_on_with_the_network() -> None:
    layer, guard = guarded(lambda w: w if w in (0, 1, 2) else -1.0)
    after(guard, layer, 2.0)
    put(layer, 100.0)
    assert guard.settle() and weight(layer) == 1
    assert float(guard.unadapted["weight"]) == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_is_told(value: float) -> None:
    layer, guard = guarded(lambda w: 1.0)
    with pytest.raises(Diverged, match="a weight of the deblurring network is not finite"):
        after(guard, layer, value)


def test_a_look_that_finds_it_worse_ends_the_steps() -> None:
    """Steps of -0.1 from 0; the gain is best after 20 of them."""
    layer, guard = guarded(lambda w: 2 - (w + 2) ** 2)
    optimiser, trace = torch.optim.SGD(layer.parameters(), lr=0.1), []
    update(optimiser, 60, lambda step: [layer(torch.ones(1, 1)).sum()], trace=trace, guard=guard)
    assert [step for step, _ in guard.looks] == [20, 40] and len(trace) == 40
    assert guard.settle() and weight(layer) == pytest.approx(-1, abs=1e-4) and guard.best_step == 20


def test_steps_go_on_as_long_as_they_pay() -> None:
    layer, guard = guarded(lambda w: -w)
    optimiser, trace = torch.optim.SGD(layer.parameters(), lr=0.1), []
    update(optimiser, 60, lambda step: [layer(torch.ones(1, 1)).sum()], trace=trace, guard=guard)
    assert [step for step, _ in guard.looks] == [20, 40, 60] and len(trace) == 60
    assert guard.settle() and guard.best_step == 60 and weight(layer) == pytest.approx(-3, abs=1e-4)
