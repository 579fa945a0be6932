"""An adaptation that is interrupted between two steps goes on from there, to the same frames."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from clips import read_planes
from end_to_end import contents, deblur, small_network
from interrupted import eventful
from torch import nn

from deblurcli.adaptation import unfinished
from deblurcli.adaptation.guard import Guard
from deblurcli.adaptation.unfinished import Unfinished
from deblurcli.adaptation.update import update
from deblurcli.console import Reporter
from deblurcli.weights.state import read_state

STEPS, STOPPED = 6, 4
PATCHES = ["--patches", "2", "--patch-size", "64"]
METHODS = {
    "meta": ["--method", "meta", *PATCHES, "--guard", "off", "--rate", "0.0005"],
    "meta, guarded": ["--method", "meta", *PATCHES, "--guard", "pairs", "--rate", "0.0005"],
    "reblur2deblur": ["--method", "reblur2deblur", *PATCHES, "--guard", "off", "--crop", "64", "--rate", "0.0005"],
    "tta": ["--method", "tta", "--adapt-per", "video", "--tta-frames", "2"],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    eventful(folder / "in.mkv")
    small_network(folder / "small.safetensors", 0.02)
    return folder


def command(made: Path, out: Path, method: str) -> list[object]:
    common = ["--network", made / "small.safetensors", "--tile", "off", "--dtype", "fp32"]
    return ["video", made / "in.mkv", "-o", out, *common, *METHODS[method], "--steps", STEPS]


def stopped(monkeypatch: pytest.MonkeyPatch, at: int | None) -> list[int]:
    """Let the steps be put down each time, and Ctrl-C come after the ``at``-th; the steps that are taken."""
    taken: list[int] = []
    put_down = Unfinished.put_down

    def watched(self: Unfinished, steps: int, *about: object) -> None:
        taken.append(steps)
        put_down(self, steps, *about)  # type: ignore[arg-type]
        if steps == at:
            raise KeyboardInterrupt

    monkeypatch.setattr(Unfinished, "put_down", watched)
    monkeypatch.setattr(unfinished, "SECONDS", 0.0)
    return taken


@pytest.mark.parametrize("method", METHODS)
def test_it_goes_on_after_its_latest_step(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], method: str
) -> None:
    whole, out = tmp_path / "whole.mkv", tmp_path / "out.mkv"
    assert deblur(*command(made, whole, method), "-q") == 0
    with pytest.MonkeyPatch.context() as patch:
        taken = stopped(patch, STOPPED)
        assert deblur(*command(made, out, method)) == 130
    assert taken == list(range(1, STOPPED + 1))
    assert "the steps of adapting so far; the same command goes on from there" in capsys.readouterr().err
    assert sorted(contents(out.with_name(f".{out.name}.part"))) == ["journal.json", "unfinished-00000.safetensors"]
    with pytest.MonkeyPatch.context() as patch:
        taken = stopped(patch, None)
        assert deblur(*command(made, out, method)) == 0
    assert taken == list(range(STOPPED + 1, STEPS + 1))
    said = capsys.readouterr().err
    assert "a run was interrupted; going on with its steps of adapting" in said
    assert f"going on after {STOPPED} steps of adapting" in said
    assert read_planes(out) == read_planes(whole)
    assert not out.with_name(f".{out.name}.part").exists()


def test_what_is_damaged_is_told_and_done_again(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, out = tmp_path / "whole.mkv", tmp_path / "out.mkv"
    assert deblur(*command(made, whole, "meta"), "-q") == 0
    with pytest.MonkeyPatch.context() as patch:
        stopped(patch, STOPPED)
        assert deblur(*command(made, out, "meta"), "-q") == 130
    state = out.with_name(f".{out.name}.part") / "unfinished-00000.safetensors"
    content = bytearray(state.read_bytes())
    content[-9] ^= 1
    state.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        taken = stopped(patch, None)
        assert deblur(*command(made, out, "meta")) == 0
    assert taken == list(range(1, STEPS + 1))
    assert "what was kept of the adaptation is damaged, its steps are taken anew" in capsys.readouterr().err
    assert read_planes(out) == read_planes(whole)


def test_other_options_are_refused_and_nothing_is_lost(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.mkv"
    with pytest.MonkeyPatch.context() as patch:
        stopped(patch, STOPPED)
        assert deblur(*command(made, out, "meta"), "-q") == 130
    before = contents(out.with_name(f".{out.name}.part"))
    assert deblur(*command(made, out, "meta"), "--seed", "5", "-q") == 2
    assert "had --seed 43, now 5" in capsys.readouterr().err
    assert contents(out.with_name(f".{out.name}.part")) == before


def test_the_guard_remembers_what_it_saw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of one piece and one of two end with the same weights, looks and draws, best ones included."""
    monkeypatch.setattr(unfinished, "SECONDS", 0.0)
    gains = iter([0.5, 0.9, 0.5, 0.9, 0.8])

    def course(path: Path | None, stop: int | None) -> tuple[Guard, nn.Module]:
        torch.manual_seed(1)
        module = nn.Linear(3, 3)
        start = {name: value.clone() for name, value in module.state_dict().items()}
        guard = Guard(module, lambda _: next(gains), start, 0.1)
        optimiser = torch.optim.Adam(module.parameters(), 0.1)
        trace: list[float] = []
        kept = Unfinished(path, {"module": module}, None, {"loss": trace}, lambda: False, Reporter.silent())

        def losses(step: int) -> list[torch.Tensor]:
            if step == stop:
                raise KeyboardInterrupt
            return [module(torch.rand(2, 3)).square().mean()]

        try:
            update(optimiser, 60, losses, guard=guard, trace=trace, unfinished=kept)
        except KeyboardInterrupt:
            return guard, module
        assert len(trace) == 60
        return guard, module

    gains = iter([0.5, 0.9, 0.8])
    whole, last = course(None, None)
    gains = iter([0.5, 0.9])
    course(tmp_path / "a.safetensors", 45)
    assert read_state(tmp_path / "a.safetensors")[0]["steps"] == 45
    gains = iter([0.8])
    again, other = course(tmp_path / "a.safetensors", None)
    assert (again.looks, again.best, again.best_step) == (whole.looks, 0.9, 40)
    for kind in ("weights", "latest"):
        one, two = getattr(whole, kind), getattr(again, kind)
        assert all(torch.equal(one[name], two[name]) for name in one)
    assert all(torch.equal(a, b) for a, b in zip(last.parameters(), other.parameters(), strict=True))


def test_smaller_pieces_are_not_put_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfinished, "SECONDS", 0.0)
    module, reduced = nn.Linear(2, 2), [False]
    optimiser = torch.optim.Adam(module.parameters())
    kept = Unfinished(tmp_path / "a", {"m": module}, None, {}, lambda: reduced[0], Reporter.silent())
    kept.put_down(1, optimiser, None)
    assert (tmp_path / "a").exists()
    reduced[0] = True
    kept.put_down(2, optimiser, None)
    assert not (tmp_path / "a").exists()


def test_what_cannot_be_written_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module = nn.Linear(2, 2)
    optimiser = torch.optim.Adam(module.parameters())
    kept = Unfinished(tmp_path / "gone" / "a", {"m": module}, None, {}, lambda: False, Reporter())
    for steps in (1, 2):
        kept.saved = -1e9
        kept.put_down(steps, optimiser, None)
    assert capsys.readouterr().err.count("the adaptation under way cannot be kept") == 1
