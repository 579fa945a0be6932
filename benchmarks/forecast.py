"""How far the plan's time is from what a run takes, by method.

Seconds of the processor, with one thread, so that what else the machine does matters little: both for the speed that is
measured and for the run. Methods that update for long take a few steps, of which every one costs the same; without a
guard, which may end them early.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from benchmarks.results import Table
from deblurcli import api
from deblurcli.console import Reporter, Silent
from deblurcli.options.compute import ComputeOptions
from deblurcli.restore import speed
from deblurcli.restore.worker import Worker

STEPS: dict[str, dict[str, Any]] = {
    "none": {},
    "meta": {},
    "reblur2deblur": {"steps": 15, "guard": "off"},
    "blur2blur": {"steps": 10},
    "tta": {"steps": 2},
}
"""Options of each method."""


class Plans(Silent):
    """Keeps the latest plan."""

    facts: dict[str, Any]

    def event(self, kind: str, facts: dict[str, Any]) -> None:
        if kind == "plan":
            self.facts = facts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("videos", type=Path, nargs="+", metavar="VIDEO")
    parser.add_argument("--methods", nargs="+", default=list(STEPS), choices=STEPS)


def run(options: argparse.Namespace) -> list[Table]:
    columns = {"clip": "", "method": "", "adapting (s)": ".1f", "planned": ".1f", "restoring (s)": ".1f"}
    columns |= {"planned restoring": ".1f", "plan / run": ".2f"}
    table, plans = Table("planned and spent", columns), Plans()
    torch.set_num_threads(1)
    clocks = mock.patch.multiple(time, monotonic=time.process_time, perf_counter=time.process_time)
    with tempfile.TemporaryDirectory() as work, clocks:
        worker = Worker(ComputeOptions(), Reporter(plans))
        for video in options.videos:
            for method in options.methods:
                out, started = Path(work) / f"{video.stem}-{method}.mkv", time.process_time()
                with mock.patch.object(speed, "_MEASURED", {}):
                    result = api.deblur_video(video, out, method=method, worker=worker, **STEPS[method])
                spent = time.process_time() - started
                made = result.facts.get("adaptations", [])
                adapting = sum(each["seconds"] + each.get("survey_seconds", 0.0) for each in made)
                plan, total = plans.facts, plans.facts["adapting"] + plans.facts["restoring"]
                restoring = spent - adapting
                table.add(video.stem, method, adapting, plan["adapting"], restoring, plan["restoring"], total / spent)
    return [table]
