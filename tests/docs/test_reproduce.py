"""The commands that make the papers' tables get as far as their data, and no table is left out."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from documents import ROOT, command_lines, text_of
from end_to_end import deblur

PAGE = ROOT / "docs" / "reproduce.md"
LINES = command_lines(PAGE)
WORK = [line for line in LINES if shlex.split(line)[1] in ("train", "evaluate", "video", "metrics")]
TABLES = {
    "Meta-transferring (BMVC 2022)": ["1", "2"],
    "Clean Images are Hard to Reblur (ICLR 2022)": ["1", "2", "3", "4", "B", "D", "E", "F", "G"],
    "Blur2Blur (CVPR 2024)": ["1", "2", "3", "4"],
    "Reblur2Deblur (ICCP 2018)": ["1", "2", "3", "4", "5"],
}
"""The papers' tables of results and data."""
MISSING_DATA, MISSING_WEIGHTS, OFFLINE = 4, 6, 7


@pytest.mark.parametrize("line", WORK)
def test_a_command_is_stopped_by_missing_data_alone(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Options that do not go together would end with 2 before anything is looked for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEBLUR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DEBLUR_OFFLINE", "1")
    code = deblur(*shlex.split(line)[1:], *([] if " metrics " in line else ["--device", "cpu"]))
    assert code in (MISSING_DATA, MISSING_WEIGHTS, OFFLINE), line
    assert not list(tmp_path.rglob("*.safetensors"))


def test_options_that_do_not_go_together_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError):
        test_a_command_is_stopped_by_missing_data_alone(
            "deblur train meta --pairs G/ --layout gopro --reblur a.pth --iterations 1 --out o", tmp_path, monkeypatch
        )


@pytest.mark.parametrize("paper", TABLES)
def test_every_table_is_there(paper: str) -> None:
    text = text_of(PAGE)
    assert f"## {paper}" in text
    section = text.partition(f"## {paper}")[2].partition("\n## ")[0]
    named = {n for found in re.findall(r"\*\*Tables? ([^*]+)\*\*", section) for n in re.findall(r"\b[0-9A-G]\b", found)}
    assert named == set(TABLES[paper])


def test_there_are_commands_for_every_paper() -> None:
    sections = text_of(PAGE).split("\n## ")[1:]
    assert len(sections) == len(TABLES) and all(section.count("\ndeblur ") >= 4 for section in sections)
