"""What was found in a video, shown: lines for people, facts for machines, a picture."""

from __future__ import annotations

import logging
import math
from array import array
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from deblurcli.adaptation.camera import Camera
from deblurcli.adaptation.residual import Explanation
from deblurcli.adaptation.support import WINDOW, SupportPatch
from deblurcli.adaptation.survey import Survey
from deblurcli.console import aligned
from deblurcli.media.images import Image
from deblurcli.media.probe import MediaInfo
from deblurcli.metrics.self_shift import SHIFTS, self_shift_score
from deblurcli.options.survey import SurveyOptions
from deblurcli.reports.residual_map import coloured

BLOCKS = "▁▂▃▄▅▆▇█"
LETTERS = "_.-:=+*#"
"""Eight heights in one line of text, and what stands for them where a terminal has no blocks."""
MAX_SIGNS = 60
"""Characters of that line."""
MIN_RANGE = 1.0
"""Decibels between the lowest and the tallest sign: less is not worth seeing."""
MAX_CUTS = 10
"""Cuts listed in the text."""
MAX_COLUMNS = 8
"""Patches in the picture."""
MAX_POINTS = 2000
"""Points of the picture's curve; means of more frames."""
DPI = 165
"""Pixels per inch of the picture: a crop of 256 pixels is shown at its size."""
PRIMARIES = {1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "bt601", 7: "smpte240m", 9: "bt2020", 11: "dci-p3", 12: "p3-d65"}
TRANSFERS = {1: "bt709", 4: "gamma 2.2", 5: "gamma 2.8", 6: "bt601", 7: "smpte240m", 8: "linear", 13: "srgb"}
TRANSFERS |= {14: "bt2020", 15: "bt2020", 16: "pq", 18: "hlg"}
"""Names of the tags of ITU-T H.273, tables 2 and 3."""


STREAM_FACTS = ("index", "kind", "codec", "language", "attached_picture", "title")
PLAIN_FACTS = ("codec", "profile", "width", "height", "pix_fmt", "depth", "rotation", "interlaced")
"""Facts of a video stream that JSON holds as they are."""


@dataclass
class Translated:
    """What a translator makes of the blurriest crops of a video."""

    translator: str
    """Its name."""
    crops: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)
    """The input, translated, and that restored, for each patch: 3 x S x S in [0, 1]."""

    def scores(self) -> list[dict[str, float]]:
        """The self-shift scores of each patch's three crops, in dB; lower is sharper."""
        kinds = ("input", "translated", "restored")
        return [dict(zip(kinds, map(_score, crops), strict=True)) for crops in self.crops]

    def line(self) -> str:
        """One line for people: means over the patches."""
        scores = self.scores()
        means = {kind: sum(of[kind] for of in scores) / len(scores) for kind in (scores[0] if scores else ())}
        said = ", ".join(f"{kind} {mean:.1f} dB" for kind, mean in means.items())
        return f"{self.translator}: blurriest patches, {said or 'none'}; lower is sharper"


def _score(crop: Tensor) -> float:
    return round(float(self_shift_score(crop[None].clone())), 3)


