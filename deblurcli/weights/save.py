"""Networks to files of weights, in the form that :mod:`deblurcli.weights.load` describes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from deblurcli.errors import WeightsError
from deblurcli.files import OutputFile
from deblurcli.networks import NETWORKS
from deblurcli.weights.formats.difference import differences
from deblurcli.weights.load import LoadedNetwork, check_finite, registered
from deblurcli.weights.registry import suggestion


def save_network(
    path: str | Path,
    module: nn.Module,
    *,
    network: str,
    config: Mapping[str, Any],
    card: Mapping[str, Any],
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write a file that :func:`load_network` reads; under its name only when it is complete.

    Args:
        network: a name in NETWORKS.
        config: the arguments ``module`` was built with, added to the network's defaults.
        card: anything JSON can hold.
        dtype: how floating tensors are stored.

    Raises:
        WeightsError: unknown network, or numbers that are not finite (in ``dtype``).
        OutputError: the file cannot be written.
    """
    _write(Path(path), encoded(str(path), module.state_dict(), network, config, card, dtype))


def save_difference(path: Path, new: LoadedNetwork, base: str, card: Mapping[str, Any]) -> None:
    """Write ``new`` as what it differs by from the registered weights called ``base``, in half of the space.

    Raises as :func:`save_network`; WeightsError: no such weights, or of another network.
    """
    tensors, sha256 = registered(base)
    state = {key: value.detach().cpu() for key, value in new.module.state_dict().items()}
    if {key: value.shape for key, value in state.items()} != {key: value.shape for key, value in tensors.items()}:
        raise WeightsError(f"{new.name} has other tensors than {base!r}", "name those that it was trained on from")
    check_finite(str(path), state, "it was not written")
    metadata = _description(new.network, new.config, card)
    metadata["difference_from"] = json.dumps({"name": base, "sha256": sha256})
    _write(path, _serialised(differences(state, tensors), metadata))


def save_adapted(
    path: Path, state: Mapping[str, Tensor], network: LoadedNetwork, source: str, adaptation: Mapping[str, Any]
) -> None:
    """Write what ``network`` became when it was adapted to a video, in float32: the very numbers that restored it.

    Args:
        state: its tensors by name and, under ``TONE_CURVES``, the curves that go with them, if any.
        source: what it was adapted to, for the card.
        adaptation: how it was adapted, for the card; anything JSON can hold.

    Raises as :func:`save_network`.
    """
    card = network.card | {
        "adapted_to": source,
        "adapted_from": {"name": network.name, "sha256": network.sha256},
        "adaptation": adaptation,
    }
    _write(path, encoded(str(path), state, network.network, network.config, card, torch.float32))


def encoded(
    where: str,
    state: Mapping[str, Tensor],
    network: str,
    config: Mapping[str, Any],
    card: Mapping[str, Any],
    dtype: torch.dtype,
) -> bytes:
    """The content of a file of ours, the same bytes for the same weights. Raises WeightsError; see save_network."""
    if network not in NETWORKS:
        raise WeightsError(f"no network is called {network!r}", suggestion(network, NETWORKS))
    tensors = {key: _stored(value, dtype) for key, value in state.items()}
    check_finite(where, tensors, f"it was not written; {dtype} may be too narrow")
    return _serialised(tensors, _description(network, config, card))


def _write(path: Path, content: bytes) -> None:
    with OutputFile(path, overwrite=True) as output:
        output.file.write(content)


def _description(network: str, config: Mapping[str, Any], card: Mapping[str, Any]) -> dict[str, str]:
    complete = {**(NETWORKS[network].config or {}), **config}
    return {"network": network, "config": json.dumps(complete), "card": json.dumps(dict(card))}


def _serialised(tensors: dict[str, Tensor], metadata: dict[str, str]) -> bytes:
    content = safetensors.torch.save(tensors, metadata)
    # The library writes the metadata in an order that changes from run to run.
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[end:]


def _stored(value: Tensor, dtype: torch.dtype) -> Tensor:
    """A copy of its own, since safetensors refuses tensors that share memory (one parameter under several names)."""
    kept = dtype if value.is_floating_point() else value.dtype
    return value.detach().to("cpu", kept, copy=True).contiguous()
