"""Documents are linked to each other, short where they must be, and speak of the present."""

from __future__ import annotations

import re
import tomllib

import pytest
from documents import DOCUMENTS, ROOT, anchors, links, name_of, prose, text_of

HISTORY = re.compile(
    r"\b(version before|earlier version|previous version|used to be|no longer|formerly)\b", re.IGNORECASE
)


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(path):
    for target in links(path):
        file, _, heading = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        assert found.exists(), f"{target} does not exist"
        if heading:
            assert heading in anchors(found), f"{target}: no such heading"


def test_the_readme_leads_to_every_document():
    reached = {(ROOT / target.partition("#")[0]).resolve() for target in links(ROOT / "README.md")}
    assert {path for path in DOCUMENTS if path.name != "README.md"} <= reached | {ROOT / "examples" / "README.md"}


def test_the_readme_is_short():
    assert len(text_of(ROOT / "README.md").splitlines()) <= 130


def test_the_picture_is_there_and_small():
    picture = ROOT / "docs" / "images" / "before-after.jpg"
    assert f"]({name_of(picture)})" in text_of(ROOT / "README.md")
    assert 20_000 < picture.stat().st_size < 300_000


def test_the_readme_s_figures_are_those_of_the_page_on_quality():
    """Both are written by hand when weights change: one was forgotten once."""
    figures = [re.findall(r"\d+\.\d+ dB / 0\.\d{4}", text_of(ROOT / name)) for name in ("README.md", "docs/quality.md")]
    assert len(figures[0]) == 8 and set(figures[0]) <= set(figures[1])


PRESENT = [path for path in DOCUMENTS if name_of(path) not in ("CHANGELOG.md", "benchmarks/README.md")]
"""Benchmarks may say with which version a figure was measured."""


@pytest.mark.parametrize("path", PRESENT, ids=name_of)
def test_a_document_speaks_of_the_present(path):
    assert not HISTORY.findall(prose(path))


def test_the_exit_codes_are_those_of_the_program():
    from deblurcli.errors import EXIT_CODES

    table = re.findall(r"^\| (\d+) \|", text_of(ROOT / "docs" / "scripts.md"), re.MULTILINE)
    assert [int(code) for code in table] == sorted(EXIT_CODES)


def test_every_network_and_every_bundled_file_of_weights_is_described():
    from deblurcli.networks import NETWORKS

    described = text_of(ROOT / "docs" / "networks.md")
    assert [name for name in NETWORKS if f"`{name}`" not in described] == []
    weights = tomllib.loads(text_of(ROOT / "weights.toml"))["weights"]
    described = text_of(ROOT / "docs" / "weights.md")
    assert [name for name, entry in weights.items() if entry.get("bundled") and f"`{name}`" not in described] == []


def test_every_method_and_every_training_stage_has_a_section():
    from deblurcli.methods import METHODS
    from deblurcli.options.train import STAGES

    assert set(METHODS) <= anchors(ROOT / "docs" / "methods.md")
    assert {*STAGES, "chain"} <= anchors(ROOT / "docs" / "training.md")


def test_citation_and_changelog_have_the_version():
    from deblurcli.version import __version__

    assert f"version: {__version__}\n" in text_of(ROOT / "CITATION.cff")
    assert f"## [{__version__}]" in text_of(ROOT / "CHANGELOG.md") and "## [Unreleased]" in text_of(
        ROOT / "CHANGELOG.md"
    )
