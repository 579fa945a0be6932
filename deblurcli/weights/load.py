"""Files of weights to networks and back.

A file is a safetensors file that describes its own network in its metadata: ``network`` (a name in
:data:`deblurcli.networks.NETWORKS`), ``config`` (JSON: keyword arguments of the network) and ``card`` (JSON: data,
licence, command, seed, minutes, iterations, scores). Nothing else is ever opened: no file can make this program run
anything.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from deblurcli.errors import OutputError, WeightsError
from deblurcli.networks import NETWORKS, NetworkSpec
from deblurcli.networks.spec import Role
from deblurcli.weights import registry, store
from deblurcli.weights.registry import suggestion

MAX_BYTES = 2 << 30
"""Larger files are refused unread."""

MAX_CONFIG = 4096
"""Larger numbers in a file's ``config`` are refused: no network has so many channels, and building it would not end."""

SUFFIXES = {".safetensors", ".pth", ".pt", ".pkl", ".ckpt", ".tar"}
FLOATS = {torch.float16, torch.bfloat16, torch.float32}
NO_IMPORT = "importing official files is not supported by this version"
SHOWN_KEYS = 3


@dataclass(frozen=True)
class LoadedNetwork:
    """A network in eval mode, float32, on the CPU, with where it comes from.

    ``name``: the registry's, or the file's without suffix. ``sha256``: of the file. ``network`` and ``config``: what
    :func:`save_network` needs to store it again.
    """

    module: nn.Module
    spec: NetworkSpec
    card: dict[str, Any]
    name: str
    sha256: str
    network: str
    config: dict[str, Any]


def load_network(name_or_path: str | Path, *, role: Role) -> LoadedNetwork:
    """Build the network of a registry name or of a file, and fill it with its weights.

    A string with a folder or a suffix of weights in it is a path, any other a name, whatever the working folder holds.

    Raises:
        WeightsError: no such weights; a file that is missing, damaged, not safetensors, not the registry's, not of a
            known network, not of this ``role``, with other tensors than the network's, or with numbers that are not
            finite.
    """
    path = Path(name_or_path)
    if isinstance(name_or_path, str) and path.name == name_or_path and path.suffix not in SUFFIXES:
        entry = registry.find(name_or_path)
        where, name, content, sha256 = f"weights {entry.name!r}", entry.name, store.read_verified(entry), entry.sha256
    else:
        entry, where, name, content = None, str(path), path.stem, _read(path)
        sha256 = hashlib.sha256(content).hexdigest()
    metadata, tensors = _parse(where, content)
    network, config, card = _describe(where, metadata)
    if entry is not None and entry.network != network:
        raise WeightsError(f"{where}: holds a {network!r}, the registry says {entry.network!r}", registry.REINSTALL)
    spec = NETWORKS[network]
    if spec.role != role:
        raise WeightsError(f"{where}: {network!r} is a {spec.role} network", f"a {role} network is needed here")
    module = _fill(where, spec, config, tensors)
    return LoadedNetwork(module, spec, card, name, sha256, network, config)


def load_chosen(name: str, job: str, role: Role) -> LoadedNetwork:
    """The network that a user names; ``default`` is what the registry's set for this job uses. Raises WeightsError."""
    return load_network(registry.weights_of(job)[role].name if name == "default" else name, role=role)


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

    ``network``: a name in NETWORKS. ``config``: the arguments ``module`` was built with, added to the network's
    defaults. ``card``: anything JSON can hold. ``dtype``: how floating tensors are stored.

    Raises:
        WeightsError: unknown network, or numbers that are not finite (in ``dtype``).
        OutputError: the file cannot be written.
    """
    path = Path(path)
    if network not in NETWORKS:
        raise WeightsError(f"no network is called {network!r}", suggestion(network, NETWORKS))
    complete = {**(NETWORKS[network].config or {}), **config}
    metadata = {"network": network, "config": json.dumps(complete), "card": json.dumps(dict(card))}
    tensors = {key: _stored(value, dtype) for key, value in module.state_dict().items()}
    _check_finite(str(path), tensors, f"it was not written; {dtype} may be too narrow")
    content = safetensors.torch.save(tensors, metadata)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        try:
            with part.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error


def _read(path: Path) -> bytes:
    """The content of a user's file."""
    try:
        if (size := path.stat().st_size) > MAX_BYTES or not path.is_file():
            raise WeightsError(f"{path}: not a file, or too large for weights ({size} bytes)", "is it the right file?")
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}", "is it the right name?") from error


