"""The learning curve of a training run as a picture."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path

from deblurcli.files import OutputFile
from deblurcli.train.validation import Measure


def draw_curve(log: Path, picture: Path, measure: Measure) -> bool:
    """Plot loss and held-out score over time from a run's ``log.csv``. Returns False without matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        return False
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with log.open(newline="") as file:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    minutes = [row["minutes"] for row in rows]
    figure = Figure(figsize=(7, 6), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True)
    above.plot(minutes, [row[measure.name] for row in rows], marker=".", label="network")
    above.plot(minutes, [row[measure.nothing] for row in rows], linestyle="--", label=measure.reference)
    above.set_ylabel(f"{measure.words} ({measure.unit})")
    above.legend()
    below.plot(minutes, [row["loss"] for row in rows], marker=".")
    below.set_ylabel("training loss")
    below.set_xlabel("minutes")
    with OutputFile(picture, overwrite=True) as output:
        figure.savefig(output.file, format="png", dpi=100)
    return True
