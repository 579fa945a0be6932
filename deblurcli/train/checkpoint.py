"""The state of a training run on disk: one safetensors file, replaced in one step, with all that a resume needs."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from deblurcli.errors import InputError, UsageError
from deblurcli.files import OutputFile
from deblurcli.options.option import spelling
from deblurcli.options.train import STAGES
from deblurcli.options.training import TrainOptions

FREE = {"out", "minutes", "iterations", "save_every"}
"""Options that may change when a run goes on: where, how long, and how often it is saved."""


def settings(options: TrainOptions) -> dict[str, Any]:
    """The stage and the options that decide what a run learns, as they are stored in its state."""
    values: dict[str, Any] = {"stage": next(stage for stage, kind in STAGES.items() if kind is type(options))}
    for each in fields(options):
        if each.name not in FREE:
            values[each.name] = _plain(getattr(options, each.name))
    return values


def _plain(value: Any) -> Any:
    """A value as JSON has it; paths are absolute."""
    if isinstance(value, Path):
        return str(value.absolute())
    return list(map(_plain, value)) if isinstance(value, tuple) else value


def refuse_changes(facts: dict[str, Any], options: TrainOptions) -> None:
    """Compare the options with those of the run's start, as far as its state holds any.

    Raises:
        UsageError: they differ, which would make it another run; every difference is named.
    """
    about = {each.name: each.metadata["option"] for each in fields(options)}
    now, changed = settings(options), []
    for name, value in facts.get("options", {}).items():
        if now.get(name, value) != value:
            spelt = spelling(name, about[name]) if name in about else name
            changed.append(f"{spelt} {_shown(value)} (now {_shown(now[name])})")
    if changed:
        cure = "give the options it was started with, or another --out"
        raise UsageError(f"{options.out} holds another run: {', '.join(changed)}", cure)


def read_facts(path: Path) -> dict[str, Any] | None:
    """The plain facts of a state (iteration, seconds, options), None where there is none. Raises InputError."""
    return _read(path, tensors=False)[0] if path.exists() else None


def save_state(
    path: Path, modules: dict[str, nn.Module], optimisers: dict[str, torch.optim.Optimizer], facts: dict[str, Any]
) -> None:
    """Write modules, optimiser moments and plain facts; never half a file. Raises OutputError."""
    tensors: dict[str, Tensor] = {}
    for name, module in modules.items():
        # Copies, since safetensors refuses parameters that a network has under several names.
        tensors |= {f"{name}/{k}": v.detach().clone().contiguous() for k, v in module.state_dict().items()}
    for name, optimiser in optimisers.items():
        for index, state in optimiser.state_dict()["state"].items():
            tensors |= {f"{name}/{index}/{k}": v.detach().contiguous() for k, v in state.items()}
    with OutputFile(path, overwrite=True) as output:
        output.file.write(save(tensors, metadata={"facts": json.dumps(facts)}))


def load_state(
    path: Path, modules: dict[str, nn.Module], optimisers: dict[str, torch.optim.Optimizer]
) -> dict[str, Any]:
    """Restore what :func:`save_state` wrote into the given modules and optimisers; returns the facts.

    Raises:
        InputError: the file is damaged.
        UsageError: it belongs to another network.
    """
    facts, tensors = _read(path, tensors=True)
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


def _read(path: Path, *, tensors: bool) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads(file.metadata()["facts"])
            return facts, {key: file.get_tensor(key) for key in file.keys() if tensors}  # noqa: SIM118
    except Exception as error:
        raise InputError(f"{path} cannot be read ({error})", "delete the run folder to start again") from None


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
