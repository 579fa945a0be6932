"""The Python door: every option of a command is a keyword, under its name and with its default."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import deblurcli
from deblurcli import api
from deblurcli.cli.video import Together
from deblurcli.methods import METHODS
from deblurcli.options.chain import ChainOptions
from deblurcli.options.compare import CompareOptions
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.evaluate import EvaluateOptions
from deblurcli.options.image import ImageOptions
from deblurcli.options.metrics import MetricsOptions
from deblurcli.options.moments import FramesOptions, StillOptions
from deblurcli.options.survey import SurveyOptions
from deblurcli.options.synth import SynthOptions
from deblurcli.options.train import STAGES
from deblurcli.options.tta import TtaOptions
from deblurcli.options.video import VideoOptions

METHOD_OPTIONS = [entry.options for entry in METHODS.values()]
PLUMBING = {
    *("source", "destination", "restored", "reference", "pictures", "stage", "command", "dataset"),
    *("worker", "console"),
}


def names(*kinds: Any) -> set[str]:
    return {field.name for kind in kinds for field in dataclasses.fields(kind)}


@pytest.mark.parametrize(
    ("function", "options"),
    [
        (api.deblur_video, names(VideoOptions, Together, ComputeOptions, *METHOD_OPTIONS)),
        (api.deblur_image, names(ImageOptions, ComputeOptions) | {"rate", "tta_pixels", "tta_reblur"}),
        (api.take_frames, names(FramesOptions, ComputeOptions, *METHOD_OPTIONS)),
        (api.take_still, names(StillOptions, ComputeOptions, *METHOD_OPTIONS)),
        (api.adapt, names(ComputeOptions, *METHOD_OPTIONS) | {"method", "network"}),
        (api.load, names(ComputeOptions) | {"network"}),
        (api.measure, names(MetricsOptions)),
        (api.evaluate, names(EvaluateOptions, ComputeOptions, *METHOD_OPTIONS)),
        (api.compare, names(CompareOptions) | {"before", "after"}),
        (api.inspect, names(SurveyOptions) | {"translator", "fps", "overwrite", "device"}),
        (api.make_pairs, names(SynthOptions)),
        (api.train_network, names(*STAGES.values()) | {"device", "dtype", "offline"}),
        (api.train_chain, names(ChainOptions) | {"device", "dtype", "offline"}),
    ],
)
def test_keywords_are_the_options(function: Any, options: set[str]) -> None:
    parameters = inspect.signature(function).parameters
    assert set(parameters) - PLUMBING == options
    assert not [p for p in parameters.values() if p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]


@pytest.mark.parametrize(
    ("function", "kinds"),
    [
        (api.deblur_video, [VideoOptions, ComputeOptions]),
        (api.deblur_image, [ImageOptions, ComputeOptions]),
        (api.take_frames, [FramesOptions, ComputeOptions]),
        (api.take_still, [StillOptions, ComputeOptions]),
        (api.measure, [MetricsOptions]),
        (api.evaluate, [EvaluateOptions, ComputeOptions]),
        (api.compare, [CompareOptions]),
        (api.inspect, [SurveyOptions]),
        (api.make_pairs, [SynthOptions]),
        (api.train_chain, [ChainOptions]),
    ],
)
def test_defaults_are_the_options(function: Any, kinds: list[Any]) -> None:
    parameters = inspect.signature(function).parameters
    for kind in kinds:
        for field in dataclasses.fields(kind):
            if field.name in parameters and field.default is not dataclasses.MISSING:
                assert parameters[field.name].default == field.default, field.name


def test_what_methods_and_stages_decide_is_none_by_default() -> None:
    for function, kinds in ((api.deblur_video, METHOD_OPTIONS), (api.train_network, list(STAGES.values()))):
        for name in names(*kinds) - {"data", "out"}:
            assert inspect.signature(function).parameters[name].default is None


def test_public_names_are_listed_and_there() -> None:
    assert dir(deblurcli) == sorted(deblurcli.__all__)
    for name in deblurcli.__all__:
        assert getattr(deblurcli, name) is not None
        assert callable(getattr(deblurcli, name)) or name == "__version__"
    with pytest.raises(AttributeError, match="methd"):
        deblurcli.methd  # noqa: B018


def test_names_survive_the_import_of_everything() -> None:
    """A public function must not be hidden by a package of its name that is imported later."""
    code = (
        "import pkgutil, importlib, deblurcli\n"
        "for m in pkgutil.walk_packages(deblurcli.__path__, 'deblurcli.'):\n"
        "    if not m.name.endswith('__main__'): importlib.import_module(m.name)\n"
        "assert all(callable(getattr(deblurcli, n)) for n in deblurcli.__all__ if n != '__version__')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_package_is_light() -> None:
    code = "import sys, deblurcli; dir(deblurcli); print(sorted({'torch', 'av', 'numpy', 'cv2'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


def test_unknown_stages_and_foreign_options_are_refused(tmp_path: Any) -> None:
    with pytest.raises(deblurcli.DeblurError, match="unknown training stage nix"):
        api.train_network("nix", tmp_path, tmp_path / "run", iterations=1)
    with pytest.raises(deblurcli.DeblurError, match="--inner-steps means nothing to deblur train deblur"):
        api.train_network("deblur", tmp_path, tmp_path / "run", iterations=1, inner_steps=3)
    with pytest.raises(deblurcli.DeblurError, match="budget"):
        api.train_network("deblur", tmp_path, tmp_path / "run")
    assert TtaOptions().steps is None


def test_pairs_make_their_folders(tmp_path: Path) -> None:
    image = np.random.default_rng(1).integers(0, 255, (160, 160, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    result = api.make_pairs(tmp_path / "a.png", tmp_path / "new" / "pairs" / "blurred" / "a.png")
    assert result.destination.exists() and (tmp_path / "new" / "pairs" / "sharp" / "a.png").exists()
