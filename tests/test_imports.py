"""The rings of the program: imports run one way, without circles, and heavy libraries load late."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from sources import (
    MODULES,
    NAMES,
    PACKAGE,
    Import,
    circle,
    dotted,
    graph,
    imports,
    layer_of,
    loaded_at_once,
    own,
    parse,
    target,
)

# From the outermost ring to the innermost; a module imports its own package and later lines.
RINGS = [
    {"cli"},
    {"api"},
    {"jobs"},
    {"methods", "train", "reports"},
    {"adaptation"},
    {"restore"},
    {"datasets"},
    {"media", "weights"},
    {"synth", "metrics", "losses", "optimiser", "device"},
    {"networks"},
    {"folders"},
    {"options", "console", "files"},
    {"errors", "progress", "texts", "version"},
]
RANK = {name: rank for rank, names in enumerate(RINGS) for name in names}
FACE = ("__init__", "__main__")
"""The public face: anything, on first use."""
HEAVY = {"torch", "av", "cv2", "numpy", "kornia", "safetensors", "huggingface_hub", "matplotlib"}
LIGHT = {"cli", "options", "console", "texts", "progress", "errors", "files", "folders", "version"}
LIGHT_MODULES = (
    *("deblurcli.jobs.batch", "deblurcli.jobs.plan", "deblurcli.media.inputs", "deblurcli.methods"),
    "deblurcli.media.sequences",
    "deblurcli.reports.scores",
)
"""What `deblur --help` loads: rings, and modules of others."""
_WORKER = "deblurcli.restore.worker"
LAZY: dict[str, set[str]] = {
    "cli/__init__.py": {"deblurcli.cli.app"},
    "cli/batch.py": {
        "deblurcli.device",
        "deblurcli.jobs.cluster",
        "deblurcli.jobs.pool",
        "deblurcli.restore.worker",
    },
    "cli/compare.py": {"deblurcli.jobs.compare"},
    "cli/doctor.py": {"deblurcli.jobs.doctor"},
    "cli/evaluate.py": {"deblurcli.jobs.evaluate", "deblurcli.restore.worker"},
    "cli/image.py": {"deblurcli.jobs.image"},
    "cli/inspect.py": {"deblurcli.jobs.inspect", "deblurcli.reports.inspection", "deblurcli.restore.worker"},
    "cli/metrics.py": {"deblurcli.jobs.measure"},
    "cli/moments.py": {"deblurcli.jobs.moments", "deblurcli.restore.worker"},
    "cli/parameters.py": {"deblurcli.weights.registry"},
    "cli/synth.py": {"deblurcli.jobs.synth", "deblurcli.restore.worker"},
    "cli/train.py": {"deblurcli.jobs.chain", "deblurcli.jobs.train"},
    "cli/video.py": {"deblurcli.jobs.video", "deblurcli.media.encoders"},
    "cli/weights.py": {f"deblurcli.weights.{name}" for name in ("describe", "pull", "registry", "store")},
    "jobs/pairs.py": {"deblurcli.media.encoders"},
    "jobs/pool.py": {"deblurcli.restore.worker"},
    "methods/__init__.py": {"deblurcli.adaptation.update"},
    "media/disk_use.py": {"deblurcli.device"},
    "media/frames.py": {"deblurcli.media.colour"},
    "media/reader.py": {"deblurcli.device"},
    "media/trial.py": {"deblurcli.device"},
    "train/material.py": {"deblurcli.train.folder"},
    "train/recipe.py": {"deblurcli.train.recorded"},
    "train/stages/blur2blur.py": {
        "deblurcli.media.images",
        "deblurcli.train.camera_frames",
        "deblurcli.train.kernel_blur",
    },
    "train/stages/hybrid.py": {"deblurcli.train.blurred_clips"},
    "train/stages/meta.py": {"deblurcli.train.recorded_tasks"},
}
"""Modules that import others of the package inside a function, and which. Each keeps `deblur --help` and completion
fast: what does the work is imported by the command that needs it. Opening a video needs no torch, seeing it in RGB
does. A process of a pool learns how many threads it may use before torch is loaded. Training on packed material opens
no media."""

module = pytest.mark.parametrize("path", MODULES, ids=NAMES)
TREES = {dotted(path): parse(path) for path in MODULES}


def uphill(layer: str, found: Import) -> bool:
    """Whether an import leaves its ring outwards, or for its neighbour in the same ring."""
    if not own(found.name):
        return False
    to = found.name.split(".")[1]
    return to != layer and RANK[to] <= RANK[layer]


def lazy_targets(tree: ast.Module, modules: set[str]) -> set[str]:
    return {target(i.name, modules) for i in imports(tree) if i.lazy and own(i.name)}


@module
def test_every_module_has_a_ring(path: Path) -> None:
    assert layer_of(path) in RANK or layer_of(path) in FACE
    assert path.name != "utils.py"


@module
def test_imports_run_one_way(path: Path) -> None:
    if layer_of(path) not in FACE:
        assert not [f"line {i.line}: {i.name}" for i in imports(parse(path)) if uphill(layer_of(path), i)]


def test_no_file_imports_itself_by_a_detour() -> None:
    inner = {name: tree for name, tree in TREES.items() if name not in ("deblurcli", "deblurcli.__main__")}
    edges = graph(TREES)
    assert not circle({name: edges[name] & set(inner) for name in inner})


@module
def test_imports_stand_at_the_top_unless_listed(path: Path) -> None:
    if layer_of(path) not in FACE:
        found = lazy_targets(parse(path), set(TREES))
        assert found == LAZY.get(str(path.relative_to(PACKAGE)), set())


def test_the_list_of_lazy_imports_names_modules_that_exist() -> None:
    assert set(LAZY) <= set(NAMES)


@module
def test_what_help_loads_is_light(path: Path) -> None:
    """Followed through all imports that happen at once."""
    if layer_of(path) in LIGHT:
        assert not loaded_at_once(dotted(path), TREES) & HEAVY


LATE = {
    "kornia": "a second of its own, longer than all of ours; only blur made for training and pairs, and a loss, use it",
    "matplotlib": "an extra, for the picture of `deblur inspect` alone",
}
"""Libraries that no import of ours loads, the Python door's included: what uses them imports them."""