def _parse(where: str, content: bytes) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors. The library checks offsets, sizes and types before anything is allocated."""
    try:
        tensors = safetensors.torch.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise WeightsError(f"{where}: {_diagnosis(content)}") from error
    return header.get("__metadata__", {}), tensors


def _diagnosis(content: bytes) -> str:
    """What a file that is not a whole safetensors file seems to be, and what to do about it."""
    if not content:
        return "is empty; get the file again"
    if content[8:9] == b"{":
        return "damaged or cut short; get the file again"
    if content.startswith((b"PK\x03\x04", b"\x80")):
        return f"a PyTorch file, not safetensors; {NO_IMPORT}"
    if content[:256].lstrip().startswith(b"<"):
        return "a web page, not weights; get the file again"
    return "not a safetensors file; is it the right file?"


def _describe(where: str, metadata: dict[str, str]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Network, config and card of a file's metadata."""
    if "network" not in metadata:
        raise WeightsError(f"{where}: does not say which network it is for", NO_IMPORT)
    network = metadata["network"]
    if network not in NETWORKS:
        raise WeightsError(f"{where}: for an unknown network {network!r}", suggestion(network, NETWORKS))
    try:
        config, card = json.loads(metadata.get("config", "{}")), json.loads(metadata.get("card", "{}"))
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{where}: its description is not JSON: {error}") from error
    if not isinstance(config, dict) or not isinstance(card, dict):
        raise WeightsError(f"{where}: its description is not a JSON object")
    return network, {**(NETWORKS[network].config or {}), **config}, card


def _fill(where: str, spec: NetworkSpec, config: dict[str, Any], tensors: dict[str, Tensor]) -> nn.Module:
    """The network that ``config`` describes, with exactly these tensors."""
    if not all(_modest(value) for value in config.values()):
        raise WeightsError(f"{where}: its network cannot be built: a number in its configuration is out of range")
    try:
        # First without memory, so that a configuration that lies about its size costs nothing.
        with torch.device("meta"):
            expected = spec.build(**config).state_dict()
    except Exception as error:  # whatever a wrong configuration makes a constructor raise
        raise WeightsError(f"{where}: its network cannot be built: {error}") from error
    _check_keys(where, "misses", expected.keys() - tensors.keys())
    _check_keys(where, "has unknown", tensors.keys() - expected.keys())
    for key, want in expected.items():
        found = tensors[key]
        fits = found.dtype in FLOATS if want.is_floating_point() else found.dtype == want.dtype
        if found.shape != want.shape or not fits:
            raise WeightsError(f"{where}: {key} is {_form(found)}, the network's is {_form(want)}")
    _check_finite(where, tensors, "get the file again")
    module = spec.build(**config)
    for key, built in module.state_dict().items():
        # Tables of indices follow from the configuration; others would read out of bounds.
        if built.dim() and not built.is_floating_point() and not torch.equal(built, tensors[key]):
            raise WeightsError(f"{where}: {key} is not the network's table of indices")
    module.load_state_dict(tensors)
    return module.float().eval()


def _modest(value: Any) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return len(value) <= 64 and all(_modest(item) for item in value)
    return value is None or isinstance(value, str) or (isinstance(value, (int, float)) and abs(value) <= MAX_CONFIG)


def _check_keys(where: str, verb: str, keys: set[str]) -> None:
    if keys:
        shown = ", ".join(sorted(keys)[:SHOWN_KEYS])
        more = f" and {len(keys) - SHOWN_KEYS} more" if len(keys) > SHOWN_KEYS else ""
        raise WeightsError(f"{where}: {verb} tensors: {shown}{more}")


def _check_finite(where: str, tensors: dict[str, Tensor], cure: str) -> None:
    for key, value in tensors.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise WeightsError(f"{where}: {key} holds numbers that are not finite", cure)


def _stored(value: Tensor, dtype: torch.dtype) -> Tensor:
    """A copy of its own, since safetensors refuses tensors that share memory (one parameter under several names)."""
    kept = dtype if value.is_floating_point() else value.dtype
    return value.detach().to("cpu", kept, copy=True).contiguous()


def _form(value: Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
