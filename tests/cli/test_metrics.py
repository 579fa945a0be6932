"""`deblur metrics`: what is measured by default and on request, which files are compared, and the three formats."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
import typer
from clips import make_clip
from commands import fields_of, options_of_command
from parity import NIQE_MODEL as STANDARD
from scenes import blurred, scene
from small_networks import random_lpips as random_network

from benchmarks.niqe_model import write_model
from deblurcli import api, errors
from deblurcli.cli.app import app, run
from deblurcli.jobs.plan import plan
from deblurcli.media.images import Image, read_image, write_image
from deblurcli.media.inputs import IMAGE_SUFFIXES, IMAGES
from deblurcli.metrics import fidelity, naturalness
from deblurcli.metrics.naturalness import FEATURES, NaturalModel
from deblurcli.metrics.perceptual import lpips
from deblurcli.metrics.self_shift import self_shift_score
from deblurcli.options.metrics import LPIPS_TRUNKS, SSIM_MODES, MetricsOptions
from deblurcli.reports.scores import winner
from deblurcli.weights import registry
from deblurcli.weights.save import save_network


def write(path: Path, picture: torch.Tensor) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, Image((picture * 255).round().byte().permute(1, 2, 0).contiguous().numpy()))
    return path


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """sharp/{a,b,c}.png and out/{a,b}.png, as large as NIQE needs; no weights in the cache."""
    monkeypatch.setenv("DEBLUR_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate("abc"):
        picture = scene(seed, 100, 200)
        write(tmp_path / "sharp" / f"{name}.png", picture)
        if name != "c":
            write(tmp_path / "out" / f"{name}.png", blurred(picture, 1))
    return tmp_path


@pytest.fixture
def perceptual(tmp_path: Path) -> Path:
    """A file of LPIPS' network of random weights."""
    path = tmp_path / "alex.safetensors"
    save_network(path, random_network("alex"), network="lpips-alex", config={}, card={}, dtype=torch.float32)
    return path


