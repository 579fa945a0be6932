"""What the tests of the command line share: fake jobs behind it, and a folder with files."""

from __future__ import annotations

import sys
from dataclasses import make_dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from fake_jobs import FIELDS, Worker, result


@pytest.fixture
def jobs(monkeypatch):
    """What stands in the place of the jobs: `calls` has the jobs that ran; their `run(job, worker)` can be changed."""
    fake = SimpleNamespace(calls=[], workers=[])

    def run(job, worker):
        fake.calls.append(job)
        fake.workers.append(worker)
        job.destination.write_text(f"restored {job.source.name}")
        return result(job.destination, lines=["restored 3 frames"], facts={"frames": 3})

    def module(name, **contents):
        made = ModuleType(name)
        vars(made).update(contents)
        monkeypatch.setitem(sys.modules, name, made)

    def job(name):
        return make_dataclass(
            name, FIELDS[name], frozen=True, namespace={"run": lambda self, worker: fake.run(self, worker)}
        )

    def train(stage, options, compute, console, command):
        return fake.train(stage, options, compute, console, command)

    fake.run, fake.train, fake.measure, fake.findings = run, None, None, lambda: []
    module("deblurcli.restore.worker", Worker=Worker)
    module("deblurcli.jobs.video", VideoJob=job("VideoJob"))
    module("deblurcli.jobs.image", ImageJob=job("ImageJob"))
    module("deblurcli.jobs.synth", SynthJob=job("SynthJob"))
    module("deblurcli.jobs.train", run=train)
    module("deblurcli.jobs.doctor", findings=lambda: fake.findings(), speeds=lambda console: [("speed", "fast")])
    module(
        "deblurcli.jobs.measure",
        Measurement=lambda options, compare: lambda a, b, report, *_: fake.measure(a, b),
        AUTOMATIC="lpips-alex",
        lpips_is_here=lambda: True,
    )
    return fake


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "b.MOV", "notes.txt"):
        Path(name).touch()
    return tmp_path
