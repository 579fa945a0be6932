"""Files of weights to networks and back.

A file of ours is a safetensors file that describes its own network in its metadata: ``network`` (a name in
:data:`deblurcli.networks.NETWORKS`), ``config`` (JSON: keyword arguments of the network) and ``card`` (JSON: data,
licence, command, seed, minutes, iterations, scores). With ``difference_from`` (JSON: name and sha256 of registered
weights) it holds what its weights differ by from those (:mod:`deblurcli.weights.formats.difference`). Files that the
networks' authors published describe nothing; their network is recognised by its tensors
(:mod:`deblurcli.weights.formats.official`). No file can make this program run anything.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from deblurcli.errors import WeightsError
from deblurcli.networks import NETWORKS, NetworkSpec
from deblurcli.networks.spec import Role
from deblurcli.weights import registry, store
from deblurcli.weights.formats import official
from deblurcli.weights.formats.difference import added, differences
from deblurcli.weights.registry import REINSTALL, suggestion

MAX_CONFIG = 4096
"""Larger numbers in a file's ``config`` are refused: no network has so many channels, and building it would not end."""

TONE_CURVES = "tone_curves"
"""Under this name a file keeps tone curves beside the network's tensors."""

FLOATS = {torch.float16, torch.bfloat16, torch.float32}
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
    tone_curves: Tensor | None = None
    """3 x entries, float32: what test-time adaptation adds to the network's results (deblurcli.adapt.tone_curves)."""

    @property
    def origin(self) -> str:
        """Which weights these are, as the cards of those trained from them say it."""
        return f"{self.name} ({self.sha256[:12]})"


@dataclass(frozen=True)
class Opened:
    """What a file, or the several files of one network, hold. Tensors are checked for neither shape nor value yet.

    ``sha256``: of the file, or of the list of the files' sha256; ``files``: those by name.
    """

    network: str
    config: dict[str, Any]
    card: dict[str, Any]
    tensors: dict[str, Tensor]
    sha256: str
    files: dict[str, str]


def load_network(name_or_path: str | Path, *, role: Role) -> LoadedNetwork:
    """Build the network of a registry name or of a file, and fill it with its weights.

    A string with a folder or a suffix of weights in it is a path, any other a name, whatever the working folder holds.
    A path may be that of a file as its authors published it, or of the folder of such files where they are several.

    Raises:
        WeightsError: no such weights; a file that is missing, damaged, of another kind, not the registry's, not of a
            known network, not of this ``role``, with other tensors than the network's, or with numbers that are not
            finite.
    """
    path = Path(name_or_path)
    if is_name(name_or_path):
        entry = registry.find(str(name_or_path))
        where, name, content = f"weights {entry.name!r}", entry.name, store.read_verified(entry)
        metadata, tensors = _read(where, content)
        found = Opened(*_describe(where, metadata), tensors, hashlib.sha256(content).hexdigest(), {})
        if entry.network != found.network:
            raise WeightsError(f"{where}: holds a {found.network!r}, the registry says {entry.network!r}", REINSTALL)
    else:
        where, name, found = str(path), path.stem, opened([path])
    spec = NETWORKS[found.network]
    if spec.role != role:
        raise WeightsError(f"{where}: {found.network!r} is a {spec.role} network", f"a {role} network is needed here")
    curves = tone_curves(where, found)
    module = built(where, found)
    return LoadedNetwork(module, spec, found.card, name, found.sha256, found.network, found.config, curves)


def is_name(name_or_path: str | Path) -> bool:
    """Whether this is the name of weights in the registry, rather than a path."""
    path = Path(name_or_path)
    return isinstance(name_or_path, str) and path.name == name_or_path and path.suffix not in official.SUFFIXES


def opened(paths: Sequence[Path], network: str = "") -> Opened:
    """Read a user's file, or the several files (or their folder) of one network.

    Args:
        network: a name in NETWORKS; without it, what the file says, or the network with tensors like the file's.

    Raises WeightsError: see :func:`load_network`.
    """
    where = official.described([str(path) for path in paths])
    if network and network not in NETWORKS:
        raise WeightsError(f"no network is called {network!r}", suggestion(network, NETWORKS))
    contents = {part: official.read_file(part) for path in paths for part in official.parts_of(path)}
    files = {part.name: hashlib.sha256(content).hexdigest() for part, content in contents.items()}
    sha256 = next(iter(files.values()))
    if len(files) > 1:
        sha256 = hashlib.sha256("".join(f"{files[name]}  {name}\n" for name in sorted(files)).encode()).hexdigest()
    tensors, parts = official.foreign(where, contents), {}
    for part, content in contents.items() if tensors is None else ():
        if official.is_pytorch(content):
            parts[part.stem] = official.tensors_of(str(part), content)
            continue
        metadata, parts[part.stem] = _read(str(part), content)
        if "network" in metadata and len(contents) == 1:
            found = Opened(*_describe(where, metadata), parts[part.stem], sha256, files)
            if network not in ("", found.network):
                raise WeightsError(f"{where}: holds a {found.network!r}, not a {network!r}", "is it the right file?")
            return found
    if tensors is None:
        tensors = official.joined(where, parts)
    if network:
        config = official.config_for(network, tensors)
    elif (recognised := official.recognise(tensors)) is not None:
        network, config = recognised
    else:
        raise WeightsError(f"{where}: holds the tensors of no network known here", f"there are: {', '.join(NETWORKS)}")
    return Opened(network, config, {"source_sha256": files}, official.fitted(network, config, tensors), sha256, files)


