"""Reading what the networks' authors published: PyTorch files to tensors under our names, without running anything.

A PyTorch file is a pickle, which can name any function to be called on loading. Here a file is first read as a list of
instructions and refused if it names anything but what tensors are made of; then it is loaded by torch in its
``weights_only`` mode, which keeps its own list of that. A file in zip form is refused if it is compressed, since
PyTorch's are not, or if its parts claim more bytes than the file has.

The modules in :mod:`deblurcli.networks` bear the authors' names, so that most files need only be unwrapped. DMPHN is
eight files, one for each part of the network, which are named by it; LPIPS is a network that recognises things, and a
file of heads for it; SRN is a checkpoint of TensorFlow, and DBN two files of Torch7.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deblurcli.errors import WeightsError
from deblurcli.networks import NETWORKS, critic, lpips, pwc_net
from deblurcli.weights.formats import tensorflow, torch7

SUFFIXES = {".safetensors", ".pth", ".pt", ".pkl", ".ckpt", ".tar", ".t7", ".index"}

MAX_BYTES = 2 << 30
"""Larger files are refused unread."""

MAX_INSTRUCTIONS = 5_000_000
"""Pickles with more are refused: the largest network here takes less than 100,000."""

MAX_SHARED_TUPLES = 16
"""Tuples used again within a pickle: each doubles the time that hashing one of them may take."""

WRAPPERS = ("params", "params_ema", "state_dict", "model")
"""Under which key training frameworks put a network's tensors."""

DMPHN_FILES = tuple(f"{part}_lv{level}" for part in ("encoder", "decoder") for level in (1, 2, 3, 4))
"""The stems of the eight files of DMPHN (and of DHN, which has the same parts)."""

VARIANTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("deblurgan", {"dropout": False}),
    ("flownet-s", {"batch_norm": True}),
    ("kernel-extractor", {"variational": True}),
    *(("residual-unet", {"blocks": blocks}) for blocks in (4, 16, 32)),
    *(("reblurring-module", {"blocks": blocks}) for blocks in (1, 3, 4)),
)
"""Configurations other than a network's own that published files have."""

AUTHORS: dict[str, dict[str, Any]] = {name: {"authors_pairing": True} for name in ("videoadapt", "videoadapt-small")}
"""Configurations of networks whose published files have the network's own tensors, but another function: that of the
authors' code, which they were trained in."""

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
"""Left out where the network has no use for them: instance normalisation of old versions of PyTorch kept them."""

_STORAGES = ("Float", "Half", "BFloat16", "Double", "Long", "Int", "Short", "Char", "Byte", "Bool")
_ALLOWED = {
    "collections OrderedDict",
    "collections Counter",
    "collections defaultdict",
    "torch Size",
    "torch device",
    "torch._utils _rebuild_tensor",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    "torch.storage UntypedStorage",
    # A score that was saved along.
    "numpy dtype",
    "numpy.core.multiarray scalar",
    "numpy._core.multiarray scalar",
    "_codecs encode",
    *(f"torch {kind}Storage" for kind in _STORAGES),
    *(f"torch {name}" for name in ("float16", "bfloat16", "float32", "float64", "int64", "int32", "uint8", "bool")),
}
_SCALAR = np.float64(0).__reduce__()[0]
_SCORES: list[Any] = [
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("float32", "float64", "int64")),
]
_LARGE_DTYPE = re.compile(r"[<>|=]?[SUVa]\d{3,}")
"""A type of NumPy's whose one number takes as many bytes as it says."""
_DAMAGED = "get the file again"


def parts_of(path: Path) -> list[Path]:
    """The files that a path stands for: itself, or the files of a folder. Raises WeightsError where there are none.

    The index of a TensorFlow checkpoint brings the file of its numbers along.
    """
    try:
        if not path.is_dir():
            numbers = path.with_name(f"{path.stem}.data-00000-of-00001")
            return [path, numbers] if path.suffix == ".index" and numbers.is_file() else [path]
        inside = sorted(p for p in path.iterdir() if p.suffix in SUFFIXES and p.is_file())
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}", "is it the right name?") from error
    if parts := [p for p in inside if p.stem in DMPHN_FILES]:
        _check_complete(str(path), {p.stem for p in parts})
        return parts
    if len(inside) == 1:
        return parts_of(inside[0])
    if len(inside) == 2 and all(p.suffix == ".t7" for p in inside):
        return inside
    raise WeightsError(f"{path}: not a file of weights, nor a folder of one network's", "give the file")


def read_file(path: Path) -> bytes:
    """The content of a user's file. Raises WeightsError."""
    try:
        if (size := path.stat().st_size) > MAX_BYTES or not path.is_file():
            raise WeightsError(f"{path}: not a file, or too large for weights ({size} bytes)", "is it the right file?")
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}", "is it the right name?") from error