@dataclass(frozen=True)
class Inspection:
    """What was found in a video. Scores are sums over the four shifts, in dB as ``deblur metrics`` gives them."""

    info: MediaInfo
    survey: Survey
    options: SurveyOptions
    """The first ``options.patches`` patches are the support set, the rest judge the adaptation."""
    times: array[float]
    """Start of each frame, in seconds from the first."""
    seconds: float
    """End of the last frame."""
    camera: Camera | None
    no_camera: str
    """Why there is none."""
    damaged: int
    """Packets that are damaged or missing, as far as it is known."""
    damage: list[str]
    """Everything that is wrong with the file, in words."""
    explained: Explanation | None = None
    """What a restored version of it explains, where one was given."""
    translated: Translated | None = None
    """What a translator makes of the support set, where one was given."""

    @property
    def support(self) -> list[SupportPatch]:
        """The patches to adapt to."""
        return self.survey.patches[: self.options.patches]

    @property
    def scores(self) -> np.ndarray:
        """The self-shift score of each frame, mean over the locations; lower is sharper."""
        return np.asarray(self.survey.sharpness, np.float64) * len(SHIFTS)

    def facts(self) -> dict[str, Any]:
        """For machines."""
        info, video, found = self.info, self.info.video, self.survey
        return {
            "source": str(info.path),
            "container": info.container,
            "duration": None if info.duration is None else float(info.duration),
            "video": {
                **{key: getattr(video, key) for key in PLAIN_FACTS},
                "rate": None if video.rate is None else str(video.rate),
                "sample_aspect_ratio": str(video.sample_aspect_ratio or 1),
                "side_data": list(video.side_data),
                "colour": asdict(video.colour),
            },
            "streams": [{key: getattr(stream, key) for key in STREAM_FACTS} for stream in info.others],
            "chapters": len(info.chapters),
            "tags": dict(info.tags),
            "frames": found.frames,
            "seconds": round(self.seconds, 6),
            "decode_failures": self.damaged,
            "damage": self.damage,
            "cuts": [{"frame": cut, "time": self._time(cut)} for cut in found.cuts],
            "sharpness": [round(float(score), 3) for score in self.scores],
            "times": [round(at, 6) for at in self.times],
            "patch_size": found.size,
            "patches": [
                {key: getattr(patch, key) for key in ("y", "x", "frame", "at_end", "blurriest_frame")}
                | {key: round(getattr(patch, key), 3) for key in ("score", "blurriest_score", "contrast")}
                | {"time": self._time(patch.frame), "blurriest_time": self._time(patch.blurriest_frame)}
                | {"held_out": number >= self.options.patches}
                for number, patch in enumerate(found.patches)
            ],
            "camera": self.camera.facts() if self.camera else None,
            "no_camera": self.no_camera or None,
        } | self._given_facts()

    def lines(self, signs: str = BLOCKS) -> list[str]:
        """For people: rows of name and finding. ``signs``: eight characters of growing height."""
        rows = [*self._media(), *self._over_time(signs), ("camera", self._camera())]
        if self.explained is not None:
            rows.append(("residual", self.explained.residual.line()))
        if self.translated is not None:
            rows.append(("translator", self.translated.line()))
        rows += self._patches()
        # Names of languages and the like come from the file, which may hold terminal escapes.
        return ["".join(filter(str.isprintable, line)) for line in aligned(rows)]

    def _given_facts(self) -> dict[str, Any]:
        """What a restored version and a translator show, where they were given."""
        translation = {}
        if self.translated is not None:
            found = {"translator": self.translated.translator, "patches": self.translated.scores()}
            translation = {"translation": found}
        if self.explained is None:
            return translation
        frames = [
            {"frame": number} | {name: value if math.isfinite(value) else None for name, value in asdict(found).items()}
            for number, found in self.explained.frames.items()
        ]
        return {"residual": self.explained.residual.facts() | {"frames": frames}} | translation

    def _time(self, frame: int) -> float:
        return round(self.times[frame], 6)

    def _media(self) -> Iterator[tuple[str, str]]:
        info, video = self.info, self.info.video
        yield "container", info.container
        profile = f" ({video.profile})" if video.profile else ""
        rate = f"{float(video.rate):.5g} frames/s" if video.rate else "unknown rate"
        about = [f"{video.codec}{profile}", f"{video.width}x{video.height}", rate, f"{video.pix_fmt} {video.depth} bit"]
        if video.rotation:
            about.append(f"rotated {video.rotation} degrees")
        if video.sample_aspect_ratio not in (None, 1):
            about.append(f"pixels of {str(video.sample_aspect_ratio).replace('/', ':')}")
        if video.interlaced:
            about.append("interlaced")
        yield "video", ", ".join(about)
        yield "colour", self._colour()
        known = (None, "", "und")
        others = [f"{s.kind} {s.codec}" + ("" if s.language in known else f" ({s.language})") for s in info.others]
        yield "other streams", ", ".join(others) or "none"
        if info.chapters:
            yield "chapters", str(len(info.chapters))
        promised = video.frames
        length = f"{self.seconds:.2f} s, {self.survey.frames} frames counted"
        yield "length", length + (f", {promised} promised" if promised not in (None, self.survey.frames) else "")
        for line in self.damage:
            yield "damage", line

    def _colour(self) -> str:
        colour = self.info.video.colour
        parts = ["RGB" if colour.matrix == "rgb" else f"matrix {colour.matrix}"]
        parts.append(("full" if colour.full_range else "limited") + " range")
        if colour.guessed:
            parts[-1] += " (guessed)"
        tags = {"primaries": (colour.primaries_tag, PRIMARIES), "transfer": (colour.transfer_tag, TRANSFERS)}
        parts += [f"{name} {names.get(tag, tag)}" for name, (tag, names) in tags.items() if tag != 2]
        return ", ".join([*parts, *self.info.video.side_data])

    def _over_time(self, signs: str) -> Iterator[tuple[str, str]]:
        cuts, scores = self.survey.cuts, self.scores
        shown = ", ".join(f"{self.times[cut]:.2f} s (frame {cut})" for cut in cuts[:MAX_CUTS])
        more = f" and {len(cuts) - MAX_CUTS} more" if len(cuts) > MAX_CUTS else ""
        yield "cuts", f"{len(cuts)}: {shown}{more}" if cuts else "none"
        yield "sharpness", f"{spark(scores, signs)}  tall is sharp"
        sharpest, blurriest = int(scores.argmin()), int(scores.argmax())
        ends = [f"{scores[at]:.1f} dB (frame {at})" for at in (sharpest, blurriest)]
        median = f"{np.median(scores):.1f} dB"
        yield "scores", f"sharpest {ends[0]}, median {median}, blurriest {ends[1]}; lower is sharper"

    def _camera(self) -> str:
        if self.camera is None:
            return f"not found: {self.no_camera}"
        facts = self.camera.facts()
        numbers = ", ".join(f"{name} {facts[name]}" for name in ("gamma", "highlights", "tone", "noise"))
        return f"{numbers}, median path {facts['median_path']} pixels, {facts['pieces_explained']} pieces explained"

    def _patches(self) -> Iterator[tuple[str, str]]:
        size = self.survey.size
        yield f"{size}x{size}", "    x     y    sharpest frame             blurriest frame            contrast"
        for number, patch in enumerate(self.survey.patches):
            held = number - self.options.patches
            yield (
                f"patch {number + 1}" if held < 0 else f"held out {held + 1}",
                f"{patch.x:5} {patch.y:5}   {self._moment(patch.frame, patch.score)}"
                f"   {self._moment(patch.blurriest_frame, patch.blurriest_score)}   {patch.contrast:5.1f} dB",
            )

    def _moment(self, frame: int, score: float) -> str:
        return f"{frame:5} {self.times[frame]:8.2f} s {score:6.1f} dB"


