"""`deblur metrics`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from deblurcli.cli.session import Session
from deblurcli.console import Reporter
from deblurcli.errors import PartialError, UsageError
from deblurcli.jobs.batch import finish
from deblurcli.jobs.pairs import Pair, is_several, pairs_to_measure
from deblurcli.jobs.plan import require_usable
from deblurcli.media.inputs import is_sequence
from deblurcli.options.metrics import MetricsOptions
from deblurcli.options.option import Options, option
from deblurcli.reports.scores import Scores, lines


@dataclass(frozen=True)
class Shown(Options):
    """Which files of a folder are measured, and how scores are shown."""

    form: str = option(
        "table",
        "A table to read, comma-separated values, or one JSON object.",
        "Result",
        choices=("table", "csv", "json"),
        flags=("--format",),
    )
    recursive: bool = option(False, "Measure the folders in a folder, too.", "Result")
    sequences: bool = option(False, "A folder of numbered pictures is one video, as deblur video has it.", "Result")


def metrics(
    session: Session,
    restored: Annotated[str, typer.Argument(metavar="RESTORED", help="Image, video, folder of them, or pattern.")],
    shown: Shown,
    options: MetricsOptions,
    reference: Annotated[
        str | None,
        typer.Argument(metavar="REFERENCE", help="The sharp original, or one for each, by name.", show_default=False),
    ] = None,
) -> None:
    """Measure restored images or videos, against their sharp originals or by themselves.

    With REFERENCE: PSNR in dB, SSIM and LPIPS, which is left out while its weights are not on this machine. Without
    one: NIQE, the distance from sharp photos, and the self-shift score in dB, how little a picture changes when it is
    shifted by a pixel; both are lower for sharper pictures. All are means over the frames, taken on 8-bit RGB without
    cutting borders, and left out where pictures are too small.

    Numbered pictures are a video where a pattern names them, such as out/%06d.png, or with --sequences their folder.

    Videos also have flicker, what changes from frame to frame besides the original's motion (temporal warping error,
    root mean square, of 255), and the original's own to compare with.

    With --reblur INPUT a restored video is blurred again along the motion of its input, and compared with it, over the
    frames that move: reblur, PSNR in dB, tells how well it explains what the camera saw; reblur_input is what the input
    itself would reach. Both depend on the exposure, tau and gamma, which is found unless given. Compare restorations
    of one input under one --tau only. moving is the share of the frames that move.

    With --before INPUT the input is measured in the same way: a row before, a row after, and below them which way each
    score is better, and which of the two is. In JSON items and mean also have before, with its scores, and better; CSV
    has two rows for each file.

    Folders and patterns are matched by name, whatever the suffix; their last row is the mean over the files. Put
    patterns in quotes. What cannot be measured is named, the rest goes on, and the exit code is 3.

    Damage of a video is said, and the exit code is 3, too: what was measured is not all that should be there.

    JSON and CSV have the names psnr, ssim, lpips, niqe, self_shift, flicker, flicker_reference, reblur, reblur_input,
    tau, gamma, moving and frames. JSON: items with name, scores and, if asked for, per_frame, and, where there is any,
    damage; and their mean. CSV: a row for each file and the mean, or with --per-frame a row for each frame, counted
    from 0. Infinity, the PSNR of equal pictures, is null or inf.
    """
    console = session.console
    if options.per_frame and shown.form == "table":
        raise UsageError("--per-frame is not for tables", "add --format csv or json")
    pairs = pairs_to_measure(restored, reference, shown.recursive, options.reblur, options.before, shown.sequences)
    if not shown.sequences and is_several(restored) and is_sequence(Path(restored)):
        console.note(f"{restored}: pictures are measured one by one; --sequences takes numbered ones as a video")
    scores, codes = _measured(pairs, console, options)
    for each in scores.values():
        for line in each.get("damage", ()):
            console.warn(line)
        codes += [PartialError.code] * ("damage" in each)
    for name, each in scores.items():
        if each.get("tau") == 0:
            found = f"{name} explains its input best without any blur, as the input itself would"
            console.note(f"{found}; to compare restorations, give the --tau of another one")
    for line in (
        lines(scores, shown.form, options.per_frame, with_mean=is_several(restored, shown.sequences)) if scores else ()
    ):
        console.result(line)
    if reference is not None and options.lpips == "auto" and scores:
        from deblurcli.jobs.measure import AUTOMATIC, lpips_is_here

        if not lpips_is_here():
            found = "LPIPS is left out: its weights are not on this machine"
            console.note(f"{found}; run: deblur weights pull {AUTOMATIC}")
    finish(codes, len(pairs))


def _measured(pairs: list[Pair], console: Reporter, options: MetricsOptions) -> tuple[dict[str, Scores], list[int]]:
    """Scores by name, and the codes of what could not be measured."""
    from deblurcli.jobs.measure import Measurement

    measurement = Measurement(options, compare=pairs[0].reference is not None)

    def measured(pair: Pair, report: Reporter | None) -> Scores:
        for path in (pair.restored, pair.reference, pair.blurred, pair.before):
            if path is not None:
                require_usable(path)
        return measurement(pair.restored, pair.reference, report, pair.blurred, pair.before)

    if len(pairs) == 1:
        return {pairs[0].name: measured(pairs[0], console)}, []
    scores, codes = {}, []
    for count, pair in enumerate(pairs):
        console.progress("measuring", count, len(pairs))
        try:
            scores[pair.name] = measured(pair, None)
        except Exception as error:
            codes.append(console.failure(error, about=pair.name))
    return scores, codes
