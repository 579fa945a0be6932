"""What a run of a video writes besides the video, of what it has learnt: adapted weights, the translator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deblurcli.adaptation.outcome import Prepared
from deblurcli.adaptation.translated_frames import PreparedBehind
from deblurcli.errors import UsageError
from deblurcli.files import check_destination
from deblurcli.jobs.translation import save_translator
from deblurcli.methods import prepared_for
from deblurcli.options.video import VideoOptions
from deblurcli.restore.worker import Placed
from deblurcli.weights.save import save_adapted


def require_savable(options: VideoOptions, method: Any, sources: Sequence[Path]) -> None:
    """Raises UsageError or OutputError where the adapted network cannot be saved as asked for, before any work.

    Args:
        method: the method's options.
        sources: the videos that it adapts to.
    """
    path, per = options.save_adapted, prepared_for(method)
    if path is None:
        return
    if not hasattr(method, "updates"):
        raise UsageError(f"--save-adapted with --method {options.method}", "choose a method that adapts")
    if not method.updates:
        raise UsageError("--save-adapted with --steps 0", "give some steps")
    if per != "video":
        raise UsageError(f"--save-adapted with --adapt-per {per}", "one file holds one network: adapt per video")
    if path.suffix != ".safetensors":
        raise UsageError(f"--save-adapted {path} is not a name of weights", "let it end in .safetensors")
    check_destination(path, [*sources, Path(options.network)], options.overwrite)


def require_drawable(options: VideoOptions, sources: Sequence[Path]) -> None:
    """Raises UsageError or OutputError where the residual's map cannot be written as asked for, before any work."""
    path = options.save_residual
    if path is None:
        return
    if path.suffix.lower() != ".png":
        raise UsageError(f"--save-residual {path} is not a name for the map", "let it end in .png")
    check_destination(path, [*sources, Path(options.network)], options.overwrite)


def save(prepared: Prepared, network: Placed, options: VideoOptions, method: Any, source: str) -> None:
    """Save what was asked to be saved, of an adaptation that was kept. ``source``: what it was adapted to."""
    outcome = prepared.outcome
    if outcome is None or not outcome.kept:
        return
    if options.save_adapted is not None:
        adaptation = {"method": outcome.method, "options": asdict(method)}
        adaptation |= {"camera": outcome.facts["camera"]} if "camera" in outcome.facts else {}
        save_adapted(options.save_adapted, prepared.state(), network.loaded, source, adaptation)
    if options.save_translator is not None and isinstance(prepared, PreparedBehind):
        save_translator(options.save_translator, prepared, source)