def built(where: str, found: Opened) -> nn.Module:
    """The network of what was read, float32, in eval mode. ``where`` names it in messages. Raises WeightsError."""
    tensors = {key: value for key, value in found.tensors.items() if key != TONE_CURVES}
    return _fill(where, NETWORKS[found.network], found.config, tensors)


def tone_curves(where: str, found: Opened) -> Tensor | None:
    """The tone curves in what was read, None where there are none. Raises WeightsError where they are no curves."""
    curves = found.tensors.get(TONE_CURVES)
    if curves is not None:
        if curves.dtype != torch.float32 or curves.dim() != 2 or len(curves) != 3:
            raise WeightsError(f"{where}: its tone curves are {_form(curves)}, not float32 of three channels")
        _check_finite(where, {TONE_CURVES: curves}, "get the file again")
    return curves


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
    store.write_whole(path, encoded(str(path), module.state_dict(), network, config, card, dtype))


def save_difference(path: Path, new: LoadedNetwork, base: str, card: Mapping[str, Any]) -> None:
    """Write ``new`` as what it differs by from the registered weights called ``base``, in half of the space.

    Raises as :func:`save_network`; WeightsError: no such weights, or of another network.
    """
    tensors, sha256 = _registered(base)
    state = {key: value.detach().cpu() for key, value in new.module.state_dict().items()}
    if {key: value.shape for key, value in state.items()} != {key: value.shape for key, value in tensors.items()}:
        raise WeightsError(f"{new.name} has other tensors than {base!r}", "name those that it was trained on from")
    _check_finite(str(path), state, "it was not written")
    metadata = _description(new.network, new.config, card)
    metadata["difference_from"] = json.dumps({"name": base, "sha256": sha256})
    store.write_whole(path, _serialised(differences(state, tensors), metadata))


def save_adapted(
    path: Path, state: Mapping[str, Tensor], network: LoadedNetwork, source: Path, adaptation: Mapping[str, Any]
) -> None:
    """Write what ``network`` became when it was adapted to a video, in float32: the very numbers that restored it.

    Args:
        state: its tensors by name and, under ``TONE_CURVES``, the curves that go with them, if any.
        source: the video, which the card names.
        adaptation: how it was adapted, for the card; anything JSON can hold.

    Raises as :func:`save_network`.
    """
    card = network.card | {
        "adapted_to": source.name,
        "adapted_from": {"name": network.name, "sha256": network.sha256},
        "adaptation": adaptation,
    }
    store.write_whole(path, encoded(str(path), state, network.network, network.config, card, torch.float32))


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
    _check_finite(where, tensors, f"it was not written; {dtype} may be too narrow")
    return _serialised(tensors, _description(network, config, card))


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


def _parse(where: str, content: bytes) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors. The library checks offsets, sizes and types before anything is allocated."""
    try:
        tensors = safetensors.torch.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise WeightsError(f"{where}: {_diagnosis(content)}") from error
    return header.get("__metadata__", {}), tensors


def _read(where: str, content: bytes) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors; those of a difference added to the weights that it is from."""
    metadata, tensors = _parse(where, content)
    if "difference_from" not in metadata:
        return metadata, tensors
    try:
        origin = json.loads(metadata["difference_from"])
        name, sha256 = str(origin["name"]), origin["sha256"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise WeightsError(f"{where}: does not say what it is a difference from", "get the file again") from error
    base, present = _registered(name)
    if present != sha256:
        raise WeightsError(f"{where}: is a difference from another version of {name!r}", "get that of this version")
    try:
        return metadata, added(base, tensors)
    except ValueError as error:
        raise WeightsError(f"{where}: {error}", "get the file again") from error


def _registered(name: str) -> tuple[dict[str, Tensor], str]:
    """The tensors as they lie in the file of registered weights, and its sha256."""
    content = store.read_verified(registry.find(name))
    return _parse(f"weights {name!r}", content)[1], hashlib.sha256(content).hexdigest()


def _diagnosis(content: bytes) -> str:
    """What a file that is not a whole safetensors file seems to be, and what to do about it."""
    if not content:
        return "is empty; get the file again"
    if content[8:9] == b"{":
        return "damaged or cut short; get the file again"
    if content.startswith((b"PK\x03\x04", b"\x80")):
        return "a pickle, but not in PyTorch's form; is it the right file?"
    if content[:256].lstrip().startswith(b"<"):
        return "a web page, not weights; get the file again"
    return "not a safetensors file; is it the right file?"


def _describe(where: str, metadata: dict[str, str]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Network, config and card of a file's metadata."""
    if "network" not in metadata:
        raise WeightsError(f"{where}: does not say which network it is for", "is it the right file?")
    network = metadata["network"]
    if network not in NETWORKS:
        raise WeightsError(f"{where}: for an unknown network {network!r}", suggestion(network, NETWORKS))
    try:
        # As it is: the network's defaults may have grown since it was written.
        config = json.loads(metadata["config"]) if "config" in metadata else dict(NETWORKS[network].config or {})
        card = json.loads(metadata.get("card", "{}"))
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{where}: its description is not JSON: {error}") from error
    if not isinstance(config, dict) or not isinstance(card, dict):
        raise WeightsError(f"{where}: its description is not a JSON object")
    return network, config, card


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
