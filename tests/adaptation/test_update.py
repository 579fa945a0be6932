"""The inner loop: steps, tries with smaller pieces, looks of a guard; and the modes that networks adapt in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from deblurcli.adaptation.guard import Diverged, Guard
from deblurcli.adaptation.update import (
    AVERAGED,
    OUT_OF_MEMORY,
    adaptation_device,
    set_dropout,
    undone_without_memory,
    update,
    update_average,
)
from deblurcli.device import Device

MESSAGE = "CUDA out of memory"


def weight(value: float = 1.0) -> tuple[nn.Parameter, torch.optim.Optimizer]:
    parameter = nn.Parameter(torch.tensor(value))
    return parameter, torch.optim.SGD([parameter], lr=0.1)


def test_a_step_goes_down_the_sum_of_its_losses() -> None:
    parameter, optimiser = weight()
    trace: list[float] = []
    update(optimiser, 2, lambda step: [parameter * 2, parameter * (step + 1)], trace=trace)
    assert trace == pytest.approx([3.0, 0.7 * 4]) and float(parameter.detach()) == pytest.approx(1 - 0.1 * (3 + 4))


def test_a_step_is_tried_again_from_its_beginning_with_smaller_pieces() -> None:
    parameter, optimiser = weight()
    pieces, trace = [4], []

    def losses(step: int) -> Iterator[Tensor]:
        yield parameter * 1.0
        if pieces[-1] > 1:
            raise RuntimeError(MESSAGE)

    def smaller() -> bool:
        pieces.append(pieces[-1] // 2)
        return True

    update(optimiser, 2, losses, trace=trace, smaller=smaller)
    assert pieces == [4, 2, 1] and trace == pytest.approx([1.0, 0.9])
    assert float(parameter.detach()) == pytest.approx(0.8)


def test_without_smaller_pieces_the_error_is_raised_and_with_none_left_it_is_undone() -> None:
    parameter, optimiser = weight()

    def losses(step: int) -> Iterator[Tensor]:
        yield parameter * 1.0
        raise RuntimeError(MESSAGE)

    with pytest.raises(RuntimeError, match=MESSAGE):
        update(optimiser, 1, losses)
    with pytest.raises(Diverged, match=OUT_OF_MEMORY):
        update(optimiser, 1, losses, smaller=lambda: False)
    assert float(parameter.detach()) == 1
    with pytest.raises(Diverged, match=OUT_OF_MEMORY), undone_without_memory():
        raise RuntimeError("could not create a primitive")
    with pytest.raises(RuntimeError, match="another"), undone_without_memory():
        raise RuntimeError("another error")


def test_losses_that_are_not_finite_are_told_with_the_steps_before() -> None:
    parameter, optimiser = weight()
    trace: list[float] = []
    with pytest.raises(Diverged, match="the deblurring loss became inf"):
        update(optimiser, 3, lambda step: [parameter * (1.0 if step < 2 else float("inf"))], trace=trace)
    assert len(trace) == 2


@pytest.mark.parametrize(
    ("steps", "looks"),
    [(1, [1]), (3, [3]), (20, [20]), (39, [39]), (40, [20, 40]), (60, [20, 40, 60]), (200, [67, 134, 200])],
)
def test_a_guard_looks_three_times_at_most_and_seldom(steps: int, looks: list[int]) -> None:
    layer, seen = nn.Linear(1, 1), []

    class Watching(Guard):
        def look(self, step: int) -> bool:
            seen.append(step)
            return True

    optimiser = torch.optim.SGD(layer.parameters(), lr=0.1)
    guard = Watching(layer, lambda network: 1.0, layer.state_dict(), 0.01)
    update(optimiser, steps, lambda step: [layer(torch.ones(1, 1)).sum()], guard=guard)
    assert seen == looks


def test_no_step_is_taken_after_a_look_that_says_so() -> None:
    layer = nn.Linear(1, 1)

    class Displeased(Guard):
        def look(self, step: int) -> bool:
            return step < 40

    optimiser, trace = torch.optim.SGD(layer.parameters(), lr=0.1), []
    guard = Displeased(layer, lambda network: 1.0, layer.state_dict(), 0.01)
    update(optimiser, 60, lambda step: [layer(torch.ones(1, 1)).sum()], trace=trace, guard=guard)
    assert len(trace) == 40


def test_the_average_follows_the_steps_and_is_what_the_guard_sees() -> None:
    """Steps of -1, of which the average lags behind."""
    moving, average, seen = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False), []
    with torch.no_grad():
        moving.weight.fill_(0.0)
        average.weight.fill_(0.0)

    def gain(network: nn.Module) -> float:
        assert network is average
        seen.append(float(average.weight.detach()))
        return 1.0

    optimiser = torch.optim.SGD(moving.parameters(), lr=1.0)
    guard = Guard(average, gain, average.state_dict(), 0.01)
    update(optimiser, 30, lambda step: [moving(torch.ones(1, 1)).sum()], guard=guard, average=(average, moving))
    expected = 0.0
    for step in range(30):
        decay = min(AVERAGED, (1 + step) / (10 + step))
        expected = decay * expected - (1 - decay) * (step + 1)
    assert float(moving.weight.detach()) == -30 and seen == [pytest.approx(expected, rel=1e-4)]
    assert -30 < expected < -20


def test_the_average_of_norms_has_their_statistics() -> None:
    average, moving = nn.BatchNorm2d(2), nn.BatchNorm2d(2)
    with torch.no_grad():
        moving.running_mean.fill_(1.0)
        moving.weight.fill_(3.0)
        moving.num_batches_tracked.fill_(7)
    for step in range(200):
        update_average(average, moving, step, AVERAGED)
    assert torch.allclose(average.running_mean, torch.ones(2)) and torch.allclose(average.weight, 3 * torch.ones(2))
    assert int(average.num_batches_tracked) == 7


def test_networks_adapt_in_a_precision_that_gradients_need_no_scaling_in() -> None:
    found = {
        dtype: adaptation_device(Device(torch.device("cpu"), dtype, "test")).precision
        for dtype in (torch.float32, torch.bfloat16, torch.float16)
    }
    assert list(found.values()) == ["fp32", "bf16", "fp32"]


def test_dropout_is_on_without_the_norms() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Dropout2d())
    set_dropout(network, True)
    assert network.training and network[2].training and not network[1].training
    set_dropout(network, False)
    assert not any(module.training for module in network.modules())
