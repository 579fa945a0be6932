"""What an interrupted run leaves to the next one: finished segments and adaptations, and what they were made of.

All of it lies in the folder ``.NAME.part`` beside the output:

- ``journal.json``: what the frames depend on, as words, and how they were computed.
- ``segment-00000`` ...: :mod:`deblurcli.media.segments`; or ``frames/``: :mod:`deblurcli.media.sequence_writer`.
- ``adapted-00000.safetensors``, ``adapted-00000.json`` ...: the weights that the video, or a shot of it, was adapted
  to, and what came of it, with digests of both. The weights of a shot go when all of its frames are in segments.
- ``translator-00000.safetensors``: the translator before these weights, if there is one.
- ``unfinished-00000.safetensors``: an adaptation under way (:mod:`deblurcli.adaptation.unfinished`).

Each file appears complete or not at all. A run that finds nothing goes the same way from the first frame.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from deblurcli.adaptation.outcome import Outcome, Prepared, PreparedNetwork
from deblurcli.adaptation.translated_frames import PreparedBehind, Translator
from deblurcli.adaptation.translation import TRANSLATOR
from deblurcli.console import Reporter
from deblurcli.device import Device, give_back_memory
from deblurcli.errors import OutputError, UsageError, WeightsError
from deblurcli.files import OutputFile, PartFolder, reason
from deblurcli.media.inputs import is_sequence
from deblurcli.media.probe import library_versions
from deblurcli.media.sequences import frame_files, place_of
from deblurcli.media.videos import check_output
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.option import WEIGHTS, Option, spelling
from deblurcli.options.video import OF_ALL_FRAMES, VideoOptions
from deblurcli.restore.worker import Placed, Worker
from deblurcli.version import __version__
from deblurcli.weights.load import LoadedNetwork, load_network
from deblurcli.weights.save import save_adapted, save_network

PIECES, PIECE_BYTES = 64, 1 << 16
"""A file is told apart from others by that many pieces of its content, evenly spread: a small one by all of it."""
NAME = "journal.json"
PATTERNS = ("segment-*", "frames/*", "adapted-*.json", "unfinished-*")
"""Files that are worth going on from."""

WITHOUT_INFLUENCE = frozenset({"network", "overwrite", "skip_existing", "resume", "strict", "save_adapted", "compare"})
WITHOUT_INFLUENCE |= {"save_translator", "quality", "dry_run", *OF_ALL_FRAMES}
"""Options of a video that do not change its frames; of the network, the weights count, of the quality its settings."""


class Journal:
    """What is finished of one output. Use as a context manager.

    A clean exit removes it. An exception leaves what is finished, for the same command to go on from.

    Args:
        destination: the output.
        made_of: what its frames depend on, by names for people: input, version, weights, options.
        computed: on what the last bits of frames depend, by names for people: another one is only told.
        resume: True: there must be something to go on from; False: what there is, is thrown away; None: either.
        anew: why there is no going on although what there is fits; empty where there is.
        inputs, overwrite: as for :class:`deblurcli.files.OutputFile`.

    Attributes:
        folder: where segments are put.
        found: whether an earlier run left something.
        frames: frames in complete segments, as far as it was told.

    Raises:
        UsageError: what an earlier run left was made of something else; another run is at it; there is nothing to
            resume; the output exists, or is an input.
        OutputError: the output cannot be written.
    """

    def __init__(
        self,
        destination: Path,
        made_of: Mapping[str, str],
        computed: Mapping[str, int | str | None],
        *,
        resume: bool | None = None,
        anew: str = "",
        inputs: tuple[Path, ...] = (),
        overwrite: bool = False,
        console: Reporter,
    ) -> None:
        check_output(destination, inputs, overwrite)
        self.destination, self.console, self._made_of = destination, console, dict(made_of)
        self._computed, self.frames = dict(computed), 0
        self.folder = PartFolder(place_of(destination))
        try:
            self.found = self._is_there(made_of, resume, anew)
            if not self.found:
                self.folder.clear()
        except BaseException:
            # A refusal leaves what it found, so that the same command is refused for the same reason.
            self.folder.close(keep=self._holds_work() or (self.folder.path / NAME).exists())
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        kept = error is not None and self._holds_work()
        if kept:
            self.console.note(f"kept in {self.folder.path}: {self._work()}; the same command goes on from there")
        elif error is not None and not isinstance(error, Exception):
            self.console.note("nothing was finished yet, so nothing is kept; the same command begins anew")
        self.folder.close(keep=kept)

    def begin(self) -> None:
        """Put down what the frames are made of, before any of them is. Raises OutputError."""
        if not self.found:
            self._write(NAME, {"made_of": self._made_of, "computed": self._computed})

    def _is_there(self, made_of: Mapping[str, str], resume: bool | None, anew: str) -> bool:
        """Whether there is something to go on from. Raises UsageError."""
        noted, holds_work = self._read(NAME), self._holds_work()
        if resume is False or not holds_work or not isinstance(noted.get("made_of"), dict):
            if resume:
                raise _nothing_to_resume(self.destination, self.folder.path)
            if holds_work and resume is None:
                self.console.warn(f"the journal in {self.folder.path} is damaged; starting anew")
            return False
        _require_alike(self.destination, noted["made_of"], made_of)
        if anew:
            self.console.note(f"starting {self.destination} anew: {anew}")
            return False
        computed = noted["computed"] if isinstance(noted.get("computed"), dict) else {}
        for name, now in self._computed.items():
            if (then := computed.get(name)) != now:
                self.console.warn(f"begun with {name} {then}, goes on with {now}: frames may differ in their last bits")
        return True

    def _holds_work(self) -> bool:
        return _holds_work(self.folder.path)

    @property
    def adapted(self) -> bool:
        """Whether the adaptation to the video, or to its first shot, is finished."""
        return self._first(0) is not None

    def _work(self) -> str:
        """What is kept, for people."""
        adapted = any(self.folder.path.glob("adapted-*.json"))
        steps = any(self.folder.path.glob("unfinished-*"))
        learnt = "what was adapted" if adapted else "the steps of adapting so far" if steps else ""
        frames = f"{self.frames} restored frames" if self.frames else ""
        return " and ".join(filter(None, [learnt, frames])) or "finished segments"

    def adaptation(self, number: int, frames: int, network: Placed, worker: Worker) -> Prepared | None:
        """The ``number``-th shot's adaptation, or the video's, as it was; None where it is not finished.

        Args:
            frames: those that are in segments. A shot that is over by then is not restored any more.
            network: as it was adapted.
        """
        noted, after = self._noted(number), self._first(number + 1)
        try:
            outcome = _outcome(noted["outcome"])
            if after is not None and after <= frames:
                return PreparedNetwork(network, worker.tile, outcome)
            if self._digests(number) != noted["files"]:
                return None
            behind, translator = noted["behind_translator"], None
            if behind and outcome.kept:
                loaded = load_network(self._translator(number), role="translate")
                translator = Translator.placed(_placed(loaded, worker.device, network), worker.tile)
            adapted = _placed(load_network(self._weights(number), role="deblur"), network.device, network)
        except (KeyError, TypeError, WeightsError):
            return None
        if not behind:
            return PreparedNetwork(adapted, worker.tile, outcome)
        return PreparedBehind(translator, PreparedNetwork(adapted, worker.tile, outcome.then), outcome)

    def keep(self, number: int, first: int, prepared: Prepared, network: Placed) -> None:
        """Put down an adaptation, if this is a finished one. ``first``: the number of the first frame that it is for.

        Raises OutputError.
        """
        outcome, behind = prepared.outcome, isinstance(prepared, PreparedBehind)
        restorer = prepared.prepared if isinstance(prepared, PreparedBehind) else prepared
        if outcome is None or not isinstance(restorer, PreparedNetwork):
            return
        if isinstance(prepared, PreparedBehind) and prepared.translator is not None:
            module, config = prepared.translator.module, outcome.facts["config"]
            path = self._translator(number)
            save_network(path, module, network=TRANSLATOR, config=config, card={}, dtype=torch.float32)
        save_adapted(self._weights(number), restorer.state(), network.loaded, self.destination.name, {})
        noted = {
            "first": first,
            "behind_translator": behind,
            "outcome": asdict(outcome),
            "files": self._digests(number),
        }
        text = json.dumps(noted, default=str)
        self._write(f"adapted-{number:05}.json", {"noted": text, "sha256": sha256(text.encode())})
        self.unfinished(number).unlink(missing_ok=True)

    def unfinished(self, number: int) -> Path:
        """Where the adaptation to the ``number``-th shot, or to the video, is put down while it is under way."""
        return self.folder.path / f"unfinished-{number:05}.safetensors"

    def _noted(self, number: int) -> dict[str, Any]:
        """What was put down of an adaptation; nothing where that is not there or damaged."""
        found = self._read(f"adapted-{number:05}.json")
        text = found.get("noted")
        if not isinstance(text, str) or sha256(text.encode("utf-8", "replace")) != found.get("sha256"):
            return {}
        noted: dict[str, Any] = json.loads(text)
        return noted

    def _digests(self, number: int) -> dict[str, str]:
        """The SHA-256 of the files of an adaptation, by name. Raises OutputError."""
        paths = [path for path in (self._weights(number), self._translator(number)) if path.exists()]
        try:
            return {path.name: sha256(path.read_bytes()) for path in paths}
        except OSError as error:
            raise OutputError(f"{self.folder.path} cannot be read: {reason(error)}", "check its permissions") from error

    def forget(self, frames: int) -> None:
        """When so many frames are in segments: give back the memory of their encoder, and remove the weights of shots
        that are over. Raises OSError."""
        self.frames = frames
        give_back_memory()
        number = 1
        while (first := self._first(number)) is not None and first <= frames:
            self._weights(number - 1).unlink(missing_ok=True)
            number += 1

    def _first(self, number: int) -> int | None:
        """The first frame of a shot; None where its adaptation is not finished."""
        first = self._noted(number).get("first")
        return first if isinstance(first, int) else None

    def _weights(self, number: int) -> Path:
        return self.folder.path / f"adapted-{number:05}.safetensors"

    def _translator(self, number: int) -> Path:
        return self.folder.path / f"translator-{number:05}.safetensors"

    def _read(self, name: str) -> dict[str, Any]:
        return _read(self.folder.path / name)

    def _write(self, name: str, content: dict[str, Any]) -> None:
        with OutputFile(self.folder.path / name, overwrite=True) as output:
            output.file.write(json.dumps(content, default=str, indent=1).encode())


def require_resumable(folder: Path, destination: Path, made_of: Mapping[str, str], resume: bool | None) -> bool:
    """Refuse what :class:`Journal` would, from what an interrupted run has left in its folder; nothing is written.

    Returns: whether there is a finished adaptation to go on with. Raises UsageError.
    """
    noted = _read(folder / NAME).get("made_of")
    if resume is False or not _holds_work(folder) or not isinstance(noted, dict):
        if resume:
            raise _nothing_to_resume(destination, folder)
        return False
    _require_alike(destination, noted, made_of)
    return bool(_read(folder / "adapted-00000.json"))


def _holds_work(folder: Path) -> bool:
    return any(any(folder.glob(pattern)) for pattern in PATTERNS)


def _nothing_to_resume(destination: Path, folder: Path) -> UsageError:
    """Why there is nothing to go on from, by what an interrupted run has left in its folder."""
    if _holds_work(folder):
        found = f"{destination} cannot be resumed: the journal in {folder} is damaged"
        return UsageError(found, "leave out --resume to start anew")
    if (folder / NAME).exists():
        found = f"{destination} has nothing to resume: the interrupted run had finished nothing yet"
    else:
        found = f"{destination} has nothing to resume: no interrupted run has left anything"
    return UsageError(found, "leave out --resume to begin it")


def _require_alike(destination: Path, before: Mapping[str, str], made_of: Mapping[str, str]) -> None:
    """Refuse to go on with what was made of something else. Raises UsageError."""
    changed = [
        f"{name} {before.get(name, 'none')}, now {made_of.get(name, 'none')}"
        for name in dict.fromkeys([*before, *made_of])
        if before.get(name) != made_of.get(name)
    ]
    if changed:
        found = f"an interrupted run of {destination} had {'; '.join(changed)}"
        raise UsageError(found, "run it as before to go on, or give --no-resume to start anew")


def _read(path: Path) -> dict[str, Any]:
    """The content of a file; nothing where it is not there or damaged."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _outcome(noted: dict[str, Any]) -> Outcome:
    """An outcome as it was put down. Raises KeyError, TypeError: it is none."""
    words, then = tuple(noted["words"]), noted["then"]
    return Outcome(**noted | {"words": words, "then": None if then is None else _outcome(then)})


