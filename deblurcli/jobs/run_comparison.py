"""The comparison that a run ends with: what differs between a video and what was made of it, and how it was made."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deblurcli.console import Reporter
from deblurcli.errors import DeblurError
from deblurcli.files import check_destination
from deblurcli.jobs.compare import CompareJob
from deblurcli.jobs.result import Result
from deblurcli.media.excerpt import Excerpt
from deblurcli.media.videos import describe
from deblurcli.options.compare import CompareOptions
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.video import VideoOptions
from deblurcli.reports.page import run_facts


@dataclass(frozen=True)
class RunComparison:
    """What a run was asked for; its options say where the comparison goes."""

    source: Path
    options: VideoOptions
    method: Any
    compute: ComputeOptions
    excerpt: Excerpt | None = None

    def require_drawable(self) -> None:
        """Refuse, before any work, what could not be drawn or written. Raises UsageError and OutputError."""
        job = self._job(self.source)
        job.require_drawable("--compare")
        check_destination(job.destination, [self.source, Path(self.options.network)], self.options.overwrite)

    def add(self, result: Result, console: Reporter) -> None:
        """Draw the comparison of a finished run, and say so in its result. The video stays if that fails."""
        options = {**asdict(self.options), "options": asdict(self.method), "compute": asdict(self.compute)}
        video = describe(self.source).video
        run = run_facts(result.lines, result.differences, result.facts, options, (video.width, video.height))
        job = self._job(result.destination, run)
        try:
            job.make(console)
        except DeblurError as error:
            result.differences.append(f"the comparison was not written: {error}")
        else:
            result.lines.append(f"comparison: {job.destination}")

    def _job(self, restored: Path, run: dict[str, Any] | None = None) -> CompareJob:
        assert self.options.compare is not None
        return CompareJob(
            self.source,
            restored,
            self.options.compare,
            CompareOptions(overwrite=self.options.overwrite, fps=self.options.fps),
            run,
            self.excerpt,
        )
