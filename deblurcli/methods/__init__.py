"""The methods by name: one module of this package each, imported when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from deblurcli.errors import UsageError, is_out_of_memory
from deblurcli.options.blur2blur import Blur2BlurOptions
from deblurcli.options.meta import MetaOptions
from deblurcli.options.none import NoneOptions
from deblurcli.options.option import own_options
from deblurcli.options.quality import method_settings
from deblurcli.options.reblur2deblur import Reblur2DeblurOptions
from deblurcli.options.tta import TtaOptions

if TYPE_CHECKING:
    from deblurcli.adaptation.outcome import Prepared
    from deblurcli.adaptation.work import Clip, Work
    from deblurcli.media.footage import Footage
    from deblurcli.networks.spec import NetworkSpec
    from deblurcli.restore.worker import Placed, Worker


@dataclass(frozen=True)
class Entry:
    """A method: the module with its function ``prepare``, its options, and what it can be prepared for."""

    module: str
    """Name in this package."""
    options: type[Any]
    """A frozen dataclass that no other method has. ``updates``: steps of an adaptation, where the method adapts;
    ``adapt_per``: one of ``per``, where there is more than one."""
    per: tuple[str, ...] = ("video",)
    """``shot``: prepared anew for each shot. ``frame``: what is prepared adapts to each frame by itself."""
    shared: str = ""
    """The option whose number is parted among videos that are adapted to together; empty where that cannot be."""


METHODS = {
    "none": Entry("none", NoneOptions),
    "meta": Entry("meta", MetaOptions, per=("video", "shot"), shared="patches"),
    "tta": Entry("tta", TtaOptions, per=("video", "frame"), shared="tta_frames"),
    "reblur2deblur": Entry("reblur2deblur", Reblur2DeblurOptions, per=("video", "shot"), shared="patches"),
    "blur2blur": Entry("blur2blur", Blur2BlurOptions, shared="patches"),
}


def method_options(method: str, given: dict[str, Any]) -> Any:
    """The options of a method from the values given, by their fields' names.

    Raises:
        UsageError: no such method, an option of another one, or a value out of range.
    """
    if method not in METHODS:
        raise UsageError(f"--method {method} is unknown", f"give one of {', '.join(METHODS)}")
    owners = {name: entry.options for name, entry in METHODS.items()}
    return own_options(owners, method, given, "--method", "give --method")


def chosen_method(options: Any, given: dict[str, Any]) -> Any:
    """The options of the method that other options choose: what is given, and else what their quality says.

    Args:
        options: with a ``method`` and a ``quality``.

    Raises:
        UsageError: as :func:`method_options`.
    """
    return method_options(options.method, method_settings(options.quality, options.method) | given)


def name_of(options: Any) -> str:
    """The method that has these options."""
    return next(name for name, entry in METHODS.items() if entry.options is type(options))


def prepared_for(options: Any) -> str:
    """For what a method with these options is prepared, one of its ``per``: the video, each shot, or each frame."""
    return str(getattr(options, "adapt_per", "video"))


def require_together(options: Any, videos: int) -> None:
    """Refuse to adapt to several videos together by a method that cannot. Raises UsageError."""
    method, per = name_of(options), prepared_for(options)
    if not (shared := METHODS[method].shared):
        able = " or ".join(name for name, entry in METHODS.items() if entry.shared)
        raise UsageError(f"--adapt-together with --method {method}", f"give --method {able}, or leave it out")
    if per != "video":
        raise UsageError(f"--adapt-together with --adapt-per {per}", "give --adapt-per video, or leave one out")
    if videos > getattr(options, shared):
        flag = f"--{shared.replace('_', '-')}"
        found = f"--adapt-together with {videos} videos, which would share {flag} {getattr(options, shared)}"
        raise UsageError(found, f"give {flag} {videos} or more, or fewer videos")


def prepare(network: Placed, footages: Sequence[Footage], options: Any, worker: Worker) -> Prepared:
    """Make a method ready for a video or a shot, or for frames from memory: adapt the network to it, say.

    Args:
        network: on its device; shared with other jobs, and left as it is.
        footages: what is adapted to: one, or several together, of which each then has its share. Looked through as
            often as the method needs, which is once at most for the shot of a video.
        options: the method's; their type says which.

    Raises:
        InputError: no footage can be read. Of several, one that cannot be is named and left out.
        WeightsError, OfflineError: another network that the method needs is missing or refused.
        UsageError: the options do not fit the network.
        RuntimeError, MemoryError: what is not a matter of an adaptation, which is undone where memory runs out.
    """
    from deblurcli.adaptation.update import undone

    try:
        return _module(options).prepare(network, footages, options, worker)
    except (RuntimeError, MemoryError) as error:
        if isinstance(options, NoneOptions) or not is_out_of_memory(error):
            raise
    # Here, where nothing that the method made is held any more by the error.
    return undone(network, name_of(options), worker.tile)


def stages(spec: NetworkSpec, options: Any, clip: Clip) -> dict[str, Work]:
    """The work of a method, by the tasks of its progress.

    Args:
        spec: facts about the network that restores.
        options: the method's; their type says which.
        clip: what is restored.

    Returns:
        What comes before the first frame is restored, in order: stage -> its work. ``restoring``: what it adds to that.
    """
    found: dict[str, Work] = _module(options).stages(spec, options, clip)
    return found


def _module(options: Any) -> ModuleType:
    return importlib.import_module(f"{__name__}.{METHODS[name_of(options)].module}")