def spark(scores: np.ndarray, signs: str = BLOCKS) -> str:
    """Scores as one line of characters, the lower the taller; one for several frames shows their mean."""
    means = np.array([part.mean() for part in np.array_split(scores, min(len(scores), MAX_SIGNS))])
    heights = (means.max() - means) / max(float(np.ptp(means)), MIN_RANGE)
    return "".join(signs[round(float(height) * (len(signs) - 1))] for height in heights)


def drawn(inspection: Inspection) -> Image:
    """A picture: sharpness over time with cuts and chosen frames, and below it the crops of up to eight patches.

    Needs matplotlib.
    """
    # Its messages, such as that it builds its cache of fonts, would break the JSON log.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = _crops(inspection)
    columns = len(rows[0][1])
    heights = [3.2, 1.95 * len(rows)] + [3.2] * (inspection.explained is not None)
    figure: Any = Figure(figsize=(max(1.7 * columns, 7) + 0.4, sum(heights)), dpi=DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    above, below, *last = figure.subfigures(len(heights), 1, height_ratios=heights)
    _draw_curve(inspection, above.subplots())
    for part in last:
        _draw_residual(inspection, *part.subplots(1, 2))
    grid = below.subplots(len(rows), columns, squeeze=False)
    for axes_row, (name, crops) in zip(grid, rows, strict=True):
        axes_row[0].set_ylabel(name, fontsize=8)
        for axes, (crop, title) in zip(axes_row, crops, strict=True):
            axes.imshow(crop.clamp(0, 1).permute(1, 2, 0).numpy())
            axes.set_title(title, fontsize=7)
            axes.set(xticks=[], yticks=[])
    if inspection.camera is None:
        below.supxlabel(f"no pseudo-blurred versions, {inspection.no_camera}", fontsize=8)
    canvas.draw()
    return Image(np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3]))


