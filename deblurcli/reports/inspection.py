"""What was found in a video, told: lines for people, facts for machines."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from deblurcli.adaptation.camera import Camera
from deblurcli.adaptation.residual import Explanation
from deblurcli.adaptation.support import SupportPatch
from deblurcli.adaptation.survey import Survey
from deblurcli.media.probe import MediaInfo
from deblurcli.metrics.self_shift import SHIFTS, self_shift_score
from deblurcli.options.survey import SurveyOptions
from deblurcli.texts import aligned

BLOCKS = "▁▂▃▄▅▆▇█"
LETTERS = "_.-:=+*#"
"""Eight heights in one line of text, and what stands for them where a terminal has no blocks."""
MAX_SIGNS = 60
"""Characters of that line."""
MIN_RANGE = 1.0
"""Decibels between the lowest and the tallest sign: less is not worth seeing."""
MAX_CUTS = 10
"""Cuts listed in the text."""
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
        return [dict(zip(kinds, map(score_of, crops), strict=True)) for crops in self.crops]

    def line(self) -> str:
        """One line for people: means over the patches."""
        scores = self.scores()
        means = {kind: sum(of[kind] for of in scores) / len(scores) for kind in (scores[0] if scores else ())}
        said = ", ".join(f"{kind} {mean:.1f} dB" for kind, mean in means.items())
        return f"{self.translator}: blurriest patches, {said or 'none'}; lower is sharper"


def score_of(crop: Tensor) -> float:
    """The self-shift score of a crop, 3 x S x S in [0, 1], in dB; lower is sharper."""
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
    restored: list[Tensor] = field(default_factory=list)
    """The blurriest crops of the support set as a restored version has them, 3 x S x S in [0, 1]; none without one."""

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
        if self.restored:
            before, after = (float(np.mean(scores)) for scores in zip(*self._restored_scores(), strict=True))
            said = f"blurriest patches, input {before:.1f} dB, restored {after:.1f} dB; lower is sharper"
            rows.append(("restored", said))
        if self.translated is not None:
            rows.append(("translator", self.translated.line()))
        rows += self._patches()
        # Names of languages and the like come from the file, which may hold terminal escapes.
        return ["".join(filter(str.isprintable, line)) for line in aligned(rows)]

    def _given_facts(self) -> dict[str, Any]:
        """What a restored version and a translator show, where they were given."""
        given: dict[str, Any] = {}
        if self.translated is not None:
            given["translation"] = {"translator": self.translated.translator, "patches": self.translated.scores()}
        if self.restored:
            scores = self._restored_scores()
            given["restored"] = [{"input": before, "restored": after} for before, after in scores]
        if self.explained is None:
            return given
        frames = [
            {"frame": number} | {name: value if math.isfinite(value) else None for name, value in asdict(found).items()}
            for number, found in self.explained.frames.items()
        ]
        return {"residual": self.explained.residual.facts() | {"frames": frames}} | given

    def _restored_scores(self) -> list[tuple[float, float]]:
        """The scores of the blurriest crop of each patch to adapt to, as it is and as the restored version has it."""
        inputs = [patch.blurriest for patch in self.support if patch.blurriest is not None]
        return [(score_of(old), score_of(new)) for old, new in zip(inputs, self.restored, strict=True)]

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
