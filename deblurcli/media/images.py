"""Still images: every page at its own depth with its metadata, upright; written, read back and compared."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deblurcli.errors import InputError, OutputError
from deblurcli.files import OutputFile, reason
from deblurcli.media.inputs import IMAGE_SUFFIXES, RAW_SUFFIXES, VIDEO_SUFFIXES, expand
from deblurcli.media.pictures import bmp, exif, jpeg, pixels, png, tiff, webp, xmp
from deblurcli.media.pictures.metadata import Held, Metadata
from deblurcli.media.pictures.properties import SUFFIXES, differences

if TYPE_CHECKING:
    from torch import Tensor

FORMS = {
    **{".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WebP", ".tif": "TIFF", ".tiff": "TIFF"},
    ".bmp": "BMP",
}
"""Suffix -> format that is written."""
STARTS = {
    b"\xff\xd8\xff": "JPEG", png.SIGNATURE: "PNG", b"GIF8": "GIF", b"BM": "BMP",
    b"II*\0": "TIFF", b"MM\0*": "TIFF", b"II+\0": "TIFF", b"MM\0+": "TIFF",
}  # fmt: skip
"""First bytes of a file -> format that is read."""
BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIC"),
}
"""The brand of a file of boxes -> format that is read."""
READERS = {"JPEG": jpeg.read, "PNG": png.read, "WebP": webp.read, "TIFF": tiff.read, "BMP": bmp.read}
UPRIGHT_ALREADY = frozenset({"AVIF", "HEIC"})
"""Formats whose decoders set a picture upright; their EXIF orientation counts for nothing."""
OTHERS = {
    **dict.fromkeys((*RAW_SUFFIXES, ".srf", ".x3f", ".iiq", ".erf", ".kdc", ".mrw"), "a raw photo"),
    **dict.fromkeys((".jp2", ".j2k", ".jpf", ".jpx", ".j2c"), "a JPEG 2000 picture"),
    **{".jxl": "a JPEG XL picture", ".psd": "a Photoshop document", ".exr": "an OpenEXR picture"},
}
"""Suffixes of pictures that are not read, and what they are."""
ONLY_8_BIT = frozenset({"JPEG", "WebP", "BMP"})
OPAQUE = frozenset({"JPEG"})
"""Formats without alpha."""
SEVERAL = frozenset({"TIFF", "WebP"})
"""Formats that hold several pages or frames."""
LOSSLESS = frozenset({"PNG", "WebP", "TIFF", "BMP"})
MAX_BYTES = 1 << 32
ROWS = 1024
"""Rows that are changed at a time: large pictures would need several times their memory."""
UPRIGHT = dict(
    enumerate(((0, False), (0, True), (2, False), (2, True), (3, True), (3, False), (1, True), (1, False)), 1)
)
"""EXIF orientation -> quarter turns counter-clockwise, then whether to mirror left to right."""


@dataclass(frozen=True, eq=False)
class Image:
    """A still image, or one page of several."""

    samples: np.ndarray
    """uint8 or uint16, H x W x 3 in RGB order, or H x W if grey."""
    alpha: np.ndarray | None = None
    """H x W, of the samples' type."""
    metadata: Metadata = field(default_factory=Metadata)
    damage: tuple[str, ...] = ()
    """What its decoder complained of, a line each."""
    changes: tuple[str, ...] = ()
    """What is not as in its file since it was read, a line each."""

    @property
    def depth(self) -> int:
        """Bits per sample, 8 or 16."""
        return 8 * self.samples.dtype.itemsize

    def rgb(self) -> Tensor:
        """Float32 RGB, 3 x H x W in [0, 1], contiguous."""
        import torch

        planes = torch.from_numpy(np.atleast_3d(self.samples)).to(torch.float32).permute(2, 0, 1)
        return planes.div((1 << self.depth) - 1).expand(3, -1, -1).contiguous()

    def preview(self) -> Tensor:
        """RGB to look at: uint8, 3 x H x W; ``rgb()`` itself for 16 bits."""
        import torch

        if self.depth > 8:
            return self.rgb()
        samples = np.atleast_3d(self.samples).transpose(2, 0, 1)
        return torch.from_numpy(np.ascontiguousarray(np.broadcast_to(samples, (3, *samples.shape[1:]))))

    def with_change(self, change: Tensor) -> Image:
        """A new image with an RGB difference added (restored - ``rgb()``): float, 3 x H x W.

        A zero change gives the same samples bit for bit; alpha is not touched.
        """
        import torch

        top = (1 << self.depth) - 1
        change = change.detach().to("cpu", torch.float32)
        change = change.mean(0) if self.samples.ndim == 2 else change.permute(1, 2, 0)
        if change.shape != self.samples.shape:
            raise ValueError(f"change is {tuple(change.shape)}, image is {self.samples.shape}")
        source = torch.from_numpy(self.samples)
        parts = zip(change.split(ROWS), source.split(ROWS), strict=True)
        changed = [((part * top).round_() + rows).clamp_(0, top).to(source.dtype) for part, rows in parts]
        return replace(self, samples=torch.cat(changed).numpy())

    def stored(self) -> np.ndarray:
        """H x W x channels: grey or RGB, alpha last."""
        samples = np.atleast_3d(self.samples)
        return samples if self.alpha is None else np.concatenate((samples, self.alpha[:, :, None]), 2)


