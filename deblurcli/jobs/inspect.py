"""One look through a video: what it holds, and what the meta method would take from it."""

from __future__ import annotations

import importlib.util
from array import array
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from torch import Tensor

from deblurcli.adaptation.camera import fit_camera
from deblurcli.adaptation.guard import Diverged
from deblurcli.adaptation.outcome import PreparedNetwork
from deblurcli.adaptation.residual import Explanation
from deblurcli.adaptation.support import SupportPatch
from deblurcli.adaptation.survey import HELD_OUT, survey
from deblurcli.adaptation.translated_frames import Translator
from deblurcli.errors import UsageError
from deblurcli.files import check_destination
from deblurcli.jobs.residual import explain
from deblurcli.media.footage import VideoFootage, previewed, unit
from deblurcli.media.frames import Frame, FrameReader
from deblurcli.media.images import write_image
from deblurcli.media.videos import open_video
from deblurcli.options.blur2blur import require_translator
from deblurcli.options.rates import USUAL_FPS
from deblurcli.options.survey import SurveyOptions
from deblurcli.reports.inspection import Inspection, Translated
from deblurcli.reports.inspection_picture import drawn
from deblurcli.restore.worker import Placed, Worker


@dataclass(frozen=True)
class InspectJob:
    """What to look through, and the PNG to draw it into, if any."""

    source: Path
    destination: Path | None
    options: SurveyOptions
    overwrite: bool = False
    restored: Path | None = None
    """What was made of the video, if it is to be shown how well that explains it."""
    translator: str | None = None
    """What is shown at work on the blurriest patches, if anything."""
    fps: Fraction = USUAL_FPS
    """Frames per second of an image sequence."""

    def run(self, worker: Worker) -> Inspection:
        """Survey the video and fit its camera, as the meta method does before it adapts.

        Raises InputError where a video cannot be read, or the restored one is not of its size and length; UsageError
        where the picture is not a PNG, exists or is the video, or matplotlib is not installed; WeightsError where the
        translator is missing or refused.
        """
        picture = self.destination
        if picture is not None:
            _require_drawing(picture)
        require_translator(self.translator)
        translator = None if self.translator is None else worker.place(self.translator, "image", "translate")
        with open_video(self.source, fps=self.fps) as reader:
            if picture is not None:
                check_destination(picture, [self.source], self.overwrite)
            explained = None if self.restored is None else _explained(self.restored, self.source, worker)
            found = replace(_inspect(reader, self.options, worker), explained=explained)
        if self.restored is not None:
            found = replace(found, restored=_restored(self.restored, found, worker))
        if translator is not None:
            found = replace(found, translated=_translated(found.support, translator, worker))
        if picture is not None:
            write_image(picture, drawn(found), overwrite=self.overwrite, source=self.source)
        return found


def _inspect(reader: FrameReader, options: SurveyOptions, worker: Worker) -> Inspection:
    video, total, console = reader.info.video, reader.info.expected_frames, worker.console
    times, end = array("d"), 0.0

    def pictures(frames: Iterable[tuple[Frame, Tensor]]) -> Iterator[Tensor]:
        nonlocal end
        for count, (frame, picture) in enumerate(frames, 1):
            console.progress("surveying", count, total)
            times.append(float((frame.pts - video.start) * frame.time_base))
            end = times[-1] + float(frame.duration * frame.time_base)
            yield picture

    with closing(previewed(reader)) as frames:
        found = survey(pictures(frames), patches=options.patches + HELD_OUT, size=options.patch_size, seed=options.seed)
    camera, no_camera = None, "one frame shows no motion"
    if found.frames > 1:
        console.progress("fitting the camera", 0, 1)
        try:
            camera, no_camera = fit_camera(found.patches, worker.device.where), ""
        except Diverged as error:
            no_camera = str(error)
        console.progress("fitting the camera", 1, 1)
    return Inspection(
        reader.info, found, options, times, end, camera, no_camera, reader.damage.packets, reader.damage.lines()
    )


def _translated(patches: list[SupportPatch], translating: Placed, worker: Worker) -> Translated:
    """The blurriest crops of some patches, translated, then restored by the default network of images."""
    translator = Translator.placed(translating, worker.tile)
    network = PreparedNetwork(worker.place("default", "image", "deblur"), worker.tile)
    found = Translated(translating.name)
    for count, patch in enumerate(patches):
        worker.console.progress("translating", count + 1, len(patches))
        assert patch.blurriest is not None
        translated = translator.picture(patch.blurriest)
        found.crops.append((patch.blurriest, translated, network([translated])))
    return found


def _restored(restored: Path, found: Inspection, worker: Worker) -> list[Tensor]:
    """The blurriest crops of the patches to adapt to, as a restored version of the video has them."""
    size, crops = found.survey.size, [patch.blurriest for patch in found.support]
    footage = VideoFootage(restored)
    with closing(footage.previews()) as pictures:
        for number, picture in enumerate(pictures):
            worker.console.progress("looking at the restored version", number + 1, footage.total)
            for at, patch in enumerate(found.support):
                if patch.blurriest_frame == number:
                    crops[at] = unit(picture[:, patch.y : patch.y + size, patch.x : patch.x + size].clone())
    return [crop for crop in crops if crop is not None]


def _explained(restored: Path, source: Path, worker: Worker) -> Explanation:
    damage: list[str] = []
    found = explain(restored, source, damage, report=worker.console)
    for line in damage:
        if line.startswith(f"{restored.name}: "):  # the source's is told with all else of it
            worker.console.warn(line)
    return found


def _require_drawing(path: Path) -> None:
    """Refuse, before any work, a picture that could not be drawn. Raises UsageError."""
    if path.suffix.lower() != ".png":
        raise UsageError(f"-o {path} is not a name for the picture", "let it end in .png")
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError(f"drawing {path.name} needs matplotlib", "run: pip install 'deblurcli[plot]'")
