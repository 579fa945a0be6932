"""Networks for pictures in memory: arrays and tensors in, the same kind out; no video or picture file is touched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from deblurcli.adaptation.outcome import Outcome, Prepared
from deblurcli.adaptation.translated_frames import PreparedBehind
from deblurcli.errors import InputError, UsageError
from deblurcli.files import check_destination
from deblurcli.media.footage import PictureFootage
from deblurcli.media.images import Image
from deblurcli.media.shots import CutDetector
from deblurcli.methods import prepare
from deblurcli.restore.pipeline import restore_frame, windows_for
from deblurcli.restore.worker import Placed, Worker
from deblurcli.weights.save import save_adapted

CODE_VALUE = 2.0
"""A floating picture with larger values holds code values such as 0 to 255; highlights may lie a little above 1."""

Picture = TypeVar("Picture", np.ndarray, Tensor)


@dataclass(frozen=True, eq=False)
class Floats:
    """A floating picture, 3 x H x W in [0, 1], read and changed as :class:`deblurcli.media.images.Image` is."""

    pixels: Tensor

    def rgb(self) -> Tensor:
        return self.pixels.detach().to("cpu", torch.float32).clamp(0, 1).contiguous()

    def preview(self) -> Tensor:
        return self.rgb()

    def with_change(self, change: Tensor) -> Floats:
        return Floats((self.pixels.detach() + change.to(self.pixels)).clamp(0, 1))


def opened(picture: Any) -> Image | Floats:
    """A caller's picture, checked: :meth:`Network.__call__` says which are taken. Raises InputError."""
    forms = "give a NumPy array, H x W x 3, or a tensor, 3 x H x W"
    if not isinstance(picture, np.ndarray | Tensor):
        raise InputError(f"a picture is a {type(picture).__name__}", forms)
    found = "x".join(map(str, picture.shape))
    if 0 in picture.shape:
        raise InputError(f"a picture is {found}", forms)
    if isinstance(picture, np.ndarray) and picture.dtype in (np.uint8, np.uint16):
        if picture.ndim != 2 and picture.shape[2:] not in ((3,), (4,)):
            raise InputError(f"a picture is {found}", forms)
        alpha = picture[..., 3] if picture.shape[2:] == (4,) else None
        return Image(np.ascontiguousarray(picture[..., :3] if picture.ndim == 3 else picture), alpha)
    if picture.ndim != 3 or picture.shape[-1 if isinstance(picture, np.ndarray) else 0] != 3:
        raise InputError(f"a picture is {found}", forms)
    tensor = torch.from_numpy(picture.transpose(2, 0, 1)) if isinstance(picture, np.ndarray) else picture
    if not tensor.is_floating_point():
        raise InputError(f"a picture holds {picture.dtype}", "give uint8 or uint16 arrays, or floats in [0, 1]")
    if not float(tensor.detach().abs().amax()) <= CODE_VALUE:
        raise InputError("a floating picture holds values far above 1, or none that are numbers", "scale it to [0, 1]")
    return Floats(tensor)


def returned(restored: Image | Floats, like: Picture) -> Picture:
    """The picture in the form in which it was given."""
    if isinstance(restored, Floats):
        pixels: Any = restored.pixels
        return pixels.permute(1, 2, 0).contiguous().numpy() if isinstance(like, np.ndarray) else pixels
    samples: Any = restored.samples if restored.alpha is None else np.dstack((restored.samples, restored.alpha))
    return samples


class Network:
    """A deblurring network, as it was trained or adapted, for pictures in memory.

    Made by :func:`deblurcli.load` and :func:`deblurcli.adapt`.
    """

    def __init__(self, placed: Placed, prepared: Prepared) -> None:
        self._placed, self._prepared = placed, prepared

    @property
    def name(self) -> str:
        """The name of its weights in the registry, or of their file without the suffix."""
        return self._placed.name

    @property
    def window(self) -> int:
        """Frames that it looks at to restore the middle one of them."""
        return self._prepared.window

    @property
    def outcome(self) -> Outcome | None:
        """What adapting came to; ``outcome.kept`` is False where the unadapted network restores. None: not adapted."""
        return self._prepared.outcome

    def __call__(self, picture: Picture) -> Picture:
        """Restore one picture. A network of several frames sees it as many times.

        Args:
            picture: a NumPy array, H x W x 3 (RGB), of uint8, uint16 or floats in [0, 1]; with integers also H x W
                (grey) and H x W x 4 (with alpha, which stays as it is). Or a tensor of floats, 3 x H x W in [0, 1].

        Returns:
            the restored picture in the same form. Where the result is broken, the picture as it was.

        Raises:
            InputError: it is something else.
            DeviceError: out of memory at the smallest tile.
        """
        found = opened(picture)
        return self._restored(picture, found, [found.rgb()] * self.window)

    def frames(self, pictures: Iterable[Picture]) -> Iterator[Picture]:
        """Restore consecutive frames, one after the other, each with what its neighbours in time tell.

        Frames behind a cut have no influence, and at the ends of a shot its last frame stands for missing ones: as for
        a video. ``window`` frames are in memory, whatever the number.

        Args:
            pictures: as in a call, in order; all of one size where the network takes several frames.

        Raises: as a call does, when the frame's turn comes.
        """
        is_cut, size = CutDetector(), None

        def read() -> Iterator[tuple[Picture, Image | Floats, Tensor]]:
            nonlocal size
            for picture in pictures:
                found = opened(picture)
                rgb = found.rgb()
                if self.window > 1 and size not in (None, rgb.shape):
                    raise InputError(f"a frame is {rgb.shape[2]}x{rgb.shape[1]} after others", "give one size")
                size = rgb.shape
                yield picture, found, rgb

        def begins_shot(frame: tuple[Picture, Image | Floats, Tensor]) -> bool:
            return self.window > 1 and is_cut(frame[1].preview())

        for (picture, found, _), around in windows_for(self._prepared, read(), begins_shot):
            yield self._restored(picture, found, list(map(itemgetter(2), around)))

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the weights as they restore, in float32, for ``load`` and ``--network``.

        Raises UsageError where the name does not end in .safetensors or exists, or a translator comes before the
        network, OutputError where it cannot be written.
        """
        path = Path(path)
        if isinstance(self._prepared, PreparedBehind):
            cure = "keep the translator of a video with deblur_video(save_translator=FILE)"
            raise UsageError("one file holds one network, and here a translator comes before it", cure)
        if path.suffix != ".safetensors":
            raise UsageError(f"{path} is not a name of weights", "let it end in .safetensors")
        check_destination(path, overwrite=overwrite)
        facts = self.outcome.record() if self.outcome else {}
        save_adapted(path, self._prepared.state(), self._placed.loaded, "frames", facts)

    def _restored(self, picture: Picture, found: Image | Floats, around: list[Tensor]) -> Picture:
        change, broken = restore_frame(self._prepared, around)
        return returned(found if broken else found.with_change(change), picture)

    def __repr__(self) -> str:
        frames = "1 frame" if self.window == 1 else f"{self.window} frames"
        adapted = f", {self.outcome.line()}" if self.outcome else ""
        return f"<deblurcli network {self.name} of {frames} on {self._placed.device}{adapted}>"


def adapted(pictures: Iterable[Any], placed: Placed, options: Any, worker: Worker) -> Network:
    """A network prepared by a method for frames in memory, which are looked through once."""
    looked_at = (opened(picture).preview() for picture in pictures)
    return Network(placed, prepare(placed, [PictureFootage(looked_at, "the frames")], options, worker))
