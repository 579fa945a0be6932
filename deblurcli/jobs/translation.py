"""The files that the method blur2blur leaves besides the restored video: the translated frames, and the translator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from deblurcli.adaptation.outcome import Outcome, Prepared
from deblurcli.adaptation.translated_frames import PreparedBehind
from deblurcli.adaptation.translation import TRANSLATOR
from deblurcli.errors import UsageError
from deblurcli.jobs.result import Result
from deblurcli.media.excerpt import Excerpt
from deblurcli.media.footage import unit
from deblurcli.media.frames import Frame
from deblurcli.media.inputs import is_numbered, is_sequence
from deblurcli.media.videos import check_output, open_video, write_video
from deblurcli.options.blur2blur import Blur2BlurOptions
from deblurcli.options.video import VideoOptions
from deblurcli.weights.save import save_network


def require_translation(options: VideoOptions, method: Any, inputs: list[Path], destination: Path) -> None:
    """Refuse, before any work, files of a translation that is not made, or that cannot be written.

    ``inputs``: the video, then what else is read. ``destination``: of the restored video.

    Raises UsageError, OutputError.
    """
    for flag, path in (("--save-translated", options.save_translated), ("--save-translator", options.save_translator)):
        if path is None:
            continue
        if not isinstance(method, Blur2BlurOptions):
            raise UsageError(f"{flag} with --method {options.method}", "give --method blur2blur, or leave it out")
        if path.absolute() == destination.absolute():
            raise UsageError(f"{flag} {path} is the restored video", "choose another name")
        pictures = is_numbered(destination) and not is_sequence(inputs[0]) and not is_numbered(path)
        if pictures and path == options.save_translated:
            found = f"--save-translated {path} with pictures as output"
            raise UsageError(found, f"give pictures there, too: {path.with_suffix('') / destination.name}")
        check_output(path, inputs, options.overwrite)
    path = options.save_translator
    if path is not None and method.translator is not None:
        raise UsageError("--save-translator with --translator, which is a file already", "leave one of them out")
    if path is not None and path.suffix != ".safetensors":
        raise UsageError(f"--save-translator {path} is not a name of weights", "let it end in .safetensors")


def save_translator(path: Path, prepared: PreparedBehind, source: str) -> None:
    """Write a translator that was learnt and kept, in float32: the very numbers that translated.

    ``source``: what it was learnt from, for the card. Raises as :func:`deblurcli.weights.save.save_network`.
    """
    assert prepared.translator is not None
    facts = prepared.outcome.facts
    card = {"learnt_from": source, "method": "blur2blur", "options": facts["options"], "gain": facts["gain"]}
    module, config = prepared.translator.module, facts["config"]
    save_network(path, module, network=TRANSLATOR, config=config, card=card, dtype=torch.float32)


def tell_translation(result: Result, outcome: Outcome, options: VideoOptions) -> None:
    """Say which files a translation left."""
    frames, translator = options.save_translated, options.save_translator
    if frames is not None:
        result.lines.append(f"translated frames: {frames}")
        if not outcome.kept:
            result.differences.append(f"the translation was undone, {frames} shows the frames as they are")
    if translator is not None and outcome.kept:
        result.lines.append(f"translator: {translator}")
    elif translator is not None:
        result.differences.append(f"the translation was undone, {translator} was not written")


class TranslatedVideo:
    """The translated frames of a video as a file: its pictures and times, without sound. Use as a context manager.

    A clean exit commits, an exception leaves nothing.

    Args:
        source: the video.
        options: encoder, and whether a file may be replaced.
        excerpt: the part of the video that is restored.

    Raises:
        UsageError, InputError, OutputError: as reader and writer say.
    """

    def __init__(self, source: Path, destination: Path, options: VideoOptions, excerpt: Excerpt | None = None) -> None:
        self._open, self._excerpt = ExitStack(), excerpt
        self._source, self._destination, self._options = source, destination, options

    def __enter__(self) -> TranslatedVideo:
        options = self._options
        with self._open as opening:
            # Another reader, for the form of the output: its frames are not asked for.
            reader = opening.enter_context(open_video(self._source, excerpt=self._excerpt, fps=options.fps))
            settings: dict[str, Any] = {
                name: getattr(options, name) for name in ("codec", "crf", "preset", "overwrite")
            }
            self._writer = opening.enter_context(write_video(reader, self._destination, **settings))
            self._open = opening.pop_all()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.__exit__(kind, error, trace)

    def noting(self, prepared: Iterator[Prepared]) -> Iterator[Prepared]:
        """The same, with the latest remembered: it knows what became of the frames that are written."""
        for self._prepared in prepared:
            yield self._prepared

    def write(self, frame: Frame, picture: Tensor) -> None:
        """Append a frame that was just restored, translated. Raises OutputError.

        ``picture``: the frame's (3 x H x W in [0, 1]), the tensor that was restored.
        """
        assert isinstance(self._prepared, PreparedBehind)
        self._writer.write(frame.with_change(unit(self._prepared.translated(picture)) - unit(picture)))
