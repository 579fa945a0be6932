"""Results as data: tables that print while they fill, and one JSON file for each benchmark and version."""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deblurcli.version import __version__

FOLDER = Path(__file__).parent / "results"

Cell = str | float | int | None


@dataclass
class Table:
    """Rows of figures under a title that is unique within its benchmark."""

    title: str
    columns: dict[str, str]
    """Heading -> how numbers are written, as for ``format``: ".2f"."""
    rows: list[list[Cell]] = field(default_factory=list)

    def add(self, *cells: Cell) -> None:
        """Append a row, and print it as Markdown at once."""
        if not self.rows:
            print("\n".join(self.head()))
        self.rows.append([float(f"{cell:.6g}") if isinstance(cell, float) else cell for cell in cells])
        print(self.line(self.rows[-1]), flush=True)

    def head(self) -> list[str]:
        return [f"| {' | '.join(self.columns)} |", f"|{'---|' * len(self.columns)}"]

    def line(self, row: Sequence[Cell]) -> str:
        """A row in Markdown: numbers in their column's format, text as it is, nothing for None."""
        pairs = zip(row, self.columns.values(), strict=True)
        return f"| {' | '.join('' if c is None else c if isinstance(c, str) else format(c, f) for c, f in pairs)} |"

    def markdown(self) -> str:
        return "\n".join([*self.head(), *map(self.line, self.rows)])


def processor() -> str:
    """The processor's kind as the system names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def path(name: str, version: str = __version__) -> Path:
    return FOLDER / version / f"{name}.json"


def read(name: str, version: str = __version__) -> dict[str, dict[str, Any]]:
    """Title -> the table's facts; empty where nothing was measured with this version."""
    file = path(name, version)
    return json.loads(file.read_text(encoding="utf-8"))["tables"] if file.exists() else {}


def table(name: str, title: str, version: str = __version__) -> Table:
    """A stored table. Raises KeyError where there is none."""
    facts = read(name, version)[title]
    return Table(title, facts["columns"], facts["rows"])


def write(name: str, tables: Sequence[Table], command: str) -> Path:
    """Store tables in place of those of the same titles, with what is needed to measure them again."""
    facts = {
        "command": command,
        "date": datetime.date.today().isoformat(),
        "processor": processor(),
        "python": platform.python_version(),
    }
    stored = read(name) | {t.title: facts | {"columns": t.columns, "rows": t.rows} for t in tables}
    file = path(name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(dumped({"benchmark": name, "version": __version__, "tables": stored}), encoding="utf-8")
    return file


def dumped(content: dict[str, Any]) -> str:
    """JSON with one line for each row of a table, so that changes can be read."""
    text = json.dumps(content, indent=1, ensure_ascii=False)
    for facts in content["tables"].values():
        for row in facts["rows"]:
            spread = json.dumps(row, indent=1, ensure_ascii=False)
            text = text.replace(spread.replace("\n", "\n    "), json.dumps(row, ensure_ascii=False))
    return text + "\n"
