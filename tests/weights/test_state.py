"""States on disk: going on from one is the same as not having stopped; damage is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from deblurcli.errors import InputError
from deblurcli.weights.state import load_state, read_state, save_state


def steps(module: nn.Module, optimiser: torch.optim.Optimizer, first: int, last: int) -> None:
    for step in range(first, last):
        torch.manual_seed(step)
        optimiser.zero_grad()
        module(torch.rand(1, 3, 16, 16)).square().mean().backward()
        optimiser.step()


def made(fused: bool) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(9)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 3, 3)).to(memory_format=torch.channels_last)
    return module, torch.optim.Adam(module.parameters(), 0.01, fused=fused)


@pytest.mark.parametrize("fused", [False, True])
def test_going_on_is_the_same_whatever_the_order_in_memory(tmp_path: Path, fused: bool) -> None:
    whole, first, second = made(fused), made(fused), made(fused)
    steps(*whole, 0, 8)
    steps(*first, 0, 4)
    save_state(tmp_path / "a", {"m": first[0]}, {"o": first[1]}, {"steps": 4}, {"other": torch.ones(2)})
    facts, tensors = load_state(tmp_path / "a", {"m": second[0]}, {"o": second[1]})
    assert facts == {"steps": 4} and tensors["other"].tolist() == [1, 1]
    steps(*second, 4, 8)
    for one, other in zip(whole[0].parameters(), second[0].parameters(), strict=True):
        assert torch.equal(one, other)


def test_numbers_that_have_changed_are_damage(tmp_path: Path) -> None:
    module, optimiser = made(False)
    save_state(tmp_path / "a", {"m": module}, {"o": optimiser}, {})
    content = bytearray((tmp_path / "a").read_bytes())
    content[-3] ^= 4
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(InputError, match="its numbers are not those that were written"):
        read_state(tmp_path / "a")
    assert read_state(tmp_path / "a", tensors=False) == ({}, {})
