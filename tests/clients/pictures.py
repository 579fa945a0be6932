"""Pictures with everything that ``exiftool`` can write, restored by ``deblur image`` and compared tag by tag."""

from __future__ import annotations

import re
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from tests.clients.facts import frame_hashes, said
from tests.clients.judge import Verdict, weighed
from tests.clients.kinds import Difference
from tests.clients.making import Unmakeable, clips_folder
from tests.clients.product import restored
from tests.clients.running import network

CAMERA = "-EXIF:Make=Maker -EXIF:Model=Modell -EXIF:ISO=200 -EXIF:FNumber=2.8 -EXIF:ExposureTime=1/50"
WRITTEN: dict[str, str] = {
    "bare": "",
    "camera": f"{CAMERA} -EXIF:DateTimeOriginal=2021:05:06\\ 07:08:09 -EXIF:OffsetTimeOriginal=+02:00",
    "place": "-GPSLatitude=48.85 -GPSLatitudeRef=N -GPSLongitude=2.29 -GPSLongitudeRef=E -GPSAltitude=35",
    "xmp": "-XMP-dc:Title=Titel -XMP-dc:Subject=one -XMP-dc:Subject=two -XMP-xmp:Rating=4 -XMP-dc:Rights=mine",
    "iptc": "-IPTC:Keywords=alpha -IPTC:Keywords=beta -IPTC:Caption-Abstract=Words -IPTC:City=Köln",
    "profile": "-icc_profile<={files}/wide.icc",
    "comment": "-Comment=Some\\ words",
    "resolution": "-XResolution=300 -YResolution=300 -ResolutionUnit=inches -JFIF:XResolution=300"
    " -JFIF:YResolution=300 -JFIF:ResolutionUnit=inches -PNG-pHYs:PixelsPerUnitX=11811 -PNG-pHYs:PixelsPerUnitY=11811"
    " -PNG-pHYs:PixelUnits=meters",
    "turned": "-EXIF:Orientation#=6",
    "mirrored": "-EXIF:Orientation#=2",
    "xmp-turned": "-EXIF:Orientation#=8 -XMP-tiff:Orientation#=8",
    "thumbnail": f"{CAMERA} -ThumbnailImage<={{files}}/small.jpg",
    "text": "-PNG:Author=Somebody -PNG:Description=Words -PNG:Copyright=mine",
    "gamma": "-PNG:Gamma=2.2",
    "software": "-EXIF:Software=Other -EXIF:Artist=Somebody -EXIF:Copyright=mine -EXIF:UserComment=Words",
    "everything": f"{CAMERA} -GPSLatitude=48.85 -GPSLatitudeRef=N -XMP-dc:Title=Titel -IPTC:Keywords=alpha"
    " -icc_profile<={files}/wide.icc -Comment=Words -EXIF:Orientation#=6",
}
ALL = " ".join(name for name in WRITTEN if name not in ("text", "gamma", "comment"))
TABLE = f"""
# from | layouts                                | tags                       | to
jpg    | yuvj420p yuvj444p                      | {ALL} comment              | jpg
jpg    | gray                                   | bare camera xmp            | jpg
png    | rgb24                                  | {ALL} comment text gamma   | png
png    | rgb48be rgba rgba64be                  | bare camera profile        | png
png    | gray gray16be ya8                      | bare camera xmp            | png
tif    | rgb24                                  | {ALL}                      | tif
tif    | rgb48le rgba                           | bare camera profile        | tif
tif    | gray gray16le                          | bare camera xmp            | tif
webp   | yuv420p bgra                           | bare camera place xmp profile turned everything | webp
jpg    | yuvj420p                               | camera xmp iptc profile comment resolution turned everything | png tif webp
png    | rgb24                                  | camera xmp profile text resolution everything | jpg tif webp
tif    | rgb24                                  | camera xmp iptc profile resolution everything | jpg png
bmp    | bgr24                                  | bare                       | bmp png
"""  # noqa: E501
KINDS: dict[str, str] = {
    "IFD0": "exif",
    "ExifIFD": "exif",
    "GPS": "exif",
    "InteropIFD": "exif",
    "IFD1": "thumbnail",
    "IPTC": "iptc",
    "Photoshop": "iptc",
    "ICC_Profile": "icc",
    "ICC-header": "icc",
    "JFIF": "resolution",
    "PNG-pHYs": "resolution",
    "PNG": "text",
    "XMP-tiff": "xmp",
}
"""ExifTool's group -> kind of difference; groups that begin with XMP are "xmp"."""
RESOLUTION = frozenset(
    ["XResolution", "YResolution", "ResolutionUnit", "PixelsPerUnitX", "PixelsPerUnitY", "PixelUnits"]
)
EXCLUDED: dict[str, str] = {
    "ProfileName": "PNG's own label of a profile; what the profile says is compared",
    "ImageWidth": "structure; turned pictures are compared by their pixels",
    "ImageHeight": "structure",
    "ImageSize": "structure",
    "BitsPerSample": "structure; depth is compared by the pixels",
    "BitDepth": "structure",
    "ColorType": "structure",
    "Compression": "how a TIFF is packed",
    "Predictor": "how a TIFF is packed",
    "PhotometricInterpretation": "structure",
    "StripOffsets": "structure",
    "StripByteCounts": "structure",
    "RowsPerStrip": "structure",
    "SamplesPerPixel": "structure",
    "SampleFormat": "structure",
    "PlanarConfiguration": "structure",
    "FillOrder": "structure",
    "SubfileType": "structure",
    "ExtraSamples": "structure",
    "Interlace": "how a PNG is packed",
    "Filter": "how a PNG is packed",
    "JFIFVersion": "the encoder's",
    "YCbCrPositioning": "how a JPEG samples its chroma",
    "YCbCrSubSampling": "how a JPEG samples its chroma",
    "ComponentsConfiguration": "how a JPEG holds its samples",
    "ExifByteOrder": "structure",
    "XMPToolkit": "who wrote the XMP",
    "IPTCDigest": "a sum over the IPTC, made anew",
    "ThumbnailOffset": "structure",
    "ThumbnailLength": "structure; a turned picture has a turned thumbnail",
    "ThumbnailImage": "a turned picture has a turned thumbnail",
    "SRGBRendering": "an absent sRGB chunk means sRGB",
    "ExifVersion": "written by ExifTool with the first tag",
    "FlashpixVersion": "written by ExifTool with the first tag",
    "ColorSpace": "written by ExifTool with the first tag",
}
"""Fields that describe how a picture is stored, not what it holds."""
MAKERS = {"jpg": "-c:v mjpeg -q:v 2 -strict unofficial", "png": "-c:v png", "tif": "-c:v tiff", "bmp": "-c:v bmp"}
MAKERS |= {"webp": "-c:v libwebp -lossless 1"}
LOSSLESS = frozenset({"png", "tif", "bmp"})


