"""What was found in a video, drawn: sharpness over time, patches, and what restored versions of it make of them."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from torch import Tensor

from deblurcli.adaptation.support import WINDOW, SupportPatch
from deblurcli.media.images import Image
from deblurcli.metrics.self_shift import self_shift_score
from deblurcli.reports.inspection import Inspection, score_of
from deblurcli.reports.residual_map import coloured

MAX_COLUMNS = 8
"""Patches in the picture."""
MAX_POINTS = 2000
"""Points of the picture's curve; means of more frames."""
DPI = 165
"""Pixels per inch of the picture: a crop of 256 pixels is shown at its size."""


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
    if inspection.restored:
        crops = [inspection.restored[number - 1] for number, _ in patches]
        rows.insert(1, ("restored", [(crop, f"{score_of(crop):.1f} dB") for crop in crops]))
    if translated := inspection.translated:
        shown = [translated.crops[number - 1] for number, _ in patches]
        for at, name in enumerate(("input", "translated", "restored")):
            rows.append((name, [(crops[at], f"{score_of(crops[at]):.1f} dB") for crops in shown]))
    return rows


def _spread(patches: list[SupportPatch]) -> list[tuple[int, SupportPatch]]:
    """At most ``MAX_COLUMNS`` of the patches with their numbers, evenly from the most contrast to the least."""
    ranked = sorted(enumerate(patches, 1), key=lambda item: -item[1].contrast)
    chosen = np.linspace(0, len(ranked) - 1, min(len(ranked), MAX_COLUMNS)).round().astype(int)
    return [ranked[index] for index in chosen]