def is_pytorch(content: bytes) -> bool:
    """Whether a file may be one of PyTorch's, in either of its forms."""
    return content.startswith((b"PK\x03\x04", b"\x80\x02"))


def foreign(where: str, contents: Mapping[Path, bytes]) -> dict[str, Tensor] | None:
    """The tensors, under our names, of files that are not PyTorch's; None where they are neither TensorFlow's nor
    Torch7's. Raises WeightsError.
    """
    if indices := [content for content in contents.values() if tensorflow.is_index(content)]:
        numbers = [content for content in contents.values() if not tensorflow.is_index(content)]
        if len(indices) != 1 or len(numbers) != 1:
            raise WeightsError(f"{where}: not one checkpoint of TensorFlow", "give its .index and its .data file")
        return tensorflow.srn(tensorflow.tensors_of(where, indices[0], numbers[0]))
    if all(torch7.is_torch7(content) for content in contents.values()):
        return torch7.dbn(where, [torch7.object_of(str(path), content) for path, content in contents.items()])
    return None


def joined(where: str, parts: Mapping[str, dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of several files under the names of one network.

    Args:
        parts: the tensors of each file, by its stem.

    Raises WeightsError where they are not exactly the files of a network that comes in several.
    """
    if len(parts) == 1:
        (only,) = parts.values()
        if pwc_net.is_published(only):
            return pwc_net.from_published(only)
        return critic.from_imagenet(only) if critic.is_imagenet(only) else only
    first, last = sorted(parts.values(), key=len, reverse=True)[:: len(parts) - 1]
    if len(parts) == 2 and any(key.startswith("features.") for key in first) and "lin0.model.1.weight" in last:
        return lpips.from_official(first, last)
    _check_complete(where, parts.keys())
    if unknown := sorted(parts.keys() - set(DMPHN_FILES)):
        raise WeightsError(f"{where}: {unknown[0]} is not one of DMPHN's files", "give the files of one network")
    return {f"{stem}.{key}": value for stem in DMPHN_FILES for key, value in parts[stem].items()}


def _check_complete(where: str, stems: Collection[str]) -> None:
    if missing := [stem for stem in DMPHN_FILES if stem not in stems]:
        first, last = DMPHN_FILES[0], DMPHN_FILES[-1]
        cure = f"DMPHN is {len(DMPHN_FILES)} files, {first} to {last}; give them all, or their folder"
        raise WeightsError(f"{where}: {missing[0]} is missing", cure)


def tensors_of(where: str, content: bytes) -> dict[str, Tensor]:
    """The tensors of a PyTorch file, under the names they have in it less what wrappers add.

    Raises:
        WeightsError: the file is damaged, holds code, or no tensors.
    """
    for instructions in _pickles(where, content):
        _check_harmless(where, instructions)
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_SCORES):
            warnings.simplefilter("ignore")
            loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(f"{where}: holds more than tensors and numbers", "only such files are loaded") from error
    except Exception as error:  # whatever damage makes the reader raise
        raise WeightsError(f"{where}: damaged or cut short ({type(error).__name__})", _DAMAGED) from error
    return _unwrapped(where, loaded)


def recognise(tensors: Mapping[str, Tensor]) -> tuple[str, dict[str, Any]] | None:
    """The network that has tensors of these names and shapes, and its configuration; None where there is none.

    Of networks that share them (DMPHN and DHN) it is the first of NETWORKS.
    """
    found = {key: tuple(value.shape) for key, value in tensors.items() if not key.endswith(STATISTICS)}
    for network, variant in _candidates():
        if found == {k: v for k, v in _shapes(network, variant).items() if not k.endswith(STATISTICS)}:
            return network, _config(network, variant)
    return None


def config_for(network: str, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The configuration of ``network`` that has these tensors; where none has, one with their names, or its own."""
    found = {key: tuple(value.shape) for key, value in tensors.items()}
    own = [variant for name, variant in _candidates() if name == network]
    wanted = {v: {k: s for k, s in _shapes(network, v).items() if not k.endswith(STATISTICS)} for v in own}
    exact = (variant for variant in own if wanted[variant].items() <= found.items())
    named = (variant for variant in own if wanted[variant].keys() <= found.keys())
    return _config(network, next(chain(exact, named), -1))


def fitted(network: str, config: dict[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the network takes of the tensors: without statistics it has no use for, and in its precision.

    Nothing is copied of a tensor that does not have its shape; whether all do is for the caller to check.
    """
    with torch.device("meta"):
        wanted = NETWORKS[network].build(**config).state_dict()
    taken = {k: v for k, v in tensors.items() if k in wanted or not k.endswith(STATISTICS)}
    for key, value in wanted.items():
        if key.endswith("num_batches_tracked"):
            taken.setdefault(key, torch.zeros((), dtype=torch.int64))
        elif key in taken and taken[key].dtype == torch.float64 and taken[key].shape == value.shape:
            taken[key] = taken[key].float()
    return taken


def _candidates() -> list[tuple[str, int]]:
    """Networks, each with the number of a variant or -1 for its own configuration."""
    return [(network, -1) for network in NETWORKS] + [(network, i) for i, (network, _) in enumerate(VARIANTS)]


def _config(network: str, variant: int) -> dict[str, Any]:
    chosen = VARIANTS[variant][1] if variant >= 0 else {}
    return {**(NETWORKS[network].config or {}), **AUTHORS.get(network, {}), **chosen}


@cache
def _shapes(network: str, variant: int) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        state = NETWORKS[network].build(**_config(network, variant)).state_dict()
    return {key: tuple(value.shape) for key, value in state.items()}


def _pickles(where: str, content: bytes) -> Iterator[bytes | io.BytesIO]:
    """The pickles of a PyTorch file, of which only the last opcodes' end is known by reading them."""
    if not content.startswith(b"PK"):
        stream = io.BytesIO(content)
        for _ in range(5):  # magic number, version, machine, the object, the names of its storages
            yield stream
        return
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise WeightsError(f"{where}: compressed, which PyTorch's files are not", "unpack it first")
            if sum(entry.file_size for entry in entries) > len(content) or len(set(names)) < len(names):
                raise WeightsError(f"{where}: its parts overlap, or claim more bytes than it has", _DAMAGED)
            if any(name.endswith("constants.pkl") for name in names):
                raise WeightsError(f"{where}: a TorchScript program, not weights", "get the file of the weights")
            objects = [name for name in names if name.endswith("data.pkl")]
            if len(objects) != 1:
                raise WeightsError(f"{where}: a zip archive, not a PyTorch file", "unpack it, and give what is inside")
            if archive.testzip() is not None:
                raise WeightsError(f"{where}: damaged: a checksum in it does not fit", _DAMAGED)
            yield archive.read(objects[0])
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, OSError, RuntimeError) as error:
        raise WeightsError(f"{where}: damaged or cut short", _DAMAGED) from error


def _check_harmless(where: str, instructions: bytes | io.BytesIO) -> None:
    """Read a pickle's instructions without following them. Raises WeightsError where one names what is not allowed."""
    before, tuples, again = "", set(), set()
    try:
        for count, (code, argument, _) in enumerate(pickletools.genops(instructions)):
            if count > MAX_INSTRUCTIONS:
                raise WeightsError(f"{where}: far more complicated than weights are", "is it the right file?")
            if code.name in ("GLOBAL", "INST") and argument not in _ALLOWED:
                named = str(argument).replace(" ", ".")
                raise WeightsError(
                    f"{where}: names {named}, which weights do not need; nothing of it was run",
                    "get the file from its authors",
                )
            if isinstance(argument, str) and _LARGE_DTYPE.fullmatch(argument):
                raise WeightsError(f"{where}: a number of {argument[1:]} bytes; nothing was made of it", _DAMAGED)
            if code.name.endswith("BINPUT") and before.startswith("TUPLE"):
                tuples.add(argument)
            if code.name.endswith("BINGET") and argument in tuples:
                again.add(argument)
            if len(again) > MAX_SHARED_TUPLES:
                raise WeightsError(
                    f"{where}: tuples of tuples of tuples, which weights are not", "is it the right file?"
                )
            before = code.name
            if code.name in ("STACK_GLOBAL", "EXT1", "EXT2", "EXT4", "PERSID"):
                raise WeightsError(f"{where}: not in PyTorch's form of pickle; nothing of it was run", _DAMAGED)
    except (ValueError, UnicodeDecodeError, OverflowError, MemoryError, IndexError, KeyError) as error:
        raise WeightsError(f"{where}: damaged or cut short", _DAMAGED) from error


def _unwrapped(where: str, loaded: Any) -> dict[str, Tensor]:
    for wrapper in WRAPPERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(wrapper), dict):
            loaded = loaded[wrapper]
            break
    if not isinstance(loaded, dict) or not loaded:
        raise WeightsError(f"{where}: holds no tensors by name", "is it the file of the weights?")
    tensors = {}
    for key, value in loaded.items():
        if not isinstance(key, str) or not isinstance(value, Tensor) or value.layout != torch.strided:
            raise WeightsError(f"{where}: {str(key)[:80]!r} in it is not a tensor", "is it the file of the weights?")
        tensors[key.removeprefix("module.")] = value.detach()
    return tensors


def described(parts: Sequence[str]) -> str:
    """How messages name a file, or several."""
    return parts[0] if len(parts) == 1 else f"{parts[0]} and {len(parts) - 1} more"
