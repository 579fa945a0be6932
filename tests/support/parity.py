"""Reference vectors of the authors' networks: where they lie and how their weights are rebuilt from tensor names.

The folder is named by the environment variable DEBLUR_PARITY, or is ../shared/data/parity seen from the repository's
root. Tests that need it skip where it is absent.
"""

import json
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

FOLDER = Path(os.environ.get("DEBLUR_PARITY") or Path(__file__).parents[3] / "shared" / "data" / "parity")
NIQE_MODEL = Path(os.environ.get("DEBLUR_NIQE_MODEL") or FOLDER.parent / "metrics" / "niqe_pris_params.npz")
"""The standard model of NIQE, converted; tests that need it skip where it is absent."""


def case(name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The facts (JSON) and the arrays of one case; skips the calling test where the vectors are absent."""
    facts, arrays = FOLDER / f"{name}.json", FOLDER / f"{name}.npz"
    if not (facts.is_file() and arrays.is_file()):
        pytest.skip(f"no reference vectors for {name} (DEBLUR_PARITY)")
    with np.load(arrays) as stored:
        return json.loads(facts.read_text(encoding="utf-8")), {key: stored[key] for key in stored.files}


def seeded(seed: int, shape: tuple[int, ...]) -> Tensor:
    """Uniform [0,1) float32, the way the vectors' inputs were drawn."""
    return torch.from_numpy(np.random.default_rng(seed).random(shape).astype(np.float32))


def rule_value(key: str, shape: tuple[int, ...]) -> Tensor:
    """The value the weight rule gives the floating state-dict entry ``key``."""
    z = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape).astype(np.float32)
    if key.endswith("running_var"):
        value = 1 + np.float32(0.1) * np.abs(z)
    elif key.endswith("running_mean"):
        value = np.float32(0.1) * z
    elif len(shape) >= 2:
        value = z * np.float32(0.7 / np.sqrt(np.prod(shape[1:])))
    elif len(shape) == 1 and key.rpartition(".")[2] == "weight":
        value = 1 + np.float32(0.1) * z
    else:
        value = np.float32(0.1) * z
    return torch.from_numpy(np.asarray(value, dtype=np.float32))


def fill(module: nn.Module, prefix: str = "") -> nn.Module:
    """Give every floating entry of the state dict its rule value and switch to eval mode.

    Reverse order, so that a tensor shared under several names ends with the value of the alphabetically first one.
    """
    state = module.state_dict()
    with torch.no_grad():
        for key in sorted(state, reverse=True):
            if state[key].is_floating_point():
                state[key].copy_(rule_value(prefix + key, tuple(state[key].shape)))
    return module.eval()


def assert_same_keys(module: nn.Module, facts: dict[str, Any]) -> None:
    """State-dict keys in their order, shapes and parameter count equal the reference's."""
    ours = {
        key: (list(value.shape), str(value.dtype).removeprefix("torch.")) for key, value in module.state_dict().items()
    }
    theirs = {key: (shape, dtype) for key, shape, dtype in facts["keys"]}
    assert ours == theirs and list(ours) == list(theirs)
    assert sum(p.numel() for p in module.parameters()) == facts["parameters"]


def distance(tensor: Tensor, array: np.ndarray) -> float:
    """Largest difference between ours and a reference's array."""
    return (tensor - torch.from_numpy(array)).abs().max().item()


def without_gradient(module: nn.Module) -> list[str]:
    """The names of parameters that a backward pass has not reached."""
    return [key for key, p in module.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]


def assert_batches_layouts_and_precisions(network: nn.Module, pictures: Tensor) -> None:
    """One picture or several, either memory layout: one result, in float32; under bfloat16 a similar change."""
    exact = network(pictures)
    torch.testing.assert_close(torch.cat([network(p[None]) for p in pictures]), exact, atol=1e-5, rtol=0)
    network.to(memory_format=torch.channels_last)
    torch.testing.assert_close(network(pictures), exact, atol=1e-5, rtol=0)
    with torch.autocast("cpu", torch.bfloat16):
        reduced = network(pictures)
    assert reduced.dtype == torch.float32
    assert (reduced - exact).abs().max() < 0.1 * (exact - pictures).abs().max()
