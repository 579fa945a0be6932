"""The tables of README.md, written between their marks from the results.

A mark is ``<!-- BENCHMARK: TITLE -->``, and ``<!-- end -->`` closes it; ``<!-- list -->`` holds the list of benchmarks.
"""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks import BENCHMARKS, results

DOCUMENT = Path(__file__).parent / "README.md"
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


def update() -> bool:
    """Write the document anew; whether anything changed."""
    before = DOCUMENT.read_text(encoding="utf-8")
    after = rendered(before)
    DOCUMENT.write_text(after, encoding="utf-8")
    return before != after