@pytest.mark.parametrize("library", LATE)
def test_what_few_need_is_loaded_late(library: str) -> None:
    assert [name for name in TREES if library in loaded_at_once(name, TREES)] == []


@pytest.mark.parametrize("job", ["train", "chain"])
def test_training_on_packed_material_needs_torch_numpy_and_safetensors_alone(job: str) -> None:
    """A machine with a graphics card may have no more; blur is softened by kornia, which is loaded late."""
    loaded = {name for name in loaded_at_once(f"deblurcli.jobs.{job}", TREES) if not own(name)}
    third = {"av", "cv2", "pyvips", "kornia", "huggingface_hub", "matplotlib", "typer", "rich", "PIL"}
    assert {"torch", "numpy", "safetensors"} <= loaded and not loaded & third


def test_the_rules_can_fail() -> None:
    code = "import av\nfrom deblurcli.media import probe\ndef f():\n  from deblurcli.cli import app\n  import torch"
    av, probe, cli, _ = imports(ast.parse(code))
    assert (av.name, av.lazy, cli.name, cli.lazy) == ("av", False, "deblurcli.cli.app", True)
    assert uphill("media", cli) and uphill("weights", probe) and not uphill("jobs", probe) and not uphill("media", av)
    (typed,) = imports(ast.parse("if TYPE_CHECKING:\n from torch import Tensor"))
    assert typed.typing and not typed.lazy
    sources = {
        "deblurcli.a": "from deblurcli.b import x",
        "deblurcli.b": "def f():\n from deblurcli import c",
        "deblurcli.c": "if TYPE_CHECKING:\n import deblurcli.a",
        "deblurcli": "",
    }
    edges = graph({name: ast.parse(source) for name, source in sources.items()})
    assert circle(edges) == ["deblurcli.a", "deblurcli.b", "deblurcli.c", "deblurcli.a"]
    assert circle({**edges, "deblurcli.c": set()}) == []
    trees = {name: ast.parse(source) for name, source in sources.items()} | {"deblurcli.d": ast.parse(code)}
    trees |= {"deblurcli.media": ast.parse("import torch.nn"), "deblurcli.cli": ast.parse("import json")}
    assert loaded_at_once("deblurcli.d", trees) == {"deblurcli", "deblurcli.d", "deblurcli.media", "av", "torch"}
    assert loaded_at_once("deblurcli.cli", trees) == {"deblurcli", "deblurcli.cli", "json"}
    assert lazy_targets(ast.parse(sources["deblurcli.b"]), set(sources)) == {"deblurcli.c"}
