"""What the tests of the command line share: a fake Python interface behind it, and a folder with files."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

import deblurcli


@pytest.fixture
def api(monkeypatch):
    """A module in the place of `deblurcli.api`; its functions note their calls."""
    fake = ModuleType("deblurcli.api")
    fake.calls = []

    def restore(source, destination, *, report, **keywords):
        fake.calls.append((source, destination, keywords))
        destination.write_text(f"restored {source.name}")
        return SimpleNamespace(
            destination=destination, differences=[], lines=["restored 3 frames"], facts={"frames": 3}
        )

    fake.deblur_video = fake.deblur_image = restore
    monkeypatch.setitem(sys.modules, "deblurcli.api", fake)
    monkeypatch.setattr(deblurcli, "api", fake, raising=False)
    return fake


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "b.MOV", "notes.txt"):
        Path(name).touch()
    return tmp_path
