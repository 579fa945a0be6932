"""Files of weights to networks. No file can make this program run anything.

A file of ours is a safetensors file whose metadata describes its network: ``network`` (a name in
:data:`deblurcli.networks.NETWORKS`), ``config`` (JSON: keyword arguments of the network) and ``card`` (JSON: data,
licence, command, seed, minutes, iterations, scores). With ``difference_from`` (JSON: name and sha256 of registered
weights) its tensors are differences from those (:mod:`deblurcli.weights.formats.difference`). Files that the networks'
authors published describe nothing; their network is recognised by its tensors
(:mod:`deblurcli.weights.formats.official`).
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
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
from deblurcli.weights.formats.difference import added
from deblurcli.weights.registry import REINSTALL, suggestion

MAX_CONFIG = 4096
"""Largest number in a file's ``config``: no network has so many channels."""

MAX_DEPTH = 8
"""Lists and tables of a ``config`` within each other."""

SPARE_PARAMETERS = 1024
"""Parameters that a network may have beyond twice the tensors of its file, so that the missing ones can be named."""

TONE_CURVES = "tone_curves"
"""Under this name a file keeps tone curves beside the network's tensors."""

FLOATS = {torch.float16, torch.bfloat16, torch.float32}
SHOWN_KEYS = 3


@dataclass(frozen=True)
class LoadedNetwork:
    """A network in eval mode, float32, on the CPU, with where it comes from."""

    module: nn.Module
    spec: NetworkSpec
    card: dict[str, Any]
    name: str
    """The registry's, or the file's without its suffix."""
    sha256: str
    """The file's."""
    network: str
    """A name in :data:`deblurcli.networks.NETWORKS`."""
    config: dict[str, Any]
    """Keyword arguments that ``module`` was built with."""
    tone_curves: Tensor | None = None
    """3 x entries, float32: what test-time adaptation adds to the network's results (adaptation.tone_curves)."""

    @property
    def origin(self) -> str:
        """Name and sha256, as the cards of weights trained from these give them."""
        return f"{self.name} ({self.sha256[:12]})"


@dataclass(frozen=True)
class Opened:
    """The content of a file, or of the several files of one network, with unchecked tensors."""

    network: str
    config: dict[str, Any]
    card: dict[str, Any]
    tensors: dict[str, Tensor]
    sha256: str
    """SHA-256 of the file; of several files, SHA-256 of the list of theirs."""
    files: dict[str, str]
    """The sha256 of each file by its name."""


def load_network(name_or_path: str | Path, *, role: Role) -> LoadedNetwork:
    """Build the network of a registry name or of a file, and fill it with its weights.

    A string with a folder or a suffix of weights in it is a path, any other a name, whatever the working folder holds.
    A path may lead to a file as its authors published it, or to a folder of several such files.

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
    require_role(where, found.network, role)
    curves = tone_curves(where, found)
    module = built(where, found)
    return LoadedNetwork(module, spec, found.card, name, found.sha256, found.network, found.config, curves)


def require_role(where: str, network: str, role: Role) -> None:
    """Raise WeightsError unless a network (a name in NETWORKS) does what is needed. ``where`` names it in messages."""
    if network == registry.NIQE:
        raise WeightsError(f"{where}: a model of NIQE", f"a {role} network is needed here")
    if (found := NETWORKS[network].role) != role:
        raise WeightsError(f"{where}: {network!r} is a {found} network", f"a {role} network is needed here")


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
        check_finite(where, {TONE_CURVES: curves}, "get the file again")
    return curves


def _parse(where: str, content: bytes) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors. The library checks offsets, sizes and types before anything is allocated."""
    try:
        tensors = safetensors.torch.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise WeightsError(f"{where}: {_diagnosis(content)}") from error
    return header.get("__metadata__") or {}, tensors  # null is JSON, too


def _read(where: str, content: bytes) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors; a difference is added to the weights that it is from."""
    metadata, tensors = _parse(where, content)
    if "difference_from" not in metadata:
        return metadata, tensors
    try:
        origin = json.loads(metadata["difference_from"])
        name, sha256 = str(origin["name"]), origin["sha256"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise WeightsError(f"{where}: does not say what it is a difference from", "get the file again") from error
    base, present = registered(name)
    if present != sha256:
        raise WeightsError(f"{where}: is a difference from another version of {name!r}", "get that of this version")
    try:
        return metadata, added(base, tensors)
    except ValueError as error:
        raise WeightsError(f"{where}: {error}", "get the file again") from error


def registered(name: str) -> tuple[dict[str, Tensor], str]:
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
        with torch.device("meta"), _at_most(2 * len(tensors) + SPARE_PARAMETERS):
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
    check_finite(where, tensors, "get the file again")
    module = spec.build(**config)
    for key, built in module.state_dict().items():
        # Tables of indices follow from the configuration; others would read out of bounds.
        if built.dim() and not built.is_floating_point() and not torch.equal(built, tensors[key]):
            raise WeightsError(f"{where}: {key} is not the network's table of indices")
    module.load_state_dict(tensors)
    return module.float().eval()


@contextlib.contextmanager
def _at_most(count: int) -> Iterator[None]:
    """Inside, a module with more parameters cannot be built (ValueError): thousands of layers would take minutes."""
    built = itertools.count(1)

    def counted(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        if next(built) > count:
            raise ValueError("it has many more parameters than the file has tensors")

    handle = nn.modules.module.register_module_parameter_registration_hook(counted)
    try:
        yield
    finally:
        handle.remove()


def _modest(value: Any, depth: int = 0) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return len(value) <= 64 and depth < MAX_DEPTH and all(_modest(item, depth + 1) for item in value)
    return value is None or isinstance(value, str) or (isinstance(value, (int, float)) and abs(value) <= MAX_CONFIG)


def _check_keys(where: str, verb: str, keys: set[str]) -> None:
    if keys:
        shown = ", ".join(sorted(keys)[:SHOWN_KEYS])
        more = f" and {len(keys) - SHOWN_KEYS} more" if len(keys) > SHOWN_KEYS else ""
        raise WeightsError(f"{where}: {verb} tensors: {shown}{more}")


def check_finite(where: str, tensors: dict[str, Tensor], cure: str) -> None:
    for key, value in tensors.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise WeightsError(f"{where}: {key} holds numbers that are not finite", cure)


def _form(value: Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