def answer(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return json.loads(capsys.readouterr().out)


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_options_are_the_fields() -> None:
    ours, fields = options_of_command("metrics"), fields_of(MetricsOptions)
    assert set(ours) == set(fields) | {"restored", "reference", "form"}
    for key, field in fields.items():
        assert "--" + key.replace("_", "-") in ours[key].opts and ours[key].default == field.default


def test_values_reach_the_job_by_their_names(monkeypatch: pytest.MonkeyPatch, pictures: Path) -> None:
    fake: Any = ModuleType("deblurcli.jobs.measure")
    calls: list[Any] = []
    fake.Measurement = lambda options, compare: lambda *files: calls.append((files[:2], options)) or {"frames": 1}
    monkeypatch.setitem(sys.modules, "deblurcli.jobs.measure", fake)
    line = "metrics out/a.png --ssim-mode luma --lpips off --niqe --niqe-mode nafnet --niqe-model m.npz --device cpu"
    assert run([*line.split(), "--per-frame", "--format", "json"]) == 0
    given = {"ssim_mode": "luma", "lpips": "off", "niqe": True, "niqe_mode": "nafnet", "niqe_model": Path("m.npz")}
    given |= {"align": False, "device": "cpu", "per_frame": True}
    assert calls == [((Path("out/a.png"), None), MetricsOptions(**given))]


def test_with_a_reference(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["metrics", "out/a.png", "sharp/a.png", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    one, other = (read_image(pictures / folder / "a.png").rgb() for folder in ("out", "sharp"))
    [item] = json.loads(out)["items"]
    assert item == {"name": "a.png", "psnr": fidelity.psnr(one, other), "ssim": fidelity.ssim(one, other), "frames": 1}
    # Said once, and not at all if it was not wanted or nothing may be said.
    assert err.count("LPIPS is left out") == 1 and "deblur weights pull lpips-alex" in err
    for more in (["--lpips", "off"], ["-q"]):
        assert run(["metrics", "out", "sharp", *more]) == 0
        assert "LPIPS" not in capsys.readouterr().err


@pytest.mark.parametrize("mode", SSIM_MODES)
def test_ssim_by_another_convention(pictures: Path, mode: str) -> None:
    one, other = (read_image(pictures / folder / "a.png").rgb() for folder in ("out", "sharp"))
    found = api.measure("out/a.png", "sharp/a.png", ssim_mode=mode)["ssim"]
    assert found == fidelity.ssim(one, other, mode)
    assert (found == fidelity.ssim(one, other)) == (mode == "channel")


def test_without_one(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["metrics", "out", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert err == ""
    for item, name in zip(found["items"], "ab", strict=True):
        picture = read_image(pictures / "out" / f"{name}.png").rgb()
        score = float(self_shift_score(picture[None]))
        assert item == {"name": f"{name}.png", "niqe": naturalness.niqe(picture), "self_shift": score, "frames": 1}
    assert found["mean"]["niqe"] == pytest.approx(sum(item["niqe"] for item in found["items"]) / 2)
    sharp = api.measure(pictures / "sharp" / "a.png")
    assert sharp["self_shift"] < found["items"][0]["self_shift"]


def test_niqe_on_request_and_by_other_conventions(pictures: Path, tmp_path: Path) -> None:
    picture = read_image(pictures / "out" / "a.png").rgb()
    assert "niqe" not in api.measure("out/a.png", "sharp/a.png")
    assert api.measure("out/a.png", "sharp/a.png", niqe=True)["niqe"] == naturalness.niqe(picture)
    assert api.measure("out/a.png", niqe_mode="nafnet")["niqe"] == naturalness.niqe(picture, mode="nafnet")
    model = NaturalModel(np.zeros(FEATURES), np.eye(FEATURES))
    write_model(tmp_path / "model.npz", model)
    found = api.measure("out/a.png", "sharp/a.png", niqe_model=tmp_path / "model.npz")
    assert found["niqe"] == naturalness.niqe(picture, model) != naturalness.niqe(picture)
    if STANDARD.is_file():
        assert run(["metrics", "out/a.png", "--niqe-model", str(STANDARD)]) == 0
    assert run(["metrics", "out/a.png", "--niqe-model", "out/a.png"]) == errors.WeightsError.code


def test_lpips_on_request(pictures: Path, perceptual: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = (read_image(pictures / folder / "a.png").rgb() for folder in ("out", "sharp"))
    found = api.measure("out/a.png", "sharp/a.png", lpips=str(perceptual))
    assert found["lpips"] == lpips(one, other, random_network("alex")) > 0
    for trunk in LPIPS_TRUNKS:
        assert run(["metrics", "out/a.png", "sharp/a.png", "--lpips", trunk]) == errors.WeightsError.code
        assert f"lpips-{trunk}" in capsys.readouterr().err
    assert run(["metrics", "out/a.png", "sharp/a.png", "--lpips", "gone.safetensors"]) == errors.WeightsError.code
    assert run(["metrics", "out/a.png", "--lpips", str(perceptual)]) == errors.UsageError.code


def test_lpips_by_itself_once_its_weights_are_there(
    pictures: Path, perceptual: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content = perceptual.read_bytes()
    (pictures / "cache").mkdir()
    (pictures / "cache" / "lpips-alex.safetensors").write_bytes(content)
    entry = registry_entry(content)
    known = {**registry.installed().weights, "lpips-alex": entry}
    monkeypatch.setattr(registry, "installed", lambda: registry.Registry(known, {}))
    assert run(["metrics", "out", "sharp"]) == 0
    out, err = capsys.readouterr()
    assert out.split()[:5] == ["PSNR", "dB", "SSIM", "LPIPS", "frames"] and err == ""
    # Damaged ones are an error, not left out in silence.
    (pictures / "cache" / "lpips-alex.safetensors").write_bytes(content[:-8])
    assert run(["metrics", "out", "sharp"]) == errors.WeightsError.code


def registry_entry(content: bytes) -> registry.WeightEntry:
    import hashlib

    digest = hashlib.sha256(content).hexdigest()
    return registry.WeightEntry(
        "lpips-alex", "lpips-alex", "lpips-alex.safetensors", len(content), digest, "BSD", "-", "-"
    )


def test_pictures_that_are_too_small_have_what_can_be_measured(pictures: Path, perceptual: Path) -> None:
    small = write(pictures / "small.png", scene(1, 10, 30))
    assert set(api.measure(small, small, niqe=True, lpips=str(perceptual))) == {"psnr", "frames"}
    assert set(api.measure(small)) == {"self_shift", "frames"}


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DEBLUR_CACHE", str(tmp_path / "cache"))
    return make_clip(tmp_path / "clip.mkv", frames=4)


def test_every_frame(clip: Path, tmp_path: Path) -> None:
    other = make_clip(tmp_path / "other.mkv", frames=4, crf=40, codec="libx264")
    found = api.measure(other, clip, per_frame=True)
    rows = found.pop("per_frame")
    assert [set(row) for row in rows] == [{"psnr", "ssim"}] + [{"psnr", "ssim", "flicker", "flicker_reference"}] * 3
    assert found == api.measure(other, clip)
    for name in ("psnr", "ssim"):
        assert found[name] == pytest.approx(np.mean([row[name] for row in rows]))
    for name in ("flicker", "flicker_reference"):
        assert found[name] == pytest.approx(math.sqrt(np.mean([row[name] ** 2 for row in rows[1:]])))


def test_a_video_by_itself_flickers_along_its_own_motion(clip: Path) -> None:
    found = api.measure(clip)
    assert set(found) == {"self_shift", "flicker", "frames"}  # too small for NIQE
    assert found["flicker"] == api.measure(clip, clip)["flicker_reference"]


def test_csv(pictures: Path, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["metrics", "out", "sharp", "--format", "csv", "-q"]) == 0
    rows = rows_of(capsys.readouterr().out)
    assert [list(row) for row in rows] == [["name", "psnr", "ssim", "frames"]] * 3
    assert [row["name"] for row in rows] == ["a.png", "b.png", "mean"]
    assert float(rows[0]["psnr"]) == api.measure("out/a.png", "sharp/a.png")["psnr"]
    assert [row["frames"] for row in rows] == ["1", "1", "2"]
    assert run(["metrics", str(clip), str(clip), "--format", "csv", "--per-frame", "-q"]) == 0
    rows = rows_of(capsys.readouterr().out)
    assert list(rows[0]) == ["name", "frame", "psnr", "ssim", "flicker", "flicker_reference"]
    assert [(row["name"], row["frame"]) for row in rows] == [("clip.mkv", str(i)) for i in range(4)]
    assert rows[0]["psnr"] == "inf" and rows[0]["flicker"] == "" and float(rows[1]["flicker"]) >= 0


def test_json_of_every_frame(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["metrics", str(clip), str(clip), "--format", "json", "--per-frame", "-q"]) == 0
    found = answer(capsys)
    assert [row["psnr"] for row in found["items"][0]["per_frame"]] == [None] * 4
    assert "per_frame" not in found["mean"] and found["mean"]["frames"] == 4


def test_names_with_commas_stay_whole_in_csv(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(pictures / 'a, "b".png', scene(1, 100, 200))
    assert run(["metrics", 'a, "b".png', "--format", "csv"]) == 0
    assert rows_of(capsys.readouterr().out)[0]["name"] == 'a, "b".png'


def test_patterns_are_matched_by_name(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["metrics", "o?t/*.png", "sharp/*.png", "--format", "csv", "-q"]) == 0
    rows = rows_of(capsys.readouterr().out)
    assert [row["name"] for row in rows] == ["a.png", "b.png", "mean"]
    assert run(["metrics", "out/*.png", "sharp", "--format", "csv", "-q"]) == 0
    assert rows_of(capsys.readouterr().out) == rows


def test_another_suffix_is_the_same_name(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(pictures / "tiff" / "a.tiff", scene(0, 100, 200))
    write(pictures / "tiff" / "b.tiff", scene(1, 100, 200))
    assert run(["metrics", "out", "tiff", "--format", "json", "-q"]) == 0
    found = answer(capsys)
    assert run(["metrics", "out", "sharp", "--format", "json", "-q"]) == 0
    assert found == answer(capsys)
    # Where it is not clear which is meant, none is.
    write(pictures / "tiff" / "a.bmp", scene(0, 100, 200))
    assert run(["metrics", "out", "tiff", "-q"]) == 3


def test_results_are_measured_against_the_folder_that_they_were_made_of(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def saved(name: str, seed: int, **more: Any) -> np.ndarray:
        samples = (scene(seed, 100, 200) * 255).round().byte().permute(1, 2, 0).numpy()
        picture = PIL.Image.fromarray(samples)
        picture.save(pictures / "in" / name, **more)
        return read_image(pictures / "in" / name).samples

    (pictures / "in").mkdir()
    other = PIL.Image.fromarray(np.zeros((100, 200, 3), np.uint8))
    originals = {
        "g.png": saved("g.gif", 0),
        "moving.png": saved("moving.gif", 1, save_all=True, append_images=[other]),
        "v.png": saved("v.avif", 2),
        "two.gif.png": saved("two.gif", 3),
        "two.avif.png": saved("two.avif", 4),
        "same.png": saved("same.gif", 5),
        "same.jpg": saved("same.jpg", 6),
        "exact.bmp": saved("exact.bmp", 7),
    }
    # The names are those that a batch gives.
    planned = plan([str(pictures / "in")], str(pictures / "made") + "/", IMAGES, IMAGE_SUFFIXES)
    assert {out.name for _, out in planned.pairs} == set(originals)
    (pictures / "made").mkdir()
    for name, samples in originals.items():
        write_image(pictures / "made" / name, Image(samples))
    for one, two in (("made", "in"), ("in", "made")):
        assert run(["metrics", one, two, "--format", "json", "-q"]) == 0
        items = answer(capsys)["items"]
        assert len(items) == len(originals)
        for item in items:
            assert item["psnr"] is None or (item["name"] == "same.jpg" and item["psnr"] > 30), item
    assert run(["metrics", "made", "in", "--before", "in", "--format", "json", "-q"]) == 0
    assert [item["before"]["psnr"] for item in answer(capsys)["items"]] == [None] * len(originals)


def test_without_a_twin_it_is_named(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["metrics", "sharp", "out", "-q"]) == 3
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["a.png", "b.png", "mean"]
    assert str(Path("out", "c.png")) in err.splitlines()[0]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["out", "sharp/a.png"], 4),
        (["out/a.png", "sharp/*.png"], 4),
        (["cache"], 4),  # which does not exist
        (["out/*.jpg"], 4),
        (["out/*.jpg", "sharp/*.png"], 4),
        (["out", ""], 2),
        (["", "sharp"], 2),
        (["*/*.png"], 2),  # a.png twice
        (["out", "sharp", "--format", "xml"], 2),
        (["out", "sharp", "--per-frame"], 2),
        (["out", "sharp", "--ssim-mode", "best"], 2),
        (["out", "sharp", "--niqe-mode", "best"], 2),
        (["out", "sharp", "--lpips", ""], 2),
        (["out", "--lpips", "alex"], 2),
        (["out", "--align"], 2),
        (["out", "sharp", "--align", "--ssim-mode", "luma"], 2),
        (["out", "sharp", "--lpips", "vgg"], 6),
        (["out", "--niqe-model", "gone.npz"], 6),
    ],
)
def test_what_is_refused(pictures: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int) -> None:
    assert run(["metrics", *arguments]) == code
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("deblur: ") and "; " in err


def test_an_unknown_option_of_the_api_is_refused(pictures: Path) -> None:
    with pytest.raises(TypeError, match="format"):
        api.measure("out/a.png", format="csv")


def test_the_help_names_every_score() -> None:
    command: Any = typer.main.get_command(app)
    text = command.commands["metrics"].help
    from deblurcli.reports.scores import COLUMNS

    assert all(name in text for name in COLUMNS)


def test_before_and_after(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The input is the more blurred one: the restored one is better by every score against the original."""
    for name in "ab":
        write(pictures / "in" / f"{name}.png", blurred(scene("abc".index(name), 100, 200), 3))
    assert run(["metrics", "out", "sharp", "--before", "in", "--format", "json", "--niqe", "-q"]) == 0
    found = answer(capsys)
    assert [item["before"] for item in found["items"]] == [
        api.measure(f"in/{name}.png", f"sharp/{name}.png", niqe=True) for name in "ab"
    ]
    item = found["items"][0]
    assert item["better"]["psnr"] == item["better"]["ssim"] == found["mean"]["better"]["psnr"] == "after"
    assert item["better"]["niqe"] == ("after" if item["niqe"] < item["before"]["niqe"] else "before")
    assert found["mean"]["before"]["psnr"] == pytest.approx(np.mean([i["before"]["psnr"] for i in found["items"]]))
    with_before = api.measure("out/a.png", "sharp/a.png", before="in/a.png", niqe=True)
    assert with_before == {key: value for key, value in item.items() if key != "name"}


def test_before_and_after_to_read(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(pictures / "in.png", blurred(scene(0, 100, 200), 3))
    assert run(["metrics", "out/a.png", "--before", "in.png"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    scores = [api.measure(path) for path in ("in.png", "out/a.png")]
    assert lines[0] == ["NIQE", "self-shift", "frames"]
    for line, word, found in zip(lines[1:3], ("before", "after"), scores, strict=True):
        assert line == ["a.png", word, f"{found['niqe']:.3f}", f"{found['self_shift']:.2f}", "1"]
    assert lines[3] == ["better", "is", "lower", "lower"]
    better = ["after" if scores[1][key] < scores[0][key] else "before" for key in ("niqe", "self_shift")]
    assert lines[4] == ["better", *better] and better[1] == "after"
    assert run(["metrics", "out/a.png", "--before", "in.png", "--format", "csv"]) == 0
    assert [row["name"] for row in rows_of(capsys.readouterr().out)] == ["a.png before", "a.png after"]


def test_flicker_is_better_the_nearer_it_is_to_the_original() -> None:
    original = {"flicker_reference": 3.0}
    assert winner("flicker", {"flicker": 1.0, **original}, {"flicker": 3.5, **original}) == "after"
    assert winner("flicker", {"flicker": 2.8, **original}, {"flicker": 3.5, **original}) == "before"
    assert winner("flicker", {"flicker": 2.8}, {"flicker": 3.5}) == ""
    assert winner("psnr", {"psnr": 30.0}, {"psnr": 30.0}) == "equal" and winner("tau", {"tau": 1}, {"tau": 2}) == ""


def test_an_input_of_another_length_is_refused(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = make_clip(tmp_path / "short.mkv", frames=3)
    assert run(["metrics", str(clip), "--before", str(short)]) == errors.InputError.code
    assert "short.mkv has 3 frames" in capsys.readouterr().err
