"""The state of a training run on disk: one safetensors file, replaced in one step, holding all that a resume needs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from deblurcli.errors import InputError, UsageError


def save_state(
    path: Path, modules: dict[str, nn.Module], optimisers: dict[str, torch.optim.Optimizer], facts: dict[str, Any]
) -> None:
    """Write modules, optimiser moments and plain facts (iteration, seconds, options); never half a file."""
    tensors: dict[str, Tensor] = {}
    for name, module in modules.items():
        # Copies, since safetensors refuses parameters that a network has under several names.
        tensors |= {f"{name}/{k}": v.detach().clone().contiguous() for k, v in module.state_dict().items()}
    for name, optimiser in optimisers.items():
        for index, state in optimiser.state_dict()["state"].items():
            tensors |= {f"{name}/{index}/{k}": v.detach().contiguous() for k, v in state.items()}
    part = path.with_name(f".{path.name}.part")
    save_file(tensors, part, metadata={"facts": json.dumps(facts)})
    with part.open("rb") as written:
        os.fsync(written.fileno())
    part.replace(path)


def load_state(
    path: Path, modules: dict[str, nn.Module], optimisers: dict[str, torch.optim.Optimizer]
) -> dict[str, Any]:
    """Restore what :func:`save_state` wrote into the given modules and optimisers; returns the facts.

    Raises:
        InputError: the file is damaged.
        UsageError: it belongs to another network.
    """
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads(file.metadata()["facts"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except Exception as error:
        raise InputError(f"{path} cannot be read ({error})", "delete the run folder to start again") from None
    for name, module in modules.items():
        own = {k.removeprefix(f"{name}/"): v for k, v in tensors.items() if k.startswith(f"{name}/")}
        try:
            module.load_state_dict(own)
        except RuntimeError:
            raise UsageError(f"{path} holds another network", "give the options it was started with") from None
    for name, optimiser in optimisers.items():
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith(f"{name}/"):
                _, index, field = key.split("/")
                state.setdefault(int(index), {})[field] = value
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return facts
