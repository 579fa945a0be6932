"""The rows of --quality: what they set, what counts more, and what the documents say of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from deblurcli.errors import UsageError
from deblurcli.methods import METHODS, method_options
from deblurcli.options.image import ImageOptions
from deblurcli.options.quality import IMAGE_QUALITIES, VIDEO_QUALITIES, method_settings
from deblurcli.options.video import VideoOptions
from deblurcli.weights import choose, registry, store

DOCUMENT = Path(__file__).parents[2] / "docs" / "methods.md"


@pytest.mark.parametrize(
    ("given", "method", "network"),
    [
        ({}, "meta", "default"),
        ({"quality": "fast"}, "none", "plain-unet"),
        ({"quality": "fast", "method": "tta"}, "tta", "plain-unet"),
        ({"quality": "fast", "network": "default"}, "none", "default"),
        ({"quality": "best"}, "meta", "best"),
        ({"quality": "best", "method": "none", "network": "a.safetensors"}, "none", "a.safetensors"),
    ],
)
def test_an_option_that_is_given_counts_more_than_the_row(given: dict[str, Any], method: str, network: str) -> None:
    options = VideoOptions(**given)
    assert (options.method, options.network) == (method, network)


def test_the_rows_of_images() -> None:
    assert [ImageOptions(quality=word).network for word in IMAGE_QUALITIES] == ["default", "default", "best"]
    assert ImageOptions(quality="best", network="nafnet-w32").network == "nafnet-w32"


def test_a_row_sets_the_options_of_its_own_method_alone() -> None:
    assert method_settings("best", "meta") == {"patches": 24, "steps": "100"}
    assert (
        method_settings("best", "tta") == method_settings("fast", "none") == method_settings("balanced", "meta") == {}
    )
    for quality, row in VIDEO_QUALITIES.items():
        assert isinstance(
            method_options(row["method"], method_settings(quality, row["method"])), METHODS[row["method"]].options
        )


def test_an_unknown_quality_is_refused() -> None:
    with pytest.raises(UsageError, match="--quality superb is unknown; give one of fast, balanced, best"):
        VideoOptions(quality="superb")


def test_best_is_the_first_of_its_list_that_is_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DEBLUR_CACHE", str(tmp_path))
    assert choose.resolved("best", "video", "deblur") == "video-unet"
    assert choose.resolved("best", "image", "deblur") == "plain-unet"
    known = {row.entry.name: row for row in store.listing()}
    here = [store.Row(known[name].entry, "cached", tmp_path) for name in ("mimo-unet-plus", "nafnet-w32", "srn")]
    monkeypatch.setattr(choose, "listing", lambda: here)
    assert choose.resolved("best", "video", "deblur") == "nafnet-w32"
    assert set(choose.BEST) <= set(registry.installed().weights)


def test_the_document_has_every_row() -> None:
    section = DOCUMENT.read_text().partition("## Quality")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)`[^|]*\|(.*)$", section, re.MULTILINE))
    assert set(rows) == set(VIDEO_QUALITIES) == set(IMAGE_QUALITIES)
    for word, row in VIDEO_QUALITIES.items():
        for name, value in row.items():
            assert f"`--{name} {value}`" in rows[word]
        assert f"`--network {IMAGE_QUALITIES[word]['network']}`" in rows[word].rsplit("|", 2)[1]
