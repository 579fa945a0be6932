"""Still images: any path, 8 and 16 bits, alpha and metadata kept, EXIF orientation applied once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from deblurcli.errors import InputError, OutputError
from deblurcli.files import OutputFile, reason
from deblurcli.media.inputs import IMAGE_SUFFIXES, VIDEO_SUFFIXES, expand

if TYPE_CHECKING:
    from torch import Tensor

ByteOrder = Literal["little", "big"]

# A damaged file is told once, by us.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

JPEG = frozenset({".jpg", ".jpeg"})
ONLY_8_BIT = JPEG | {".webp", ".bmp"}
FINEST_JPEG = (
    *(cv2.IMWRITE_JPEG_QUALITY, 97),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
)
LOSSLESS_WEBP = (cv2.IMWRITE_WEBP_QUALITY, 101)
ENCODING = {".jpg": FINEST_JPEG, ".jpeg": FINEST_JPEG, ".webp": LOSSLESS_WEBP}
UPRIGHT = dict(
    enumerate(((0, False), (0, True), (2, False), (2, True), (3, True), (3, False), (1, True), (1, False)), 1)
)
"""EXIF orientation -> quarter turns counter-clockwise, then whether to mirror left to right."""


@dataclass(frozen=True, eq=False)
class Image:
    """A still image."""

    samples: np.ndarray
    """uint8 or uint16, H x W x 3 in RGB order, or H x W if grey."""
    alpha: np.ndarray | None = None
    """H x W, of the samples' type."""
    metadata: tuple[tuple[int, bytes], ...] = ()
    """OpenCV's type of metadata (EXIF, XMP, ICC) and its content."""

    @property
    def depth(self) -> int:
        """Bits per sample, 8 or 16."""
        return 8 * self.samples.dtype.itemsize

    def rgb(self) -> Tensor:
        """Float32 RGB, 3 x H x W in [0, 1], contiguous."""
        import torch

        planes = torch.from_numpy(np.atleast_3d(self.samples)).to(torch.float32).permute(2, 0, 1)
        return planes.div((1 << self.depth) - 1).expand(3, -1, -1).contiguous()

    def with_change(self, change: Tensor) -> Image:
        """A new image with an RGB difference added (restored - ``rgb()``): float, 3 x H x W.

        A zero change gives the same samples bit for bit; alpha is not touched.
        """
        import torch

        top = (1 << self.depth) - 1
        change = change.detach().to("cpu", torch.float32) * top
        grey = self.samples.ndim == 2
        change = change.mean(0) if grey else change.permute(1, 2, 0)
        if change.shape != self.samples.shape:
            raise ValueError(f"change is {tuple(change.shape)}, image is {self.samples.shape}")
        source = torch.from_numpy(self.samples)
        return replace(self, samples=(change.round() + source).clamp_(0, top).to(source.dtype).numpy())


