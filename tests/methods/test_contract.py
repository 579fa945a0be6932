"""What every method promises, checked for each row of the table, and for a toy that is one file and one row."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from small_networks import randomised
from torch import Tensor, nn

from deblurcli import methods
from deblurcli.adaptation import camera, update
from deblurcli.adaptation.translation import Translation
from deblurcli.adaptation.update import OUT_OF_MEMORY
from deblurcli.adaptation.work import Clip
from deblurcli.console import Reporter, Silent
from deblurcli.errors import UsageError
from deblurcli.files import OutputFile
from deblurcli.jobs.result import Result
from deblurcli.jobs.video import VideoJob
from deblurcli.media.clips import ClipWriter
from deblurcli.media.footage import VideoFootage
from deblurcli.methods import METHODS, Entry, method_options, prepare
from deblurcli.networks import NETWORKS
from deblurcli.optimiser import Muon
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.video import VideoOptions
from deblurcli.progress import Progress
from deblurcli.restore.worker import Worker
from deblurcli.synth.pairs import shaken
from deblurcli.weights.save import save_network

TOY = '''
"""A toy: the network learns to brighten the first frame. What differs from a paper: there is none."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass

import torch

from deblurcli.adaptation.guard import Diverged
from deblurcli.adaptation.outcome import Outcome, PreparedNetwork
from deblurcli.adaptation.survey import unit
from deblurcli.adaptation.update import undone_without_memory, update
from deblurcli.adaptation.work import Work
from deblurcli.options.option import Options, option


@dataclass(frozen=True)
class ToyOptions(Options):
    steps: int = option(2, help="Updates.", least=0)
    toy_rate: float = option(1e-3, help="Rate.", above=0, below=1)
    adapt_per: str = option("video", help="One adaptation for each.", choices=("video", "shot"))

    @property
    def updates(self):
        return self.steps


def stages(spec, options, clip):
    return {"adapting": Work(updated=options.steps * clip.pixels)}


def prepare(network, footages, options, worker):
    outcome, pieces = Outcome("toy", losses={"losses": []}, work=f"{options.steps} steps on a frame"), [1]
    module, started = copy.deepcopy(network.module).requires_grad_(True), time.monotonic()

    def losses(step):
        for piece in frame.chunk(pieces[-1], -1):
            yield (1 - module(piece)).square().mean() / pieces[-1]

    def smaller():
        pieces.append(2 * pieces[-1])
        return pieces[-1] <= 4

    try:
        with undone_without_memory():
            frame = unit(next(footages[0].previews()))[None]
            optimiser = torch.optim.Adam(module.parameters(), lr=options.toy_rate)
            update(
                optimiser, options.steps, losses,
                trace=outcome.losses["losses"], smaller=smaller, console=worker.console,
            )
    except Diverged as error:
        outcome.kept, outcome.reason = False, str(error)
    outcome.seconds = time.monotonic() - started
    return PreparedNetwork(network, worker.tile, outcome, module if outcome.kept else None)
