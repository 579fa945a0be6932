"""What is said of a video when it is done: with numbers, for machines, and in plain words."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from deblurcli.adaptation.outcome import Outcome
from deblurcli.adaptation.update import OUT_OF_MEMORY
from deblurcli.jobs.result import Result
from deblurcli.media.frames import FrameReader, FrameWriter
from deblurcli.media.inputs import STDOUT
from deblurcli.options.video import VideoOptions
from deblurcli.reports.summary import Sharpness, adaptation_sentence, kept_sentence, lucky_sentence, untouched_sentence
from deblurcli.restore.pipeline import Restoration


def in_plain_words(
    source: Path | None,
    result: Result,
    options: VideoOptions,
    sharpness: Sharpness,
    outcomes: Sequence[Outcome],
    others: list[str],
    notes: list[str],
) -> list[str]:
    """A run for people who know no paper.

    Args:
        source: the input; None: nobody can look at it any more.
        result: what is said of it already, with its differences.
        others: kinds of the other streams.
        notes: of the writer.
    """
    files = [options.compare, options.save_adapted, options.save_residual, options.save_translated]
    made = [str(path) for path in (*files, options.save_translator) if path is not None and path.exists()]
    kept, shown = kept_sentence(others, result.differences), ""
    if result.destination == STDOUT:
        kept = f"{result.facts['frames']} frames went to stdout as y4m."
    elif source is not None and options.compare is None:
        compare = shlex.join(["deblur", "compare", str(source), str(result.destination), "-o", "compare.html"])
        shown = f"See the difference: {compare}"
    found = [
        sharpness.sentence(),
        adaptation_sentence(outcomes, "this clip"),
        lucky_sentence(result.facts.get("lucky", 0), result.facts["frames"]),
        untouched_sentence(result.facts["untouched"], result.facts["frames"]) if options.only_blurred else "",
        kept,
        *notes,
        f"Also written: {', '.join(made)}." if made else "",
        shown,
    ]
    return [line for line in found if line]


def tell_outcome(result: Result, outcome: Outcome) -> None:
    """Add an adaptation to what is said of a file."""
    result.lines.append(outcome.line())
    result.facts.setdefault("adaptations", []).append(outcome.record())
    result.facts["weights"] |= outcome.weights
    said = "memory ran out while adapting; the unadapted network was used"
    if outcome.reason == OUT_OF_MEMORY and said not in result.differences:
        result.differences.append(said)
    if outcome.then is not None:
        tell_outcome(result, outcome.then)


def tell_run(
    result: Result, done: Restoration, before: int, reader: FrameReader, writer: FrameWriter, options: VideoOptions
) -> None:
    """Turn counters into lines and differences. ``before``: frames that an earlier run had restored."""
    rate = done.frames / max(done.seconds, 1e-9)
    earlier = f" ({before} before the interrupt)" if before else ""
    result.lines.append(
        f"restored {writer.frames} frames{earlier} in {done.seconds:.1f} s ({rate:.2f} frames/s), written as"
        f" {writer.codec} {writer.pix_fmt}"
    )
    if before:
        result.facts["resumed_behind"] = before
    if reader.excerpt is not None:
        result.facts["excerpt"] = reader.excerpt.facts()
    if others := [other.index for other in reader.info.others if other.kind == "video" and not other.attached_picture]:
        copied = " and ".join(map(str, others))
        result.lines.append(f"video stream {reader.info.video.index} was restored; {copied} was copied as it is")
    result.lines += writer.notes
    result.facts |= {"frames": writer.frames, "seconds": round(done.seconds, 2), "codec": writer.codec}
    if done.lucky:
        result.lines.append(f"{done.lucky} of {done.frames} frames took detail from sharper ones")
        result.facts["lucky"] = done.lucky
    if options.only_blurred:
        least, most = done.gains or (1.0, 1.0)
        steeper = f"restoring makes edges {least:.2f} to {most:.2f} times as steep"
        result.lines.append(f"{writer.untouched} of {writer.frames} frames were sharp and left as they are; {steeper}")
        result.facts["gains"] = [round(least, 4), round(most, 4)]
        result.facts["untouched"] = writer.untouched
    if done.cuts:
        result.facts["cuts"] = done.cuts
    result.differences += writer.differences
    if writer.replaced:
        result.differences.append(f"{writer.replaced} frames came out broken; the input frames were written instead")
    result.differences += reader.damage.lines()