def _placed(loaded: LoadedNetwork, device: Device, network: Placed) -> Placed:
    """A network of the journal, whose warnings go where those of ``network`` go."""
    device = device.limited_to(loaded.spec.dtypes)
    return Placed(loaded, device.place(loaded.module).eval().requires_grad_(False), device, network.warn, network.part)


def sha256(content: bytes) -> str:
    """The digest by which damage is found."""
    return hashlib.sha256(content).hexdigest()


def made_of(
    source: Path, network: Placed, options: VideoOptions, method: Any, compute: ComputeOptions, together: Sequence[Path]
) -> dict[str, str]:
    """What the frames of a video depend on, by names for people. Raises OSError: a file cannot be read.

    Args:
        network: as it is before it adapts.
        method: the method's options.
        together: the videos that are adapted to together with this one.
    """
    found = {
        "input": identity(source),
        "version": f"{__version__} (torch {torch.__version__}, {library_versions()})",
        "weights": network.loaded.origin,
        "device": f"{network.device.where} {network.device.precision}",
        "--tile": compute.tile,
    }
    for owner in (options, method):
        for each in fields(owner):
            about, value = each.metadata["option"], getattr(owner, each.name)
            if each.name in WITHOUT_INFLUENCE:
                continue
            if about.complete == WEIGHTS and value is not None and Path(value).is_file():
                value = identity(Path(value))
            found[spelling(each.name, about)] = "usual" if value is None else str(value)
    if together:
        found["videos adapted to together"] = ", ".join(map(str, together))
    for name in OF_ALL_FRAMES:
        found[spelling(name, Option(""))] = "none" if getattr(options, name) is None else "given"
    return found


def identity(path: Path) -> str:
    """What tells a file apart from others, wherever it lies and whenever it was copied; of an image sequence, what
    tells its first, middle and last picture apart, and how large and how many all are. Raises OSError, InputError."""
    if is_sequence(path):
        files = frame_files(path)
        sizes = [files.path(index).stat().st_size for index in range(files.count)]
        some = [identity(files.path(index)) for index in (0, files.count // 2, files.count - 1)]
        told = sha256("\n".join([files.pattern, str(files.first), *map(str, sizes), *some]).encode())
        return f"{files.count} pictures of {sum(sizes)} bytes ({told[:12]})"
    digest, size = hashlib.sha256(), path.stat().st_size
    with path.open("rb") as file:
        for piece in range(PIECES):
            file.seek(max(0, size - PIECE_BYTES) * piece // (PIECES - 1))
            digest.update(file.read(PIECE_BYTES))
    return f"{size} bytes ({digest.hexdigest()[:12]})"