def read_image(path: Path) -> Image:
    """Read one image, the first of a file with several.

    Raises:
        InputError: the file is missing, empty, truncated, no image, too large, or not of 8 or 16 bits.
    """
    return _parsed(_content(Path(path)), Path(path), every=False)[0]


def read_pages(path: Path) -> list[Image]:
    """Read every page of a TIFF or frame of an animation; otherwise as :func:`read_image`."""
    return _parsed(_content(Path(path)), Path(path), every=True)


def read_pictures(folder: Path) -> list[tuple[str, Tensor]]:
    """Name and samples of each image in a folder: uint8, C x H x W, RGB[A].

    Raises:
        InputError: the folder holds no images, or one cannot be read.
    """
    import torch

    paths = expand([folder], IMAGE_SUFFIXES)
    if paths == [folder] and folder.is_dir():
        raise InputError(f"{folder} holds no images", f"images end in {' '.join(sorted(IMAGE_SUFFIXES))}")
    named = []
    for path in paths:
        image = read_image(path)
        samples = np.broadcast_to(np.atleast_3d(image.samples), (*image.samples.shape[:2], 3))
        colours = samples if image.alpha is None else np.dstack((samples, image.alpha))
        colours = colours if image.depth == 8 else (colours >> 8).astype(np.uint8)
        named.append((path.name, torch.from_numpy(np.ascontiguousarray(colours.transpose(2, 0, 1)))))
    return named


def _content(path: Path) -> bytes:
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode) and not path.is_dir():
            raise InputError(f"{path} is no regular file", "copy it into one")
        if state.st_size > MAX_BYTES:
            raise InputError(f"{path.name} is larger than 4 GB", "cut it into parts")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {reason(error)}", "check the path and its permissions") from error
    if not data:
        raise InputError(f"{path.name} is empty (0 bytes)", "copy it again")
    return data


def format_of(data: bytes, path: Path) -> str:
    """The format of a picture, by its content. Raises InputError: it is none that can be read."""
    suffix = path.suffix.lower()
    form = next((form for start, form in STARTS.items() if data.startswith(start)), None)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        form = "WebP"
    if data[4:8] == b"ftyp":
        brands = data[8 : min(int.from_bytes(data[:4], "big"), 128)]
        form = "AVIF" if b"avif" in brands else BRANDS.get(data[8:12])
    if suffix in OTHERS or (form == "TIFF" and tiff.is_raw(data)):
        raise InputError(f"{path.name} is {OTHERS.get(suffix, 'a raw photo')}", "convert it to .tif first")
    if form == "TIFF" and (kind := tiff.other_samples(data)):
        raise InputError(f"{path.name} holds {kind}", "save it as RGB first")
    if form is None and suffix in VIDEO_SUFFIXES:
        raise InputError(f"{path.name} is a video", "use deblur video")
    if form is None:
        raise InputError(f"{path.name} is not an image that can be read", "convert it to .png")
    return form