def read_image(path: Path) -> Image:
    """Read one image.

    Raises:
        InputError: the file is missing, empty, truncated, no image, or not of 8 or 16 bits.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {reason(error)}", "check the path and its permissions") from error
    if not data:
        raise InputError(f"{path.name} is empty (0 bytes)", "copy it again")
    # Compressed data never holds these two markers, so an end before the last scan's start means a cut file.
    if data.startswith(b"\xff\xd8") and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        raise InputError(f"{path.name} is a truncated JPEG", "copy it again")
    if data.startswith(b"\x89PNG") and b"IEND" not in data[-64:]:
        raise InputError(f"{path.name} is a truncated PNG", "copy it again")
    stored, metadata = _decode(data, path)
    if stored.dtype not in (np.uint8, np.uint16):
        raise InputError(f"{path.name} holds {stored.dtype} samples", "convert it to 8 or 16 bits")
    orientation, metadata = _take_orientation(data, metadata)
    turns, mirrored = UPRIGHT[orientation]
    stored = np.atleast_3d(np.rot90(stored, turns)[:, :: -1 if mirrored else 1])
    colours = 1 if stored.shape[2] <= 2 else 3
    alpha = np.ascontiguousarray(stored[:, :, colours]) if stored.shape[2] > colours else None
    samples = stored[:, :, 2::-1] if colours == 3 else stored[:, :, 0]
    return Image(np.ascontiguousarray(samples), alpha, metadata)


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
        pixels = samples if image.alpha is None else np.dstack((samples, image.alpha))
        pixels = pixels if image.depth == 8 else (pixels >> 8).astype(np.uint8)
        named.append((path.name, torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))))
    return named


def _decode(data: bytes, path: Path) -> tuple[np.ndarray, tuple[tuple[int, bytes], ...]]:
    buffer = np.frombuffer(data, np.uint8)
    metadata: tuple[tuple[int, bytes], ...] = ()
    try:
        if hasattr(cv2, "imdecodeWithMetadata"):
            stored, kinds, blobs = cv2.imdecodeWithMetadata(buffer, cv2.IMREAD_UNCHANGED)
            metadata = tuple((int(kind), bytes(np.asarray(blob))) for kind, blob in zip(kinds, blobs, strict=True))
        else:
            stored = cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED)
    except cv2.error:
        stored = None
    if stored is None or not stored.size:
        cure = "use deblur video" if path.suffix.lower() in VIDEO_SUFFIXES else "convert it to .png"
        raise InputError(f"{path.name} is not an image that can be read, or is truncated", cure)
    return stored, metadata


def _take_orientation(
    data: bytes, metadata: tuple[tuple[int, bytes], ...]
) -> tuple[int, tuple[tuple[int, bytes], ...]]:
    """The EXIF orientation, and the metadata with it set back to upright."""
    kept, orientation = [], 1
    for kind, blob in metadata:
        at = _orientation_at(blob) if kind == cv2.IMAGE_METADATA_EXIF else None
        if at is not None:
            start, order = at
            orientation = int.from_bytes(blob[start : start + 2], order)
            blob = blob[:start] + (1).to_bytes(2, order) + blob[start + 2 :]
        kept.append((kind, blob))
    if not metadata and (start := data.find(b"Exif\0\0", 0, 1 << 16)) >= 0:  # a cv2 without metadata
        blob = data[start + 6 : start + 6 + (1 << 16)]
        if (at := _orientation_at(blob)) is not None:
            orientation = int.from_bytes(blob[at[0] : at[0] + 2], at[1])
    return (orientation if orientation in UPRIGHT else 1), tuple(kept)


def _orientation_at(exif: bytes) -> tuple[int, ByteOrder] | None:
    """Where the orientation's value lies in a block of EXIF (a TIFF directory), and its byte order."""
    base = 6 if exif.startswith(b"Exif\0\0") else 0
    orders: dict[bytes, ByteOrder] = {b"II": "little", b"MM": "big"}
    order = orders.get(exif[base : base + 2])
    if order is None:
        return None

    def number(at: int, size: int, order: ByteOrder = order) -> int:
        return int.from_bytes(exif[at : at + size], order)

    directory = base + number(base + 4, 4)
    for entry in range(min(number(directory, 2), 512)):
        at = directory + 2 + 12 * entry
        if number(at, 2) == 0x0112 and at + 10 <= len(exif):
            return at + 8, order
    return None


def write_image(path: Path, image: Image, *, overwrite: bool = False, source: Path | None = None) -> list[str]:
    """Write one image; its name appears only when it is complete. Returns what could not be kept, a line each.

    Args:
        source: the input, which must not be the output.

    Raises:
        UsageError: the output exists, or is the input.
        OutputError: the format cannot hold the image, or the folder is missing or not writable.
    """
    path = Path(path)
    content, differences = encoded(image, path.name)
    with OutputFile(path, inputs=[source] if source else [], overwrite=overwrite) as output:
        output.file.write(content)
    return differences


def encoded(image: Image, name: str) -> tuple[bytes, list[str]]:
    """The content of an image file, and what it does not keep, a line each. The name's suffix tells the format.

    Raises:
        OutputError: unknown suffix, or a depth or alpha that the format cannot hold.
    """
    suffix = Path(name).suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        raise OutputError(f"{name} has no known image suffix", f"use one of {' '.join(sorted(IMAGE_SUFFIXES))}")
    if image.depth > 8 and suffix in ONLY_8_BIT:
        raise OutputError(f"{suffix} holds 8 bits, the image has {image.depth}", "use .png or .tiff")
    if image.alpha is not None and suffix in JPEG:
        raise OutputError(f"{suffix} holds no alpha", "use .png or .webp")
    try:
        content, kept = _encode(image, suffix)
    except cv2.error as error:
        raise OutputError(f"{name} cannot be written: {reason(error)}", "free space or use .png") from error
    return content, [] if kept else [f"metadata (EXIF, XMP, colour profile) is not kept in {suffix}; use .png or .jpg"]


def _encode(image: Image, suffix: str) -> tuple[bytes, bool]:
    """The file's content, and whether it holds the image's metadata."""
    stored = image.samples
    if image.alpha is not None and stored.ndim == 2:
        stored = np.repeat(stored[:, :, None], 3, 2)  # cv2 writes no grey with alpha
    if stored.ndim == 3:
        stored = stored[:, :, ::-1]
    if image.alpha is not None:
        stored = np.dstack((stored, image.alpha))
    stored, options = np.ascontiguousarray(stored), ENCODING.get(suffix, ())
    if image.metadata and suffix != ".bmp":
        kinds = [kind for kind, _ in image.metadata]
        blobs = [np.frombuffer(blob, np.uint8) for _, blob in image.metadata]
        try:
            done, data = cv2.imencodeWithMetadata(suffix, stored, kinds, blobs, options)
        except cv2.error:
            done = False
        if done:
            return bytes(data), True
        # The format cannot hold one of them; the picture matters more.
    done, data = cv2.imencode(suffix, stored, options)
    if not done:
        raise cv2.error(f"no encoder took {stored.shape} {stored.dtype}")
    return bytes(data), not image.metadata
