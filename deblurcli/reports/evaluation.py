"""Results on a dataset: means beside the published figures, and every video, as Markdown, CSV, JSON and a table."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from deblurcli.reports.published import Published, published
from deblurcli.reports.scores import finite
from deblurcli.texts import aligned, one_line
from deblurcli.version import __version__

SCORES = {"psnr": ("PSNR dB", 3), "ssim": ("SSIM", 4), "lpips": ("LPIPS", 4), "niqe": ("NIQE", 3)}
"""Title and decimals of each score."""
MEAN = "mean"
"""The name of the row over all videos."""


@dataclass(frozen=True)
class Row:
    """One video restored by one network under one method, or the mean over all videos."""

    network: str
    method: str
    video: str
    frames: int
    scores: dict[str, float]
    """Means over the frames, by the names of SCORES."""
    adapting: float
    """Seconds that adapting took, in the mean per video."""
    restoring: float
    """Seconds for each frame, without reading and measuring."""
    memory: int | None = None
    """Peak of the bytes that a graphics card held; None on other devices."""
    adapted: int = 0
    """Videos whose adaptation was kept."""
    undone: int = 0
    """Videos for which the unadapted network was better, or nothing else was possible."""
    replaced: int = 0
    """Frames that came out broken, for which the input was taken."""


@dataclass
class Evaluation:
    """What was evaluated, and what came of it."""

    dataset: str
    layout: str
    split: str
    convention: str
    source: str
    """Where the convention is from."""
    limit: int | None = None
    rows: list[Row] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """A line for each video that could not be done."""
    record: dict[str, Any] = field(default_factory=dict)
    """Device, threads and the SHA-256 of each network's weights."""

    def means(self) -> list[Row]:
        """A row for each network and method, over all frames of all videos."""
        groups: dict[tuple[str, str], list[Row]] = {}
        for row in self.rows:
            groups.setdefault((row.network, row.method), []).append(row)
        return [_mean(rows) for rows in groups.values()]

    def compared(self) -> list[tuple[Row | Published, str]]:
        """Measured and published rows by network, the measured ones first, with where each is from."""
        known = published(self.layout)
        found: list[tuple[Row | Published, str]] = []
        for network in dict.fromkeys(row.network for row in self.rows):
            found += [(row, "measured") for row in self.means() if row.network == network]
            found += [(row, row.source) for row in known if row.network == network]
        mine = {row.network for row in self.rows}
        return found + [(row, row.source) for row in known if row.network not in mine]

    def document(self) -> dict[str, Any]:
        """Everything for machines; a score that is not finite is None."""
        facts: dict[str, Any] = {
            "dataset": self.dataset,
            "layout": self.layout,
            "split": self.split,
            "limit": self.limit,
        }
        facts |= {"convention": self.convention, "convention_source": self.source, "version": __version__}
        facts |= {"means": [asdict(row) for row in self.means()], "videos": [asdict(row) for row in self.rows]}
        known = [row._asdict() for row in published(self.layout)]
        return finite(facts | {"published": known, "failures": self.failures, "record": self.record})

    def table(self) -> list[str]:
        """Lines for a terminal: the means beside the published figures."""
        names = self._names()
        head = ["network", "method", *(SCORES[name][0] for name in names), "from"]
        body = [[one_line(row.network), row.method, *_cells(row, names), of] for row, of in self.compared()]
        return aligned([head, *body])

    def csv(self) -> str:
        """A line for each video, and for each mean."""
        names = self._names()
        facts = [name for name in Row.__dataclass_fields__ if name not in ("scores", "network", "method", "video")]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["network", "method", "video", *names, *facts])
        for row in [*self.rows, *self.means()]:
            scores = [row.scores.get(name, "") for name in names]
            writer.writerow([row.network, row.method, row.video, *scores, *(getattr(row, name) for name in facts)])
        return text.getvalue()

    def markdown(self) -> str:
        """A page to read or to put into a document."""
        names = self._names()
        titles = [SCORES[name][0] for name in names]
        limited = "" if self.limit is None else f" The first {self.limit} frames of each video."
        videos = len({row.video for row in self.rows})
        lines = [
            f"# {self.dataset}",
            "",
            f"{videos} videos of the part `{self.split}`, read as `{self.layout}`.{limited} Measured as in"
            f" `{self.convention}`: {self.source}. Means are over all frames.",
            "",
            *_markdown(
                ["network", "method", *titles, "from"],
                ([row.network, row.method, *_cells(row, names), of] for row, of in self.compared()),
            ),
            "",
            "Figures of papers are theirs, with their weights and programs; the convention tells what may differ.",
            "",
            *self._cost(),
            "",
            "## Every video",
            "",
            *_markdown(
                ["network", "method", "video", "frames", *titles],
                ([row.network, row.method, row.video, str(row.frames), *_cells(row, names)] for row in self.rows),
            ),
        ]
        if self.failures:
            lines += ["", "## Not done", "", *(f"- {line}" for line in self.failures)]
        return "\n".join(lines) + "\n"

    def _cost(self) -> list[str]:
        head = ["network", "method", "adapting, s per video", "restoring, s per frame", "memory, MiB"]
        head += ["adaptations kept", "undone", "frames replaced"]
        body = []
        for row in self.means():
            memory = "-" if row.memory is None else f"{row.memory / 2**20:.0f}"
            times = [f"{row.adapting:.1f}", f"{row.restoring:.3f}", memory]
            body.append([row.network, row.method, *times, *map(str, (row.adapted, row.undone, row.replaced))])
        return _markdown(head, body)

    def _names(self) -> list[str]:
        return [name for name in SCORES if any(name in row.scores for row in self.rows)]


def _mean(rows: list[Row]) -> Row:
    frames = sum(row.frames for row in rows)

    def over(values: Iterable[tuple[float, int]]) -> float:
        """The mean of values of so many frames each."""
        known = list(values)
        return math.fsum(value * count for value, count in known) / sum(count for _, count in known)

    names = [name for name in SCORES if any(name in row.scores for row in rows)]
    memory = [row.memory for row in rows if row.memory is not None]
    return Row(
        rows[0].network,
        rows[0].method,
        MEAN,
        frames,
        {name: over((row.scores[name], row.frames) for row in rows if name in row.scores) for name in names},
        adapting=math.fsum(row.adapting for row in rows) / len(rows),
        restoring=over((row.restoring, row.frames) for row in rows),
        memory=max(memory, default=None),
        adapted=sum(row.adapted for row in rows),
        undone=sum(row.undone for row in rows),
        replaced=sum(row.replaced for row in rows),
    )


def _cells(row: Row | Published, names: list[str]) -> list[str]:
    scores: Mapping[str, Any] = row.scores if isinstance(row, Row) else row._asdict()
    return ["" if scores.get(name) is None else f"{scores[name]:.{SCORES[name][1]}f}" for name in names]


def _markdown(head: list[str], body: Iterable[list[str]]) -> list[str]:
    rows = [head, ["---"] * len(head), *body]
    return ["| " + " | ".join(one_line(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