def _parsed(data: bytes, path: Path, every: bool) -> list[Image]:
    form = format_of(data, path)
    held = READERS[form](data) if form in READERS else Held()
    if not held.complete:
        raise InputError(f"{path.name} is a truncated {form}", "copy it again")
    found = pixels.decoded(data, form, path.name, every)
    damage = (*held.damage, *found.damage)
    if form == "JPEG" and not damage and (shorter := jpeg.less_padding(data)) is not None:
        # In a whole picture every byte is needed; flat areas end in runs of one value, too.
        damage = () if pixels.complaint(shorter, form, path.name) else ("padding stands in place of pixels",)
    changes = found.changes
    if held.unread_frames:
        changes += (f"{held.unread_frames} more frames of the animation are left out",)
    images = []
    for number, stored in enumerate(found.pages):
        metadata = held.pages[number] if number < len(held.pages) else Metadata()
        metadata = replace(metadata, **dict(found.metadata)) if found.metadata else metadata  # type: ignore[arg-type]
        delay = found.delays[number] if found.delays else 0
        metadata = replace(metadata, frames=len(found.pages), delay=delay, loop=found.loop)
        if metadata.icc[16:20] == b"CMYK":
            metadata = replace(metadata, icc=b"")
        images.append(_upright(stored, metadata, damage, changes, turn=form not in UPRIGHT_ALREADY))
    return images


def _upright(
    stored: np.ndarray, metadata: Metadata, damage: tuple[str, ...], changes: tuple[str, ...], turn: bool
) -> Image:
    """The image with its EXIF orientation applied, and all that depends on it made consistent."""
    orientation = exif.orientation(metadata.exif)
    turns, mirrored = UPRIGHT[orientation] if turn else (0, False)
    stored = pixels.upright(stored, turns, mirrored)
    if orientation != 1:
        size = (stored.shape[1], stored.shape[0])
        turned = (lambda small: pixels.turned_jpeg(small, turns, mirrored)) if turn else None
        block, removed = exif.upright(metadata.exif, size, turned)
        if removed:
            changes += ("the thumbnail is left out, as it could not be turned with the picture",)
        if turn and metadata.behind is not None and metadata.behind.index:
            changes += (f"what lies behind the picture ({metadata.behind}) is left out, as the picture was turned",)
            metadata = jpeg.without_behind(metadata)
        if turn and (bare := jpeg.without_thumbnails(metadata)) != metadata:
            changes += ("the thumbnail of JFIF or Photoshop is left out, as the picture was turned",)
            metadata = bare
        resolution = metadata.resolution.turned() if metadata.resolution and turns % 2 else metadata.resolution
        metadata = replace(metadata, exif=block, xmp=xmp.upright(metadata.xmp, size), resolution=resolution)
    colours = 1 if stored.shape[2] <= 2 else 3
    alpha = np.ascontiguousarray(stored[:, :, colours]) if stored.shape[2] > colours else None
    samples = stored[:, :, :3] if colours == 3 else stored[:, :, 0]
    return Image(np.ascontiguousarray(samples), alpha, metadata, damage, changes)


def write_image(path: Path, image: Image, *, overwrite: bool = False, source: Path | None = None) -> list[str]:
    """Write one image; otherwise as :func:`write_pages`."""
    return write_pages(path, [image], overwrite=overwrite, source=source)


def write_pages(
    path: Path, pages: Sequence[Image], *, overwrite: bool = False, source: Path | None = None
) -> list[str]:
    """Write an image's pages; its name appears only when it is complete. Returns what is not as in its source.

    Args:
        source: the input, which must not be the output.

    Raises:
        UsageError: the output exists, or is the input.
        OutputError: the format cannot hold the image, or the folder is missing or not writable.
    """
    path = Path(path)
    content, lines = encoded_pages(pages, path.name)
    with OutputFile(path, inputs=[source] if source else [], overwrite=overwrite) as output:
        output.file.write(content)
    return lines