'''

SMALL: dict[str, dict[str, Any]] = {
    "meta": {"patches": 2, "patch_size": 128, "steps": 2, "rate": 1e-3, "guard": "off"},
    "tta": {"steps": 2, "rate": 1e-3, "tta_frames": 2},
    "reblur2deblur": {"patches": 2, "patch_size": 128, "steps": 2, "rate": 1e-3, "guard": "off", "flow": "dis"},
    "blur2blur": {"patches": 2, "patch_size": 128, "steps": 2, "rate": 1e-3, "guard": "off", "batch": 2},
}
"""Options that make a method quick here; without any, its defaults."""

NAMES = (*METHODS, "toy")
ADAPTING = tuple(name for name in NAMES if name != "none")
STEPS = {"blur2blur": (Translation, "step")}
"""Where a method takes a step, if it is not the shared inner loop."""
SAVES = {"blur2blur": "save_translator"}
"""What a method saves, if it is not the adapted network."""


@pytest.fixture(scope="module", autouse=True)
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One file and one row."""
    folder = tmp_path_factory.mktemp("methods")
    (folder / "toy.py").write_text(TOY)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(methods, "__path__", [*methods.__path__, str(folder)])
        options = importlib.import_module("deblurcli.methods.toy").ToyOptions
        patched.setitem(METHODS, "toy", Entry("toy", options, per=("video", "shot")))
        yield
    del sys.modules["deblurcli.methods.toy"]


@pytest.fixture(scope="module", autouse=True)
def short_fit() -> Iterator[None]:
    """A camera that fits the video roughly is enough here."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(camera, "STEPS", 10)
        yield


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of weights that change every picture."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    config = {"width": 16, "deep_width": 16, "blocks": [1, 1, 1], "fold": 4, "scales": 1}
    module = randomised(NETWORKS["plain-unet"].build(**config), 1, 0.3)
    save_network(path, module, network="plain-unet", config=config, card={})
    return str(path)


@pytest.fixture(scope="module")
def worker() -> Worker:
    return Worker(ComputeOptions(device="cpu", dtype="fp32", tile="off"))


def shot(seed: int) -> list[Tensor]:
    """Seven frames, 3 x 128 x 128, of soft shapes shaken by hand; with another seed, of others, dark and grey."""
    coarse = torch.rand(1, 3, 18, 18, generator=torch.Generator().manual_seed(seed))
    picture = nn.functional.interpolate(coarse, size=(192, 192), mode="bicubic")[0].clamp(0, 1)
    picture = picture if not seed else picture.mean(0, keepdim=True).expand(3, -1, -1) * 0.4
    return [blurred for blurred, _ in shaken(picture, 7, 25, 8, seed, 3.5, 0.0)]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A shot, another, and both in one file."""
    folder = tmp_path_factory.mktemp("clips")
    found = {}
    for name, frames in (("one", shot(0)), ("other", shot(1)), ("both", shot(0) + shot(1))):
        found[name] = folder / f"{name}.mkv"
        with OutputFile(found[name]) as file, ClipWriter(file, Fraction(25)) as writer:
            for frame in frames:
                writer.write(frame)
    return found


class Told(Silent):
    """Remembers all progress."""

    every = 0.0

    def __init__(self) -> None:
        self.told: list[Progress] = []

    def progress(self, now: Progress) -> None:
        self.told.append(now)


Run = Callable[..., tuple[Result, Tensor]]


@pytest.fixture
def run(network: str, worker: Worker, tmp_path: Path, clips: dict[str, Path]) -> Run:
    """A method on a clip, with options of the method or the job: the result, and the restored frames."""
    job_fields = {field.name for field in fields(VideoOptions)}

    def restored(method: str, clip: str = "one", **changed: Any) -> tuple[Result, Tensor]:
        given = {"network": network} | {k: v for k, v in changed.items() if k in job_fields}
        own = SMALL.get(method, {}) | {k: v for k, v in changed.items() if k not in job_fields}
        out = tmp_path / "out.mkv"
        options = VideoOptions(method=method, codec="ffv1", overwrite=True, **given)
        job = VideoJob(clips[clip], out, options, method_options(method, own), ComputeOptions())
        result = job.run(worker)
        return result, torch.stack(list(VideoFootage(out).pictures()))

    return restored


@pytest.fixture
def plain(run: Run) -> Tensor:
    return run("none")[1]


@pytest.mark.parametrize("name", NAMES)
def test_options_of_another_method_are_refused_by_name(name: str) -> None:
    own = {field.name for field in fields(METHODS[name].options)}
    others = {field.name for entry in METHODS.values() for field in fields(entry.options)} - own
    assert others
    for option in others:
        with pytest.raises(UsageError, match=f"--{option.replace('_', '-')} means nothing to --method {name};.*give"):
            method_options(name, {option: 1})
    with pytest.raises(UsageError, match="--nonsense means nothing"):
        method_options(name, {"nonsense": 1})


@pytest.mark.parametrize("name", ADAPTING)
def test_equal_runs_give_equal_frames_and_say_what_they_did(name: str, run: Run, plain: Tensor) -> None:
    (result, frames), (_, again) = run(name), run(name)
    assert torch.equal(frames, again) and not torch.equal(frames, plain) and result.differences == []
    (record,) = result.facts["adaptations"]
    assert record["method"] == name and record["kept"] and record["seconds"] > 0
    losses = [values for key, values in record.items() if key.endswith("losses")]
    assert {len(values) for values in losses if values} == {SMALL.get(name, {"steps": 2})["steps"]}
    json.dumps(result.facts)
    began = ("adapted: ", "translated: ")
    assert any(line.startswith(began) for line in result.lines) and not any("\n" in line for line in result.lines)


@pytest.mark.parametrize("name", NAMES)
def test_a_run_goes_through_the_stages_of_its_method_and_ends_in_plain_words(
    name: str, clips: dict[str, Path], network: str, tmp_path: Path
) -> None:
    sink, compute = Told(), ComputeOptions(device="cpu", dtype="fp32", tile="off")
    worker = Worker(compute, Reporter(sink))
    chosen, options = (
        method_options(name, SMALL.get(name, {})),
        VideoOptions(method=name, network=network, codec="ffv1"),
    )
    result = VideoJob(clips["one"], tmp_path / "out.mkv", options, chosen, compute).run(worker)
    of_run = [each for each in sink.told if each.run is not None]
    placed = worker.place(network, "video", "deblur")
    before = [stage for stage in methods.stages(placed.spec, chosen, Clip(7, 128, 128)) if stage != "restoring"]
    named = [*before, "restoring", "finishing"]
    seen = dict.fromkeys(each.task for each in of_run if each.task in named)
    assert list(seen) == named and {each.run.stages for each in of_run if each.run} == {len(named)}
    assert all(0 < each.run.stage <= len(named) for each in of_run if each.run)
    first, second, *_ = result.summary
    assert first.startswith("The result is ") and result.facts["sharpness"]["frames"] == 7
    assert ("Nothing was adapted" in second) == (name == "none") and "deblur compare" in result.summary[-1]


@pytest.mark.parametrize("name", [name for name in ADAPTING if name not in SAVES])
def test_what_is_saved_restores_the_same_frames(name: str, run: Run, tmp_path: Path) -> None:
    saved = tmp_path / "adapted.safetensors"
    result, frames = run(name, save_adapted=saved)
    assert str(saved) in " ".join(result.lines)
    _, again = run("none", network=str(saved))
    assert torch.equal(frames, again)


def without_memory(message: str) -> Callable[..., None]:
    """A stand-in for the gradients of a loss."""

    def fails(loss: Tensor, **_: Any) -> None:
        raise RuntimeError(message)

    return fails


@pytest.mark.parametrize("name", ADAPTING)
def test_memory_that_runs_out_once_is_survived_with_smaller_pieces(
    name: str, run: Run, plain: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, step = STEPS.get(name, (update, "_summed_gradients"))
    tried, gradients = [], getattr(owner, step)

    def fails_first(*args: Any) -> Any:
        tried.append(1)
        if len(tried) > 1:
            return gradients(*args)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Tensor, "backward", without_memory("could not create a primitive"))
            return gradients(*args)

    monkeypatch.setattr(owner, step, fails_first)
    result, frames = run(name)
    (record,) = result.facts["adaptations"]
    assert record["kept"] and result.differences == [] and not torch.equal(frames, plain)
    assert len(tried) == 3, "two steps, one of them tried again"


@pytest.mark.parametrize("name", ADAPTING)
def test_an_adaptation_without_memory_is_undone_said_and_not_saved(
    name: str, run: Run, plain: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tensor, "backward", without_memory("CUDA out of memory"))
    saved = tmp_path / "adapted.safetensors"
    result, frames = run(name, **{SAVES.get(name, "save_adapted"): saved})
    (record,) = result.facts["adaptations"]
    assert not record["kept"] and record["reason"] == OUT_OF_MEMORY and torch.equal(frames, plain)
    assert not saved.exists() and any("memory ran out" in said for said in result.differences)
    assert any("was not written" in said for said in result.differences)


@pytest.mark.parametrize("name", ADAPTING)
def test_numbers_that_are_not_finite_are_undone(
    name: str, run: Run, plain: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, broken = {kind: kind.step for kind in (torch.optim.Adam, Muon)}, []

    def breaks(self: torch.optim.Optimizer, *args: Any) -> None:
        steps[type(self)](self, *args)
        if isinstance(self, Muon) or self.defaults["betas"] != (0.8, 0.99):  # not that of the camera
            broken.append(1)
            with torch.no_grad():
                self.param_groups[0]["params"][0].fill_(float("nan"))

    for kind in steps:
        monkeypatch.setattr(kind, "step", breaks)
    result, frames = run(name)
    (record,) = result.facts["adaptations"]
    assert broken and not record["kept"] and "nan" in record["reason"] and torch.equal(frames, plain)
    assert any(line.startswith(("adaptation undone", "translation undone")) for line in result.lines)


@pytest.mark.parametrize("name", ADAPTING)
def test_each_part_that_the_table_names_is_adapted_to(
    name: str, run: Run, network: str, worker: Worker, clips: dict[str, Path]
) -> None:
    per = METHODS[name].per
    if len(per) == 1:
        return
    choices = next(f for f in fields(METHODS[name].options) if f.name == "adapt_per").metadata["option"].choices
    assert choices == per and per[0] == "video"
    if "shot" in per:
        result, frames = run(name, "both", adapt_per="shot")
        (_, one), (_, other) = run(name, "one"), run(name, "other")
        assert len(result.facts["adaptations"]) == 2 and torch.equal(frames, torch.cat([one, other]))
    if "frame" in per:
        options = method_options(name, SMALL[name] | {"adapt_per": "frame"})
        placed = worker.place(network, "video", "deblur")
        first, second = shot(0)[:2]
        both, alone = (prepare(placed, [VideoFootage(clips["one"])], options, worker) for _ in range(2))
        both([first])
        assert torch.equal(both([second]), alone([second])) and both.outcome.facts["adaptations"] == 2
    for unit in per[1:]:
        with pytest.raises(UsageError, match=f"--save-adapted with --adapt-per {unit}"):
            run(name, adapt_per=unit, save_adapted=Path("adapted.safetensors"))


@pytest.mark.parametrize("name", NAMES)
def test_a_prepared_method_is_a_restorer_with_a_state(
    name: str, network: str, worker: Worker, clips: dict[str, Path]
) -> None:
    placed = worker.place(network, "video", "deblur")
    before = {key: value.clone() for key, value in placed.module.state_dict().items()}
    prepared = prepare(placed, [VideoFootage(clips["one"])], method_options(name, SMALL.get(name, {})), worker)
    assert prepared.window == 1 and (prepared.outcome is None) == (name == "none")
    restored = prepared([shot(0)[0]])
    assert restored.shape == (3, 128, 128) and restored.dtype == torch.float32
    assert float(restored.min()) >= 0 and float(restored.max()) <= 1
    state = prepared.state()
    assert before.keys() <= state.keys() and all(value.dtype == torch.float32 for value in state.values())
    assert all(torch.equal(placed.module.state_dict()[key], value) for key, value in before.items()), "shared by all"
    assert not any(parameter.requires_grad for parameter in placed.module.parameters())
