"""`deblur evaluate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from deblurcli.cli.parameters import either, given
from deblurcli.cli.session import Session
from deblurcli.errors import InputError, PartialError, UsageError
from deblurcli.jobs.batch import finish
from deblurcli.methods import METHODS
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.evaluate import EvaluateOptions
from deblurcli.options.option import Options, option

MethodOptions = either({name: entry.options for name, entry in METHODS.items()})
"""The options of all methods, None where not given."""


@dataclass(frozen=True)
class Results(Options):
    """Where the results go."""

    output: str = option(
        help="Folder for the results; the same command goes on there.",
        panel="Result",
        metavar="FOLDER",
        flags=("-o", "--output"),
    )


def evaluate(
    session: Session,
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="The folder of the dataset, or one around it.")],
    results: Results,
    options: EvaluateOptions,
    of_method: MethodOptions,  # type: ignore[valid-type]
    compute: ComputeOptions,
) -> None:
    """Restore the videos of a dataset and measure the results, beside the published figures.

    Every network restores every video under every method, without writing pictures. What is measured is averaged over
    the frames of each video, and over all frames. How pictures are cut, aligned and compared is the convention of the
    dataset's authors or of the paper that reports on it; --convention gives another one.

    FOLDER gets scores.md (the means beside the published figures, time and memory, and every video), scores.csv and
    scores.json. After each video its row is in state.jsonl: the same command goes on where it was stopped, and other
    networks or methods can be added. The table of means goes to stdout.

    A video that cannot be read is named, the rest goes on, and the exit code is 3.

    An option of a method counts for the methods that have it.
    """
    if not results.output:
        raise UsageError("-o is empty", "give a folder")
    from deblurcli.jobs.evaluate import EvaluateJob, methods_of
    from deblurcli.restore.worker import Worker

    methods = methods_of(options.method, given(of_method))
    job = EvaluateJob(Path(dataset), Path(results.output), options, methods, compute)
    console = session.console
    found = job.run(Worker(compute, console))
    for row in found.means():
        if row.replaced:
            console.warn(f"{row.network}, {row.method}: {row.replaced} frames came out broken; the input was taken")
    for line in found.table() if found.rows else ():
        console.result(line)
    codes = [InputError.code] * len(found.failures)
    codes += [PartialError.code] * sum(row.replaced > 0 for row in found.rows)
    finish(codes, len(found.rows) + len(found.failures))