def encoded(image: Image, name: str) -> tuple[bytes, list[str]]:
    """The content of an image file of one page; otherwise as :func:`encoded_pages`."""
    return encoded_pages([image], name)


def require_form(pages: Sequence[Image], name: str, *, depth: int | None = None, cure: str = "use .png or .tif") -> str:
    """The format of an output, by its suffix. Raises OutputError: there is none, or it cannot hold the pages.

    Args:
        depth: bits of the video that the pages are of, if they are.
        cure: what holds more than 8 bits.
    """
    suffix = Path(name).suffix.lower()
    form = FORMS.get(suffix)
    if form is None:
        raise OutputError(f"{name} has no known image suffix", f"use one of {' '.join(sorted(IMAGE_SUFFIXES))}")
    if any(page.depth > 8 for page in pages) and form in ONLY_8_BIT:
        deep = "the image has 16" if depth is None else f"the video has {depth}"
        raise OutputError(f"{suffix} holds 8 bits, {deep}", cure)
    if pages[0].alpha is not None and form in OPAQUE:
        raise OutputError(f"{suffix} holds no alpha", "use .png or .webp")
    return form


def encoded_pages(pages: Sequence[Image], name: str) -> tuple[bytes, list[str]]:
    """The content of an image file, and what is not as in the source, a line each. The name's suffix tells the format.

    The content is decoded again: what is said to be kept was found there.

    Raises:
        OutputError: unknown suffix, or a depth or alpha that the format cannot hold.
    """
    form = require_form(pages, name)
    kept = [page if form == "JPEG" else replace(page, metadata=jpeg.without_behind(page.metadata)) for page in pages]
    try:
        content = _encode(kept, form)
        again = _parsed(content, Path(name), every=True)
    except (ValueError, InputError) as error:
        raise OutputError(f"{name} cannot be written: {reason(error)}", "use .png or .tif") from error
    lines = [f"damaged: {line}" for page in pages for line in page.damage]
    lines += [line for page in pages for line in page.changes]
    for before, writable, after in zip(pages, kept, again, strict=False):
        source = before.metadata
        wanted = replace(writable.metadata, behind=source.behind, xmp=writable.metadata.xmp or source.xmp)
        if len(again) == 1:
            wanted = replace(wanted, delay=0, loop=0)
        lines += differences(wanted, after.metadata, form)
        if form in LOSSLESS and not _same_pixels(before, after):
            lines.append(f"pixels not kept by the encoder of {SUFFIXES[form]}")
    return content, list(dict.fromkeys(lines))


def _encode(pages: Sequence[Image], form: str) -> bytes:
    first = pages[0]
    if form == "TIFF":
        return tiff.written([(page.stored(), page.metadata) for page in pages])
    animated = form == "WebP" and all(
        page.metadata.delay and page.stored().shape == first.stored().shape for page in pages
    )
    frames = [page.stored() for page in (pages if animated else pages[:1])]
    delays = [page.metadata.delay for page in pages]
    content = pixels.encoded(frames, form, delays, first.metadata.loop)
    if form == "WebP":
        height, width = first.samples.shape[:2]
        return webp.written(content, first.metadata, (width, height), first.alpha is not None)
    return {"JPEG": jpeg.written, "PNG": png.written, "BMP": bmp.written}[form](content, first.metadata)


def _same_pixels(before: Image, after: Image) -> bool:
    """Whether samples and alpha are equal; no alpha is opaque, and grey may be stored as RGB."""
    opaque = (1 << before.depth) - 1
    one, other = (opaque if image.alpha is None else image.alpha for image in (before, after))
    samples = [np.atleast_3d(image.samples) for image in (before, after)]
    if samples[0].shape[:2] != samples[1].shape[:2] or before.depth != after.depth:
        return False
    return bool(np.all(samples[0] == samples[1]) and np.all(np.asarray(one) == np.asarray(other)))
