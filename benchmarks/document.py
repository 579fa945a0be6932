"""The tables of the documents, written between their marks from the results, and a chart of one of them.

A mark is ``<!-- BENCHMARK: TITLE -->``, and ``<!-- end -->`` closes it; ``<!-- list -->`` holds the list of benchmarks.
"""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks import BENCHMARKS, results
from benchmarks.chart import bars

DOCUMENT = Path(__file__).parent / "README.md"
"""Every table is in it."""
OTHERS = (Path(__file__).parents[1] / "docs" / "quality.md",)
"""Documents that have some of the tables."""
CHART = Path(__file__).parents[1] / "docs" / "images" / "where-time-goes.svg"
CHARTED = ("end_to_end", "parts, 640x360")
MARK = re.compile(r"<!-- (?:(list)|(\w+): (.+?)) -->\n.*?<!-- end -->", re.DOTALL)


def rendered(text: str) -> str:
    """The document with every table as the results have it. Raises KeyError for a table that was not measured."""

    def fill(mark: re.Match[str]) -> str:
        begin, name, title = mark[0].partition("\n")[0], mark[2], mark[3]
        content = listed() if mark[1] else results.table(name, title).markdown()
        return f"{begin}\n{content}\n<!-- end -->"

    return MARK.sub(fill, text)


def listed() -> str:
    return "\n".join(["| name | what it measures |", "|---|---|", *(f"| `{n}` | {w} |" for n, w in BENCHMARKS.items())])


def chart() -> str:
    """Where the time of a run goes, as SVG."""
    name, title = CHARTED
    return bars(results.table(name, title), "Processor time of a frame of 640x360")


def update() -> bool:
    """Write documents and chart anew; whether anything changed."""
    written = {path: rendered(path.read_text(encoding="utf-8")) for path in (DOCUMENT, *OTHERS)} | {CHART: chart()}
    changed = [path for path, text in written.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in changed:
        path.write_text(written[path], encoding="utf-8")
    return bool(changed)
