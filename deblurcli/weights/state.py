"""Networks and optimisers under way, on disk: one file, replaced in one step, with all that going on needs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from deblurcli.errors import InputError, UsageError
from deblurcli.files import OutputFile


def save_state(
    path: Path,
    modules: Mapping[str, nn.Module],
    optimisers: Mapping[str, torch.optim.Optimizer],
    facts: dict[str, Any],
    others: Mapping[str, Tensor] | None = None,
) -> None:
    """Write modules, optimiser moments, plain facts and other tensors; never half a file. Raises OutputError."""
    tensors: dict[str, Tensor] = {}
    for name, module in modules.items():
        # Copies, since safetensors refuses parameters that a network has under several names.
        tensors |= {f"{name}/{k}": v.detach().clone().contiguous() for k, v in module.state_dict().items()}
    for name, optimiser in optimisers.items():
        for index, state in optimiser.state_dict()["state"].items():
            tensors |= {f"{name}/{index}/{k}": v.detach().contiguous() for k, v in state.items()}
    tensors |= {name: value.detach().clone().contiguous() for name, value in (others or {}).items()}
    with OutputFile(path, overwrite=True) as output:
        output.file.write(save(tensors, metadata={"facts": json.dumps(facts), "sha256": _digest(tensors)}))


def read_state(path: Path, *, tensors: bool = True) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The facts and, if ``tensors``, the tensors that :func:`save_state` wrote. Raises InputError: it is damaged."""
    cure = "delete the run folder to start again"
    try:
        with safe_open(path, framework="pt") as file:
            told = file.metadata()
            facts = json.loads(told["facts"])
            found = {key: file.get_tensor(key) for key in file.keys() if tensors}  # noqa: SIM118
    except Exception as error:
        raise InputError(f"{path} cannot be read ({error})", cure) from None
    if tensors and "sha256" in told and told["sha256"] != _digest(found):
        raise InputError(f"{path} is damaged: its numbers are not those that were written", cure)
    return facts, found


def part_of(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors of the module, the optimiser or whatever else was written under this name."""
    return {key.removeprefix(f"{name}/"): value for key, value in tensors.items() if key.startswith(f"{name}/")}


def _digest(tensors: Mapping[str, Tensor]) -> str:
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(name.encode())
        found.update(tensors[name].cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def load_state(
    path: Path, modules: Mapping[str, nn.Module], optimisers: Mapping[str, torch.optim.Optimizer]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Restore what :func:`save_state` wrote into the given modules and optimisers; returns the facts and all tensors.

    Raises:
        InputError: the file is damaged.
        UsageError: it belongs to another network.
    """
    facts, tensors = read_state(path)
    for name, module in modules.items():
        try:
            module.load_state_dict(part_of(tensors, name))
        except RuntimeError:
            raise UsageError(f"{path} holds another network", "give the options it was started with") from None
    for name, optimiser in optimisers.items():
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in part_of(tensors, name).items():
            index, field = key.split("/")
            state.setdefault(int(index), {})[field] = value
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
        _lie_alike(optimiser)
    return facts, tensors


def _lie_alike(optimiser: torch.optim.Optimizer) -> None:
    """Let moments lie in memory as their parameters do: fused steps take both in the order of memory."""
    for parameter, state in optimiser.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
