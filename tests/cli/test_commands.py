"""The command line: options, messages, exit codes. The jobs behind it are fake ones."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
import warnings
from fractions import Fraction
from pathlib import Path

import pytest
from commands import fields_of, options_of_command
from fake_jobs import FIELDS, result

import deblurcli
from deblurcli import errors
from deblurcli.cli.app import run
from deblurcli.cli.video import Together
from deblurcli.errors import EXIT_CODES, RETRY, SIGNALS
from deblurcli.methods import METHODS
from deblurcli.options.batch import BatchOptions
from deblurcli.options.chain import ChainOptions
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.evaluate import EvaluateOptions
from deblurcli.options.image import ImageOptions
from deblurcli.options.meta import MetaOptions
from deblurcli.options.option import PANELS
from deblurcli.options.synth import SynthOptions
from deblurcli.options.train import STAGES
from deblurcli.options.tta import TtaOptions
from deblurcli.options.video import VideoOptions

ROOT = Path(__file__).parents[2]
COMMANDS = ["video", "image", "frames", "still", "weights", "compare", "metrics", "evaluate", "inspect", "synth"]
COMMANDS += ["train", "doctor"]


def raising(error):
    def function(*_, **__):
        raise error

    return function


# One option = one keyword = one field

TRAINING = STAGES | {"chain": ChainOptions}
OF_METHODS = [entry.options for entry in METHODS.values()]


@pytest.mark.parametrize(
    ("name", "kinds", "without"),
    [
        ("video", (VideoOptions, Together, *OF_METHODS, ComputeOptions, BatchOptions), set()),
        ("image", (ImageOptions, TtaOptions, ComputeOptions, BatchOptions), {"steps", "tta_frames", "adapt_per"}),
        ("evaluate", (EvaluateOptions, *OF_METHODS, ComputeOptions), set()),
        ("synth", (SynthOptions,), set()),
        *((f"train {stage}", (kind, ComputeOptions), {"tile"}) for stage, kind in TRAINING.items()),
    ],
)
def test_options_are_the_fields(name, kinds, without):
    ours, fields = options_of_command(name), fields_of(*kinds)
    assert set(ours) == set(fields) - without
    unless_given = (
        {field for kind in OF_METHODS for field in fields_of(kind)} if name in ("video", "image", "evaluate") else set()
    )
    own = {"start": "from", "reblur_start": "reblur-from"} if name.startswith("train") else {}
    own |= {"data": "sharp"} if name == "train blur2blur" else {}
    for key, param in ours.items():
        flag = "--" + own.get(key, key).replace("_", "-")
        assert flag in param.opts
        assert param.help.startswith(fields[key].metadata["option"].help[:9]) or key in unless_given
        default = fields[key].default
        if key == "crops" and default:
            assert param.default == ",".join(map(str, default))
        elif isinstance(default, Fraction):
            assert Fraction(param.default) == default
        elif key in unless_given:
            assert param.default is None
        else:
            assert param.required if default is dataclasses.MISSING else param.default == default


def test_the_help_of_a_method_s_option_says_whose_it_is():
    ours = options_of_command("video")
    patches = "Sharpest patches of the video to look for. Default: 12 (meta), 12 (reblur2deblur), 24 (blur2blur)."
    assert ours["patches"].help == f"meta, reblur2deblur, blur2blur: {patches}"
    assert "blur2blur: Rate of the critic, and of the translator with it. Default: 0.0002." in ours["rate"].help
    assert "tta: Adam rate of the deblurring network. Default: 8e-6." in ours["rate"].help
    assert ours["adapt_per"].metavar == "video|shot|frame"
    assert "Default: 5." in ours["steps"].help and "divided" not in ours["tta_frames"].help


HELP = ["", *COMMANDS, *(f"train {stage}" for stage in TRAINING), "weights pull", "weights import"]


@pytest.mark.parametrize("name", HELP)
def test_a_help_page_has_headings_and_examples_and_leaks_no_types(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run([*name.split(), "--help"]) == 0
    page = capsys.readouterr().out
    headings = [line[:-1] for line in page.splitlines() if re.match(r"[A-Z].*:$", line)]
    assert [heading for heading in headings if heading in PANELS] == [p for p in PANELS if p in headings]
    assert set(headings) <= {*PANELS, "Commands", "Examples"} and "Messages" in headings
    assert name.startswith("weights ") or headings[-1] == "Examples"
    assert max(map(len, page.splitlines())) <= 80
    assert not re.search(r"TEXT|INTEGER|FLOAT|PATH|list\[|<|\[default|\[required|Default: (None|False|True)", page)


def test_the_help_of_video_has_every_heading(capsys):
    assert run(["video", "--help"]) == 0
    page = capsys.readouterr().out
    assert re.findall(r"^([A-Z].*):$", page, re.MULTILINE) == [*PANELS, "Examples"]


def test_values_reach_the_job_by_their_names(jobs, folder):
    line = "video a.mp4 -o o.mp4 --patches 3 --patch-size 96 --steps 0 --seed 9 --crf 20.5 --tile 64"
    assert run([*line.split(), "--move-deblur-in-cycle", "--codec", "ffv1", "--overwrite"]) == 0
    [job] = jobs.calls
    assert (job.source, job.destination) == (Path("a.mp4"), Path("o.mp4"))
    assert job.options == VideoOptions(crf=20.5, codec="ffv1", overwrite=True)
    assert job.method == MetaOptions(patches=3, patch_size=96, steps=0, seed=9, freeze_deblur_in_cycle=False)
    assert job.compute == ComputeOptions(tile="64") == jobs.workers[0].compute


def test_a_name_of_digits_stays_a_name(jobs, folder):
    """Where a number and a word share an option, the method says which it is; no other text becomes a number."""
    assert run(["video", "a.mp4", "-o", "o.mp4", "--initial", "12", "--steps", "3"]) == 0
    assert jobs.calls[-1].method == MetaOptions(initial="12", steps=3)


@pytest.mark.parametrize(("method", "entry"), METHODS.items())
def test_a_method_gets_its_defaults_and_its_options(jobs, folder, method, entry):
    assert run(["video", "a.mp4", "-o", "o.mp4", "--method", method]) == 0
    assert jobs.calls[-1].method == entry.options()
    if "rate" in fields_of(entry.options):
        assert run(f"video a.mp4 -o o.mp4 --method {method} --rate 1e-7 --steps 3".split()) == 0
        assert jobs.calls[-1].method == entry.options(rate=1e-7, steps=3)


def test_an_image_adapts_as_asked_for(jobs, folder):
    Path("a.png").touch()
    line = "image a.png -o o.png --tta-steps 3 --rate 1e-6 --tta-pixels 5000 --tta-reblur x"
    assert run(line.split()) == 0
    [job] = jobs.calls
    assert job.options == ImageOptions(tta_steps=3)
    assert job.tta == TtaOptions(steps=3, rate=1e-6, tta_pixels=5000, tta_reblur="x")


@pytest.mark.parametrize("name", FIELDS)
def test_the_fake_jobs_are_like_the_jobs(name):
    kind = getattr(importlib.import_module(f"deblurcli.jobs.{name.removesuffix('Job').lower()}"), name)
    assert list(fields_of(kind)) == FIELDS[name] and callable(kind.run)


def test_train_passes_its_options(jobs, folder, capsys):
    calls = []
    jobs.train = lambda *given: calls.append(given) or {}
    line = "train reblur --data photos --out run --iterations 5 --crops 64,96 --from default --device cpu --offline"
    assert run(line.split()) == 0
    [(stage, options, compute, _, command)] = calls
    assert (stage, command) == ("reblur", "deblur " + line)
    assert type(options) is STAGES["reblur"] and compute == ComputeOptions(device="cpu", offline=True)
    assert options.crops == (64, 96) and options.start == "default"
    assert options.network == STAGES["reblur"].network and options.data == Path("photos")
    assert capsys.readouterr().out.strip() == str(Path("run", f"{options.network}.safetensors"))


def test_an_option_with_several_paths_is_repeated(jobs, folder, capsys):
    calls = []
    jobs.train = lambda *given: calls.append(given) or {}
    line = "train hybrid --data photos --out run --iterations 5 --videos a.mp4 --videos blurred"
    assert run(line.split()) == 0
    assert calls[0][1].videos == (Path("a.mp4"), Path("blurred"))
    assert STAGES["hybrid"](data="d", out="o", iterations=1, videos="a.mp4").videos == (Path("a.mp4"),)
    for wrong in ([*line.split()[:-1], ""], line.split()[:-4]):
        assert run(wrong) == 2
        assert "--videos" in capsys.readouterr().err
    assert len(calls) == 1


def test_training_stages_and_their_networks_exist():
    from deblurcli.networks import NETWORKS
    from deblurcli.train import stages

    assert set(STAGES) == set(stages.STAGES)
    roles = {stage: NETWORKS[kind.network].role for stage, kind in STAGES.items()}
    deblurring = dict.fromkeys(("deblur", "hybrid", "joint", "meta", "fusion"), "deblur")
    others = {"module": "reblur-image", "reblur": "reblur", "flow": "flow", "kernel": "kernel"}
    assert roles == deblurring | others | {"blur2blur": "translate"}


# Exit codes and messages

ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.DeblurError)]


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_has_its_code_and_one_line(jobs, folder, capsys, kind):
    jobs.run = raising(kind("a.mp4 is\nodd", "do better"))
    assert run(["video", "a.mp4", "-o", "o.mp4"]) == kind.code
    assert capsys.readouterr() == ("", "deblur: a.mp4 is odd; do better\n")


def test_the_documented_codes_are_the_codes():
    names = "|".join(kind.__name__ for kind in ERRORS)
    assert set(EXIT_CODES) == set(RETRY) == {0, 129, 130, 131, 141, 143} | {kind.code for kind in ERRORS}
    assert set(SIGNALS) < set(EXIT_CODES)
    # No other module has errors of its own, whose codes nobody would find.
    for path in Path(errors.__file__).parent.rglob("*.py"):
        if path.name != "errors.py":
            assert not re.search(rf"^class \w+\((?:\w+\.)?(?:{names})\b", path.read_text(encoding="utf-8"), re.M), path
    guide = (ROOT / "docs" / "scripts.md").read_text(encoding="utf-8").partition("## Exit codes")[2].partition("##")[0]
    table = re.findall(r"^\| (\d+) \| (.*) \| (.*) \|$", guide, re.MULTILINE)
    assert {int(code): meaning for code, meaning, _ in table} == {
        code: meaning[0].lower() + meaning[1:].rstrip(".") for code, meaning in EXIT_CODES.items()
    }
    assert {int(code): retry for code, _, retry in table} == RETRY


def test_an_unexpected_error_is_one_line(jobs, folder, capsys):
    jobs.run = raising(ValueError("odd\nthing"))
    assert run(["video", "a.mp4", "-o", "o.mp4"]) == 1
    err = capsys.readouterr().err
    assert err == "deblur: unexpected error: ValueError: odd thing; run again with --verbose for the traceback\n"


@pytest.mark.parametrize("args", [["-v", "video"], ["video", "-v"]])
def test_verbose_shows_the_traceback(jobs, folder, capsys, args):
    jobs.run = raising(ValueError("odd"))
    assert run([*args, "a.mp4", "-o", "o.mp4"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err and "ValueError: odd" in err


def test_an_interrupt_is_130(jobs, folder, capsys):
    jobs.run = raising(KeyboardInterrupt())
    assert run(["video", "a.mp4", "-o", "o.mp4"]) == 130
    assert capsys.readouterr().err == "deblur: interrupted; run the same command again\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("video -o out.mp4", "no input is given; give files, folders or patterns, or --files-from LIST"),
        ("video a.mp4 -o out.mp4 --sped 3", "see deblur video --help"),
        ("video a.mp4 -o out.mp4 --tta-lr 3", "no such option: --tta-lr; it is called --rate now"),
        ("video a.mp4 -o out.mp4 --deblur-rate=3", "no such option: --deblur-rate; it is called --rate now"),
        ("video a.mp4 -o out.mp4 --tta-per video", "no such option: --tta-per; it is called --adapt-per now"),
        ("video a.mp4 -o out.mp4 --tta-steps 3", "no such option: --tta-steps; it is called --steps now"),
        ("image a.png -o out.png --tta-lr 3", "it is called --rate now"),
        ("metrics a.png --tta-steps 3", "see deblur metrics --help"),
        ("video a.mp4 -o out.mp4 --patches many", "--patches many is not a whole number; give a whole number"),
        ("vidoe a.mp4", "vidoe"),
        ("video a.mp4 -o out", "-o out has no suffix; give a file such as out.mp4, or a folder: out/"),
        ("video a.mp4 -o out.mp4 --method magic", "--method magic is unknown; give one of none, meta"),
        ("video a.mp4 -o out.mp4 --overwrite --skip-existing", "exclude each other"),
        ("video a.mp4 -o out.mp4 --log xml", "--log xml is unknown; give one of text, json"),
        ("--log xml video a.mp4 -o out.mp4", "--log xml is unknown"),
        ("image a.png -o out.png --dtype int8", "--dtype int8 is unknown"),
        (
            "video a.mp4 -o out.mp4 --method tta --patches 3",
            "--patches means nothing to --method tta; leave it out, or",
        ),
        ("video a.mp4 -o out.mp4 --method none --rate 1", "leave it out, or give --method meta or tta"),
        ("video a.mp4 -o out.mp4 --adapt-per frame", "--adapt-per frame is unknown; give one of video, shot"),
        ("video a.mp4 -o out.mp4 --steps -1", "--steps -1 is"),
        ("video a.mp4 -o out.mp4 --steps some", "--steps some is no number of updates; give auto, 0 or more"),
        ("video a.mp4 -o out.mp4 --method tta --steps -1", "--steps -1 is negative"),
        ("image a.png -o out.png --rate 1e-6", "--rate means nothing without --tta-steps"),
        ("train deblur --data d --out o --minutes 1 --inner-steps 3", "train deblur; leave it out, or train meta"),
        ("train meta --data d --out o --minutes 1 --edge-weight=3", "train meta; leave it out, or train reblur"),
        ("clip.mp4", "to restore it, give deblur video clip.mp4\n"),
        ("photo.JPG -o out.png", "to restore it, give deblur image photo.JPG -o out.png\n"),
        ("train deblur --data d --out o --minutes 1 --ring 4", "--ring 4 is too small; give at least 6"),
        ("train deblur --data d --out o", "give --minutes or --iterations"),
        ("train deblur --data d --out o --minutes 1 --crops big", "--crops big is not a list of sizes"),
        (
            "train all --data d --out o --minutes 1",
            "all is unknown; give one of deblur, hybrid, joint, module, meta, fusion, reblur, flow, blur2blur, kernel",
        ),
        ("weights", "see deblur weights --help"),
    ],
)
def test_usage_errors_are_2_and_say_what_to_do(jobs, folder, capsys, line, said):
    assert run(line.split()) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("deblur: ") and err.count("\n") == 1
    assert said in err
    assert not jobs.calls


@pytest.mark.parametrize("given", ["video '' -o out/", "video a.mp4 -o ''"])
def test_unset_variables_of_a_script_are_refused(jobs, folder, capsys, given):
    assert run(["" if word == "''" else word for word in given.split()]) == 2
    assert "empty" in capsys.readouterr().err and not jobs.calls


def test_differences_are_3_and_are_told_even_quietly(jobs, folder, capsys):
    jobs.run = lambda job, worker: result(job.destination, differences=["a stream was lost"])
    assert run(["video", "-q", "a.mp4", "-o", "o.mp4"]) == 3
    assert capsys.readouterr() == ("o.mp4\n", "deblur: o.mp4 is written, but: a stream was lost\n")


# The JSON log


@pytest.mark.parametrize("args", [["--log", "json", "video"], ["video", "--log=json"]])
def test_the_json_log_ends_with_the_exit(jobs, folder, capsys, args):
    assert run([*args, "a.mp4", "-o", "o.mp4"]) == 0
    out, err = capsys.readouterr()
    assert out == "o.mp4\n"
    lines = [json.loads(line) for line in err.splitlines()]
    assert lines.pop(0) | {"elapsed": 0} == {
        **{"type": "progress", "task": "starting", "done": 0, "total": None, "elapsed": 0, "eta": None}
    }
    assert [line["type"] for line in lines] == ["note", "summary", "exit"]
    assert lines[1] == {"type": "summary", "source": "a.mp4", "destination": "o.mp4", "differences": [], "frames": 3}
    assert lines[2] == {"type": "exit", "code": 0, "message": "done"}


@pytest.mark.parametrize("more", [["-o"], ["--nonsense"]])
def test_errors_of_parsing_are_in_the_json_log_too(capsys, more):
    assert run(["video", "--log", "json", "a.mp4", *more]) == 2
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["type"] for line in lines] == ["error", "exit"]
    assert lines[1]["code"] == 2 and lines[0]["message"] == lines[1]["message"]


def test_an_unexpected_error_in_the_json_log(jobs, folder, capsys):
    jobs.run = raising(ValueError("odd"))
    assert run(["video", "--log", "json", "-qv", "a.mp4", "-o", "o.mp4"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["type"] for line in lines] == ["error", "exit"]


@pytest.mark.parametrize(("flags", "seen"), [(["--log", "json"], 0), (["--log", "json", "-v"], 1)])
def test_warnings_of_libraries_are_details(jobs, folder, capsys, flags, seen):
    def restore(job, worker):
        warnings.warn("for developers", UserWarning, stacklevel=1)
        return result(job.destination)

    jobs.run = restore
    assert run(["video", *flags, "a.mp4", "-o", "o.mp4"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["message"] for line in lines if line["type"] == "detail"] == ["UserWarning: for developers"] * seen


# The other commands


def test_without_a_command_there_is_help_and_2(capsys):
    assert run([]) == 2
    out = capsys.readouterr().out
    assert all(f"  {command} " in out for command in COMMANDS)


@pytest.mark.parametrize("command", [[], *([c] for c in COMMANDS), ["weights", "list"], ["weights", "info"]])
def test_help_is_0_on_stdout(capsys, command):
    for flag in ("--help", "-h"):
        assert run([*command, flag]) == 0
        out, err = capsys.readouterr()
        assert out.startswith("Usage: deblur") and err == ""


def test_version(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"deblur {deblurcli.__version__}\n"


def test_doctor_is_a_table(jobs, capsys):
    jobs.findings = lambda: [("device", "cpu fp32"), ("av", "1")]
    assert run(["doctor"]) == 0
    assert capsys.readouterr().out == "device  cpu fp32\nav      1\n"
    jobs.findings = lambda: [("device", "cpu fp32"), ("weights", "a"), ("weights", "b")]
    assert run(["doctor", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"device": "cpu fp32", "weights": ["a", "b"]}


def test_metrics_of_two_files(jobs, folder, capsys):
    jobs.measure = lambda a, b: {"psnr": 31.23456, "ssim": 0.91236, "frames": 12}
    assert run(["metrics", "a.mp4", "b.MOV"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["PSNR", "dB", "SSIM", "frames"]
    assert row.split() == ["a.mp4", "31.235", "0.9124", "12"]


@pytest.fixture
def two_folders(folder):
    for name in ("mine/notes.txt", "mine/1.png", "mine/2.png", "theirs/1.png", "theirs/2.png", "theirs/3.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()


def test_metrics_of_folders_match_by_name(jobs, two_folders, capsys):
    jobs.measure = lambda a, b: (
        {"psnr": 30.0 + 2 * int(a.stem), "ssim": 0.9, "frames": 1} | {} if a.name == b.name else {}
    )
    assert run(["metrics", "mine", "theirs"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert rows == [
        ["1.png", "32.000", "0.9000", "1"],
        ["2.png", "34.000", "0.9000", "1"],
        ["mean", "33.000", "0.9000", "2"],
    ]


def test_metrics_of_folders_in_folders_match_by_their_paths(jobs, folder, capsys):
    for name in ("mine/1.png", "mine/a/1.png", "mine/b/1.png", "theirs/1.png", "theirs/a/1.png", "theirs/b/1.jpg"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    compared = []
    jobs.measure = lambda a, b: compared.append((str(a), str(b))) or {"psnr": 30.0, "frames": 1}
    assert run(["metrics", "mine", "theirs", "--recursive"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert names == ["1.png", *(str(Path(part, "1.png")) for part in "ab"), "mean"]
    wanted = [("1.png", "1.png"), ("a/1.png", "a/1.png"), ("b/1.png", "b/1.jpg")]
    assert compared == [(str(Path("mine", a)), str(Path("theirs", b))) for a, b in wanted]


def test_metrics_for_machines(jobs, two_folders, capsys):
    jobs.measure = lambda a, b: {"psnr": float("inf"), "ssim": 1.0, "frames": 1}
    assert run(["metrics", "mine", "theirs", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["items"][1] == {"name": "2.png", "psnr": None, "ssim": 1.0, "frames": 1}
    assert found["mean"] == {"psnr": None, "ssim": 1.0, "frames": 2}


def test_metrics_go_on_after_a_failure(jobs, two_folders, capsys):
    jobs.measure = lambda a, b: {"psnr": 30.0, "ssim": 0.9, "frames": 1}
    assert run(["metrics", "theirs", "mine", "-q"]) == 3
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["1.png", "2.png", "mean"]
    assert err.splitlines() == [
        f"deblur: {Path('mine', '3.png')} does not exist; check the path",
        "deblur: of 3 files 1 failed; the lines above say why",
    ]
    assert run(["metrics", "theirs", "empty"]) == 4
    assert run(["metrics", "theirs/1.png", "gone.png"]) == 4


def test_metrics_of_what_does_not_match(jobs, two_folders, folder):
    assert run(["metrics", "mine", "a.mp4"]) == 4
    assert run(["metrics", "a.mp4", "mine"]) == 4
    Path("empty").mkdir()
    assert run(["metrics", "empty", "mine"]) == 4


@pytest.fixture
def registry(monkeypatch, tmp_path):
    """Two entries, one of which is damaged."""
    from deblurcli.weights import registry, store

    entries = {
        name: registry.WeightEntry(name, "plain-unet", f"{name}.safetensors", 3_400_000, "0" * 64, "MIT", "photos", "-")
        for name in ("good", "bad")
    }
    rows = [store.Row(entry, "bundled", tmp_path / entry.file) for entry in entries.values()]

    def verify(entry):
        if entry.name == "bad":
            raise errors.WeightsError("bad.safetensors: sha256 is other", "install again")

    monkeypatch.setattr(store, "listing", lambda: rows)
    monkeypatch.setattr(store, "verify", verify)
    monkeypatch.setattr(store, "card", lambda entry: {"minutes": 90.0, "licence": "MIT"})
    monkeypatch.setattr(store, "locate", lambda entry: tmp_path / entry.file)
    monkeypatch.setattr(registry, "installed", lambda: registry.Registry(entries, {}))
    return tmp_path


def test_weights_list(registry, capsys):
    assert run(["weights", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["good  plain-unet  3.4 MB  MIT  bundled  -", "bad   plain-unet  3.4 MB  MIT  bundled  -"]
    assert run(["weights", "list", "--format", "json"]) == 0
    good, bad = json.loads(capsys.readouterr().out)
    assert (good["name"], good["network"], good["state"], bad["name"]) == ("good", "plain-unet", "bundled", "bad")


def test_weights_info_for_a_program(registry, capsys):
    assert run(["weights", "info", "good", "--format", "json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["name"] == "good" and facts["card"] == "minutes: 90.0"


def test_weights_path(registry, capsys, monkeypatch):
    monkeypatch.setenv("DEBLUR_CACHE", "/somewhere")
    assert run(["weights", "path", "good"]) == 0
    assert run(["weights", "path"]) == 0
    assert capsys.readouterr().out.splitlines() == [str(registry / "good.safetensors"), str(Path("/somewhere"))]


def test_weights_verify_goes_on_after_a_refusal(registry, capsys):
    assert run(["weights", "verify", "good"]) == 0
    assert run(["weights", "verify", "bad"]) == 6
    assert capsys.readouterr().err.count("\n") == 1
    assert run(["weights", "verify"]) == 6
    out, err = capsys.readouterr()
    assert out == "good  OK\n"
    assert err.splitlines()[-1] == "deblur: 1 of 2 files of weights are refused; the lines above say why"


def test_weights_info(registry, capsys):
    assert run(["weights", "info", "good"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "card     minutes: 90.0"
    facts = dict(line.split(maxsplit=1) for line in lines)
    assert facts["network"] == "plain-unet" and facts["licence"] == "MIT" and facts["sha256"] == "0" * 64
    assert run(["weights", "info", "nothing"]) == 6