@dataclass(frozen=True)
class Photo:
    """One picture and the kind of file it is restored into."""

    suffix: str
    layout: str
    tags: str
    output: str

    @property
    def name(self) -> str:
        return f"{self.layout}_{self.tags}.{self.suffix}-to-{self.output}"


def rows() -> list[Photo]:
    return list(dict.fromkeys(_expanded()))


def _expanded() -> Iterator[Photo]:
    for line in TABLE.strip().splitlines():
        if not line.startswith("#"):
            yield from (Photo(*cells) for cells in product(*(cell.split() for cell in line.split("|"))))


def profile() -> bytes:
    """A small RGB matrix profile that is not sRGB."""
    tags: list[tuple[bytes, bytes]] = [
        (b"desc", b"desc\0\0\0\0" + struct.pack(">I", 5) + b"Wide\0" + bytes(78)),
        (b"cprt", b"text\0\0\0\0mine\0"),
    ]
    white_and_colours = {b"wtpt": (0.9642, 1, 0.8249), b"rXYZ": (0.6097, 0.3111, 0.0195)}
    white_and_colours |= {b"gXYZ": (0.2053, 0.6257, 0.0609), b"bXYZ": (0.1492, 0.0632, 0.7446)}
    for name, values in white_and_colours.items():
        tags.append((name, b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))))
    tags += [(name, b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256))) for name in (b"rTRC", b"gTRC", b"bTRC")]
    table, body, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, content in tags:
        content += bytes(-len(content) % 4)
        table += struct.pack(">4sII", name, at + len(body), len(content))
        body += content
    head = struct.pack(">I4s4s4s4s4s", at + len(body), b"\0\0\0\0", b"\x02\x10\0\0", b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H", 2021, 5, 6, 7, 8, 9) + b"acsp" + bytes(28)
    head += struct.pack(">3i", 63190, 65536, 54061)
    return head + bytes(128 - len(head)) + table + body


def make_photo(photo: Photo, folder: Path) -> Path:
    """The picture, made unless it is there. Raises Unmakeable."""
    path, files = folder / photo.name.partition("-to-")[0], folder / "pictures"
    if path.exists():
        return path
    files.mkdir(exist_ok=True)
    source = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i"]
    if not (files / "wide.icc").exists():
        subprocess.run([*source, "testsrc2=size=40x24", "-frames:v", "1", files / "small.jpg"], check=True)
        (files / "wide.icc").write_bytes(profile())
    part = folder / f"part-{photo.name}.{photo.suffix}"
    words = [
        *source,
        f"testsrc2=size=96x64,format={photo.layout}",
        "-frames:v",
        "1",
        "-bitexact",
        *MAKERS[photo.suffix].split(),
    ]
    done = subprocess.run([*words, part], capture_output=True, text=True)
    tags = [word.replace("\\ ", " ") for word in re.split(r"(?<!\\) ", WRITTEN[photo.tags].format(files=files)) if word]
    if done.returncode == 0 and tags:
        done = subprocess.run(["exiftool", "-q", "-overwrite_original", *tags, part], capture_output=True, text=True)
    if done.returncode:
        part.unlink(missing_ok=True)
        raise Unmakeable((done.stderr.strip().splitlines() or ["no reason given"])[0])
    part.rename(path)
    return path


def judge_photo(photo: Photo) -> Verdict:
    """Restore one picture and compare tags and pixels."""
    try:
        source = make_photo(photo, clips_folder())
    except Unmakeable as refusal:
        return Verdict(photo.name, unmakeable=str(refusal))
    with tempfile.TemporaryDirectory(prefix="deblur-clients-") as folder:
        result = Path(folder) / f"out.{photo.output}"
        verdict = Verdict(photo.name, restored("image", source, result, network()))
        outcome = verdict.outcome
        if outcome is None or outcome.code not in (0, 3):
            verdict.faults.append(f"exit {outcome.code}: {outcome.message}" if outcome else "did not run")
            return verdict
        if (outcome.code == 3) != bool(outcome.differences):
            verdict.faults.append(f"exit {outcome.code} with {len(outcome.differences)} announced differences")
        found = list(_tags(source, result, photo))
        if photo.suffix in LOSSLESS and photo.output in LOSSLESS and "turned" not in photo.tags:
            found += _pixels(source, result, photo)
    return weighed(verdict, found)


def _pixels(source: Path, result: Path, photo: Photo) -> Iterator[Difference]:
    if photo.tags in ("mirrored", "everything"):
        return  # the pixels may be turned
    old, new = (frame_hashes(path, photo.layout) for path in (source, result))
    if old != new or not old:
        yield Difference("samples", "bits", old, new)


def _tags(source: Path, result: Path, photo: Photo) -> Iterator[Difference]:
    old, new = (said("exiftool", "-j", "-G1", "-a", "-n", path) for path in (source, result))
    for key, value in old.items():
        group, _, name = key.rpartition(":")
        kind = "xmp" if group.startswith("XMP") else KINDS.get(group)
        if name in EXCLUDED or kind is None or (group == "PNG" and name in ("Palette", "Transparency")):
            continue
        kind = "gamma" if name in ("Gamma", "WhitePointX", "WhitePointY") else "comment" if name == "Comment" else kind
        if name in RESOLUTION or group in ("JFIF", "PNG-pHYs"):
            continue  # compared below, in one unit
        if name == "Orientation":
            continue
        other = new.get(key, "none")
        if kind == "text" and photo.output != "png":
            other = value if value in new.values() else "none"  # any field that says the same
        if kind == "icc" and value != other:
            found_profile = new.get("ICC_Profile:ProfileDescription", "none")
            yield Difference(
                "icc", "profile", old.get("ICC_Profile:ProfileDescription"), found_profile, judge="exiftool"
            )
            value = other
        if value != other and (group, name) != ("Photoshop", "PhotoshopQuality"):
            yield Difference(kind, key, value, other, judge="exiftool")
    if "File:Comment" in old and old["File:Comment"] not in new.values():
        yield Difference("comment", "File:Comment", old["File:Comment"], "none", judge="exiftool")
    densities = _density(old), _density(new)
    if densities[0] and densities[0] != densities[1]:
        yield Difference("resolution", "dots per inch", *densities, judge="exiftool")
    yield from _orientation(old, new)


def _density(tags: dict[str, object]) -> float | None:
    """Dots per inch, of whichever field tells; none where a file only has ExifTool's or the encoder's default."""
    for group, unit in (("IFD0", "ResolutionUnit"), ("JFIF", "ResolutionUnit"), ("PNG-pHYs", "PixelUnits")):
        field = "PixelsPerUnitX" if group == "PNG-pHYs" else "XResolution"
        value, units = tags.get(f"{group}:{field}"), tags.get(f"{group}:{unit}")
        if value is None or units == 0 or (group != "PNG-pHYs" and units in (None, 1) and value in (1, 72)):
            continue
        dots = float(str(value)) * (0.0254 if group == "PNG-pHYs" else 2.54 if group == "IFD0" and units == 3 else 1)
        if round(dots) != 72:
            return float(round(dots))
    return None


def _orientation(old: dict[str, object], new: dict[str, object]) -> Iterator[Difference]:
    """A picture may be turned, if its tags no longer ask for turning it; all of them must say the same then."""
    tags = {name: value for name, value in old.items() if name.endswith(":Orientation")}
    asked = {name: value for name, value in tags.items() if not name.startswith("IFD1")}
    if not asked:
        return
    sizes = [_size(old), _size(new)]
    kept = all(new.get(name) == value for name, value in asked.items()) and sizes[0] == sizes[1]
    sideways = any(value in (5, 6, 7, 8) for value in asked.values())
    turned = sizes[1] == (sizes[0][::-1] if sideways else sizes[0])
    quiet = all(new.get(name, 1) == 1 for name in asked)
    if not kept and not (turned and quiet):
        left = {name: new.get(name) for name in asked}
        yield Difference("orientation", "tags and pixels", asked, left, judge="exiftool")


def _size(tags: dict[str, object]) -> tuple[object, ...]:
    """Width and height, from whichever group tells."""
    group = next((group for group in ("File", "PNG", "IFD0", "RIFF") if f"{group}:ImageWidth" in tags), "File")
    return tags.get(f"{group}:ImageWidth"), tags.get(f"{group}:ImageHeight")