def _draw_curve(inspection: Inspection, axes: Any) -> None:
    """The score of each frame over time, sharp at the top."""
    found, scores, times = inspection.survey, inspection.scores, np.asarray(inspection.times)
    support = inspection.support
    parts = np.array_split(np.arange(len(scores)), min(len(scores), MAX_POINTS))
    axes.plot([times[p].mean() for p in parts], [scores[p].mean() for p in parts], linewidth=1, color="0.35")
    for label, frames, marker in (
        ("blurriest of a patch", {patch.blurriest_frame for patch in support}, "v"),
        ("pseudo-sharp frame", {patch.frame for patch in support}, "^"),
    ):
        at = sorted(frames)
        axes.plot(times[at], scores[at], marker, markersize=6, label=f"{label} ({len(at)})")
    if found.cuts:
        look = {"color": "C3", "linestyle": "--", "label": f"cut ({len(found.cuts)})"}
        axes.vlines(times[found.cuts], 0, 1, transform=axes.get_xaxis_transform(), **look)
    axes.invert_yaxis()
    axes.set_xlabel("seconds", fontsize=8)
    axes.set_ylabel("self-shift score in dB, sharp at the top", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.legend(fontsize=7)
    name = inspection.info.path.name.encode("utf-8", "replace").decode()
    # A dollar in a file name is no formula.
    axes.set_title(f"{name}: {found.frames} frames, {inspection.seconds:.2f} s", fontsize=9, parse_math=False)


def _draw_residual(inspection: Inspection, curve: Any, map_axes: Any) -> None:
    """How well the restored video and the input itself explain each frame that moves, and where it is not explained."""
    assert inspection.explained is not None
    frames = inspection.explained.frames
    times = [inspection.times[number] for number in frames]
    for label, colour, values in (
        ("restored", "C0", [found.restored for found in frames.values()]),
        ("the input itself", "0.6", [found.input for found in frames.values()]),
    ):
        curve.plot(times, values, ".-", linewidth=1, markersize=3, color=colour, label=label)
    curve.set_xlabel("seconds", fontsize=8)
    curve.set_ylabel("dB of the input explained", fontsize=8)
    curve.tick_params(labelsize=8)
    curve.legend(fontsize=7)
    map_axes.imshow(coloured(inspection.explained.residual.map()).samples)
    map_axes.set_title("what is missed: black 0, orange 16, light 32 of 255", fontsize=7)
    map_axes.set(xticks=[], yticks=[])


def _crops(inspection: Inspection) -> list[tuple[str, list[tuple[Tensor, str]]]]:
    """Rows of the picture: their names, and crops (3 x S x S) with titles."""
    patches = _spread(inspection.support)
    sharp = [patch.window[WINDOW // 2] for _, patch in patches if patch.window is not None]

    def said(frame: int, score: float) -> str:
        return f"frame {frame}, {inspection.times[frame]:.2f} s\n{score:.1f} dB"

    blurriest = [
        (p.blurriest, f"patch {number}\n{said(p.blurriest_frame, p.blurriest_score)}")
        for number, p in patches
        if p.blurriest is not None
    ]
    rows = [
        ("blurriest", blurriest),
        ("pseudo-sharp", [(c, said(p.frame, p.score)) for c, (_, p) in zip(sharp, patches, strict=True)]),
    ]
    if camera := inspection.camera:
        rng = np.random.default_rng(inspection.options.seed)
        blurred = [camera.blur(crop[None].to(camera.paths.device), rng)[0].cpu() for crop in sharp]
        rows.append(("pseudo-blurred", [(crop[0], f"{float(self_shift_score(crop)):.1f} dB") for crop in blurred]))
    if translated := inspection.translated:
        shown = [translated.crops[number - 1] for number, _ in patches]
        for at, name in enumerate(("input", "translated", "restored")):
            rows.append((name, [(crops[at], f"{_score(crops[at]):.1f} dB") for crops in shown]))
    return rows


def _spread(patches: list[SupportPatch]) -> list[tuple[int, SupportPatch]]:
    """At most ``MAX_COLUMNS`` of the patches with their numbers, evenly from the most contrast to the least."""
    ranked = sorted(enumerate(patches, 1), key=lambda item: -item[1].contrast)
    chosen = np.linspace(0, len(ranked) - 1, min(len(ranked), MAX_COLUMNS)).round().astype(int)
    return [ranked[index] for index in chosen]
